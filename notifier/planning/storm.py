"""When there are too many threads: how many may begin, and which alerts are of one kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lakehouse.kinds import LONGEST, kind_of
from notifier.model import AlertRow, Target

MINUTE_MS = 60_000
FIRST_OF_A_KIND = 10
"""So many threads a minute begin by themselves in a storm, because their kind is new at the destination."""
KNOWN_FOR_MS = 3_600_000
"""A kind is new again when the destination had no thread of it for so long."""


def fold(alert: AlertRow) -> str:
    """The kind of an alert: its rule, and its message with the variable parts folded."""
    return f"{alert.rule}: {kind_of(alert.description, alert.service_name or '')}"[:LONGEST]


@dataclass
class Begun:
    """Threads that have begun at one destination within the last minute, and the kinds that it knows."""

    times_ms: list[int] = field(default_factory=list)
    as_new_kind_ms: list[int] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)


class Storms:
    """Lets threads begin. after: how many a minute at a destination, 0: as many as come. less: where it is less."""

    def __init__(self, after: int, now_ms: int, less: Mapping[Target, int] | None = None) -> None:
        self._after = after
        self._less = less or {}
        self._now_ms = now_ms
        self._begun: dict[Target, Begun] = {}

    def load(self, rows: Iterable[tuple[Target, int, str, bool]]) -> None:
        """Threads of the last KNOWN_FOR_MS: target, when, kind, whether it was let through as the first of its kind."""
        for target, began_ms, kind, as_new in rows:
            self._note(target, began_ms, kind, as_new)

    def lets_begin(self, target: Target, kind: str) -> tuple[bool, bool]:
        """Whether a thread of this kind may begin there now; and whether it does so as the first of its kind."""
        begun = self._begun.setdefault(target, Begun())
        after = min(self._after, self._less.get(target, self._after))
        within = self._after == 0 or len(begun.times_ms) < after
        as_new = not within and kind not in begun.kinds and len(begun.as_new_kind_ms) < FIRST_OF_A_KIND
        if within or as_new:
            self._note(target, self._now_ms, kind, as_new)
        return within or as_new, as_new

    def _note(self, target: Target, began_ms: int, kind: str, as_new: bool) -> None:
        begun = self._begun.setdefault(target, Begun())
        begun.kinds.add(kind)
        if self._now_ms - MINUTE_MS < began_ms <= self._now_ms:
            begun.times_ms.append(began_ms)
            if as_new:
                begun.as_new_kind_ms.append(began_ms)
