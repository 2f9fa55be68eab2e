"""Charts and tables of boards over the chosen range: what is asked, and what is drawn of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from console import look
from console.boards.answers import UnfitAnswer, moment_in, number_in, require, word_in
from console.boards.feed import LIVE_ROWS, AsksSql, answer_of
from console.boards.live import colour_names
from console.boards.question import Question
from console.boards.spec import OTHERS, BoardSpec, CellSpec, FilterSpec, RangeSpec, TableSpec
from console.drill.charts import (
    EPOCH,
    Ranking,
    RankingChart,
    TimeBars,
    TimeChart,
    bar_start,
    step_of,
)
from console.drill.finding import LONGEST
from console.drill.heat import HeatCells, HeatChart
from console.drill.ordering import ordering
from console.feed.asker import Want, want
from console.feed.numbers import THIN, exactly, with_currency
from console.feed.pins import Pin
from console.feed.snapshot import now_utc
from console.parts import Part, iso_ms
from console.tab import ChartPlace, ListColumn, RowList
from console.view import Span, View
from lakehouse.dremio.statement import Fragment
from lakehouse.texts import visible

MOST_PARTS = 6
"""Parts of a chart that names none: the largest, and the rest together."""
HEAT_LINES = 16
READ_AT = b"read_at"
_KINDS = {"timestamp": "time", "date": "time", "int": "number", "decimal": "number", "double": "number"}


class AsksQuestions:
    """What the asker of boards asks: the questions that Wants name by their keys."""

    def __init__(self, dremio: AsksSql) -> None:
        self._dremio = dremio
        self._known: dict[str, Question] = {}

    def learn(self, question: Question) -> None:
        self._known[question.key] = question

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table:
        table = answer_of(self._dremio, self._known[question], commit, binds, binds["most"])
        return table.replace_schema_metadata({READ_AT: str(iso_ms(now_utc())).encode()})


@dataclass(frozen=True)
class Panel:
    """A chart or a table of a board, with the name of its place on the page."""

    name: str
    key: tuple[str, int]
    spec: RangeSpec | TableSpec
    question: Question
    place: ChartPlace | RowList

    @property
    def whole_range(self) -> bool:
        """Whether it shows the range, not only what is brushed of it."""
        return isinstance(self.spec, RangeSpec) and self.spec.kind != "ranking"


def panels_of(board: str, spec: BoardSpec, questions: Mapping[str, Question]) -> tuple[Panel, ...]:
    charts = [
        Panel(
            f"{board}.charts{number}", ("charts", number), chart, questions[chart.question],
            ChartPlace(f"{board}.charts{number}", chart.title, chart.note, empty=chart.empty, chooses=chart.filter),
        )
        for number, chart in enumerate(spec.charts)
    ]  # fmt: skip
    tables = [
        Panel(
            f"{board}.tables{number}", ("tables", number), table, questions[table.question],
            _list_of(f"{board}.tables{number}", table, questions[table.question]),
        )
        for number, table in enumerate(spec.tables)
    ]  # fmt: skip
    return (*charts, *tables)


def cells_of(table: TableSpec, question: Question) -> tuple[CellSpec, ...]:
    """Its columns with their kinds; what the file does not say follows from what the question declares."""
    declared = dict(question.columns.kinds) if question.columns else {}
    cells = table.columns or tuple(CellSpec(column=name) for name in declared if name != "event_key")
    return tuple(
        cell.model_copy(
            update={
                "head": cell.head or cell.column.replace("_", " ").capitalize(),
                "kind": cell.kind or _KINDS.get(declared.get(cell.column, ""), "text"),
            }
        )
        for cell in cells
    )


def _list_of(name: str, table: TableSpec, question: Question) -> RowList:
    sortable = "sorted" in question.binds
    columns = tuple(
        ListColumn(
            cell.head,
            cell.column,
            cell.kind or "text",  # type: ignore[arg-type]  # one of CELL_KINDS
            of=_badge_of(cell),
            hover=f"{{{cell.column}}}" if cell.kind == "text" else "",
            css=cell.css,
            sort=f'"{cell.column}"' if sortable else "",
        )
        for cell in cells_of(table, question)
    )
    whole = table.key == ("event_key",)
    return RowList(name, table.title, columns, table.empty, note=table.note, long=True, exports=name, whole=whole)


def _badge_of(cell: CellSpec) -> str:
    """Among which words a badge has its colour."""
    return ("severity" if "severity" in cell.column else "status") if cell.kind == "badge" else ""


def wanted(panel: Panel, spec: BoardSpec, view: View, pin: Pin, spans: tuple[Span, Span], shown: int) -> Want:
    """What a panel asks of the range and the brushed part of it."""
    span, inner = spans
    question = panel.question
    since, until = span if panel.whole_range else inner
    most = LIVE_ROWS if isinstance(panel.spec, RangeSpec) else shown
    binds: dict[str, Any] = {"since": since, "until": until, "as_of": pin.as_of, "step": step_of(span)[0]}
    binds |= {one.name: condition(one, view) for one in spec.filters}
    binds["find"] = finding(spec.find, view)
    if isinstance(panel.place, RowList):
        binds |= _ordered(panel.place, view, panel.spec, shown, "sorted" in question.binds)
    # One more than is shown tells whether there are more.
    used = {name: value for name, value in binds.items() if name in question.binds} | {"most": most + 1}
    return want(question.key, pin.commit, **used)


def _ordered(rows: RowList, view: View, spec: RangeSpec | TableSpec, shown: int, sortable: bool) -> dict[str, Any]:
    assert isinstance(spec, TableSpec)
    if not sortable:
        return {"skip": (view.page - 1) * shown}
    return ordering(view, rows, shown, ", ".join(f'"{one}"' for one in spec.key) or "1")


def condition(one: FilterSpec, view: View) -> Fragment:
    """Rows whose column has one of the chosen values; all while none is chosen."""
    return among(one.of, view.chosen(one.name))


def among(column: str, chosen: Sequence[str]) -> Fragment:
    return Fragment(f'"{column}" IN (:values)', {"values": tuple(chosen)}) if chosen else Fragment("(1 = 1)", {})


def finding(columns: Sequence[str], view: View) -> Fragment:
    """Rows in which one of the columns holds the text that is looked for, in small or capital letters."""
    return containing(columns, next(iter(view.chosen("find")), "")[:LONGEST].lower())


def containing(columns: Sequence[str], text: str) -> Fragment:
    if not text or not columns:
        return Fragment("(1 = 1)", {})
    anywhere = " OR ".join(f'POSITION(:find IN LOWER("{column}")) > 0' for column in columns)
    return Fragment(f"({anywhere})", {"find": text})


def outside_pin(question: Question, now: datetime) -> Pin:
    """When a table without a commit of ours is asked: for all who look alike, and anew after `every`."""
    every = question.every or timedelta(minutes=1)
    at = EPOCH + (now - EPOCH) // every * every
    return Pin(f"outside {at.timestamp():.0f}", at)


# ---- what is drawn


@dataclass(frozen=True)
class Drawn:
    """A chart's kind and data, and its legend: words to colours."""

    kind: Any
    data: Any
    legend: Mapping[str, str]


def drawn(spec: RangeSpec, table: pa.Table, view: View, span: Span, currency: str) -> Drawn:
    """What a chart draws. Raises UnfitAnswer."""
    require(table, spec.columns)
    colours = look.tokens(view.theme)
    unit = spec.unit.replace("{currency}", currency)
    rows = table.slice(0, LIVE_ROWS).to_pylist()
    if spec.kind == "ranking":
        return _ranking(spec, rows, view, colours, unit)
    _, width = step_of(span)
    counts: dict[tuple[datetime, str], float] = {}
    sums: dict[str, float] = {}
    for row in rows:
        part = word_in(row, spec.by) if spec.by else spec.title
        value = number_in(row, spec.value) or 0.0
        key = (bar_start(moment_in(row, "moment"), width), part)
        counts[key] = counts.get(key, 0.0) + value
        sums[part] = sums.get(part, 0.0) + value
    largest = sorted(sums, key=lambda part: (-sums[part], part))
    if spec.kind == "heatmap":
        names = [visible(name) for name in spec.parts or sorted(largest[:HEAT_LINES])]
        named = {(start, visible(part)): value for (start, part), value in counts.items()}
        color = colours[next(iter(spec.colours.values()), "sky")]
        return Drawn(HeatChart, HeatCells(named, names, width, span, unit, color), {})
    parts = list(spec.parts or largest[:MOST_PARTS])
    if set(sums) - set(parts):
        parts.append(OTHERS)
    merged: dict[tuple[datetime, str], float] = {}
    for (start, part), value in counts.items():
        key = (start, part if part in parts else OTHERS)
        merged[key] = merged.get(key, 0.0) + value
    legend = dict(zip(parts, colour_names(parts, spec.colours), strict=True))
    bars = TimeBars(
        merged, {part: colours[name] for part, name in legend.items()}, width, span, view.brush, unit, "0,0.[00]"
    )
    return Drawn(TimeChart, bars, legend if spec.by else {})


def _ranking(spec: RangeSpec, rows: list[dict[str, Any]], view: View, colours: Mapping[str, str], unit: str) -> Drawn:
    assert spec.by is not None
    sums: dict[str, float] = {}
    for row in rows:
        name = word_in(row, spec.by)
        sums[name] = sums.get(name, 0.0) + (number_in(row, spec.value) or 0.0)
    names = sorted(sums, key=lambda name: (-sums[name], name))[: spec.top]
    chosen = view.chosen(spec.filter)
    named = colour_names(names, spec.colours) if spec.colours else ["blue"] * len(names)
    ranked = [(name, sums[name], colours[color], name in chosen) for name, color in zip(names, named, strict=True)]
    return Drawn(RankingChart, Ranking(ranked, unit), {})


def listed(panel: Panel, table: pa.Table, view: View, shown: int, currency: str) -> Part:
    """What fills a table. Raises UnfitAnswer."""
    spec = panel.spec
    assert isinstance(spec, TableSpec)
    cells = cells_of(spec, panel.question)
    require(table, [*(cell.column for cell in cells), *spec.key])
    found = table.slice(0, shown).to_pylist()
    rows: list[Part] = []
    seen: set[str] = set()
    for number, row in enumerate(found):
        key = "|".join(str(row[name]) for name in spec.key) if spec.key else str(number)
        if key in seen:
            raise UnfitAnswer(
                f"two rows have the key '{visible(key, 60)}'; name columns in `key:` that tell them apart"
            )
        seen.add(key)
        rows.append({"key": key} | {cell.column: _cell(cell, row[cell.column], currency) for cell in cells})
    return {"rows": rows, "produced_at": None}


def _cell(cell: CellSpec, value: Any, currency: str) -> Any:
    if value is None:
        return None
    if cell.kind == "time":
        return iso_ms(moment_in({cell.column: value}, cell.column))
    if cell.kind == "number":
        if not isinstance(value, int | float | Decimal):
            raise UnfitAnswer(f"'{cell.column}' is no number: it holds '{visible(str(value), 40)}'")
        text = (
            exactly(value) if cell.digits is None else exactly(Decimal(value).quantize(Decimal(1).scaleb(-cell.digits)))
        )
        if cell.unit == "{currency}":
            return with_currency(currency, text)
        return f"{text}{THIN}{cell.unit}" if cell.unit else text
    return visible(str(value))


def read_at(table: pa.Table) -> str | None:
    """When an answer was read, ISO 8601."""
    found = (table.schema.metadata or {}).get(READ_AT)
    return found.decode() if found else None
