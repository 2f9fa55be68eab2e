"""Incidents of rules that ask: they have no row in the table alerts, so they are joined from what the notifier says.

And its words for those of the table whose alerts the console does not read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from console.feed.incidents import ListedIncident, in_order
from console.on_call.watch import Duty
from lakehouse.oncall import OnCallIncident
from lakehouse.rules import load_rules
from lakehouse.user_error import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class KnownIncidents:
    """incidents: those that are known. error: why they are left out; None where they are not, or there can be none.

    known: what the notifier said last of any incident, by id.
    """

    incidents: tuple[ListedIncident, ...] = ()
    error: str | None = None
    known: Mapping[str, OnCallIncident] = field(default_factory=dict)

    def get(self, incident_id: str) -> ListedIncident | None:
        return next((each for each in self.incidents if each.incident_id == incident_id), None)

    def within(self, since: datetime, until: datetime) -> list[ListedIncident]:
        """Those that were open, or touched, in [since, until)."""
        return [
            each
            for each in self.incidents
            if each.starts_at < until and (each.state == "open" or each.touched_at >= since)
        ]


def any_asks(path: Path) -> bool:
    """Whether a rule of the file asks; not where it cannot be read, as the notifier would not start with it."""
    try:
        return path.exists() and any(rule.asks for rule in load_rules(path))
    except UserError as error:
        logger.warning("nobody knows whether there are rules that ask: %s", error)
        return False


# Pages look at the same moment: the first one pays.
@lru_cache(maxsize=8)
def asked_of(duty: Duty, as_of: datetime | None, asks: bool) -> KnownIncidents:
    """What the notifier said of them last, as they stood at as_of (None: now). asks: whether there are such rules."""
    if duty.error is not None:
        # What was known of before may be over by now.
        known = asks or any(each.source == "question" for each in duty.incidents.values())
        return KnownIncidents(error=duty.error if known else None, known=duty.incidents)
    found = [each for each in duty.incidents.values() if each.source == "question"]
    listed = tuple(_listed(each, as_of) for each in found if as_of is None or each.starts_at <= as_of)
    return KnownIncidents(listed, known=duty.incidents)


def with_asked(
    found: tuple[ListedIncident, ...], asked: KnownIncidents, since: datetime, until: datetime
) -> tuple[ListedIncident, ...]:
    """The incidents of the table, and those of rules that ask of [since, until), in order."""
    found = tuple(_worded(each, asked.known.get(each.incident_id)) if each.unread else each for each in found)
    more = asked.within(since, until)
    return tuple(in_order([*found, *more])) if more else found


def left_out(asked: KnownIncidents) -> Iterable[str]:
    """The sentence that says so, where they are."""
    if asked.error:
        yield f"those of rules that ask are left out: {asked.error}"


def _worded(incident: ListedIncident, known: OnCallIncident | None) -> ListedIncident:
    if known is None:
        return incident
    return replace(
        incident,
        description=known.description or incident.description,
        firings=known.alerts,
        newest_at=known.newest_at,
        runbook_url=known.runbook_url or "",
        threshold=known.threshold,
    )


def _listed(incident: OnCallIncident, as_of: datetime | None) -> ListedIncident:
    resolved_at = incident.resolved_at
    if as_of is not None and resolved_at is not None and resolved_at > as_of:
        resolved_at = None
    return ListedIncident(
        incident_id=incident.incident_id,
        rule=incident.rule,
        service_name=incident.service_name or "",
        severity=incident.severity,
        description=incident.description or incident.summary or incident.rule,
        state="open" if resolved_at is None else "resolved",
        firings=incident.alerts,
        starts_at=incident.starts_at,
        newest_at=incident.newest_at,
        resolved_at=resolved_at,
        touched_at=resolved_at or incident.newest_at,
        runbook_url=incident.runbook_url or "",
        threshold=incident.threshold,
        asked=True,
    )
