"""Incidents with their history, as somebody looks at them: asked beside the page, kept until they change."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from math import inf

from cachetools import LRUCache

from console.feed.hub import Viewer
from lakehouse.oncall import OnCallDetail

KEPT = 200
RETRY_S = 3.0
"""A sentence in place of an incident is not what it is: after so long it is asked again, if somebody still looks."""
type Answer = OnCallDetail | str


class Histories:
    """ask: asks the notifier for an incident and calls back, from another thread, with it or a sentence."""

    def __init__(
        self, ask: Callable[[str, Callable[[Answer], None]], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: LRUCache[str, tuple[int, Answer, float]] = LRUCache(KEPT)
        self._waiting: dict[str, weakref.WeakSet[Viewer]] = {}

    def get(self, incident_id: str, revision: int, viewer: Viewer) -> Answer | None:
        """What is known of it, which may be of before; None while nothing is. `viewer` is woken when there is more.

        revision: the newest of the incident, as the watch has heard it.
        """
        with self._lock:
            held = self._kept.get(incident_id)
            if held is not None and held[0] >= revision and self._clock() < held[2]:
                return held[1]
            if incident_id in self._waiting:
                self._waiting[incident_id].add(viewer)
                return held[1] if held else None
            self._waiting[incident_id] = weakref.WeakSet([viewer])
        self._ask(incident_id, lambda answer: self._take(incident_id, revision, answer))
        return held[1] if held else None

    def put(self, detail: OnCallDetail) -> None:
        """What an act has answered."""
        with self._lock:
            self._kept[detail.incident_id] = (detail.revision, detail, inf)

    def _take(self, incident_id: str, revision: int, answer: Answer) -> None:
        with self._lock:
            if isinstance(answer, OnCallDetail):
                self._kept[incident_id] = (max(revision, answer.revision), answer, inf)
            else:
                self._kept[incident_id] = (revision, answer, self._clock() + RETRY_S)
            viewers = list(self._waiting.pop(incident_id, ()))
        for viewer in viewers:
            viewer.wake()
