"""How far a long piece of work is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from producers.pace import Clock

EVERY_S = 10.0
"""Without a terminal, a line each so many seconds; so nothing is said of what is done before."""


@contextmanager
def progress(work: str, total: int, clock: Clock, unit: str = "lines") -> Iterator[Callable[[int], None]]:
    """What takes how many more of `total` are done. `work` says of which file and what, like "orders.csv read"."""
    if not sys.stderr.isatty():
        yield _LastTold(work, total, clock, unit).advance
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(work, total=total)
        yield lambda count: bar.advance(task, count)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class _LastTold:
    def __init__(self, work: str, total: int, clock: Clock, unit: str) -> None:
        self._work = work
        self._unit = unit
        self._total = total
        self._clock = clock
        self._done = 0
        self._begun = self._said = clock.passed()

    def advance(self, count: int) -> None:
        self._done += count
        now = self._clock.passed()
        if now - self._said < EVERY_S:
            return
        self._said = now
        rate = self._done / (now - self._begun)
        left = max(0, self._total - self._done) / rate if rate else 0.0
        print(
            f"{self._work}: {self._done:,} of {self._total:,} {self._unit}, {rate:,.0f} a second, {_span(left)} left",
            file=sys.stderr,
            flush=True,
        )


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
