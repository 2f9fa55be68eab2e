"""How a figure of an incident goes, and what was to be expected: asked by questions/usual.sql, computed here. Pure.

asked = UsualQuestion.of(rule.about, "payments", starts_at=…, ended_at=None, now=…)
compared = asked.answer(dremio.ask("usual", commit=…, **asked.binds))
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from math import isfinite
from statistics import fmean
from typing import Any, Self

import pyarrow as pa

from lakehouse.dremio.times import in_ms
from lakehouse.rules.closing import CLOSING_DELAY
from lakehouse.rules.figure import AlertFigure
from lakehouse.rules.minute import MINUTE, ceil_minute, floor_minute, joined

BARS = 30
"""Minutes that a line of blocks shows."""
LONGEST = 6 * 60
"""Of an incident that lasts for longer, the last so many minutes are compared."""
BEFORE, DAYS, AROUND = 60, 7, 10
"""What is usual: so many minutes before, the same minutes of so many past days, and so many more on either side."""
PAUSE = 30
"""So many minutes in a row without any row of the table are no history: nothing ran."""
FEWEST = 10
"""Fewer minutes of history say nothing."""
_DAY = 24 * 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Comparison:
    """A figure since an incident began, beside what is usual, over closed minutes. None is what nobody knows.

    values: of each minute from `first` up to `until`: the hour before as well, and BARS minutes at least. value: of the
    newest minute since it began. usual: of a minute, None without a history. off: in all minutes since `since`, what
    there was more than usual (below zero: fewer); None too where minutes do not add up. whole: `since` is the
    incident's beginning; else it lasts for longer than LONGEST.
    """

    first: datetime
    since: datetime
    until: datetime
    whole: bool
    values: tuple[float | None, ...]
    value: float | None
    usual: float | None
    off: float | None

    @property
    def bars(self) -> tuple[float | None, ...]:
        """The last BARS minutes."""
        return self.values[-BARS:]


@dataclass(frozen=True)
class UsualQuestion:
    """What to ask of an alert's figure. Minutes are numbers since the epoch.

    began: the incident's first minute. to: the end of its last minute, or of the last that can be closed by now.
    """

    figure: AlertFigure
    where: Mapping[str, Sequence[str]]
    began: int
    to: int

    @classmethod
    def of(
        cls,
        figure: AlertFigure,
        service_name: str | None,
        *,
        starts_at: datetime,
        ended_at: datetime | None,
        now: datetime,
    ) -> Self | None:
        """Of an incident, by what its alert rows say; None where they do not tell whose figure it is.

        ended_at: of its RESOLVED row, None while it is open. now: the reader's clock, or the moment of the past that is
        looked at.
        """
        where = figure.where_of(service_name)
        if where is None:
            return None
        began = _number(floor_minute(starts_at - figure.lead))
        if ended_at is None:
            return cls(figure, where, began, max(began, _number(floor_minute(now))))
        return cls(figure, where, began, max(began + 1, _number(ceil_minute(ended_at - figure.lag))))

    @property
    def binds(self) -> dict[str, Any]:
        """For `ask("usual", …)`."""
        asked = [(self.began - BEFORE, self.began), (self._first, self.to), *self._days]
        spans = joined([(_time(start), _time(end)) for start, end in asked if start < end])
        return {"rows": self.figure.rows(self.where, spans), "topic": self.figure.topic}

    @property
    def _since(self) -> int:
        """The first minute that is compared."""
        return max(self.began, self.to - LONGEST)

    @property
    def _first(self) -> int:
        """The first minute that is shown."""
        since = self._since
        return min(since - BEFORE if since == self.began else since, self.to - BARS)

    @property
    def _days(self) -> list[tuple[int, int]]:
        start, end = self._since - AROUND, max(self.to, self._since + 1) + AROUND
        return [(start - day * _DAY, end - day * _DAY) for day in range(1, DAYS + 1)]

    def answer(self, rows: pa.Table) -> Comparison:
        """What the question's answer says."""
        told = _MinuteRows(self.figure, bool(self.where) and not self.figure.by, rows)
        since, first = self._since, self._first
        # Not before what was asked for, where nothing is known to be closed.
        until = max(min(self.to, told.closed_to), first + BARS)
        compared = [value for value in map(told.value, range(since, until)) if value is not None]
        usual = self._usual(told)
        off = None
        if compared and usual is not None and self.figure.adds_up:
            off = sum(compared) - usual * len(compared)
        return Comparison(
            first=_time(first),
            since=_time(since),
            until=_time(until),
            whole=since == self.began,
            values=tuple(map(told.value, range(first, until))),
            value=told.value(until - 1) if until > since else None,
            usual=usual,
            off=off,
        )

    def _usual(self, told: _MinuteRows) -> float | None:
        """The mean of the hour before, or of the same minutes of past days: the one that leaves less to tell of."""
        hour = told.history(range(self.began - BEFORE, self.began))
        days = [value for start, end in self._days for value in told.history(range(start, min(end, self.began)))]
        means = [fmean(values) for values in (hour, days) if len(values) >= FEWEST]
        if not means:
            return None
        return min(means) if self.figure.fewer else max(means)


class _MinuteRows:
    """The rows of an answer, by minute."""

    def __init__(self, figure: AlertFigure, is_part: bool, rows: pa.Table) -> None:
        """is_part: of all rows some, of which a row that stands for others may hold any."""
        self._is_part = is_part
        self._number = {"sum": "total", "max": "highest", "min": "lowest"}[figure.aggregate]
        found = rows.select([self._number, "hidden"]).to_pylist()
        moments, read_to, first = (in_ms(rows[name]).to_pylist() for name in ("moment", "read_to", "first_event_at"))
        late = 1 if figure.looks_back else 0
        self._rows = {ms // 60_000 - late: row for ms, row in zip(moments, found, strict=True) if ms is not None}
        read = max((ms for ms in read_to if ms is not None), default=0)
        begun = max((ms for ms in first if ms is not None), default=None)
        # Past, not at: hence the millisecond.
        self.closed_to = max(0, read - CLOSING_DELAY // timedelta(milliseconds=1) - 1) // 60_000
        self._begun = self.closed_to if begun is None else begun // 60_000

    def value(self, minute: int) -> float | None:
        """The figure of a minute; one without rows is zero once the topic has begun, up to where it was read."""
        if not self._begun <= minute < self.closed_to:
            return None
        row = self._rows.get(minute)
        if row is None:
            return 0.0
        value: float = row[self._number] or 0.0
        if row["hidden"] and (self._is_part or not value):
            return None
        return value if isfinite(value) else None

    def history(self, span: range) -> list[float]:
        """The values of minutes that say what is usual."""
        if not any(minute in self._rows for minute in span):
            return []
        return [value for minute in _without_pauses(span, self._rows) if (value := self.value(minute)) is not None]


def _without_pauses(span: Iterable[int], occurs: Collection[int]) -> Iterable[int]:
    for has_rows, run in groupby(span, occurs.__contains__):
        minutes = list(run)
        if has_rows or len(minutes) < PAUSE:
            yield from minutes


def _number(time: datetime) -> int:
    return (time - _EPOCH) // MINUTE


def _time(number: int) -> datetime:
    return _EPOCH + number * MINUTE
