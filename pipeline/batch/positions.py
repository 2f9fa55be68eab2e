"""How far each partition is read: what a start finds, what is lost, what a publish writes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from lakehouse.clock import CLOCK_SLACK
from lakehouse.kafka import Ends
from lakehouse.rules.minute import Span
from lakehouse.sources import Sources
from lakehouse.user_error import UserError
from pipeline.batch.log import Log, Partition, Seen
from pipeline.batch.times import EPOCH

logger = logging.getLogger("tillwatch.ingest")


@dataclass
class Position:
    """How far one partition is read. Times are UTC."""

    next_offset: int
    read_to: datetime | None = None
    first_event_at: datetime | None = None


type Positions = dict[Partition, Position]


@dataclass
class Standing:
    """Where the last publish stands, as far as rows of ingest_positions tell.

    `lost` are spans of log time whose messages the log dropped unread, a topic; `lost_counts` how many, until a publish
    says so in pipeline_metrics.
    """

    positions: Positions = field(default_factory=dict)
    newest_ingested: datetime = EPOCH
    as_of: datetime | None = None
    lost: dict[str, list[Span]] = field(default_factory=dict)
    lost_counts: Counter[tuple[str, str]] = field(default_factory=Counter)


def stand(rows: Iterable[Mapping[str, Any]], log: Log, seen: Seen, now: datetime) -> Standing:
    """Where to go on. Raises UserError where the clock or the log is not the one that the tables were made with."""
    rows = list(rows)
    newest = max((row["updated_at"] for row in rows), default=EPOCH)
    if newest - now > CLOCK_SLACK:
        raise UserError(
            f"The newest rows were ingested at {newest:%Y-%m-%d %H:%M:%S} UTC, but this machine's clock says "
            f"{now:%Y-%m-%d %H:%M:%S} UTC; set the clock right and start again."
        )
    found = Standing({partition: Position(ends.first) for partition, ends in seen.ends.items()}, newest)
    read_before = set()
    for row in rows:
        partition = (row["topic"], row["source_partition"])
        if partition not in seen.ends or row["cluster_id"] != log.identity(row["topic"]):
            continue
        read_before.add(row["topic"])
        ends = seen.ends[partition]
        if row["next_offset"] > ends.end:
            raise UserError(log.ends_before(partition, row["next_offset"], ends.end))
        read_to = None if row["read_to"] is None else min(row["read_to"], now)
        position = Position(row["next_offset"], read_to, row["first_event_at"])
        if position.next_offset < ends.first:
            _lose(found, partition, position, ends, now)
        found.positions[partition] = position
    # KPIs were made up to the as_of of the last publish, whatever log that was read from.
    reads = [row["read_to"] for row in rows]
    found.as_of = min(reads) if reads and None not in reads else None
    for (topic, _), position in found.positions.items():
        if topic in read_before and position.read_to is None:
            position.read_to = found.as_of
    return found


def _lose(found: Standing, partition: Partition, position: Position, ends: Ends, now: datetime) -> None:
    """What lies before the log's first offset is lost; say so and go on."""
    topic, number = partition
    logger.error(
        "%s partition %d: offsets %d to %d are lost, the log begins at %d",
        topic,
        number,
        position.next_offset,
        ends.first - 1,
        ends.first,
    )
    found.lost_counts[topic, "lost"] += ends.first - position.next_offset
    if position.read_to is not None:
        found.lost.setdefault(topic, []).append((position.read_to, now))
    position.next_offset = ends.first


def copied(positions: Mapping[Partition, Position]) -> Positions:
    return {partition: replace(position) for partition, position in positions.items()}


def as_of(positions: Mapping[Partition, Position]) -> datetime | None:
    """The smallest read_to; None while a partition has none."""
    reads = [position.read_to for position in positions.values()]
    known = [read for read in reads if read is not None]
    return min(known) if known and len(known) == len(reads) else None


def of_topic(positions: Mapping[Partition, Position], sources: Sources) -> dict[str, Positions]:
    """Those of all that feeds a topic of ours, a topic."""
    found: dict[str, Positions] = {}
    for partition, position in positions.items():
        for topic in sources.feeds.get(partition[0], ()):
            found.setdefault(topic, {})[partition] = position
    return found


def lag(positions: Mapping[Partition, Position], seen: Seen) -> dict[Partition, int]:
    """Messages that are in the log and not yet read."""
    return {
        partition: max(0, ends.end - positions[partition].next_offset)
        for partition, ends in seen.ends.items()
        if partition in positions
    }


def position_rows(
    positions: Mapping[Partition, Position], sources: Sources, log: Log, updated_at: datetime
) -> list[dict[str, Any]]:
    """Rows of ingest_positions.

    Those of a topic of ours say how far all that feeds it is read, and when its first event was: readers know no other.
    """
    positions = copied(positions)
    for topic, feeding in of_topic(positions, sources).items():
        read_to, firsts = as_of(feeding), [each.first_event_at for each in feeding.values() if each.first_event_at]
        for partition, position in positions.items():
            if partition[0] == topic and len({place[0] for place in feeding}) > 1:
                position.read_to = read_to
                position.first_event_at = min(firsts, default=None)
    return [
        {
            "cluster_id": log.identity(topic),
            "topic": topic,
            "source_partition": number,
            "next_offset": position.next_offset,
            "read_to": position.read_to,
            "first_event_at": position.first_event_at,
            "updated_at": updated_at,
        }
        for (topic, number), position in sorted(positions.items())
    ]
