"""The running notifier, as commands ask it: its address, a token, and its refusals as sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from lakehouse.oncall import OnCall, OnCallDown, OnCallError
from lakehouse.settings.base import Shared
from lakehouse.tokens import secret_in
from lakehouse.user_error import Unreachable, UserError
from notifier.settings import NotifierSettings

Url = Annotated[
    str | None,
    typer.Option("--url", help="A notifier elsewhere, http://HOST:5007; else that of this machine."),
]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="File with a token that may act; else the operator's own.")
]
MOST = 10_000
"""Incidents and deliveries that the API gives at once."""
_EVERYWHERE = ("", "0.0.0.0", "::")


@contextmanager
def on_call(url: str | None, token_file: Path | None) -> Iterator[OnCall]:
    """A client of it. Raises UserError where it refuses, and Unreachable where it does not answer, or not now."""
    address = _address(url)
    if url and not token_file:
        raise UserError("--url names another notifier, which does not know this one's token; add --token-file.")
    token = _token(token_file) if token_file else secret_in(Shared.load().data_dir, "operator")
    with OnCall(address, token) as client:
        try:
            yield client
        except OnCallDown as error:
            why = str(error).rpartition(": ")[2].rstrip(".")
            raise Unreachable(
                f"The notifier at {address} cannot be reached: {why}; start it (`tillwatch notifier`), or name another "
                "with --url."
            ) from None
        except ValidationError as error:
            # Said before it is asked: what is asked has to be whole.
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise UserError(f"'{field}': {first['msg'].removeprefix('Value error, ')}.") from None
        except OnCallError as error:
            if error.status == 0 or error.status >= 500:
                raise Unreachable(str(error)) from None
            raise UserError(str(error)) from None


def _address(url: str | None) -> str:
    if url is None:
        settings = NotifierSettings.load()
        host = "127.0.0.1" if settings.host in _EVERYWHERE else settings.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{Shared.load().port('notifier')}/api"
    if not re.fullmatch(r"https?://[^\s/@]+(/\S*)?", url):
        raise UserError(f"'{url}' is no address for --url; write it like http://HOST:5007.")
    return url.rstrip("/") if url.rstrip("/").endswith("/api") else f"{url.rstrip('/')}/api"


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UserError(f"The token file {path} cannot be read: {why}; name one that holds a token.") from None
    if not re.fullmatch(r"[!-~]+", token):
        raise UserError(f"The token file {path} does not hold one line with a token; name one that does.")
    return token
