"""Who may ask the API what: the tokens of a data directory, made at the first start."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from lakehouse.tokens import FILE, Right, Token, read_tokens
from lakehouse.user_error import UserError

FIRST = (("reader", Right.READ), ("operator", Right.ACT), ("console", Right.BEHALF))


class Tokens:
    """The tokens of a data directory. Raises UserError where the file cannot be used, or is open to others."""

    def __init__(self, data_dir: Path, of_settings: str = "", of_console: str = "") -> None:
        """of_settings: notifier.api_token, which may act, as it always could read. of_console: notifier.token."""
        path = data_dir / FILE
        held = read_tokens(path) if path.exists() else _made(path)
        given = (Token("settings", Right.ACT, of_settings), Token("console", Right.BEHALF, of_console))
        self.tokens = [*held, *(token for token in given if token.secret)]

    def of(self, secret: str) -> Token | None:
        """The token with this secret. As long for a wrong one as for a right one."""
        found = None
        for token in self.tokens:
            if secrets.compare_digest(token.secret.encode(), secret.encode()):
                found = token
        return found

    def secret_of(self, name: str) -> str:
        return next(token.secret for token in self.tokens if token.name == name)


def _made(path: Path) -> list[Token]:
    tokens = [Token(name, right, secrets.token_urlsafe(32)) for name, right in FIRST]
    content = [{"name": token.name, "right": token.right, "token": token.secret} for token in tokens]
    part = path.with_suffix(".part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError(
            f"The tokens {path} cannot be written: {error.strerror}; make room, or set TILLWATCH_DATA_DIR."
        ) from None
    return tokens
