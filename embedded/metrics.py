"""Everything ingest shows on :5009/metrics, by name, meaning and unit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

from lakehouse.events import TOPICS

OUTCOMES = ("good", "bad", "duplicate", "key_conflict", "lost")

# Events read, by topic and what became of them (count). key_conflict: same key, another time; a lower bound.
EVENTS = Counter("tillwatch_ingest_events", "Events by topic and outcome", ["topic", "outcome"])
# Seconds of each phase of a batch.
PHASE = Histogram(
    "tillwatch_ingest_phase_seconds",
    "Seconds of each phase of a batch",
    ["phase"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
# Publishes made (count).
PUBLISHES = Counter("tillwatch_ingest_publishes", "Publishes made")
# Log time up to which all topics are in (seconds since the epoch).
AS_OF = Gauge("tillwatch_ingest_as_of_seconds", "Log time up to which all topics are in")
# Messages in the log that are not published (count).
LAG = Gauge("tillwatch_ingest_lag", "Messages not yet published", ["topic"])
# Batches that failed and were begun again (count).
FAILURES = Counter("tillwatch_ingest_failures", "Batches that failed and were begun again")
# Seconds of a maintenance run.
MAINTENANCE = Histogram(
    "tillwatch_ingest_maintenance_seconds", "Seconds of a maintenance run", buckets=(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
)

for _topic in TOPICS:
    LAG.labels(_topic)
    for _outcome in OUTCOMES:
        EVENTS.labels(_topic, _outcome)
for _phase in ("read", "kpis", "write", "publish"):
    PHASE.labels(_phase)


def published(as_of: datetime, lag: Mapping[str, int]) -> None:
    """Note one publish."""
    PUBLISHES.inc()
    AS_OF.set(as_of.timestamp())
    for topic, rows in lag.items():
        LAG.labels(topic).set(rows)
