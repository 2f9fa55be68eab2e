"""Requests that wait for a change of the ledger: however many they are, it is looked at once, and answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from notifier.ledger.file import LedgerError

LOOK_S = 0.2
"""Between two looks for a change, for all who wait for one."""


class Changes[T]:
    """Of one event loop. revision: that of the newest change; asked in other threads, raises LedgerError."""

    def __init__(self, revision: Callable[[], int]) -> None:
        self._revision = revision
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._looking: asyncio.Task[None] | None = None
        self._making: dict[Hashable, asyncio.Task[T]] = {}

    async def since(self, known: int, wait_s: float) -> bool:
        """Whether the newest revision is another than `known`, waited for so long. Raises LedgerError."""
        if await asyncio.to_thread(self._revision) != known:
            return True
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[changed] = known
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            await asyncio.wait_for(changed, wait_s)
        except TimeoutError:
            return False
        finally:
            del self._waiting[changed]
        return True

    async def _look(self) -> None:
        """Wake those whose revision is the newest no more, until nobody waits."""
        while self._waiting:
            await asyncio.sleep(LOOK_S)
            try:
                newest = await asyncio.to_thread(self._revision)
            except LedgerError as error:
                for changed in self._waiting:
                    if not changed.done():
                        changed.set_exception(error)
                continue
            for changed, known in self._waiting.items():
                if known != newest and not changed.done():
                    changed.set_result(None)

    async def answer(self, question: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, in another thread; who asks the same meanwhile gets the same. Raises as it does."""
        making = self._making.get(question)
        if making is None:
            making = self._making[question] = asyncio.create_task(asyncio.to_thread(make))
            making.add_done_callback(lambda _: self._making.pop(question))
        # Who goes away must not take the others' answer along.
        return await asyncio.shield(making)
