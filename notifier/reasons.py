"""Why alerts go where they go, or nowhere, in few lines for the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from notifier.routing.decide import Decision
from notifier.text import line

type Decided = tuple[str, Decision]
"""An incident, and what was decided of it at one place."""

MOST = 20
"""Sentences of one look for alerts; in a storm nearly all incidents share one."""
NAMED = 3
"""Incidents that a sentence names."""


def reasons(decided: Iterable[Decided]) -> Iterator[str]:
    """Each decision with the incidents that it was made of: where, by which route, and what mutes it by its name."""
    found: dict[str, dict[str, None]] = {}
    for incident_id, decision in decided:
        found.setdefault(decision.said, {})[incident_id] = None
    for said, incidents in list(found.items())[:MOST]:
        named = ", ".join(line(incident, 60) for incident in list(incidents)[:NAMED])
        more = f" and {len(incidents) - NAMED} more" if len(incidents) > NAMED else ""
        yield f"{line(said, 300)}: {named}{more}"
    if len(found) > MOST:
        yield f"{len(found) - MOST} more decisions are in the ledger"
