"""Errors: over time by severity, by service, what they say, and the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from console import look
from console.choices import FAILURES, SEVERITIES
from console.drill.charts import Ranking, RankingChart, TimeBars, TimeChart, step_of
from console.drill.finding import FIND, matching
from console.drill.found import Found
from console.drill.heat import HeatCells, HeatChart
from console.drill.ordering import order_part, ordering, shown_words
from console.drill.tab import BRUSHED, DrillTab, binned, rebinned
from console.feed.asker import Want, want
from console.feed.numbers import exactly
from console.feed.pins import Pin
from console.parts import ERROR_ROW_COLUMNS, Part, error_row, iso_ms
from console.tab import Card, ChartPlace, ListColumn, RowList, TabFilter
from console.view import Span, View
from lakehouse.dremio.statement import Fragment
from lakehouse.figures.words import bars
from lakehouse.kinds import ERROR_KIND
from lakehouse.texts import visible

SERVICES_SHOWN = 15
KINDS_SHOWN = 50
TREND_BARS = 20
BASE = 0.1
"""A time before with less than this part of the messages was no time like this one: the shop was shut, or not there."""
SEVERITY = TabFilter("severity", SEVERITIES, default=FAILURES)
SERVICE = TabFilter("service")
KIND = TabFilter("kind")
SEARCHED = ("error_message", "error_id", "service_name")
KINDS = RowList(
    "error_kinds",
    "What they say",
    (
        ListColumn("Severity", "severity", "badge", of="severity"),
        ListColumn("Messages that are alike", "words", hover="one of them: {example}", css="wide"),
        ListColumn("Count", "count", "number"),
        ListColumn("The time before", "before", "number", hover="as long before this range as it is long"),
        ListColumn("Trend", "trend", css="trend"),
        ListColumn("Service", "services"),
        ListColumn("First", "first_at", "time"),
        ListColumn("Newest", "newest_at", "time"),
    ),
    "No message matches. Widen the range, or take a filter away.",
    choose="kind",
    long=True,
    exports="kinds",
    also=("trend",),
)
ORDERED = {
    "at": "error_ts",
    "severity": f"CASE severity {' '.join(f"WHEN '{one}' THEN {rank}" for rank, one in enumerate(SEVERITIES))} END",
    "service": "service_name",
    "message": "error_message",
    "error": "error_id",
}
"""What the columns of the rows are ordered by: severities by how bad they are."""
ROWS = RowList(
    "error_rows",
    "Rows",
    tuple(replace(column, sort=ORDERED[column.field]) for column in ERROR_ROW_COLUMNS),
    "No error matches. Widen the range, or take a filter away.",
    long=True,
    exports="rows",
    also=("service",),
    whole=True,
)


class ErrorsTab(DrillTab):
    """ERROR and FATAL unless milder messages are asked for; brush, filters and kinds of messages narrow each other."""

    title = "Errors"
    order = 30
    filters = (SEVERITY, SERVICE, KIND, FIND)
    cards = (
        Card((ChartPlace("errors_time", "Errors over time by severity", BRUSHED, "time", "No error in this range."),)),
        Card(
            (
                ChartPlace(
                    "errors_heat",
                    "By service over time",
                    "stronger is more, in the colour of the worst; click one for what is behind it",
                    "heat",
                    also=("service",),
                    chooses="service",
                ),
            ),
            columns=8,
        ),
        Card(
            (ChartPlace("errors_service", "By service", "click one to keep it", "service", chooses="service"),),
            columns=4,
        ),
        Card((KINDS,)),
        Card((ROWS,)),
    )

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        severities = _severities(view)
        services = {"all_services": 0 if view.chosen("service") else 1, "services": view.chosen("service")}
        ranges = {"since": inner[0], "until": inner[1]}
        kinds = Fragment(":kind IN (:kinds)", {"kind": ERROR_KIND, "kinds": view.chosen("kind")})
        matches = matching(view, SEARCHED, *([kinds] if view.chosen("kind") else []))
        # A kind that is chosen stands among the others still.
        alike = matching(view, SEARCHED)
        step = step_of(span)[0]
        asked = {
            "time": want(
                "errors_over_time", pin.commit, step=step, since=span[0], until=span[1],
                severities=severities, matches=matches, **services,
            ),
            "service": want("errors_by_service", pin.commit, matches=matches, **ranges),
            "kinds": want(
                "error_kinds", pin.commit, **ranges, severities=severities, kind=ERROR_KIND, matches=alike,
                most=KINDS_SHOWN, **services,
            ),
            "rows": want(
                "error_rows", pin.commit, **ranges, severities=severities, matches=matches, **services,
                **ordering(view, ROWS, self.page.settings.rows_shown),
            ),
        }  # fmt: skip
        if self.found is not None:
            ranked = view.chosen("service") or tuple(_sums(self.found, severities)[1])[:SERVICES_SHOWN]
            asked["heat"] = want(
                "errors_of_services", pin.commit, step=step, since=span[0], until=span[1],
                severities=severities, services=tuple(ranked), matches=matches,
            )  # fmt: skip
            asked["trend"] = want(
                "error_kinds_over_time", pin.commit, step=_trend_step(inner)[0], since=inner[0] - (inner[1] - inner[0]),
                until=inner[1], severities=severities, kind=ERROR_KIND,
                kinds=tuple(dict.fromkeys(row["kind"] for row in self.found.tables["kinds"])), **services,
            )  # fmt: skip
        return asked

    def found_parts(self, found: Found) -> dict[str, Part]:
        view = found.view
        severities, services = _severities(view), view.chosen("service")
        by_severity, by_service = _sums(found, severities)
        chosen = [
            row
            for row in found.tables["service"]
            if row["severity"] in severities and (not services or row["service_name"] in services)
        ]
        total = sum(row["n"] for row in chosen)
        rows, most = found.tables["rows"], self.page.settings.rows_shown
        count = f"{exactly(total)} {_noun(severities, total)}"
        listed = sorted({*list(by_service)[:SERVICES_SHOWN], *services})
        known = "service" in found.answers
        return {
            **self.facet(SEVERITY, view, _counted(by_severity, reversed(SEVERITIES)), known=known),
            **self.facet(SERVICE, view, _counted(by_service, listed), known=known),
            **self.facet(KIND, view, ((kind, "") for kind in view.chosen("kind"))),
            **self.facet(FIND, view, ()),
            f"list.{KINDS.name}": {
                "rows": _kinds(found),
                "produced_at": iso_ms(max((row["newest"] for row in found.tables["kinds"]), default=None)),
                "words": "the most frequent first"
                + (f", {KINDS_SHOWN} shown" if len(found.tables["kinds"]) == KINDS_SHOWN else ""),
            },
            f"list.{ROWS.name}": {
                "rows": [error_row(row) for row in rows],
                "produced_at": iso_ms(max((row["newest"] for row in chosen if row["newest"]), default=None)),
                "words": ", ".join(filter(None, (count, shown_words(view, len(rows), most, total)))),
                **order_part(view, ROWS, most, total),
            },
        }

    def draw_charts(self, found: Found) -> None:
        view = found.view
        colours = look.tokens(view.theme)
        severities, services = _severities(view), view.chosen("service")
        parts = {
            severity: look.colour(colours, "severity", severity)
            for severity in reversed(SEVERITIES)
            if severity in severities
        }
        _, width = step_of(found.span)
        counts = binned(found.tables["time"], itemgetter("severity"), width)
        unit = _noun(severities, 2)
        self.chart("errors_time", TimeChart, TimeBars(counts, parts, width, found.span, view.brush, unit), self.brushed)
        _, by_service = _sums(found, severities)
        made_of: dict[tuple[datetime, str], dict[str, float]] = defaultdict(dict)
        for row in found.tables["heat"]:
            cell = made_of[rebinned(row["moment"], width), row["service_name"]]
            cell[row["severity"]] = cell.get(row["severity"], 0.0) + float(row["n"])
        cells = {at: sum(counts.values()) for at, counts in made_of.items()}
        ranked = list(by_service)[:SERVICES_SHOWN]
        self.chart(
            "errors_heat",
            HeatChart,
            HeatCells(cells, ranked, width, found.span, unit, colours["orange"], parts, made_of),
            lambda service, span: self.chosen_cell("service", service, span),
        )
        self.chart(
            "errors_service",
            RankingChart,
            Ranking(
                [(service, by_service[service], colours["orange"], service in services) for service in ranked], unit
            ),
            lambda service: self.toggle("service", service),
        )


def _severities(view: View) -> tuple[str, ...]:
    return view.chosen("severity") or FAILURES


def _noun(severities: Iterable[str], count: float) -> str:
    """What is counted: a milder one is a message, not an error."""
    word = "error" if set(severities) <= set(FAILURES) else "message"
    return word if count == 1 else f"{word}s"


def _counted(counts: Mapping[str, float], names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, exactly(int(counts.get(name, 0)))) for name in names]


def _sums(found: Found, severities: tuple[str, ...]) -> tuple[dict[str, float], dict[str, float]]:
    """By severity (of the chosen services), and by service (of the chosen severities), the most first."""
    services = found.view.chosen("service")
    by_severity: dict[str, float] = defaultdict(float)
    by_service: dict[str, float] = defaultdict(float)
    for row in found.tables["service"]:
        if not services or row["service_name"] in services:
            by_severity[row["severity"]] += row["n"]
        if row["severity"] in severities:
            by_service[row["service_name"]] += row["n"]
    ranked = sorted(by_service.items(), key=lambda pair: (-pair[1], pair[0]))
    return dict(by_severity), dict(ranked)


def _trend_step(inner: Span) -> tuple[str, timedelta]:
    """A step of which there are many in a range and not thousands, as SQL calls it, and its length."""
    length = inner[1] - inner[0]
    if length <= timedelta(hours=2):
        return "MINUTE", timedelta(minutes=1)
    return ("HOUR", timedelta(hours=1)) if length <= timedelta(days=15) else ("DAY", timedelta(days=1))


def _kinds(found: Found) -> list[Part]:
    """A row a kind and severity, with how it went and how many there were before the range."""
    since, until = found.inner
    length = until - since
    _, step = _trend_step(found.inner)
    counts: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * TREND_BARS)
    before: dict[tuple[str, str], int] = defaultdict(int)
    for row in found.tables.get("trend", []):
        kind = (row["kind"], row["severity"])
        # The step that a range begins in lies in both; most of it is the range's.
        place = int((max(row["moment"], since) - since) / length * TREND_BARS)
        if row["moment"] + step <= since:
            before[kind] += row["n"]
        else:
            counts[kind][min(place, TREND_BARS - 1)] += row["n"]
    rows = found.tables["kinds"]
    told = sum(before.values()) >= BASE * sum(row["n"] for row in rows)
    return [_kind_row(row, counts, before, told, found.view) for row in rows]


def _kind_row(
    row: Mapping[str, Any],
    counts: Mapping[tuple[str, str], list[float]],
    before: Mapping[tuple[str, str], int],
    told: bool,
    view: View,
) -> Part:
    """`told`: whether there was enough before the range to say that a kind is new in it."""
    kind = (row["kind"], row["severity"])
    more = row["services"] - 1
    earlier = before.get(kind, 0)
    words = exactly(earlier) if earlier else "new" if told else None
    return {
        "key": f"{row['severity']} {row['kind']}",
        "value": row["kind"],
        "severity": visible(row["severity"]),
        "words": visible(row["kind"]),
        "example": visible(row["example"]),
        "count": exactly(row["n"]),
        "before": words,
        "trend": bars(counts[kind]) if kind in counts else "",
        "services": visible(row["service_name"]) + (f" and {exactly(more)} more" if more else ""),
        "first_at": iso_ms(row["first_at"]),
        "newest_at": iso_ms(row["newest_at"]),
        "produced_at": iso_ms(row["newest"]),
        "chosen": row["kind"] in view.chosen("kind"),
    }
