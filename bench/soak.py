"""Half an hour at 200 events/s on a filled hour: questions, files and memory at the end as near the start.

Promise: p95 of every console question in the last 5 minutes <= 1.5 x that of minutes 3 to 8; data files, snapshots and
the event log bounded; no process grows by more than 20 % after minute 10. Retention is set to minutes.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import time
from collections import defaultdict
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa

from bench.browser import browser_page
from bench.processes import MEMORY, Demo, directory_mb, memory_by_part
from bench.report import Report
from console.feed.pins import Pin
from console.feed.questions import ask_frame
from console.feed.snapshot import FeedAnswer
from console.pages.errors import ErrorsTab
from console.pages.orders import OrdersTab
from console.pages.overview import Overview
from console.settings import ConsoleSettings
from console.view import View
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.shop import OrdersSettings

RETENTION = {
    "TILLWATCH_MAX_EVENT_AGE": "65 min",
    "TILLWATCH_RETENTION_EVENT_LOG": "5 min",
    "TILLWATCH_RETENTION_RAW": "90 min",
    "TILLWATCH_RETENTION_OPERATIONS": "10 min",
    "TILLWATCH_RETENTION_EVERY_COMMIT": "2 min",
    "TILLWATCH_RETENTION_FIRST_OF_MINUTE": "10 min",
    "TILLWATCH_RETENTION_SWEEP_AGE": "30 s",
}
EVERY_S = 1.0


class Questions:
    """Asks what the console asks, and notes how long each took."""

    def __init__(self, dremio: Dremio) -> None:
        self._dremio = dremio
        self.taken: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def _ask(self, commit: str, minute: float, question: str, binds: dict[str, Any]) -> pa.Table | None:
        started = time.perf_counter()
        try:
            answer = self._dremio.ask(question, commit=commit, **binds)
        except DremioError:
            return None
        self.taken[question].append((minute, time.perf_counter() - started))
        return answer

    def round(self, minute: float) -> None:
        """All questions of Overview, Orders and Errors (1 h) at the head."""
        commit = self._dremio.head()
        found = self._ask(commit, minute, "as_of", {})
        if found is None:
            return
        as_of = found["as_of"][0].as_py()

        def ask(question: str, /, **binds: Any) -> pa.Table | None:
            return self._ask(commit, minute, question, binds)

        nothing: dict[str, FeedAnswer] = {}
        counting = OrdersSettings.load().counting
        ask_frame(ask, as_of, nothing, counting)
        Overview.ask(ask, as_of, nothing, counting)
        page = SimpleNamespace(settings=ConsoleSettings.load(), counting=counting)
        span = (as_of - timedelta(hours=1), as_of)
        for tab in (OrdersTab, ErrorsTab):
            shown = SimpleNamespace(page=page, found=None)
            tables: dict[str, list[dict[str, Any]]] = {}
            # Some questions are about what others found: asked once those are answered, as the page does.
            for _ in range(2):
                wants = tab.wants(cast(Any, shown), View(tab.name), Pin(commit, as_of), span, span)
                for name, want in wants.items():
                    if name not in tables:
                        answer = self._ask(commit, minute, want.question, dict(want.binds))
                        tables[name] = [] if answer is None else answer.to_pylist()
                shown.found = SimpleNamespace(view=View(tab.name), tables=tables)

    def p95(self, question: str, start: float, end: float) -> float:
        """Of the minutes from `start` to `end`, in ms."""
        seconds = sorted(taken for minute, taken in self.taken[question] if start <= minute < end)
        return 1000 * seconds[int(0.95 * len(seconds))] if seconds else float("nan")


def counts(demo: Demo) -> dict[str, float]:
    """Files, commits and log rows on the disk."""
    warehouse = demo.data_dir / "warehouse"
    data = sum(name.endswith(".parquet") for _, _, names in os.walk(warehouse) for name in names)
    every = sum(len(names) for _, _, names in os.walk(warehouse))
    with sqlite3.connect(f"{(demo.data_dir / 'catalog.db').absolute().as_uri()}?mode=ro", uri=True) as catalog:
        commits = catalog.execute("SELECT COUNT(*) FROM publications").fetchone()[0]
    with sqlite3.connect(f"{(demo.data_dir / 'events.db').absolute().as_uri()}?mode=ro", uri=True) as log:
        rows = log.execute("SELECT SUM(next_offset - first_offset) FROM heads").fetchone()[0]
    return {"data files": data, "all files": every, "commits": commits, "event log rows": rows}


def main() -> None:
    """`python -m bench soak`."""
    parser = argparse.ArgumentParser(prog="bench soak", description=__doc__)
    parser.add_argument("--rate", type=int, default=200, help="events/s")
    parser.add_argument("--minutes", type=float, default=30, help="20 or more")
    arguments = parser.parse_args()
    minutes: float = arguments.minutes
    rate = str(arguments.rate)
    variables = os.environ | RETENTION
    samples: list[tuple[float, dict[str, float], dict[str, float]]] = []
    with Demo(arguments=["--rate", rate, "--fill-rate", rate], variables=variables) as demo:
        demo.wait_live(300)
        dremio = Dremio(DremioSettings.load(uri=f"grpc://localhost:{32010 + demo.offset}"))
        questions = Questions(dremio)
        with browser_page() as page:
            page.goto(demo.url("console", "/app"))
            # The older past, too: else its writing would make the early questions look slow.
            demo.wait_filled(600)
            started = time.monotonic()
            next_sample = 1.0
            while (minute := (time.monotonic() - started) / 60) < minutes:
                questions.round(minute)
                if minute >= next_sample:
                    samples.append((minute, memory_by_part(demo), counts(demo)))
                    next_sample += 1
                demo.sleep(EVERY_S)
        size = directory_mb(demo.data_dir)
        dremio.close()
    report = Report(
        "soak",
        f"{rate} events/s for {minutes:g} min on an hour filled at the same rate, one viewer; memory is {MEMORY}",
    )
    ratios: dict[str, float] = {}
    for question in sorted(questions.taken):
        early = questions.p95(question, 3, 8)
        late = questions.p95(question, minutes - 5, minutes + 1)
        ratios[question] = late / early
        report.row(f"p95 of {question}, minutes 3 to 8", early, "ms")
        report.row(f"p95 of {question}, last 5 minutes", late, "ms")
    worst = max(ratios, key=lambda question: ratios[question])
    report.row(f"p95 of the worst question ({worst}), late / early", ratios[worst], "x", at_most=1.5)
    at_ten = next(memory for minute, memory, _ in samples if minute >= 10)
    grown: dict[str, float] = {}
    for part in sorted(at_ten):
        # The largest of the last five samples: a process may be between two sizes.
        last = max(memory.get(part, 0.0) for _, memory, _ in samples[-5:])
        report.row(f"memory of {part} at minute 10", at_ten[part], "MB")
        grown[part] = last / at_ten[part]
        report.row(f"memory of {part} at the end", last, "MB")
    most = max(grown, key=lambda part: grown[part])
    report.row(f"memory that grew most ({most}), end / minute 10", grown[most], "x", at_most=1.2)
    for name in ("data files", "all files", "commits", "event log rows"):
        middle = max(sizes[name] for minute, _, sizes in samples if 10 <= minute < 15)
        late_most = max(sizes[name] for minute, _, sizes in samples if minute >= minutes - 5)
        report.row(f"{name}, most of minutes 10 to 15", middle, "")
        report.row(f"{name}, most in the last 5 min / in minutes 10 to 15", late_most / middle, "x", at_most=1.2)
    report.row("data directory at the end", size, "MB")
    report.finish()


if __name__ == "__main__":
    main()
