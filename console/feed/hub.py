"""Where sessions learn that there is something new. A wake carries no data: each view takes what it lacks."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

from console.feed.snapshot import FeedSnapshot

logger = logging.getLogger(__name__)


class Viewer(Protocol):
    """A session, as the hub sees it. `watches` is its tab, with what it is compared with (feed.compared.interest), or
    None while nobody can see it; `present` is whether a browser holds it open."""

    @property
    def watches(self) -> str | None: ...

    @property
    def present(self) -> bool: ...

    def wake(self) -> None:
        """Take what is new, soon; called from any thread, returns at once."""


class Hub:
    """Holds the newest snapshot, and the viewers by weak reference: a session lives and dies with its document."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._viewers: weakref.WeakSet[Viewer] = weakref.WeakSet()
        self._snapshot = FeedSnapshot()
        self._count = 0
        self.wakes = 0
        self.on_demand: Callable[[], None] = lambda: None
        """Called when a viewer came or went to another tab: the poller should not wait for its next turn."""

    @property
    def snapshot(self) -> FeedSnapshot:
        return self._snapshot

    @property
    def viewers(self) -> int:
        """Pages that are open, also those that nobody looks at just now; as of the last wake.

        Counted once for all: each page that counted all others would cost the square of their number.
        """
        return min(self._count, len(self._viewers))

    def watched(self) -> frozenset[str]:
        """What somebody looks at."""
        with self._lock:
            viewers = list(self._viewers)
        return frozenset(tab for viewer in viewers if (tab := viewer.watches))

    def join(self, viewer: Viewer) -> None:
        with self._lock:
            self._viewers.add(viewer)
        self._counted()
        self.on_demand()

    def leave(self, viewer: Viewer) -> None:
        with self._lock:
            self._viewers.discard(viewer)
        self._counted()

    def publish(self, snapshot: FeedSnapshot, *, wake: bool = True) -> None:
        """Put a snapshot in place; with `wake`, tell every viewer that somebody looks at."""
        self._snapshot = snapshot
        if wake:
            self.wake()

    def _counted(self) -> list[Viewer]:
        """All viewers; those that are present are counted."""
        with self._lock:
            viewers = list(self._viewers)
        self._count = sum(1 for viewer in viewers if viewer.present)
        return viewers

    def wake(self) -> None:
        for viewer in self._counted():
            if viewer.watches is None:
                continue
            self.wakes += 1
            try:
                viewer.wake()
            except Exception:
                # One broken or half-closed session must not keep the news from the others.
                logger.exception("a session could not be woken and is dropped")
                self.leave(viewer)
