"""Incidents with their history, as somebody looks at them: asked beside the page, kept until they change."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from cachetools import LRUCache

from console.feed.hub import Viewer
from lakehouse.oncall import OnCallDetail

KEPT = 200
type Answer = OnCallDetail | str


class Histories:
    """ask: asks the notifier for an incident and calls back, from another thread, with it or a sentence."""

    def __init__(self, ask: Callable[[str, Callable[[Answer], None]], None]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._kept: LRUCache[str, tuple[int, Answer]] = LRUCache(KEPT)
        self._waiting: dict[str, weakref.WeakSet[Viewer]] = {}

    def get(self, incident_id: str, revision: int, viewer: Viewer) -> Answer | None:
        """What is known of it, which may be of before; None while nothing is. `viewer` is woken when there is more.

        revision: the newest of the incident, as the watch has heard it.
        """
        with self._lock:
            held = self._kept.get(incident_id)
            if held is not None and held[0] >= revision:
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
            self._kept[detail.incident_id] = (detail.revision, detail)

    def _take(self, incident_id: str, revision: int, answer: Answer) -> None:
        with self._lock:
            newest = max(revision, answer.revision) if isinstance(answer, OnCallDetail) else revision
            self._kept[incident_id] = (newest, answer)
            viewers = list(self._waiting.pop(incident_id, ()))
        for viewer in viewers:
            viewer.wake()
