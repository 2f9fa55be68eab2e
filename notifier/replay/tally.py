"""What a simulation comes to, and how two of them differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from notifier.clock import from_ms
from notifier.model import FATAL, Incident, MessageKind, Target
from notifier.replay.simulation import Simulation


@dataclass(frozen=True)
class Missed:
    """A FATAL incident that nobody was told of, and what muted it, or that no route took it: by route and reason."""

    incident: Incident
    reasons: tuple[str, ...]

    def shown(self) -> dict[str, Any]:
        return {
            "incident_id": self.incident.incident_id,
            "rule": self.incident.rule,
            "service_name": self.incident.service_name,
            "starts_at": from_ms(self.incident.starts_ms).isoformat(),
            "alerts": self.incident.alerts,
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True)
class MessageTally:
    """messages: what people read, and hours, of each hour; edits: changes of what they read before."""

    messages: Counter[Target]
    edits: Counter[Target]
    hours: Counter[tuple[datetime, Target]]
    incidents: int
    missed: tuple[Missed, ...]

    def shown(self, places: list[Target]) -> dict[str, Any]:
        return {
            "incidents": self.incidents,
            "destinations": [
                {
                    "channel": target.channel,
                    "destination": target.destination,
                    "messages": self.messages[target],
                    "edits": self.edits[target],
                    "by_hour": {hour.isoformat(): count for (hour, at), count in self.hours.items() if at == target},
                }
                for target in places
            ],
            "missed": [missed.shown() for missed in self.missed],
        }


def tally(simulation: Simulation) -> MessageTally:
    """Of one that has run."""
    messages: Counter[Target] = Counter()
    edits: Counter[Target] = Counter()
    hours: Counter[tuple[datetime, Target]] = Counter()
    for message in simulation.messages:
        if message.kind is MessageKind.EDIT:
            edits[message.target] += 1
        else:
            messages[message.target] += 1
            hours[message.at.replace(minute=0, second=0, microsecond=0), message.target] += 1
    ledger = simulation.ledger
    reasons: dict[str, list[str]] = {}
    for draft in ledger.listed.values():
        detail = f"({draft.detail})" if draft.detail else ""
        reasons.setdefault(draft.incident_id, []).append(f"{draft.route or 'no route'}: {draft.muted}{detail}")
    missed = tuple(
        Missed(incident, tuple(sorted(set(reasons.get(incident.incident_id, ())))))
        for incident in ledger.incidents.values()
        if incident.severity == FATAL and incident.told_ms is None and not incident.old
    )
    return MessageTally(messages, edits, hours, len(ledger.incidents), missed)
