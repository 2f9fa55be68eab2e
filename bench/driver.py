"""The figures of a part, the Spark driver above all, as its page of metrics tells them."""

from __future__ import annotations

import contextlib
import re
import statistics
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Protocol

from bench.latency import percentile
from bench.report import Report

_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)

type Sample = dict[tuple[str, str], float]
"""(name, labels as the page writes them) -> value."""


class Served(Protocol):
    """Whatever a driver runs in that tells its parts' addresses."""

    def url(self, part: str, path: str = "/") -> str: ...


def sample(served: Served, part: str = "ingest") -> Sample:
    """Its metrics page; empty while it does not answer."""
    found: Sample = {}
    with contextlib.suppress(OSError), urllib.request.urlopen(served.url(part, "/metrics"), timeout=5) as answer:
        for line in _SAMPLE.finditer(answer.read().decode()):
            found[line["name"], line["labels"] or ""] = float(line["value"])
    return found


def total(found: Sample, name: str) -> float:
    """A figure over all its labels."""
    return sum(value for (of, _), value in found.items() if of == name)


class Batches(threading.Thread):
    """Looks at the driver's page twice a second, until `stop`: how long each batch took, and how much waits.

    `taken` and `lag` hold (minute since the start of the watch, seconds or messages).
    """

    def __init__(self, driver: Served) -> None:
        super().__init__(name="batches", daemon=True)
        self._driver = driver
        self._ended = threading.Event()
        self._began = time.monotonic()
        self.taken: list[tuple[float, float]] = []
        self.lag: list[tuple[float, float]] = []

    def run(self) -> None:
        before = sample(self._driver)
        while not self._ended.wait(0.5):
            now = sample(self._driver)
            minute = (time.monotonic() - self._began) / 60
            count = total(now, "tillwatch_ingest_batch_seconds_count") - total(
                before, "tillwatch_ingest_batch_seconds_count"
            )
            if count > 0:
                name = "tillwatch_ingest_batch_seconds_sum"
                each = (total(now, name) - total(before, name)) / count
                self.taken += [(minute, each)] * int(count)
            if now:
                self.lag.append((minute, total(now, "tillwatch_ingest_lag")))
                before = now

    def between(self, start: float, end: float) -> list[float]:
        """Seconds of the batches that ended in these minutes."""
        return [seconds for minute, seconds in self.taken if start <= minute < end]

    def stop(self) -> None:
        self._ended.set()
        self.join()


def phases(before: Sample, after: Sample) -> dict[str, float]:
    """Mean seconds a batch of each phase, between two looks."""
    found = {}
    for (name, labels), value in after.items():
        if name == "tillwatch_ingest_phase_seconds_sum":
            count = ("tillwatch_ingest_phase_seconds_count", labels)
            number = after[count] - before.get(count, 0)
            if number:
                found[labels.partition('"')[2].rstrip('"')] = (value - before.get((name, labels), 0)) / number
    return found


def mean_batch(before: Sample, after: Sample) -> float:
    """Mean seconds of a whole batch, between two looks."""
    seconds, batches = (
        total(after, name) - total(before, name)
        for name in ("tillwatch_ingest_batch_seconds_sum", "tillwatch_ingest_batch_seconds_count")
    )
    return seconds / batches if batches else 0.0


def handled(before: Sample, after: Sample) -> float:
    """Messages that became rows or dead letters between two looks."""
    name = "tillwatch_ingest_events_total"
    counted = [key for key in after if key[0] == name and any(word in key[1] for word in ('"good"', '"bad"'))]
    return sum(after[key] - before.get(key, 0) for key in counted)


def write_lag(report: Report, lag: Sequence[tuple[float, float]], minutes: float, rate: float) -> None:
    """Rows on what waited in the first and in the last third of so many minutes: it may not have grown by a second."""
    early = statistics.median(waiting for minute, waiting in lag if minute < minutes / 3)
    late = statistics.median(waiting for minute, waiting in lag if minute >= minutes * 2 / 3)
    report.row("lag, median of the first third", early, "messages")
    report.row("lag, median of the last third", late, "messages")
    report.row("lag, late minus early", (late - early) / rate, "s of events", at_most=1.0)


def batch_rows(report: Report, taken: Sequence[float], of_phases: Mapping[str, float]) -> None:
    """Rows on the batches' times."""
    for per_cent in (50, 95):
        report.row(f"batch time, p{per_cent} of {len(taken)}", percentile(taken, per_cent), "s", beside=True)
    for phase, seconds in of_phases.items():
        report.row(f"phase {phase}, mean", seconds, "s", beside=True)
