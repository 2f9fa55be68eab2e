"""Alerts: incidents of a range, and from each the rows behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from console import look
from console.alert_lists import ALERTS_BEHIND, BESIDE, ERRORS_BEHIND, INCIDENTS, KEYS, SAID, behind_part, count_words
from console.choices import WORST
from console.drill.at_hand import Row, holding, ordered, page_of
from console.drill.figure_chart import FigureBars, FigureChart, SharedAxis
from console.drill.finding import FIND, matching, sought
from console.drill.found import Found
from console.drill.ordering import order_part, shown_words
from console.drill.tab import DrillTab, TabPage
from console.feed.asker import Want, want
from console.feed.incidents import ListedIncident, count_open, in_order, incidents_of, standing_of
from console.feed.numbers import exactly
from console.feed.pins import Pin
from console.feed.questions import ANY_AHEAD, INCIDENT_SPAN, INCIDENTS_SHOWN
from console.on_call.asked import KnownIncidents, left_out, with_asked
from console.on_call.figure import TRADE, ConversionDesk, FigureDesk, IncidentFigure
from console.on_call.parts import HISTORY, TOLD, duty_part, words_of
from console.parts import INCIDENT_SEARCHED, Part, error_row, incident_row, iso_ms
from console.tab import Card, ChartPlace
from console.view import Span, View
from console.words import STATES
from lakehouse.kinds import ERROR_KIND
from lakehouse.rules.figure import AlertFigure
from lakehouse.texts import REASON_LETTERS, visible

AROUND = timedelta(minutes=1)
INCIDENTS_READ = 1000
"""The most of a range that are listed, looked through and put in an order: the last touched."""
ROWS_BEHIND = 100
KINDS_BEHIND = 5
_NOT_SHOWN = "The incident of this link is not among those of the range shown."
_NONE_HOLDS = "No incident matches. Widen the range, or look for another text."
EVER = datetime(1970, 1, 1, tzinfo=UTC)

FIGURE, MEANWHILE, CONVERSION = "incident_figure", "incident_trade", "incident_conversion"


class AlertsTab(DrillTab):
    """Incidents that an alert row touched in the range. `live` and the short ranges show a day: alerts are rare."""

    title = "Alerts"
    order = 40
    heeds_brush = False
    counts_open = True
    filters = (FIND,)
    steady = False
    # An incident that somebody came for stands above all others.
    cards = (
        Card(
            (
                ChartPlace(FIGURE, "Minute by minute", "shaded since it began; line: limit, dashes: usual"),
                ChartPlace(MEANWHILE, "Orders meanwhile", "dashes: usual"),
                ChartPlace(CONVERSION, "Conversion meanwhile", "of those who click in a minute, who order in it, %"),
                SAID,
                BESIDE,
                HISTORY,
                TOLD,
                ALERTS_BEHIND,
                ERRORS_BEHIND,
            ),
            detail="behind",
            css="incident-page",
            acts=True,
        ),
        Card((INCIDENTS,)),
    )

    def __init__(self, page: TabPage) -> None:
        super().__init__(page)
        figures = page.figures
        self._figure = FigureDesk(lambda incident: figures.get(incident.rule), page.answer)
        self._trade = FigureDesk(lambda incident: _beside(figures.get(incident.rule)), page.answer)
        self._conversion = ConversionDesk(page.answer)
        self._axis = SharedAxis()
        # Keys of a list's rows, where somebody chose which, or their order.
        self._orders: dict[str, list[str]] = {}

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        since, until = _listed(view, span)
        asked = {"incidents": want("incidents", pin.commit, since=since, until=until, most=INCIDENTS_READ)}
        if view.span is None:
            asked["open"] = want("open_incidents", pin.commit, worst=WORST, most=INCIDENTS_SHOWN)
        chosen = self._chosen(view)
        if self.page.asked.get(view.incident or "") is not None:
            return asked  # it has no row in the table
        if chosen is not None:
            moments = (chosen.newest_at, chosen.resolved_at)
            begin, end = _around(chosen.starts_at, *moments, None if chosen.resolved_at else pin.as_of)
            ranges: dict[str, Any] = {"since": begin, "until": end, "most": ROWS_BEHIND}
            asked["alerts"] = want("incident_alerts", pin.commit, incident_id=chosen.incident_id, **ranges)
            if chosen.service_name and chosen.severity:
                asked["errors"] = want(
                    "incident_errors",
                    pin.commit,
                    service_name=chosen.service_name,
                    severity=chosen.severity,
                    **ranges,
                )
                asked["kinds"] = want(
                    "error_kinds",
                    pin.commit,
                    severities=(chosen.severity,),
                    all_services=0,
                    services=(chosen.service_name,),
                    kind=ERROR_KIND,
                    matches=matching(View(self.name), ()),
                    **ranges | {"most": KINDS_BEHIND},
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

    def _chosen(self, view: View) -> ListedIncident | None:
        if not view.incident or self.found is None:
            return None
        of_table = self._of_table(self.found)
        return next((one for one in of_table if one.incident_id == view.incident), None)

    def _of_table(self, found: Found) -> tuple[ListedIncident, ...]:
        """Those that were touched in the range, and whatever else is open where the range ends now."""
        listed = incidents_of(found.tables["incidents"], self.page.max_age)
        read = {one.incident_id for one in listed}
        standing = [one for one in standing_of(found.tables.get("open", [])) if one.incident_id not in read]
        # Of the one that is looked at the alerts are read after all.
        words = _words(found.tables.get("alerts", []))
        standing = [replace(one, **words) if one.incident_id == found.view.incident else one for one in standing]
        return tuple(in_order([*listed, *standing]))

    def found_parts(self, found: Found) -> dict[str, Part]:
        asked = self.page.asked
        since, until = _listed(found.view, found.span)
        of_table = self._of_table(found)
        found_incidents = with_asked(of_table, asked, since, until)
        open_count = count_open(found_incidents, found.tables.get("open", []), INCIDENTS_SHOWN)
        listed = self._listed(found_incidents, found.view)
        most = self.page.settings.rows_shown
        shown = page_of(listed, found.view, most)
        cut = len(found.tables["incidents"]) == INCIDENTS_READ
        words = "; ".join(
            [
                count_words(listed, len(found_incidents), open_count, sought(found.view), cut=cut),
                *filter(None, [shown_words(found.view, len(shown), most, len(listed))]),
                *(visible(sentence, REASON_LETTERS) for sentence in left_out(asked)),
            ]
        )
        parts: dict[str, Part] = {
            **self.facet(FIND, found.view, ()),
            f"list.{INCIDENTS.name}": {
                "rows": shown,
                "produced_at": iso_ms(max((incident.touched_at for incident in found_incidents), default=None)),
                "words": words,
                "empty": _NONE_HOLDS if sought(found.view) else None,
                **order_part(found.view, INCIDENTS, most, len(listed)),
            },
            "detail.behind": {"shown": False},
            "duty": {"incident": None},
            "figure": {"facts": [], "error": None, "drawn": False},
            "trade": {"facts": [], "error": None, "drawn": False},
            "conversion": {"facts": [], "error": None, "drawn": False},
            f"said.{self.name}": {"words": "", "range": None},
        }
        chosen = next((one for one in found_incidents if one.incident_id == found.view.incident), None)
        if chosen is not None:
            parts["detail.behind"] = self._behind(chosen, found)
            news = [desk.look(chosen, found.pin) for desk in (self._figure, self._trade)]
            news.append(self._conversion.look(chosen, found.pin, self._time(chosen.incident_id)))
            if any(news):
                self.draw_anew()
            parts["figure"] = self._figure.part(chosen, self.page.settings.currency)
            parts["trade"] = self._trade.part(chosen, self.page.settings.currency)
            parts["conversion"] = self._conversion.part()
            parts[f"list.{BESIDE.name}"] = {
                "rows": [
                    incident_row(one, words_of(one, self.page.duty))
                    for one in found_incidents
                    if one.state == "open"
                    and one.incident_id != chosen.incident_id
                    and one.service_name
                    and one.service_name == chosen.service_name
                ]
            }
            history = self.page.history(chosen.incident_id)
            parts |= duty_part(chosen, self.page.duty, self.page.actor, history, past=self.page.frozen)
            alerts = [_alert_row(row) for row in found.tables.get("alerts", [])]
            parts[f"list.{ALERTS_BEHIND.name}"] = behind_part(alerts, found.view, ALERTS_BEHIND, ROWS_BEHIND, "alert")
            time = _around(chosen.starts_at, chosen.newest_at, chosen.resolved_at or found.pin.as_of)
            parts[f"list.{SAID.name}"] = {
                "rows": [_kind_row(row, time, self.page.link) for row in found.tables.get("kinds", [])],
            }
            errors = [error_row(row) for row in found.tables.get("errors", [])]
            parts[f"list.{ERRORS_BEHIND.name}"] = behind_part(errors, found.view, ERRORS_BEHIND, ROWS_BEHIND, "error")
            if found.view.sort:
                for name in (ALERTS_BEHIND.name, ERRORS_BEHIND.name):
                    self._orders[name] = [row["key"] for row in parts[f"list.{name}"]["rows"]]
        elif found.view.incident and not {"incidents", "elsewhere"} & found.failed.keys():
            parts[f"said.{self.name}"] = _elsewhere(found, asked)
        return parts

    def exported(self, name: str) -> pa.Table | None:
        table = super().exported(name)
        if table is None or name not in self._orders:
            return table
        at = {key: place for place, key in enumerate(table[KEYS[name]].to_pylist())}
        return table.take(pa.array([at[key] for key in self._orders[name] if key in at], pa.int64()))

    def _listed(self, incidents: Sequence[ListedIncident], view: View) -> list[Row]:
        """Rows of those that hold the text looked for, in the order that is chosen."""
        rows = [
            incident_row(incident, words_of(incident, self.page.duty))
            | {"chosen": incident.incident_id == view.incident}
            for incident in incidents
        ]
        found = ordered(holding(rows, sought(view), INCIDENT_SEARCHED), view, INCIDENTS)
        self._orders = {INCIDENTS.name: [row["key"] for row in found]} if sought(view) or view.sort else {}
        return found

    def _figures(self, incident_id: str | None) -> dict[str, IncidentFigure]:
        """What is known of how the incident's figures go, by the place of each."""
        held = {FIGURE: self._figure.held, MEANWHILE: self._trade.held}
        return {place: one for place, one in held.items() if one and one.incident.incident_id == incident_id}

    def _time(self, incident_id: str | None) -> Span | None:
        """The time that all of its charts show: whole minutes; None before any figure is known."""
        compared = [one.compared for one in self._figures(incident_id).values()]
        return (min(one.first for one in compared), max(one.until for one in compared)) if compared else None

    def draw_charts(self, found: Found) -> None:
        figures, axis = self._figures(found.view.incident), self._time(found.view.incident)
        if axis is None:
            return
        colours = look.tokens(found.view.theme)
        if not self.charts:
            # One that left with the tab's charts has their models.
            self._axis = SharedAxis()
        bars = {place: _bars(held, axis, colours) for place, held in figures.items()}
        conversion = self._conversion.held
        if conversion is not None and conversion.incident.incident_id == found.view.incident:
            like = next(iter(bars.values()))
            bars[CONVERSION] = replace(
                like, first=conversion.first, values=conversion.values, limit=None, usual=None, unit="%"
            )
        for place, data in bars.items():
            self.chart(place, FigureChart, data, self._axis)

    def _behind(self, incident: ListedIncident, found: Found) -> Part:
        """What is said of the chosen incident, and where to go from it."""
        until = incident.resolved_at or found.pin.as_of
        errors = View(
            "errors",
            span=_around(incident.starts_at, incident.newest_at, until),
            filters={"service": (incident.service_name,)} if incident.service_name else {},
        )
        row = incident_row(incident)
        facts: list[list[str | None]] = [[STATES[incident.state], None]]
        if incident.asked:
            facts.append([f"the notifier asks: rule {visible(incident.rule)}", None])
        runbook = [["runbook", row["runbook_url"], "out"]] if row["runbook_url"] else []
        return {
            "shown": True,
            "title": row["description"],
            "facts": [*facts, ["first", row["starts_at"]], ["newest", row["newest_at"]]],
            "links": [["see its time in Errors", self.page.link(errors), "go"], *runbook],
        }


def _words(alerts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the newest alert of an incident says of it."""
    firing = next((row for row in alerts if row["status"] == "FIRING"), None)
    if firing is None:
        return {}
    return {
        "description": firing["description"] or "",
        "newest_at": firing["alert_timestamp"],
        "threshold": firing["threshold"],
        "runbook_url": firing["runbook_url"] or "",
    }


def _alert_row(row: Mapping[str, Any]) -> Part:
    return {
        "key": row["alert_id"],
        "at": iso_ms(row["alert_timestamp"]),
        "produced_at": iso_ms(row["received_at"]),
        "status": visible(row["status"]),
        "severity": visible(row["severity"] or ""),
        "value": row["metric_value"],
        "description": visible(row["description"] or ""),
    }


def _kind_row(row: Mapping[str, Any], time: Span, link: Callable[[View], str]) -> Part:
    """Messages that are alike, with the way to all of them."""
    chosen = {name: (row[name],) for name in ("kind", "severity")} | {"service": (row["service_name"],)}
    return {
        "key": row["kind"],
        "words": visible(row["kind"]),
        "href": link(View("errors", span=time, filters=chosen)),
        "example": visible(row["example"]),
        "count": exactly(row["n"]),
        "first_at": iso_ms(row["first_at"]),
        "newest_at": iso_ms(row["newest_at"]),
        "produced_at": iso_ms(row["newest"]),
    }


def _beside(figure: AlertFigure | None) -> AlertFigure | None:
    """The orders beside an incident's own figure, unless it is of them itself."""
    return None if figure is not None and figure.table == TRADE.table else TRADE


def _bars(held: IncidentFigure, axis: Span, colours: Mapping[str, str]) -> FigureBars:
    return FigureBars(
        held.compared.first,
        held.compared.since,
        held.compared.until,
        axis,
        held.compared.values,
        held.limit,
        held.compared.usual,
        held.figure.unit,
        bar=colours["accent"],
        line=colours["vermilion"],
        dashes=colours["text-quiet"],
    )


def _listed(view: View, span: Span) -> Span:
    """The time of which incidents are listed."""
    since = span[0] if view.span else min(span[0], span[1] - INCIDENT_SPAN)
    # A row may bear a time past as_of: the moment judged, or that of a clock that is ahead.
    return since, span[1] if view.span else span[1] + ANY_AHEAD


def _elsewhere(found: Found, asked: KnownIncidents) -> Part:
    """Why the incident of a link is not listed, and the range that holds it; no words while that is being asked."""
    known = asked.get(found.view.incident or "")
    if known is not None:
        around = _around(known.starts_at, known.touched_at)
        return {"words": _NOT_SHOWN, "range": [iso_ms(moment) for moment in around]}
    rows = found.tables.get("elsewhere")
    if rows is None:
        return {"words": "", "range": None}
    if not rows:
        return {
            "words": f"No alert of incident {found.view.incident} is kept: it is older than retention.kpis allows, "
            f"or the link is wrong{'; or a rule that asks has it, which only the notifier knows' * bool(asked.error)}.",
            "range": None,
        }
    return {
        "words": _NOT_SHOWN,
        "range": [iso_ms(moment) for moment in _around(*(row["alert_timestamp"] for row in rows))],
    }


def _around(*moments: datetime | None) -> Span:
    """The range that holds these moments, in any order: an event's own time may lie ahead of the data's."""
    known = [moment for moment in moments if moment is not None]
    return min(known) - AROUND, max(known) + AROUND
