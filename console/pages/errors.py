"""Errors: over time by severity, by service and severity, and the rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from console import look
from console.choices import SEVERITIES
from console.drill.charts import Ranking, RankingChart, TimeBars, TimeChart, step_of
from console.drill.tab import DrillTab, Found, rebinned
from console.feed.asker import Want, want
from console.feed.numbers import exactly
from console.feed.pins import Pin
from console.parts import ERROR_ROW_COLUMNS, Part, error_row, iso_ms
from console.tab import Card, ChartPlace, RowList, TabFilter
from console.view import Span, View

SERVICES_SHOWN = 15
SEVERITY = TabFilter("severity", SEVERITIES)
SERVICE = TabFilter("service")
ROWS = RowList(
    "error_rows",
    "Rows",
    ERROR_ROW_COLUMNS,
    "No error matches. Widen the range, or take a filter away.",
    long=True,
)


class ErrorsTab(DrillTab):
    """Errors of all severities; brush, service and severity narrow each other."""

    title = "Errors"
    order = 30
    filters = (SEVERITY, SERVICE)
    cards = (
        Card((ChartPlace("errors_time", "Errors over time by severity", "drag over a time to narrow all else to it"),)),
        Card((ChartPlace("errors_severity", "By severity", "click one to keep it"),), columns=6),
        Card((ChartPlace("errors_service", "By service", "click one to keep it"),), columns=6),
        Card((ROWS,)),
    )

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        severities = view.chosen("severity") or SEVERITIES
        services = {"all_services": 0 if view.chosen("service") else 1, "services": view.chosen("service")}
        ranges = {"since": inner[0], "until": inner[1]}
        return {
            "time": want(
                "errors_over_time", pin.commit, step=step_of(span)[0], since=span[0], until=span[1],
                severities=severities, **services,
            ),
            "service": want("errors_by_service", pin.commit, **ranges),
            "rows": want(
                "error_rows", pin.commit, **ranges, severities=severities, **services,
                most=self.page.settings.rows_shown,
            ),
        }  # fmt: skip

    def found_parts(self, found: Found) -> dict[str, Part]:
        view = found.view
        severities, services = view.chosen("severity"), view.chosen("service")
        by_severity, by_service = _sums(found)
        chosen = [
            row
            for row in found.tables["service"]
            if (not severities or row["severity"] in severities) and (not services or row["service_name"] in services)
        ]
        total = sum(row["n"] for row in chosen)
        rows = found.tables["rows"]
        count = f"{exactly(total)} {'error' if total == 1 else 'errors'}"
        listed = sorted({*list(by_service)[:SERVICES_SHOWN], *services})
        return {
            **self.facet(SEVERITY, view, _counted(by_severity, reversed(SEVERITIES))),
            **self.facet(SERVICE, view, _counted(by_service, listed)),
            f"list.{ROWS.name}": {
                "rows": [error_row(row) for row in rows],
                "produced_at": iso_ms(max((row["newest"] for row in chosen if row["newest"]), default=None)),
                "words": count + (f", the newest {exactly(len(rows))} shown" if len(rows) < total else ""),
            },
        }

    def draw_charts(self, found: Found) -> None:
        view = found.view
        colours = look.tokens(view.theme)
        parts = {severity: look.colour(colours, "severity", severity) for severity in reversed(SEVERITIES)}
        severities, services = view.chosen("severity"), view.chosen("service")
        _, width = step_of(found.span)
        counts: dict[tuple[datetime, str], float] = defaultdict(float)
        for row in found.tables["time"]:
            counts[rebinned(row["moment"], width), row["severity"]] += row["n"]
        bars = TimeBars(counts, parts, width, found.span, view.brush, "errors")
        self.chart("errors_time", TimeChart, bars, self.brushed)
        by_severity, by_service = _sums(found)
        self.chart(
            "errors_severity",
            RankingChart,
            Ranking(
                [
                    (severity, by_severity[severity], color, severity in severities)
                    for severity, color in parts.items()
                    if severity in by_severity
                ],
                "errors",
            ),
            lambda severity: self.toggle("severity", severity),
        )
        self.chart(
            "errors_service",
            RankingChart,
            Ranking(
                [
                    (service, count, colours["blue"], service in services)
                    for service, count in list(by_service.items())[:SERVICES_SHOWN]
                ],
                "errors",
            ),
            lambda service: self.toggle("service", service),
        )


def _counted(counts: Mapping[str, float], names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, exactly(int(counts.get(name, 0)))) for name in names]


def _sums(found: Found) -> tuple[dict[str, float], dict[str, float]]:
    """Errors by severity (of the chosen services), and by service (of the chosen severities), the most first."""
    severities, services = found.view.chosen("severity"), found.view.chosen("service")
    by_severity: dict[str, float] = defaultdict(float)
    by_service: dict[str, float] = defaultdict(float)
    for row in found.tables["service"]:
        if not services or row["service_name"] in services:
            by_severity[row["severity"]] += row["n"]
        if not severities or row["severity"] in severities:
            by_service[row["service_name"]] += row["n"]
    ranked = sorted(by_service.items(), key=lambda pair: (-pair[1], pair[0]))
    return dict(by_severity), dict(ranked)
