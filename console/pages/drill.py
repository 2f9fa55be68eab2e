"""What Orders and Errors share: ask at a pinned commit, send facets and rows, draw when answers come."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import panel as pn

from console import look
from console.feed.asker import Got, Want
from console.feed.pins import Pin, cadence_s
from console.feed.snapshot import Snapshot
from console.pages.parts import Parts, iso_ms
from console.url import Span, View
from lakehouse.texts import REASON_LETTERS, visible

if TYPE_CHECKING:
    from console.session import Session

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """All answers of a tab for one view at one commit."""

    view: View
    pin: Pin
    span: Span
    inner: Span
    asked: Mapping[str, Want]
    tables: Mapping[str, list[dict[str, Any]]]

    @property
    def lapsed(self) -> Span | None:
        """The brush, where it lies beside the range and narrows nothing."""
        return self.view.brush if self.view.brush and _overlap(self.view.brush, self.span) is None else None


class DrillTab:
    """One drill-down tab of one session. A tab says what it asks, what it sends and what it draws."""

    tab: str

    def __init__(self, session: Session) -> None:
        self.session = session
        self.found: Found | None = None
        self.error: str | None = None
        self.charts: dict[str, Any] = {}
        self._drawn: Found | None = None
        self.places = {
            place: pn.Column(sizing_mode="stretch_both", margin=0, min_height=0) for place in self.chart_places()
        }

    # ---- what a tab says of itself

    def chart_places(self) -> tuple[str, ...]:
        raise NotImplementedError

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        """Name to question; `span` is the range, `inner` the brushed part of it, else the same."""
        raise NotImplementedError

    def found_parts(self, found: Found) -> dict[str, Parts]:
        raise NotImplementedError

    def draw_charts(self, found: Found) -> None:
        raise NotImplementedError

    # ---- what the session asks of it

    def parts(self, view: View, snapshot: Snapshot) -> Mapping[str, Parts]:
        """The tab's parts, from the newest whole set of answers; asks for the next set where view or commit moved."""
        pin = self.session.pins.pin(snapshot, cadence_s(view, self.session.settings.drill_refresh_s))
        loading = False
        if pin is not None:
            loading = not self._take(view, pin)
        found = self.found
        parts: dict[str, Parts] = {}
        if found is not None:
            parts.update(self.found_parts(found))
        parts[f"drill.{self.tab}"] = {
            "loading": loading and (found is None or found.view != view),
            "error": self.error,
            "span": [iso_ms(moment) for moment in found.span] if found else None,
            "inner": [iso_ms(moment) for moment in found.inner] if found else None,
            "lapsed": [iso_ms(moment) for moment in found.lapsed] if found and found.lapsed else None,
        }
        if found is not None and found is not self._drawn:
            self.session.redraw()
        return parts

    def _take(self, view: View, pin: Pin) -> bool:
        """Take the answers for a view at a commit, if all are there."""
        span = view.bounds(pin.as_of)
        inner = (_overlap(view.brush, span) if view.brush else None) or span
        # What a tab wants may hang on what it found: an incident's rows on the incident.
        asked = self.wants(view, pin, span, inner)
        if self.found is not None and self.found.asked == asked and self.found.view == view:
            self.error = None  # of what was asked since, and is no longer wanted
            return True
        got: dict[str, Got | None] = {
            name: self.session.asker.get(wanted, self.session) for name, wanted in asked.items()
        }
        if any(answer is None for answer in got.values()):
            return False
        failed: list[str] = [answer.error for answer in got.values() if answer is not None and answer.error]
        if failed:
            # The last good answers stay; the asker tries again by itself, and the next commit is another question.
            self.error = visible(failed[0], REASON_LETTERS)
            return True
        self.error = None
        tables = {
            name: answer.table.to_pylist()
            for name, answer in got.items()
            if answer is not None and answer.table is not None
        }
        self.found = Found(view, pin, span, inner, asked, tables)
        return self.wants(view, pin, span, inner) == asked or self._take(view, pin)

    def draw(self) -> None:
        found = self.found
        if found is None or found is self._drawn:
            return
        self._drawn = found
        try:
            self.draw_charts(found)
        except Exception:
            logger.exception("the charts of %s could not be drawn", self.tab)

    def drop(self) -> None:
        self.charts.clear()
        self._drawn = None
        for column in self.places.values():
            column.clear()

    def chart(self, place: str, kind: Any, data: Any, told: Any) -> None:
        """Build the chart of a place, or give it new data."""
        held = self.charts.get(place)
        if held is None:
            self.charts[place] = kind(data, look.bokeh_theme(self.session.view.theme), told)
            self.places[place].objects = [self.charts[place].pane]
        else:
            held.send(data)

    def brushed(self, span: Span | None) -> None:
        """The time axis was brushed: the other charts and the rows follow."""
        if span is not None and span != self.session.view.brush:
            self.session.choose(brush=_milliseconds(span))

    @property
    def pin(self) -> Pin | None:
        return self.found.pin if self.found else None


def toggled(values: tuple[str, ...], value: str) -> tuple[str, ...]:
    """A filter with one value more, or less where it was in."""
    return tuple(sorted({*values} ^ {value}))


def rebinned(moment: datetime, width: timedelta) -> datetime:
    """The start of the bar that holds a truncated time; widths up to an hour divide it, longer ones are SQL's own."""
    if width >= timedelta(hours=1):
        return moment
    minutes = int(width.total_seconds() // 60)
    return moment.replace(minute=moment.minute // minutes * minutes)


def _overlap(brush: Span, span: Span) -> Span | None:
    """The brushed part of a range; None where the brush lies beside it."""
    since, until = max(brush[0], span[0]), min(brush[1], span[1])
    return (since, until) if since < until else None


def _milliseconds(span: Span) -> Span:
    since, until = (moment.replace(microsecond=moment.microsecond // 1000 * 1000) for moment in span)
    return since, until
