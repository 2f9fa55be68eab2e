"""Everything ingest shows on :5009/metrics, by name, meaning and unit: the embedded one and the Spark driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from statistics import fmean

from prometheus_client import Counter, Gauge, Histogram

from lakehouse.topics import TOPICS

OUTCOMES = ("good", "bad", "duplicate", "key_conflict", "late", "lost", "clock_ahead", "left_out")

# Events read, by topic and what became of them (count). late: also good; its minute had been judged already.
# clock_ahead: also one of the others; its log time lay over 60 s ahead of this machine's clock. left_out: messages of
# which a source (config/sources.yaml) makes no event.
EVENTS = Counter("tillwatch_ingest_events", "Events by topic and outcome", ["topic", "outcome"])
# Seconds of each phase of a batch: read, decode, dedupe, raw, kpis, alerts, stage, publish.
PHASE = Histogram(
    "tillwatch_ingest_phase_seconds",
    "Seconds of each phase of a batch",
    ["phase"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
# Seconds of a whole batch, and what it may take: a pipeline whose batches take longer than the trigger falls behind.
BATCH = Histogram(
    "tillwatch_ingest_batch_seconds",
    "Seconds from a batch's begin to its publish",
    buckets=(0.1, 0.2, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60),
)
TRIGGER = Gauge("tillwatch_ingest_trigger_seconds", "Seconds from one batch's begin to the next one's")
# Publishes made (count).
PUBLISHES = Counter("tillwatch_ingest_publishes", "Publishes made")
# When the last one was made (seconds since the epoch): one that is older than three heartbeats is news.
PUBLISHED_AT = Gauge("tillwatch_ingest_published_at_seconds", "When the last publish was made")
# Log time up to which all topics are in (seconds since the epoch).
AS_OF = Gauge("tillwatch_ingest_as_of_seconds", "Log time up to which all topics are in")
# Messages in the log that are not published (count): by topic of ours, and by topic of the log and partition.
LAG = Gauge("tillwatch_ingest_lag", "Messages not yet published", ["topic"])
PARTITION_LAG = Gauge("tillwatch_ingest_partition_lag", "Messages not yet published", ["topic", "partition"])
# Whether Kafka's log ends could be asked just now (0 or 1).
LOG_READABLE = Gauge("tillwatch_ingest_log_readable", "Whether Kafka answered when last asked how far its topics reach")
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


class Spans:
    """Seconds that batches spent in each phase, and whole, since they were last told."""

    def __init__(self) -> None:
        self._spent: dict[str, list[float]] = {}

    def add(self, phases: Mapping[str, float], batch: float) -> None:
        """Count one batch, here and on the page."""
        for phase, seconds in phases.items():
            PHASE.labels(phase).observe(seconds)
        BATCH.observe(batch)
        for name, seconds in {**phases, "batch": batch}.items():
            self._spent.setdefault(f"{name}_seconds", []).append(seconds)

    def means(self) -> list[tuple[str, str, float]]:
        """(topic, metric, value) as a row of pipeline_metrics has them: of all topics."""
        return [("", name, fmean(spent)) for name, spent in self._spent.items()]

    def clear(self) -> None:
        self._spent.clear()


def published(as_of: datetime | None) -> None:
    """Note one publish."""
    PUBLISHES.inc()
    PUBLISHED_AT.set_to_current_time()
    if as_of is not None:
        AS_OF.set(as_of.timestamp())


def show_lag(partitions: Mapping[tuple[str, int], int], fed: Callable[[str], Sequence[str]]) -> None:
    """Note how much of each partition waits; `fed`: the topics that a topic of the log feeds."""
    sums = dict.fromkeys(TOPICS, 0)
    for (log_topic, partition), rows in partitions.items():
        PARTITION_LAG.labels(log_topic, str(partition)).set(rows)
        for topic in fed(log_topic):
            sums[topic] += rows
    for topic, rows in sums.items():
        LAG.labels(topic).set(rows)
