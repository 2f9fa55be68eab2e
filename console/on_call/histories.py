"""Incidents with their history, as somebody looks at them: asked beside the page, kept until they change."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from datetime import datetime
from math import inf

from cachetools import LRUCache

from console.feed.hub import Viewer
from lakehouse.oncall import OnCallDetail

KEPT = 200
RETRY_S = 3.0
"""A sentence in place of an incident is not what it is: after so long it is asked again, if somebody still looks."""
type Answer = OnCallDetail | str
type Key = tuple[str, datetime | None]
"""An incident, and the moment up to which its history is asked for; None: now."""


class Histories:
    """ask: asks the notifier for an incident, up to a moment or now, and calls back, from another thread, with it or a
    sentence."""

    def __init__(
        self,
        ask: Callable[[str, datetime | None, Callable[[Answer], None]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: LRUCache[Key, tuple[int, Answer, float]] = LRUCache(KEPT)
        self._waiting: dict[Key, weakref.WeakSet[Viewer]] = {}

    def get(self, incident_id: str, revision: int, viewer: Viewer, at: datetime | None = None) -> Answer | None:
        """What is known of it, which may be of before; None while nothing is. `viewer` is woken when there is more.

        revision: the newest of the incident, as the watch has heard it.
        """
        key = (incident_id, at)
        with self._lock:
            held = self._kept.get(key)
            if held is not None and held[0] >= revision and self._clock() < held[2]:
                return held[1]
            if key in self._waiting:
                self._waiting[key].add(viewer)
                return held[1] if held else None
            self._waiting[key] = weakref.WeakSet([viewer])
        self._ask(incident_id, at, lambda answer: self._take(key, revision, answer))
        return held[1] if held else None

    def put(self, detail: OnCallDetail) -> None:
        """What an act has answered."""
        with self._lock:
            self._kept[detail.incident_id, None] = (detail.revision, detail, inf)

    def _take(self, key: Key, revision: int, answer: Answer) -> None:
        with self._lock:
            if isinstance(answer, OnCallDetail):
                self._kept[key] = (max(revision, answer.revision), answer, inf)
            else:
                self._kept[key] = (revision, answer, self._clock() + RETRY_S)
            viewers = list(self._waiting.pop(key, ()))
        for viewer in viewers:
            viewer.wake()
