"""The lists of the tab Alerts, whose rows are all at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from console.drill.at_hand import Row, ordered
from console.drill.ordering import order_part
from console.feed.numbers import exactly
from console.parts import ERROR_ROW_COLUMNS, INCIDENT_COLUMNS, Part
from console.tab import ListColumn, RowList
from console.view import View


def sorted_by_itself(columns: Sequence[ListColumn]) -> tuple[ListColumn, ...]:
    """Columns by whose fields the rows are ordered that a list has at hand."""
    return tuple(replace(column, sort=column.field) for column in columns)


INCIDENTS = RowList(
    "incident_rows",
    "Incidents",
    sorted_by_itself((*INCIDENT_COLUMNS, ListColumn("Resolved", "resolved_at", "time"))),
    "Nothing fired in this range. An incident opens when a service reports a FATAL error or a rule fires.",
    choose="incident",
    long=True,
    exports="incidents",
)
ALERTS_BEHIND = RowList(
    "behind_alerts",
    "Alert rows",
    sorted_by_itself(
        (
            ListColumn("Time", "at", "time"),
            ListColumn("Status", "status"),
            ListColumn("Severity", "severity", "badge", of="severity"),
            ListColumn("Value", "value", "number"),
            ListColumn("Description", "description", hover="{description}", css="wide"),
        )
    ),
    "No alert row of this incident lies in the kept data.",
    long=True,
    exports="alerts",
)
BESIDE = RowList(
    "beside",
    "Also open for this service",
    INCIDENT_COLUMNS,
    "Nothing else is open for this service.",
    choose="incident",
    also=("incidents",),
)
SAID = RowList(
    "behind_kinds",
    "What it says",
    (
        ListColumn("Messages that are alike", "words", "link", hover="one of them: {example}", css="wide"),
        ListColumn("Count", "count", "number"),
        ListColumn("First", "first_at", "time"),
        ListColumn("Newest", "newest_at", "time"),
    ),
    "No message of this service and severity lies in its time.",
    note="a click shows them in Errors",
    exports="kinds",
)
ERRORS_BEHIND = RowList(
    "behind_errors",
    "Error rows behind it",
    sorted_by_itself(ERROR_ROW_COLUMNS),
    "No error row of this service and severity lies in its time.",
    long=True,
    exports="errors",
)
KEYS = {INCIDENTS.name: "incident_id", ALERTS_BEHIND.name: "alert_id", ERRORS_BEHIND.name: "event_key"}
"""The column of each list's answer that is the key of its rows."""


def behind_part(rows: Sequence[Row], view: View, of: RowList, most: int, noun: str) -> Part:
    """Rows behind an incident in the order that is chosen: all that there are, or the newest `most`. They have one
    page, whichever of the incidents' is shown."""
    count = exactly(len(rows))
    return {
        "rows": ordered(rows, view, of),
        "words": f"the newest {count}" if len(rows) >= most else f"{count} {noun}{'s' * (len(rows) != 1)}",
        **order_part(replace(view, page=1), of, most, len(rows)),
    }


def count_words(listed: Sequence[Row], known: int, open_count: int, text: str, *, cut: bool) -> str:
    """How many there are, or hold the text; `cut`: only the last of the range were read."""
    if text:
        open_count = sum(row["state"] not in ("resolved", "old") for row in listed)
    count = len(listed)
    said = f"{exactly(count)} {'incident' if count == 1 else 'incidents'}, {exactly(open_count)} open"
    if cut:
        said = f"{said}, of the last {exactly(known)}" if text else f"the last {said}"
    return said
