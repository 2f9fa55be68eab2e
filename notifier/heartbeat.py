"""A dead-man's switch: an address elsewhere hears from us while people can be told, and calls them when it does not."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from pydantic import SecretStr

from notifier.http import words
from notifier.ledger.file import LedgerError
from notifier.ledger.ledger import Ledger
from notifier.ledger.outbox import Why
from notifier.metrics import Metrics
from notifier.reconcile import Untold

logger = logging.getLogger("notifier")

TIMEOUT_S = 10.0


def heartbeat_address(value: SecretStr) -> SecretStr:
    """The address as it is. Raises ValueError where it is none that may be asked."""
    text = value.get_secret_value()
    if not text:
        return value
    try:
        host = urlsplit(text).hostname or ""
        known = re.fullmatch(r"https?://[!-?A-~]+", text) is not None and urlsplit(text).port != 0
    except ValueError:
        known = False
    if not known or not host:
        raise ValueError("expected an address like https://HOST/PATH, without a user's name")
    here = host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host)
    if text.startswith("http:") and not here:
        raise ValueError("expected https; http will do for this machine alone")
    return value


def untold(
    parts: Mapping[str, str | None], judged: str | None, ledger: Ledger, overdue: Callable[[], Sequence[Untold]]
) -> str | None:
    """Why somebody might not be told of an alert now; None while all would be. Raises LedgerError.

    parts: what is wrong with each, as /-/ready has it. judged: why alerts cannot be judged. overdue: who was not told
    in time, asked where all else is well.
    """
    for name, error in {**parts, "alerts": judged}.items():
        if error is not None:
            return f"{name}: {error}"
    for place in ledger.outbox.parked():
        if place.why is Why.BROKEN:
            return f"{place.channel} {place.destination or '(all)'}: {place.reason}"
    late = overdue()
    if late:
        first = late[0].incident.incident_id
        return f"{len(late)} times somebody was not told in time, first of the incident {first[:80]}."
    return None


class Heartbeat:
    """From `start` to `stop` it asks the address every so often, in a thread of its own; `turn` does it once.

    why_not: why somebody might not be told of an alert now. error: why the newest turn did not reach the address.
    """

    def __init__(self, url: str, every: timedelta, why_not: Callable[[], str | None], metrics: Metrics) -> None:
        self._url = url
        self._every_s = every.total_seconds()
        self._why_not = why_not
        self._metrics = metrics
        self._opener = build_opener(_Stay)
        self._stopping = threading.Event()
        self.error: str | None = "not asked yet" if url else None

    def start(self) -> None:
        """Nothing where there is no address."""
        if self._url:
            threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.turn()

    def turn(self) -> None:
        """Raises nothing; what fails is not tried again before the next turn."""
        try:
            why_not = self._why_not()
        except LedgerError as caught:
            why_not = str(caught)
        except Exception as caught:
            self._metrics.errors.inc()
            logger.exception("heartbeat: unexpected error")
            why_not = f"Unexpected error: {caught}."
        result, error = "withheld", why_not
        if why_not is None:
            error = self._ask()
            result = "failed" if error else "sent"
        self._metrics.heartbeats.labels(result).inc()
        if error != self.error:
            level = logging.WARNING if error else logging.INFO
            logger.log(level, "heartbeat: %s", f"{result}, {error}" if error else result)
        self.error = error

    def _ask(self) -> str | None:
        """Why the address did not take it. What it answers is not read."""
        request = Request(self._url, headers={"User-Agent": "tillwatch"})
        try:
            self._opener.open(request, timeout=TIMEOUT_S).close()
        except HTTPError as error:
            error.close()
            return f"The address answered {error.code}."
        except (OSError, HTTPException, ValueError) as error:
            return f"The address does not answer: {words(error)}."
        return None


class _Stay(HTTPRedirectHandler):
    """Goes nowhere else: a redirect is an answer like any other that is not 2xx."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None
