"""Live charts of boards: line, bars, stacked bars and a heatmap over the last sixty minutes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any, ClassVar

from bokeh.models import FixedTicker, Range1d
from cachetools import LRUCache, cached

from console.boards.answers import UnfitAnswer, moment_in, number_in, require, word_in
from console.boards.feed import BoardAnswer
from console.boards.spec import COLOURS, OTHERS, LiveSpec
from console.feed.minutes import Series, series_of, starts_of
from console.feed.questions import whole_minute
from console.live_chart import BAR_MS, THEN, LiveChart, axes, bars, empty_source, reach_down
from console.look import has_colour
from console.straight import Patch
from lakehouse.texts import label

_TAKEN = re.compile(r"^(minute|middle|closes|alpha|then|color|bottom|top|start|end|index|whole|words|left|right)$")
"""Columns of a chart's source that are no series, as static/twin.js knows them."""
NAME_LETTERS = 18


class BoardChart(LiveChart):
    """What the kinds share. Its values are sums of the rows of a minute; a minute without rows is zero from the first
    one on, or with `gaps` a gap, as it is for a line."""

    spec: ClassVar[LiveSpec]
    apart: ClassVar[bool] = False
    """Whether its columns are no parts of a whole: no sum of them is said, nor compared."""

    @classmethod
    def read(cls, told: BoardAnswer, then: BoardAnswer | None) -> Mapping[str, Series]:
        """Its columns, and THEN where it is compared. Raises UnfitAnswer for an answer that it cannot draw."""
        series = _series(cls, told)
        if then is None or cls.apart or len(cls.values) == 0:
            return series
        before = _series(cls, then).values()
        whole = zip(*before, strict=True)
        return {**series, THEN: tuple(None if None in row else sum(value or 0.0 for value in row) for row in whole)}

    @classmethod
    def colours(cls, look: Mapping[str, str]) -> list[str]:
        return [look[name] for name in colour_names(cls.spec.series, cls.spec.colours)]


class BoardLine(BoardChart):
    apart = True

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source(*self.values)
        self.root = axes(self.name, hour)
        for name, drawn in zip(self.values, self.colours(look), strict=True):
            self.root.line(x="middle", y=name, source=self.source, line_color=drawn, line_width=2)
            self.root.scatter(x="middle", y=name, source=self.source, size=4, fill_color=drawn, line_color=None)

    def update(self, starts: Sequence[datetime], series: Mapping[str, Series], patch: Patch | None = None) -> None:
        reach_down(self.root, [value for name in self.values for value in series[name]])
        super().update(starts, series, patch)


class BoardBars(BoardChart):
    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source(*self.values)
        self.root = axes(self.name, hour)
        bars(self.root, self.source, self.values, self.colours(look))

    def update(self, starts: Sequence[datetime], series: Mapping[str, Series], patch: Patch | None = None) -> None:
        reach_down(self.root, [value for name in (*self.values, THEN) for value in series.get(name, ())])
        super().update(starts, series, patch)


class BoardHeat(BoardChart):
    """A line of cells for each part, the more opaque the more there was."""

    apart = True

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source(*self.values, *(f"{name}_alpha" for name in self.values))
        self.root = axes(self.name, hour)
        places = dict(zip(reversed(self.values), range(len(self.values)), strict=True))
        for name, drawn in zip(self.values, self.colours(look), strict=True):
            self.root.vbar(
                x="middle", width=BAR_MS, bottom=places[name] + 0.06, top=places[name] + 0.94, source=self.source,
                fill_color=drawn, fill_alpha=f"{name}_alpha", line_color=None,
            )  # fmt: skip
        self.root.y_range = Range1d(start=0, end=len(self.values))
        self.root.yaxis.ticker = FixedTicker(ticks=[place + 0.5 for place in places.values()])
        self.root.yaxis.major_label_overrides = {
            place + 0.5: label(name, NAME_LETTERS) for name, place in places.items()
        }
        self.root.ygrid.grid_line_color = None

    @classmethod
    def colours(cls, look: Mapping[str, str]) -> list[str]:
        return [look[cls.spec.colours.get(name, "sky")] for name in cls.spec.series]

    @classmethod
    def rows(cls, starts: Sequence[datetime], series: Mapping[str, Series]) -> dict[str, list[Any]]:
        most = max((value for values in series.values() for value in values if value), default=1.0)
        alphas = {
            f"{name}_alpha": [0.15 + 0.85 * (value / most) ** 0.5 if value and value > 0 else 0.0 for value in values]
            for name, values in series.items()
        }
        return super().rows(starts, series) | alphas


_KINDS: Mapping[str, type[BoardChart]] = {
    "line": BoardLine,
    "bars": BoardBars,
    "stacked": BoardBars,
    "heatmap": BoardHeat,
}


def chart_class(name: str, spec: LiveSpec, currency: str) -> type[BoardChart]:
    """The chart of a panel, whose name is `name` on the page."""
    kind = _KINDS[spec.kind]
    fields = {
        "title": spec.title,
        "question": spec.question,
        "empty": spec.empty,
        "values": tuple(_source_name(one) for one in spec.series),
        "note": spec.note,
        "unit": spec.unit.replace("{currency}", currency),
        "digits": spec.digits,
        "columns": spec.width,
        "order": 0,
        "shows": tuple(spec.shows) or ("", ""),
        "spec": spec,
        "__doc__": spec.title,
    }
    made: type[BoardChart] = type(f"{kind.__name__}_{name}", (kind,), fields)
    made.name = name
    return made


def colour_names(parts: Sequence[str], chosen: Mapping[str, str]) -> list[str]:
    """The colour of each part, by its name in static/tokens.css: the chosen one, that of a status or severity, or the
    next."""
    free = iter([name for name in COLOURS if name not in chosen.values() and name not in ("vermilion", "past")] * 12)

    def of(part: str) -> str:
        if part in chosen:
            return chosen[part]
        if part == OTHERS:
            return "past"
        kind = next((kind for kind in ("status", "severity") if has_colour(kind, part)), None)
        return f"{kind}-{part.lower()}" if kind else next(free)

    return [of(part) for part in parts]


def _source_name(name: str) -> str:
    return f"{name} " if _TAKEN.match(name) or name.endswith(("_color", "_alpha")) else name


# Pages look at the same answer: the first one pays.
@cached(LRUCache(64), lock=Lock())
def _series(chart: type[BoardChart], told: BoardAnswer) -> Mapping[str, Series]:
    spec = chart.spec
    assert told.table is not None
    assert told.as_of is not None
    require(told.table, ("moment", *spec.columns))
    found: dict[str, dict[datetime, float | None]] = {name: {} for name in spec.series}
    for row in told.table.to_pylist():
        start = whole_minute(moment_in(row, "moment"))
        if spec.values:
            pairs = [(name, number_in(row, name)) for name in spec.values]
        else:
            assert spec.value is not None
            part = word_in(row, spec.by) if spec.by else spec.value
            pairs = [(part if part in found else OTHERS, number_in(row, spec.value))]
        for name, value in pairs:
            if value is not None and name in found:
                found[name][start] = (found[name].get(start) or 0.0) + value
    gaps = spec.gaps if spec.gaps is not None else spec.kind == "line"
    first = None if gaps else min((start for values in found.values() for start in values), default=None)
    starts = starts_of(told.as_of)
    return {_source_name(name): series_of(starts, values, first, told.as_of) for name, values in found.items()}


def hour_of(
    chart: type[BoardChart], told: BoardAnswer, then: BoardAnswer | None
) -> tuple[Mapping[str, Series] | None, str]:
    """What a chart draws of an answer; else why it cannot."""
    if told.table is None:
        return None, ""
    try:
        return _read_once(chart, told, then if then is not None and then.table is not None else None), ""
    except UnfitAnswer as error:
        return None, str(error)


@cached(LRUCache(64), lock=Lock())
def _read_once(chart: type[BoardChart], told: BoardAnswer, then: BoardAnswer | None) -> Mapping[str, Series]:
    return chart.read(told, then)
