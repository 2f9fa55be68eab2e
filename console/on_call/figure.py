"""How an incident's figure goes, beside its limit and what is usual: asked for one incident, and said in words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from console.feed.asker import Got, Want, want
from console.feed.incidents import ListedIncident
from console.feed.pins import Pin
from console.parts import Part, iso_ms
from lakehouse.figures.usual import Comparison, UsualQuestion
from lakehouse.figures.words import in_all_text, standing
from lakehouse.rules import load_rules
from lakehouse.rules.figure import AlertFigure
from lakehouse.rules.minute import MINUTE
from lakehouse.texts import REASON_LETTERS, visible
from lakehouse.user_error import UserError

logger = logging.getLogger(__name__)


def figures_of(path: Path) -> Mapping[str, AlertFigure]:
    """What the alerts of each rule of a file are about, by its name; none where the file cannot be read.

    Ingest and the notifier refuse such a file: a console that would not start either helps nobody.
    """
    try:
        rules = load_rules(path) if path.exists() else ()
    except UserError as error:
        logger.warning("incidents do not say what is usual: %s", error)
        return {}
    return {rule.name: about for rule in rules if (about := rule.about) is not None}


TRADE = AlertFigure(table="orders_revenue_per_minute", column="orders_count", unit="orders", fewer=True)
"""What an outage costs, whatever it is of: how many orders there are meanwhile, beside what is usual."""


@dataclass(frozen=True)
class IncidentFigure:
    """Of one incident at one commit."""

    incident: ListedIncident
    figure: AlertFigure
    compared: Comparison

    @property
    def limit(self) -> float | None:
        return self.incident.threshold if self.figure.limited else None


@dataclass(frozen=True)
class IncidentConversion:
    """Of each minute from `first` on: the part of those who clicked in it that ordered in it too (percent); None where
    nobody clicked."""

    incident: ListedIncident
    first: datetime
    values: tuple[float | None, ...]


class ConversionDesk:
    """Asks how many of those who came order while an incident lasts, and keeps its last answer as a FigureDesk does."""

    def __init__(self, answer: Callable[[Want], Got | None]) -> None:
        self._answer = answer
        self._asked: Want | None = None
        self.held: IncidentConversion | None = None
        self.error: str | None = None

    def look(self, incident: ListedIncident, pin: Pin, span: tuple[datetime, datetime] | None) -> bool:
        """Take what is known of the whole minutes of a span at a commit; whether that is something new."""
        before = self.held
        if before is not None and before.incident.incident_id != incident.incident_id:
            self.held = self.error = self._asked = None
        if span is not None:
            wanted = want("conversion_minutes", pin.commit, since=span[0], until=span[1])
            got = self._answer(wanted) if wanted != self._asked else None
            if got is not None:
                self.error = got.error
                if got.table is not None:
                    self._asked = wanted
                    self.held = IncidentConversion(incident, span[0], _percent(got.table, span))
        return self.held is not before

    def part(self) -> Part:
        """As a FigureDesk's: it says nothing in words."""
        error = self.error and visible(self.error, REASON_LETTERS)
        return {"facts": [], "error": error, "drawn": self.held is not None}


def _percent(rows: pa.Table, span: tuple[datetime, datetime]) -> tuple[float | None, ...]:
    found = {row["moment"]: 100 * row["buyers"] / row["users"] for row in rows.to_pylist() if row["users"]}
    return tuple(found.get(span[0] + minute * MINUTE) for minute in range((span[1] - span[0]) // MINUTE))


class FigureDesk:
    """Asks for a figure of the incident that is looked at, and keeps its last answer while the next is awaited.

    figure_of: which figure that is; None where an incident has none.
    """

    def __init__(
        self, figure_of: Callable[[ListedIncident], AlertFigure | None], answer: Callable[[Want], Got | None]
    ) -> None:
        self._figure_of = figure_of
        self._answer = answer
        self._asked: Want | None = None
        self._incident = ""
        self.held: IncidentFigure | None = None
        self.error: str | None = None

    def look(self, incident: ListedIncident, pin: Pin) -> bool:
        """Take what is known of an incident's figure at a commit; whether that is something new."""
        before = self.held
        if incident.incident_id != self._incident:
            # Neither the figure nor the failure of another is this one's.
            self._incident = incident.incident_id
            self.held = self.error = self._asked = None
        figure = self._figure_of(incident)
        ended_at = incident.resolved_at
        if figure and incident.state == "old":
            # It was over when it came in, and nothing says when; nor has it a row that would.
            ended_at = incident.newest_at + figure.lag
        question = figure and UsualQuestion.of(
            figure,
            incident.service_name or None,
            starts_at=incident.starts_at,
            ended_at=ended_at,
            now=pin.as_of,
        )
        if not figure or not question:
            self.held = self.error = self._asked = None
            return before is not None
        wanted = want("usual", pin.commit, **question.binds)
        if wanted != self._asked:
            got = self._answer(wanted)
            if got is not None:
                self.error = got.error
                if got.table is not None:
                    self._asked = wanted
                    self.held = IncidentFigure(incident, figure, question.answer(got.table))
        return self.held is not before

    def part(self, incident: ListedIncident, currency: str) -> Part:
        """Words, each with a time that stands behind them, and the sentence of why there are none."""
        held = self.held
        facts: list[list[str | None]] = []
        if held is not None and incident.state == "resolved":
            words = in_all_text(held.figure, held.compared, currency)
            facts = [[words, None]] if words else []
        elif held is not None:
            said = standing(held.figure, held.compared, incident.threshold, currency)
            facts = [[words, iso_ms(at)] for words, at in said]
        error = self.error and visible(self.error, REASON_LETTERS)
        return {"facts": facts, "error": error, "drawn": held is not None}
