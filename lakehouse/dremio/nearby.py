"""Whether it is the gateway of this machine that answers, and how often one may look for a new commit there."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from pyarrow import flight

from lakehouse.proxies import own_names

GATEWAY_HEADER = "tillwatch-gateway"
"""A header of each answer of the gateway. Dremio has none of this name."""

NEAR_S = 0.25
"""Seconds between two looks of a screen at a gateway on this machine: one costs both ends 1.4 ms."""

NEAR_ALERT_S = 0.1
"""The same for what wakes people: half of it is what a FATAL waits here, on the mean."""

FAR_S = 1.0
"""The same anywhere else: each look is a statement that Dremio plans, and keeps in its list of jobs."""


class Nearby(flight.ClientMiddlewareFactory):  # type: ignore[misc]  # pyarrow.flight has no types
    """Hears from each answer who gave it."""

    def __init__(self, uri: str) -> None:
        host = urlsplit(uri).hostname
        self._here = host in ("localhost", "127.0.0.1", "::1") or host in own_names()
        self._gateway = False

    @property
    def near(self) -> bool:
        """Whether it is the gateway, and on this machine."""
        return self._here and self._gateway

    def start_call(self, _info: flight.CallInfo) -> _Heard:
        return _Heard(self)

    def hear(self, headers: Mapping[str, list[str]]) -> None:
        if headers:  # an answer's end comes without
            self._gateway = any(name.lower() == GATEWAY_HEADER for name in headers)


class _Heard(flight.ClientMiddleware):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, nearby: Nearby) -> None:
        self._nearby = nearby

    def received_headers(self, headers: Mapping[str, list[str]]) -> None:
        self._nearby.hear(headers)
