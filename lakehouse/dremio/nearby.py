"""Whether it is the gateway of this machine that answers, and how often one may look for a new commit there."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from lakehouse.proxies import own_names

GATEWAY_HEADER = "tillwatch-gateway"
"""A header of each answer of the gateway. Dremio has none of this name."""

NEXT_HEAD = "tillwatch.next-head"
"""An action that Dremio has not: AskedHead -> the head of main, once it is another or the wait is over."""

ASKED_HEADER = "tillwatch-asked"
"""A header by which a call for rows can be named: some letters that nobody guesses."""

WITHDRAW = "tillwatch.withdraw"
"""An action that Dremio has not: the name of a call -> 1 where it ran, and is ended now, else 0."""

NEAR_S = 0.25
"""Seconds that a screen waits there for a new commit before it looks to its pages again."""

FAR_S = 1.0
"""Seconds between two looks anywhere else: each is a statement that Dremio plans, and keeps in its list of jobs."""


class AskedHead(msgspec.Struct, frozen=True):
    """The commit that the caller knows, and for how many seconds it waits for another."""

    known: str
    wait_s: float


class Nearby:
    """Hears from each answer who gave it."""

    def __init__(self, uri: str) -> None:
        host = urlsplit(uri).hostname
        self._here = host in ("localhost", "127.0.0.1", "::1") or host in own_names()
        self._gateway = False

    @property
    def near(self) -> bool:
        """Whether it is the gateway, and on this machine."""
        return self._here and self._gateway

    def hear(self, headers: Mapping[str, list[str]]) -> None:
        if headers:  # an answer's end comes without
            self._gateway = any(name.lower() == GATEWAY_HEADER for name in headers)
