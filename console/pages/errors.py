"""Errors: over time by severity, by service and severity, and the rows."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from console import look
from console.feed.asker import Want, want
from console.feed.pins import Pin
from console.feed.tiles import exactly
from console.pages.charts import Ranking, RankingChart, TimeBars, TimeChart, step_of
from console.pages.drill import DrillTab, Found, rebinned, toggled
from console.pages.parts import Parts, error_row, iso_ms
from console.url import SEVERITIES, Span, View
from lakehouse.texts import label

SERVICES_SHOWN = 15


class ErrorsTab(DrillTab):
    """Errors of all severities; brush, service and severity narrow each other."""

    tab = "errors"

    def chart_places(self) -> tuple[str, ...]:
        return ("errors_time", "errors_severity", "errors_service")

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        severities = view.severities or SEVERITIES
        services = {"all_services": 0 if view.services else 1, "services": view.services}
        ranges = {"since": inner[0], "until": inner[1]}
        return {
            "time": want(
                "errors_over_time", pin.commit, step=step_of(span)[0], since=span[0], until=span[1],
                severities=severities, **services,
            ),
            "service": want("errors_by_service", pin.commit, **ranges),
            "rows": want(
                "error_rows", pin.commit, **ranges, severities=severities, **services,
                most=self.session.settings.rows_shown,
            ),
        }  # fmt: skip

    def found_parts(self, found: Found) -> dict[str, Parts]:
        view = found.view
        by_severity, by_service = _sums(found)
        chosen = [
            row
            for row in found.tables["service"]
            if (not view.severities or row["severity"] in view.severities)
            and (not view.services or row["service_name"] in view.services)
        ]
        total = sum(row["n"] for row in chosen)
        rows = found.tables["rows"]
        count = f"{exactly(total)} {'error' if total == 1 else 'errors'}"
        return {
            "facet.severity": {
                "name": "severity",
                "kind": "severity",
                "values": [
                    [severity, exactly(int(by_severity.get(severity, 0))), severity in view.severities]
                    for severity in reversed(SEVERITIES)
                ],
            },
            "facet.service": {
                "name": "service",
                "kind": "plain",
                "values": [
                    [service, exactly(int(by_service.get(service, 0))), service in view.services, label(service, 40)]
                    for service in sorted({*list(by_service)[:SERVICES_SHOWN], *view.services})
                ],
            },
            "list.error_rows": {
                "rows": [error_row(row) for row in rows],
                "produced_at": iso_ms(max((row["newest"] for row in chosen if row["newest"]), default=None)),
                "words": count + (f", the newest {exactly(len(rows))} shown" if len(rows) < total else ""),
                "empty": "No error matches. Widen the range, or take a filter away.",
            },
        }

    def draw_charts(self, found: Found) -> None:
        view = found.view
        colours = look.tokens(view.theme)
        parts = {severity: colours[f"severity-{severity.lower()}"] for severity in reversed(SEVERITIES)}
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
                    (severity, by_severity[severity], color, severity in view.severities)
                    for severity, color in parts.items()
                    if severity in by_severity
                ],
                "errors",
            ),
            lambda severity: self.session.choose(severities=toggled(self.session.view.severities, severity)),
        )
        self.chart(
            "errors_service",
            RankingChart,
            Ranking(
                [
                    (service, count, colours["blue"], service in view.services)
                    for service, count in list(by_service.items())[:SERVICES_SHOWN]
                ],
                "errors",
            ),
            lambda service: self.session.choose(services=toggled(self.session.view.services, service)),
        )


def _sums(found: Found) -> tuple[dict[str, float], dict[str, float]]:
    """Errors by severity (of the chosen services), and by service (of the chosen severities), the most first."""
    view = found.view
    by_severity: dict[str, float] = defaultdict(float)
    by_service: dict[str, float] = defaultdict(float)
    for row in found.tables["service"]:
        if not view.services or row["service_name"] in view.services:
            by_severity[row["severity"]] += row["n"]
        if not view.severities or row["severity"] in view.severities:
            by_service[row["service_name"]] += row["n"]
    ranked = sorted(by_service.items(), key=lambda pair: (-pair[1], pair[0]))
    return dict(by_severity), dict(ranked)
