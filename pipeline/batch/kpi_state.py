"""What of the KPI tables is not what their queries give, as the table kpi_state keeps it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlglot
from sqlglot.errors import SqlglotError

from lakehouse.kpis import KPIS, Counting, Kpi
from lakehouse.rules.minute import Span
from pipeline.batch.times import MINUTE_US, micros, moment
from pipeline.storage.files import HOUR_US

NOT_FILLED = "not filled in yet"
UNDECLARED = ""
"""The definition of a KPI table that no file declares: what it misses meanwhile is filled in once one does again."""


@dataclass(frozen=True)
class KpiStanding:
    """One KPI table: what its rows were computed by, and which are not.

    `definition` names the query. Rows before the minute `filled_to` (since the epoch) are of no or another one, until
    they are filled in from there backwards; None: all are. `left_out`: hours since the epoch whose rows are missing or
    old, with why.
    """

    definition: str
    filled_to: int | None = None
    left_out: Mapping[int, str] = field(default_factory=dict)


type KpiState = Mapping[str, KpiStanding]
"""By KPI table."""


def definition(kpi: Kpi, counting: Counting) -> str:
    """A name of what the query gives: the same whatever its comments and blanks."""
    query = kpi.sql(counting)
    with suppress(SqlglotError):  # then comments and blanks count too
        query = sqlglot.transpile(query, read="duckdb", write="duckdb", comments=False)[0]
    columns = [f"{column.name} {column.type}" for column in kpi.table.columns]
    return hashlib.sha256("\n".join([query, str(kpi.window), *columns]).encode()).hexdigest()[:16]


def stand(
    rows: Iterable[Mapping[str, Any]], counting: Counting, newest: Mapping[str, int | None], has: set[str]
) -> KpiState:
    """Where each KPI stands at a start, after `rows` of kpi_state.

    `newest`: of each KPI, the minute after the newest that a row may be of; None where there are no raw rows. `has`:
    KPI tables with rows: without a word of them, they are from before there was the table kpi_state.
    """
    held = kpi_state_from_rows(rows)
    found = {name: KpiStanding(UNDECLARED) for name in held if name not in KPIS}
    for name, kpi in KPIS.items():
        now, before = definition(kpi, counting), held.get(name)
        if before is not None and before.definition == now:
            found[name] = before
        elif newest[name] is None or (before is None and name in has):
            found[name] = KpiStanding(now)
        else:
            found[name] = KpiStanding(now, newest[name])
    return found


def left_out(standing: KpiStanding, minutes: Iterable[int], why: str) -> KpiStanding:
    """The same, where the rows of these minutes could not be computed."""
    return replace(standing, left_out={**standing.left_out, **dict.fromkeys((m // 60 for m in minutes), why)})


def unknown(state: KpiState) -> dict[str, list[Span]]:
    """Spans of time, a topic, in which a KPI lacks rows: what a rule would take for zero."""
    spans: dict[str, list[Span]] = {}
    for name, standing in state.items():
        for hour in standing.left_out:  # none of a table that no file declares
            span = moment(hour * HOUR_US), moment((hour + 1) * HOUR_US)
            spans.setdefault(KPIS[name].topic, []).append(span)
    return spans


def kpi_state_rows(state: KpiState, updated_at: datetime) -> list[dict[str, Any]]:
    """All rows of kpi_state."""
    rows: list[dict[str, Any]] = []
    for name, standing in state.items():
        row = {"kpi": name, "definition": standing.definition, "hour_start": None, "filled_to": None, "reason": None}
        filled_to = standing.filled_to
        if filled_to is None:
            rows.append(row)
        else:
            rows.append(row | {"filled_to": moment(filled_to * MINUTE_US), "reason": NOT_FILLED})
        for hour, why in sorted(standing.left_out.items()):
            rows.append(row | {"hour_start": moment(hour * HOUR_US), "reason": why})
    return [row | {"updated_at": updated_at} for row in rows]


def kpi_state_from_rows(rows: Iterable[Mapping[str, Any]]) -> KpiState:
    """The state that rows of kpi_state hold."""
    found: dict[str, KpiStanding] = {}
    for row in rows:
        standing = found.get(row["kpi"], KpiStanding(row["definition"]))
        if row["hour_start"] is not None:
            hours = {**standing.left_out, micros(row["hour_start"]) // HOUR_US: row["reason"]}
            found[row["kpi"]] = replace(standing, left_out=hours)
        else:
            filled_to = None if row["filled_to"] is None else micros(row["filled_to"]) // MINUTE_US
            found[row["kpi"]] = replace(standing, filled_to=filled_to)
    return found
