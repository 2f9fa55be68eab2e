"""How soon an event can be asked for: one order's row in the raw table, and the KPI row that counts it, over Flight.

Two engines are asked in the same way: of each new commit of a branch the same raw question, and a KPI question each.
"""

from __future__ import annotations

import contextlib
import threading
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.statement import fill
from lakehouse.tables import CATALOG
from pipeline.storage.nessie import MAIN

ASK_EVERY_S = 0.1

_RAW = "SELECT MAX(produced_at) AS reached FROM {orders_processed} WHERE order_ts >= :since"
_COUNTED = "SELECT SUM(orders_count) AS reached FROM {orders_revenue_per_minute} WHERE window_start >= :since"
_ENDED = "SELECT MAX(window_end) AS reached FROM {orders_revenue_per_minute} WHERE window_start >= :since"
_ORDERS = "SELECT produced_at, order_ts FROM {orders_processed} WHERE order_ts >= :since ORDER BY produced_at"

type Reached = list[tuple[float, float]]
"""(how far an answer reached, when it was there), in the order of asking; seconds since the epoch, or a count."""


@dataclass(frozen=True)
class AskedTables:
    """Whose tables are asked for: the branch they lie on, and whether a window's row comes once, when it has ended.

    Else a row counts what has come of its minute, and is replaced as more comes.
    """

    branch: str = MAIN
    only_ended: bool = False

    def head(self, dremio: Dremio) -> str | None:
        """The branch's commit; None where there is no such branch yet."""
        rows = dremio.sql(f"SHOW BRANCHES IN {CATALOG}").to_pylist()
        return next((str(row["commitHash"]) for row in rows if row["refName"] == self.branch), None)

    def orders(self, dremio: Dremio, since: datetime) -> list[tuple[float, float]]:
        """(produced, event's time) of every stored order from `since` on, in the order of being produced."""
        rows = dremio.sql(fill(_ORDERS, self.head(dremio), {"since": since})).to_pylist()
        return [(row["produced_at"].timestamp(), row["order_ts"].timestamp()) for row in rows]


class HeadWatch(threading.Thread):
    """Asks for the head ten times a second, and both questions of every new commit, until `stop`.

    `since` must be the beginning of a minute: rows of earlier ones are not asked for.
    """

    def __init__(self, dremio: Dremio, asked: AskedTables, since: datetime) -> None:
        super().__init__(name="watch", daemon=True)
        self._dremio = dremio
        self._asked = asked
        self._since = since
        self._ended = threading.Event()
        self.raw: Reached = []
        self.kpi: Reached = []

    def run(self) -> None:
        last = None
        while not self._ended.is_set():
            began = time.monotonic()
            with contextlib.suppress(DremioError):  # asked again
                commit = self._asked.head(self._dremio)
                if commit is not None and commit != last:
                    self._note(self.raw, _RAW, commit)
                    self._note(self.kpi, _ENDED if self._asked.only_ended else _COUNTED, commit)
                    last = commit
            self._ended.wait(max(0.0, ASK_EVERY_S - (time.monotonic() - began)))

    def _note(self, reached: Reached, question: str, commit: str) -> None:
        answer = self._dremio.sql(fill(question, commit, {"since": self._since})).to_pylist()[0]["reached"]
        if answer is not None:
            reached.append((_number(answer), time.time()))

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _number(value: Any) -> float:
    return value.timestamp() if isinstance(value, datetime) else float(value)


@dataclass(frozen=True)
class OrderFreshness:
    """Seconds from each order's produced_at to the answer that holds it; infinity where none did."""

    raw: Sequence[float]
    kpi: Sequence[float]


def freshness(
    orders: Sequence[tuple[float, float]], raw: Reached, kpi: Reached, only_ended: bool, span: tuple[float, float]
) -> OrderFreshness:
    """Of the orders produced in a span; `orders` as Asked.orders has them, from the first minute that was asked for.

    A window's row that comes once holds all events before its end; a sum of counts holds as many as it says.
    """
    wanted = [at + 0.001 if only_ended else float(number) for number, (_, at) in enumerate(orders, start=1)]
    measured = [number for number, (produced, _) in enumerate(orders) if span[0] <= produced < span[1]]
    produced = [orders[number][0] for number in measured]
    return OrderFreshness(waits(produced, produced, raw), waits([wanted[number] for number in measured], produced, kpi))


def waits(wanted: Sequence[float], produced: Sequence[float], reached: Reached) -> list[float]:
    """Seconds from each event to the first answer that reached what it wants."""
    furthest = list(accumulate((value for value, _ in reached), max))
    places = (bisect_left(furthest, value) for value in wanted)
    return [
        reached[place][1] - at if place < len(reached) else float("inf")
        for place, at in zip(places, produced, strict=True)
    ]


def reached_to(reached: Reached) -> float:
    """How far the newest answer reached; minus infinity before the first."""
    return reached[-1][0] if reached else float("-inf")
