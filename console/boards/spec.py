"""What a board's file says: tiles, live charts, charts and tables over a range, filters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from console.tab import TabFilter
from lakehouse.settings.durations import Duration
from lakehouse.texts import near

COLOURS = ("sky", "blue", "green", "purple", "orange", "vermilion", "past")
"""Names of colours, as in static/tokens.css, in the order in which parts take them."""
LIVE_KINDS = ("line", "bars", "stacked", "heatmap")
CHART_KINDS = ("bars", "ranking", "heatmap")
CELL_KINDS = ("text", "number", "time", "badge")
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=31)
OTHERS = "(other)"
"""The part of what belongs to none of those that are named."""

_Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]


def one_of(what: str, known: Sequence[str]) -> AfterValidator:
    """Refuses a value that is none of these, naming the nearest."""

    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"'{value}' is no {what}{near(value, known)}; there are {', '.join(known)}")
        return value

    return AfterValidator(check)


def _column(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w{0,100}", value):
        raise ValueError(f"'{value}' is no name of a column; name it in the question with AS, in letters and digits")
    return value


_Column = Annotated[str, AfterValidator(_column)]
_Colour = Annotated[str, one_of("colour", COLOURS)]


class Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TileLimit(Spec):
    """From where on a tile says `word`, in the colour of its state: the first that holds."""

    above: float | None = None
    below: float | None = None
    word: _Words
    state: Annotated[str, one_of("state", ("watch", "bad", "ok"))] = "bad"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("a limit has one of the keys above and below")
        return self

    def holds(self, value: float) -> bool:
        return value > self.above if self.above is not None else self.below is not None and value < self.below


class Spark(Spec):
    """A line of sixty minutes on a tile: a question with `moment`, and the column of its values."""

    question: str
    column: _Column


class BoardTile(Spec):
    """One figure: a column of the first row of a question, asked of the last `span`; compared with as long before."""

    title: _Words
    question: str
    column: _Column
    span: Annotated[Duration, Field(ge=SHORTEST, le=LONGEST)] = timedelta(minutes=5)
    unit: Annotated[str, Field(max_length=12)] = ""
    digits: Annotated[int, Field(ge=0, le=6)] = 0
    good: Annotated[str, one_of("direction", ("up", "down", "neither"))] = "neither"
    compare: bool = True
    limits: tuple[TileLimit, ...] = ()
    spark: Spark | None = None
    leads: str = ""


class _Chart(Spec):
    title: _Words
    question: str
    note: str = ""
    unit: Annotated[str, Field(max_length=12)] = ""
    empty: str = "Nothing of this lies in the range."
    width: Annotated[int, Field(ge=3, le=12)] = 6
    colours: dict[str, _Colour] = {}


class LiveSpec(_Chart):
    """A chart of the last sixty minutes: rows have `moment`, and either a column for each of `values`, or `value`, and
    in `by` the part that it is of."""

    kind: Annotated[str, one_of("kind of live chart", LIVE_KINDS)]
    values: Annotated[tuple[_Column, ...], Field(max_length=12)] = ()
    value: _Column | None = None
    by: _Column | None = None
    parts: Annotated[tuple[_Words, ...], Field(max_length=12)] = ()
    digits: Annotated[int, Field(ge=0, le=6)] = 0
    gaps: bool | None = None
    shows: Annotated[tuple[str, ...], Field(max_length=2)] = ()

    @model_validator(mode="after")
    def _form(self) -> Self:
        if self.values and (self.value or self.by or self.parts):
            raise ValueError("a live chart has either values, or value, by and parts")
        if not self.values and not self.value:
            raise ValueError("a live chart has a key values (columns), or value with by and parts")
        if bool(self.by) != bool(self.parts):
            raise ValueError("by, the column of the parts, and parts, which they are, stand together")
        if len(self.shows) == 1:
            raise ValueError("shows names a KPI table and its column, as [payments_per_minute, payments_count]")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the answer, beside `moment`."""
        return self.values or tuple(filter(None, (self.value, self.by)))

    @property
    def series(self) -> tuple[str, ...]:
        """Names of what is drawn, in their order."""
        if self.values or not self.by:
            return self.values or (str(self.value),)
        # A heatmap shows what is named; a sum is whole.
        return self.parts if self.kind == "heatmap" else (*self.parts, OTHERS)


class RangeSpec(_Chart):
    """A chart over the chosen range. Over time rows have `moment`, `value` and, in `by`, the part; a ranking has the
    names in `by`. A click on a name chooses it in `filter`."""

    kind: Annotated[str, one_of("kind of chart", CHART_KINDS)]
    value: _Column
    by: _Column | None = None
    parts: Annotated[tuple[_Words, ...], Field(max_length=40)] = ()
    filter: str = ""
    top: Annotated[int, Field(ge=1, le=40)] = 12

    @model_validator(mode="after")
    def _form(self) -> Self:
        if self.kind != "bars" and not self.by:
            raise ValueError(f"a {self.kind} needs the key by, the column of its names")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        over_time = () if self.kind == "ranking" else ("moment",)
        return (*over_time, self.value, *filter(None, (self.by,)))


class CellSpec(Spec):
    """A column of a table."""

    column: _Column
    head: str = ""
    kind: Annotated[str, one_of("kind of column", CELL_KINDS)] | None = None
    unit: Annotated[str, Field(max_length=12)] = ""
    digits: Annotated[int, Field(ge=0, le=6)] | None = None
    css: Annotated[str, one_of("way to show a column", ("", "wide", "spare"))] = ""


class TableSpec(Spec):
    """Rows over the chosen range; without `columns` all that the question declares, but event_key. `key` is a column,
    or some, that tell one row from all others."""

    title: _Words
    question: str
    columns: tuple[CellSpec, ...] = ()
    key: tuple[_Column, ...] = ()
    note: str = ""
    empty: str = "No row matches. Widen the range, or take a filter away."
    width: Annotated[int, Field(ge=3, le=12)] = 12


class FilterSpec(Spec):
    """A choice of values of a column: `:NAME` in the questions becomes the condition."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
    column: _Column | None = None
    choices: Annotated[tuple[str, ...], Field(max_length=40)] = ()

    @property
    def of(self) -> str:
        return self.column or self.name

    @property
    def tab_filter(self) -> TabFilter:
        return TabFilter(self.name, self.choices)


class BoardSpec(Spec):
    """A whole file. `find` are the columns that a typed text is looked for in: `:find`."""

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40)]
    order: int = 100
    url: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")] | None = None
    filters: tuple[FilterSpec, ...] = ()
    find: tuple[_Column, ...] = ()
    tiles: Annotated[tuple[BoardTile, ...], Field(max_length=24)] = ()
    live: Annotated[tuple[LiveSpec, ...], Field(max_length=12)] = ()
    charts: Annotated[tuple[RangeSpec, ...], Field(max_length=12)] = ()
    tables: Annotated[tuple[TableSpec, ...], Field(max_length=6)] = ()

    @property
    def ranged(self) -> bool:
        return bool(self.charts or self.tables)

    def asking(self) -> Iterator[tuple[tuple[str | int, ...], str, tuple[str, ...], frozenset[str]]]:
        """Where a question is named, which, the columns that it must have, and the values that are given to it."""
        live, ranged = frozenset(LIVE_BINDS), frozenset((*RANGE_BINDS, *(one.name for one in self.filters)))
        if self.find:
            ranged |= {"find"}
        for number, tile in enumerate(self.tiles):
            yield ("tiles", number, "question"), tile.question, (tile.column,), live
            if tile.spark:
                spark = ("moment", tile.spark.column)
                yield ("tiles", number, "spark", "question"), tile.spark.question, spark, live
        for number, chart in enumerate(self.live):
            yield ("live", number, "question"), chart.question, ("moment", *chart.columns), live
        for number, ranging in enumerate(self.charts):
            yield ("charts", number, "question"), ranging.question, ranging.columns, ranged
        for number, table in enumerate(self.tables):
            columns = (*(cell.column for cell in table.columns), *table.key)
            yield ("tables", number, "question"), table.question, columns, ranged | {"sorted", "skip"}


LIVE_BINDS = ("since", "until", "as_of")
RANGE_BINDS = ("since", "until", "as_of", "step", "most")

OF_LIST: dict[str, type[BaseModel]] = {
    "tiles": BoardTile,
    "live": LiveSpec,
    "charts": RangeSpec,
    "tables": TableSpec,
    "filters": FilterSpec,
    "limits": TileLimit,
    "columns": CellSpec,
    "spark": Spark,
}
"""Whose keys stand in an entry of each list."""
