"""Lists of the small page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from html import escape
from typing import Any

from console.choices import WORST
from console.look import colour, tokens
from console.parts import Part
from console.small.times import when
from console.tab import ListColumn, RowList

SOON = "when"


def table(of: RowList, part: Part | None, late: bool, zone: tzinfo) -> str:
    """A list as a table, in HTML. Text from outside is escaped."""
    if part is None:
        return '<p class="tw">Not answered yet.</p>'
    if not part["rows"]:
        return f'<p class="tw" data-list="{of.name}">{escape(of.empty.format(soon=SOON))}</p>'
    head = "".join(f"<th{_css(column)}>{escape(column.head)}</th>" for column in of.columns)
    body = "".join(
        f'<tr data-key="{escape(row["key"])}">'
        + "".join(f"<td{_css(column)}>{_cell(column, row, zone)}</td>" for column in of.columns)
        + "</tr>"
        for row in part["rows"]
    )
    more = f"<p>{part['more']} more in the console.</p>" if part.get("more") else ""
    kind = "tw late" if late or part["stale"] else "tw"
    drawn = f'<table data-list="{of.name}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="{kind}"><div class="scroll">{drawn}</div>{more}</div>'


def _css(column: ListColumn) -> str:
    words = [*(["num"] if column.kind == "number" else []), *([column.css] if column.css else [])]
    return f' class="{" ".join(words)}"' if words else ""


def _cell(column: ListColumn, row: Mapping[str, Any], zone: tzinfo) -> str:
    value = row[column.field]
    if column.kind == "time":
        return _time(value, zone) if value else ""
    if column.kind == "badge":
        return _dot(column.of, value)
    return "" if value is None else escape(str(value))


def _dot(kind: str, word: str) -> str:
    fatal = " fatal" if word == WORST else ""
    shown = colour(tokens("dark"), kind, word)
    return f'<span class="dot{fatal}" style="--dot: {shown}">{escape(word)}</span>'


def _time(iso: str, zone: tzinfo) -> str:
    moment = datetime.fromisoformat(iso)
    return f'<time datetime="{iso}" title="{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}">{when(moment, zone)}</time>'
