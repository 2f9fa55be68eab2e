"""A shop that publishes each second, within the process of bench console's servers.

GET /bench/state: when each commit was published, and told to pages (s since the epoch), and statements.
GET /bench/documents: those that are alive, after a full collection of garbage, which nobody is to wait for meanwhile.
"""

from __future__ import annotations

import gc
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from bokeh.document import Document
from fastapi import APIRouter

from tests.fake_dremio import FakeDremio, a_shop

EVERY_S = 1.0
ROUTER = APIRouter()


class TellingDremio(FakeDremio):
    """Tells of a new commit as a gateway on this machine does."""

    near = True

    def __init__(self) -> None:
        super().__init__()
        self._moved = threading.Condition()

    def next_head(self, known: str, wait_s: float) -> str:
        with self._moved:
            self._moved.wait_for(lambda: self._commit() != known, wait_s)
        return self.head()

    def tell(self) -> None:
        with self._moved:
            self._moved.notify_all()


DREMIO = TellingDremio()
PUBLISHED: dict[str, float] = {}
SHOWN: dict[str, float] = {}
"""When the console had all answers of a commit, and told its pages; a page that asks nothing has none."""


def shop() -> None:
    """An order and a click a second, each in a commit of its own."""
    due = time.monotonic()
    while True:
        due += EVERY_S
        time.sleep(max(0.0, due - time.monotonic()))
        now = datetime.now(UTC)
        DREMIO.order(now)
        DREMIO.click(now)
        commit = DREMIO.publish(now)
        PUBLISHED[commit] = time.time()
        DREMIO.tell()


def start() -> None:
    a_shop(DREMIO, datetime.now(UTC) - timedelta(seconds=1))
    threading.Thread(target=shop, name="shop", daemon=True).start()


@ROUTER.get("/bench/state")
def state() -> dict[str, Any]:
    return {"published": PUBLISHED, "shown": SHOWN or PUBLISHED, "asked": len(DREMIO.asked)}


@ROUTER.get("/bench/documents")
def documents() -> int:
    gc.collect()
    return sum(1 for one in gc.get_objects() if isinstance(one, Document))
