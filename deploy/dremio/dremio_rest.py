"""Dremio's REST port, asked with patience."""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import urllib3
from urllib3 import exceptions

from lakehouse.settings.durations import parse_duration
from lakehouse.user_error import UserError

logger = logging.getLogger("tillwatch.dremio")


_NO_REASON = "Something went wrong"
_NOT_NOW = (502, 503, 504)


class WaitBudget:
    """The time that all waiting may take together; `pause_s` lies between two tries."""

    def __init__(self, within: str, pause_s: float) -> None:
        try:
            span = parse_duration(within)
        except (ValueError, OverflowError) as error:
            raise UserError(f"--within has the value '{within}': {error}.") from None
        assert isinstance(span, timedelta)
        self._within = within.strip()
        self._until = time.monotonic() + span.total_seconds()
        self._pause_s = pause_s
        self._reason = ""

    def left_s(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def wait(self, reason: str) -> None:
        """Pause before the next try. Raises UserError when the time is up; a reason is logged when it is new."""
        left = self.left_s()
        if left == 0:
            raise UserError(f"{reason}, still after {self._within}; see Dremio's log, or allow more with --within.")
        if reason != self._reason:
            logger.info("waiting: %s", reason)
            self._reason = reason
        time.sleep(min(self._pause_s, left))


@dataclass(frozen=True)
class RestAnswer:
    """What Dremio answered to a call. `fields` is empty where that was no JSON object."""

    call: str
    status: int
    fields: dict[str, Any]
    said: str


class Rest:
    """Dremio's REST port. Waits while nobody answers or the server cannot yet; raises UserError, and nothing else."""

    def __init__(self, address: str, patience: WaitBudget) -> None:
        if not re.fullmatch(r"https?://[^/@\s]+", address):
            raise UserError(f"--rest has the value '{address}'; expected http://HOST:PORT.")
        self.address = address
        self.token = ""
        self._patience = patience
        self._http = urllib3.PoolManager(retries=False)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, secret: str = "") -> RestAnswer:
        """The answer, whatever its status says; `secret` is in the body, and shall not come back in a message."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"_dremio{self.token}"
        data = None if body is None else json.dumps(body).encode()
        while True:
            # A source is made while the call lasts: Dremio goes to Nessie meanwhile.
            timeout = urllib3.Timeout(connect=2.0, read=min(30.0, max(1.0, self._patience.left_s())))
            try:
                answer = self._http.request(
                    method, self.address + path, body=data, headers=headers, timeout=timeout, redirect=False
                )
            except exceptions.HTTPError as error:
                self._patience.wait(f"Dremio at {self.address} cannot be reached: {self._passing(error)}")
                continue
            if answer.status in _NOT_NOW:
                self._patience.wait(f"Dremio at {self.address} is not up yet: it answers {answer.status}")
                continue
            fields = _object(answer.data)
            said = _said(fields)
            return RestAnswer(
                f"{method} {path}", answer.status, fields, said.replace(secret, "***") if secret else said
            )

    def refusal(self, answer: RestAnswer, would_do: str) -> UserError:
        """The error for an answer that was not to come."""
        said = f": {answer.said}" if answer.said else ""
        return UserError(f"Dremio at {self.address} answers {answer.status} to {answer.call}{said}; {would_do}.")

    def no_dremio(self, answer: RestAnswer, missing: str) -> UserError:
        """The error for a server that says yes in words that are not Dremio's."""
        return UserError(
            f"{self.address} answers {answer.call} without {missing}, which no Dremio does; "
            "name Dremio's REST port with --rest."
        )

    def _passing(self, error: exceptions.HTTPError) -> str:
        """Why there was no answer, in words that stay the same from try to try. Raises for what does not pass."""
        match error:
            case exceptions.NameResolutionError():
                return "its name is not known"
            case exceptions.NewConnectionError():
                reason = getattr(error.__cause__, "strerror", None)
                return str(reason or "no connection").lower()
            case exceptions.TimeoutError():
                return "no answer in time"
            case exceptions.ProtocolError():
                return "the connection was cut"
        text = " ".join(str(error).split())
        raise UserError(f"{self.address} cannot be asked: {text}; name Dremio's REST port with --rest.") from None


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _said(fields: dict[str, Any]) -> str:
    """Dremio's own sentence in the answer of an error, without its full stop."""
    text = str(fields.get("errorMessage") or "")
    if text in ("", _NO_REASON):
        text = str(fields.get("moreInfo") or text)
    return " ".join(text.split())[:300].rstrip(".")
