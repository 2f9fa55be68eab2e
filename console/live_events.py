"""What happened in the hour that the live charts show: incidents, and what people marked. Shared by all pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from console import look
from console.choices import UNSAID
from console.feed.incidents import ListedIncident
from console.live_chart import EventRows, ms_of
from console.on_call.watch import Duty
from lakehouse.rules.figure import AlertFigure
from lakehouse.texts import label, visible

MOST = 20
WORDS_LETTERS = 80


# Pages look at the same snapshot: the first one pays.
@lru_cache(maxsize=8)
def incident_rows(incidents: tuple[ListedIncident, ...], since: datetime, until: datetime) -> EventRows:
    """The first of the incidents that were there in [since, until): start, end (ms since the epoch), color, words,
    incident (its id). One that is open ends with the hour."""
    colours = look.tokens("dark")
    rows = [
        (
            ms_of(each.starts_at),
            ms_of(min(until, _end(each, until))),
            look.colour(colours, "severity", each.severity or UNSAID),
            visible(f"{each.severity or UNSAID} {each.service_name or each.rule}: {each.description}", WORDS_LETTERS),
            each.incident_id,
        )
        for each in incidents
        if each.starts_at < until and _end(each, until) >= since
    ]
    return _columns(("start", "end", "color", "words", "incident"), rows[:MOST])


@lru_cache(maxsize=8)
def mark_rows(duty: Duty, since: datetime, until: datetime) -> EventRows:
    """The marks of [since, until): at (ms since the epoch), words."""
    rows = [
        (ms_of(mark.at), f"{label(mark.text, WORDS_LETTERS)} ({visible(mark.who)})")
        for mark in duty.marks
        if since <= mark.at < until
    ]
    return _columns(("at", "words"), rows[:MOST])


def limits_of(figures: Mapping[str, AlertFigure], table: str, column: str) -> dict[str, float]:
    """The limits of rules over a column of a KPI table, by words for each."""
    found: dict[str, float] = {}
    for rule, figure in figures.items():
        if (figure.table, figure.column) == (table, column) and figure.limit is not None:
            each = "".join(f" of one {name.removesuffix('_name').replace('_', ' ')}" for name in figure.by[:1])
            found[f"Limit of {rule}: {figure.limit:g} {figure.unit} a minute{each}"] = figure.limit
    return found


def _end(incident: ListedIncident, until: datetime) -> datetime:
    if incident.state == "open":
        return until
    # A moment is seen too: a strip has some width.
    return max(incident.resolved_at or incident.newest_at, incident.starts_at + timedelta(seconds=10))


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> EventRows:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}
