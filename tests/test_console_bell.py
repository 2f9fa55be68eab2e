"""Pages are woken on the loop, each once however often it is rung for, and one that fails does not stop the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bokeh.core.types import ID
from bokeh.server.session import ServerSession

from console.bell import Bell
from tests.test_console_session import a_document


def on_a_loop(todo: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: where browser tests ran before, the main thread holds the loop of theirs."""
    with ThreadPoolExecutor(1, "loop") as pool:
        pool.submit(asyncio.run, todo).result()


class Page:
    """A page on a document of a session, or of none any more."""

    def __init__(self, *, gone: bool = False, fails: bool = False) -> None:
        self.doc, self._context = a_document()
        self.session: Any = ServerSession(ID("id"), self.doc)
        if not gone:
            self._context._set_session(self.session)
        self.fails = fails
        self.drawings: list[tuple[str, bool]] = []

    async def drawn(self) -> None:
        self.drawings.append((threading.current_thread().name, self.session._lock.locked()))
        if self.fails:
            raise RuntimeError("it cannot be drawn")


def test_each_page_draws_once_on_the_loop_and_locked_however_often_it_was_rung_for() -> None:
    bell = Bell()
    good, bad, other, gone = Page(), Page(fails=True), Page(), Page(gone=True)

    async def rung() -> None:
        assert bell.ring(good) is False
        bell.hang()

        def from_elsewhere() -> None:
            for _ in range(5):
                for page in (bad, good, gone, other):
                    assert bell.ring(page)

        # The loop is held meanwhile, so that all of it comes before it turns.
        thread = threading.Thread(target=from_elsewhere)
        thread.start()
        thread.join()
        await asyncio.sleep(0.1)

    on_a_loop(rung())
    for page in (good, bad, other):
        assert page.drawings == [("loop_0", True)]
    assert gone.drawings == []


def test_what_a_page_is_rung_for_while_it_draws_is_drawn_once_afterwards() -> None:
    bell = Bell()

    class Slow(Page):
        async def drawn(self) -> None:
            await super().drawn()
            # A browser that takes nothing for a while, and commits go on.
            if len(self.drawings) == 1:
                await asyncio.sleep(0.2)

    page = Slow()

    async def rung() -> None:
        bell.hang()
        for _ in range(10):
            bell.ring(page)
            await asyncio.sleep(0.01)
        assert len(page.drawings) == 1
        await asyncio.sleep(0.3)

    on_a_loop(rung())
    assert len(page.drawings) == 2
