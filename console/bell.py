"""Wakes pages on the event loop: one call across threads for all of a publish, and no thread for any of them.

Bokeh's own callbacks cost a call across threads each, and a worker thread that does nothing but begin a coroutine: with
200 pages that is more than what they draw.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from bokeh.document import Document
from bokeh.io.doc import patch_curdoc
from bokeh.server.session import _needs_document_lock_on_loop

logger = logging.getLogger(__name__)


class Ringable(Protocol):
    """A page, whose document is locked while it draws what is new."""

    @property
    def doc(self) -> Document: ...

    async def drawn(self) -> None:
        """Send what is new."""


@_needs_document_lock_on_loop
def _locked(_session: Any, draw: Callable[[], Awaitable[None]]) -> Awaitable[None]:
    return draw()


class Bell:
    """The pages that are to draw, until the loop comes to them. Any thread may ring."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: weakref.WeakSet[Ringable] = weakref.WeakSet()
        # Of the loop alone: pages that draw just now, and those of them that were rung for meanwhile.
        self._drawing: weakref.WeakSet[Ringable] = weakref.WeakSet()
        self._again: weakref.WeakSet[Ringable] = weakref.WeakSet()
        self._called = False
        self._tasks: set[asyncio.Task[None]] = set()

    def hang(self) -> None:
        """From now on pages are woken on the loop that this runs on."""
        self._loop = asyncio.get_running_loop()

    def ring(self, page: Ringable) -> bool:
        """Let a page draw soon, once however often it was rung for, also while it draws: a browser that takes nothing
        holds its page for as long, and no queue grows behind it. False before the loop is known."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return False
        with self._lock:
            self._waiting.add(page)
            called, self._called = self._called, True
        if not called:
            loop.call_soon_threadsafe(self._run)
        return True

    def _run(self) -> None:
        with self._lock:
            pages = list(self._waiting)
            self._waiting.clear()
            self._called = False
        for page in pages:
            if page in self._drawing:
                self._again.add(page)
                continue
            self._drawing.add(page)
            task = asyncio.ensure_future(self._draw(page))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _draw(self, page: Ringable) -> None:
        context = page.doc.session_context
        session = getattr(context, "session", None)
        try:
            if context is not None and session is not None and not context.destroyed:
                with patch_curdoc(page.doc):
                    await _locked(session, page.drawn)
        except Exception:
            # One page that cannot be drawn must not keep the news from the others.
            logger.exception("a page could not be drawn")
        finally:
            self._drawing.discard(page)
            if page in self._again:
                self._again.discard(page)
                self.ring(page)


BELL = Bell()
