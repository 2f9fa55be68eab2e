"""Alerts: incidents of a range, and from each the rows behind it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from console.feed.asker import Want, want
from console.feed.incidents import incidents_of
from console.feed.pins import Pin
from console.feed.questions import ANY_AHEAD, INCIDENT_SPAN, INCIDENTS_SHOWN
from console.feed.tiles import exactly
from console.pages.drill import DrillTab, Found
from console.pages.parts import Parts, error_row, incident_row, iso_ms, link
from console.url import Span, View
from lakehouse.texts import visible

AROUND = timedelta(minutes=1)
ROWS_BEHIND = 100
EVER = datetime(1970, 1, 1, tzinfo=UTC)


class AlertsTab(DrillTab):
    """Incidents that an alert row touched in the range. `live` and the short ranges show a day: alerts are rare."""

    tab = "alerts"

    def chart_places(self) -> tuple[str, ...]:
        return ()

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        since = span[0] if view.span else min(span[0], span[1] - INCIDENT_SPAN)
        # A row may bear a time past as_of: the moment judged, or that of a clock that is ahead.
        until = span[1] if view.span else span[1] + ANY_AHEAD
        asked = {"incidents": want("incidents", pin.commit, since=since, until=until, most=INCIDENTS_SHOWN)}
        chosen = self._chosen(view)
        if chosen is not None:
            moments = (chosen["newest_at"], chosen["resolved_at"])
            begin, end = _around(chosen["starts_at"], *moments, None if chosen["resolved_at"] else pin.as_of)
            ranges: dict[str, Any] = {"since": begin, "until": end, "most": ROWS_BEHIND}
            asked["alerts"] = want("incident_alerts", pin.commit, incident_id=chosen["incident_id"], **ranges)
            if chosen["service_name"] and chosen["severity"]:
                asked["errors"] = want(
                    "incident_errors",
                    pin.commit,
                    service_name=chosen["service_name"],
                    severity=chosen["severity"],
                    **ranges,
                )
        elif view.incident and self.found is not None:
            asked["elsewhere"] = want(
                "incident_alerts",
                pin.commit,
                incident_id=view.incident,
                since=EVER,
                until=pin.as_of + ANY_AHEAD,
                most=ROWS_BEHIND,
            )
        return asked

    def _chosen(self, view: View) -> dict[str, Any] | None:
        if not view.incident or self.found is None:
            return None
        return next((row for row in self.found.tables["incidents"] if row["incident_id"] == view.incident), None)

    def found_parts(self, found: Found) -> dict[str, Parts]:
        found_incidents = incidents_of(found.tables["incidents"], self.session.max_age)
        open_count = sum(1 for incident in found_incidents if incident.state == "open")
        count = len(found_incidents)
        words = f"{exactly(count)} {'incident' if count == 1 else 'incidents'}, {exactly(open_count)} open"
        if count == INCIDENTS_SHOWN:
            words = f"the last {exactly(count)} incidents, {exactly(open_count)} open among them"
        parts: dict[str, Parts] = {
            "list.incident_rows": {
                "rows": [
                    incident_row(incident) | {"chosen": incident.incident_id == found.view.incident}
                    for incident in found_incidents
                ],
                "produced_at": iso_ms(max((incident.touched_at for incident in found_incidents), default=None)),
                "words": words,
                "empty": "Nothing fired in this range. An incident opens when a service reports a FATAL error "
                "or a rule fires.",
            },
            "behind": {"shown": False},
        }
        chosen = next((one for one in found_incidents if one.incident_id == found.view.incident), None)
        if chosen is not None:
            until = chosen.resolved_at or found.pin.as_of
            parts["behind"] = {
                "shown": True,
                "incident": incident_row(chosen),
                "errors_link": link(
                    View(
                        tab="errors",
                        span=_around(chosen.starts_at, chosen.newest_at, until),
                        services=(chosen.service_name,) if chosen.service_name else (),
                    )
                ),
            }
            parts["list.behind_alerts"] = {
                "rows": [
                    {
                        "key": row["alert_id"],
                        "at": iso_ms(row["alert_timestamp"]),
                        "produced_at": iso_ms(row["received_at"]),
                        "status": visible(row["status"]),
                        "severity": visible(row["severity"] or ""),
                        "value": row["metric_value"],
                        "description": visible(row["description"] or ""),
                    }
                    for row in found.tables.get("alerts", [])
                ],
                "empty": "No alert row of this incident lies in the kept data.",
            }
            parts["list.behind_errors"] = {
                "rows": [error_row(row) for row in found.tables.get("errors", [])],
                "empty": "No error row of this service and severity lies in its time.",
            }
        elif found.view.incident:
            parts["behind"] = {"shown": False, "elsewhere": _elsewhere(found)}
        return parts

    def draw_charts(self, found: Found) -> None:
        return None


def _elsewhere(found: Found) -> Parts | None:
    """Why the incident of a link is not listed, and the range that holds it; None while that is being asked."""
    rows = found.tables.get("elsewhere")
    if rows is None:
        return None
    if not rows:
        return {
            "words": f"No alert of incident {found.view.incident} is kept: it is older than retention.kpis allows, "
            "or the link is wrong.",
            "range": None,
        }
    return {
        "words": "The incident of this link is not among those of the range shown.",
        "range": [iso_ms(moment) for moment in _around(*(row["alert_timestamp"] for row in rows))],
    }


def _around(*moments: datetime | None) -> Span:
    """The range that holds these moments, in any order: an event's own time may lie ahead of the data's."""
    known = [moment for moment in moments if moment is not None]
    return min(known) - AROUND, max(known) + AROUND
