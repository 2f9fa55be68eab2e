"""What executors do in Python: from Kafka's messages to rows of events, batch by batch of Arrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lakehouse.decode import EVENT_TYPES, Event, Message, Rejected
from lakehouse.sources import Sources, topic_of
from lakehouse.tables import arrow_schema
from lakehouse.topics import TOPICS, Topic

_COORDINATES = pa.schema(
    [
        pa.field("topic", pa.string()),
        pa.field("log_topic", pa.string()),
        pa.field("source_partition", pa.int32()),
        pa.field("source_offset", pa.int64()),
        pa.field("received_at", pa.timestamp("us", "UTC")),
        pa.field("log_time", pa.bool_()),
        pa.field("place", pa.int32()),
        pa.field("left_out", pa.bool_()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("payload", pa.binary()),
        pa.field("alerting", pa.bool_()),
        pa.field("event_at", pa.timestamp("us", "UTC")),
    ]
)
_LATER = ("ingested_at", "source_partition", "source_offset")
_EPOCH = datetime.fromtimestamp(0, UTC)


def columns_of(topics: Mapping[str, Topic]) -> dict[str, dict[str, str]]:
    """By topic, its raw table's columns that an event fills and what they are called in DECODED.

    Topics share a column where name and type are the same; else it is called COLUMN_of_TOPIC. The event's time is
    `event_at` of all.
    """
    types: dict[str, set[pa.DataType]] = {}
    for topic in topics.values():
        for field in arrow_schema(topic.table):
            types.setdefault(field.name, set()).add(field.type)
    taken = set(_COORDINATES.names)
    return {
        name: {
            column.name: "event_at"
            if column.name == topic.time_column
            else column.name
            if len(types[column.name]) == 1 and column.name not in taken
            else f"{column.name}_of_{name}"
            for column in topic.table.columns
            if column.name not in _LATER
        }
        for name, topic in topics.items()
    }


COLUMNS = columns_of(TOPICS)
DECLARED = repr([(topic.name, topic.fields, topic.time, topic.key) for topic in TOPICS.values()])
"""All topics as this process has read them."""


def _event_fields() -> list[pa.Field]:
    """The columns of DECODED that events fill, each once, without the event's time."""
    found: dict[str, pa.Field] = {}
    for name, topic in TOPICS.items():
        schema = arrow_schema(topic.table)
        for column, called in COLUMNS[name].items():
            if called != "event_at":
                found[called] = pa.field(called, schema.field(column).type)
    return list(found.values())


_EVENT_FIELDS = _event_fields()
DECODED = pa.schema([*_COORDINATES, *_EVENT_FIELDS])
"""One row an event, or a reason why a message, or a part of it, is none; columns of other topics are null.

A message has at least one row, of place 0; one that is `left_out` is all of a message of which a source makes no event.
`topic` is that of the event, or the first that the log's topic feeds.
`log_time` tells whether received_at is the log's own time; of messages from before a topic was switched to
LogAppendTime it is their producer's.
"""


def refuse_others(declared: str) -> None:
    """Raise ValueError where the driver has read other topics than this executor."""
    if declared != DECLARED:
        raise ValueError(
            "The executors know other topics than the driver: config/ of the driver must lie where they are too; "
            "spark.executorEnv.TILLWATCH_CONFIG in spark.conf names its settings file there."
        )


def decode_batch(
    batch: pa.RecordBatch,
    sources: Sources,
    max_event_age: timedelta | None,
    wanted: Mapping[str, Callable[[Event], bool]],
) -> pa.RecordBatch:
    """Rows of DECODED from messages, in their order. `wanted`: by topic, which events alert.

    Columns topic, partition, offset, timestamp, log_time, value; key and headers where they are there.
    """
    decoders = {log_topic: sources.decoder(log_topic, max_event_age) for log_topic in set(_topics(batch))}
    messages: list[int] = []  # of each row, the number of its message
    places: list[int] = []
    topics: list[str] = []
    left_out: list[bool] = []
    rejected: list[tuple[int, Rejected, bytes | None]] = []
    events: dict[str, list[Event]] = {topic: [] for topic in TOPICS}
    rows: dict[str, list[int]] = {topic: [] for topic in TOPICS}
    for number, (log_topic, message) in enumerate(_messages(batch)):
        first = sources.feeds[log_topic][0]
        found = decoders[log_topic](message)
        for event in found:
            if isinstance(event, Rejected):
                kept = message.value if event.kept is None else event.kept
                rejected.append((len(topics), event, kept))
                topics.append(first)
            else:
                topic = topic_of(event)
                events[topic].append(event)
                rows[topic].append(len(topics))
                topics.append(topic)
        if not found:
            topics.append(first)
        messages += [number] * (len(found) or 1)
        places += range(len(found) or 1)
        left_out += [not found] * (len(found) or 1)
    size = len(topics)
    at = {topic: np.array(held, np.int64) for topic, held in rows.items() if held}
    alerting = np.zeros(size, np.bool_)
    for topic, matches in wanted.items():
        if topic in at:
            alerting[at[topic]] = [matches(event) for event in events[topic]]
    names = [*(field.name for field in _EVENT_FIELDS), "event_at"]
    values: dict[str, list[tuple[NDArray[np.int64], pa.Array]]] = {name: [] for name in names}
    for topic in at:
        for column, called in COLUMNS[topic].items():
            given = [getattr(event, column) for event in events[topic]]
            values[called].append((at[topic], pa.array(given, DECODED.field(called).type)))
    bad = np.array([row for row, _, _ in rejected], np.int64)
    values["reason"] = [(bad, pa.array([str(found.reason) for _, found, _ in rejected], pa.string()))]
    values["detail"] = [(bad, pa.array([found.detail for _, found, _ in rejected], pa.string()))]
    values["payload"] = [(bad, pa.array([value for _, _, value in rejected], pa.binary()))]
    own = {"topic": topics, "place": places, "left_out": left_out}
    read = batch if messages == list(range(batch.num_rows)) else batch.take(pa.array(messages, pa.int64()))
    read = read.rename_columns([_COORDINATE_NAMES.get(name, name) for name in read.schema.names])
    columns = []
    for field in DECODED:
        if field.name == "alerting":
            columns.append(pa.array(alerting))
        elif field.name in own:
            columns.append(pa.array(own[field.name], field.type))
        elif field.name in values:
            columns.append(_scattered(values[field.name], size, field.type))
        else:
            columns.append(read.column(field.name).cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=DECODED)


_COORDINATE_NAMES = {
    "topic": "log_topic",
    "partition": "source_partition",
    "offset": "source_offset",
    "timestamp": "received_at",
}


def _scattered(parts: Sequence[tuple[NDArray[np.int64], pa.Array]], size: int, kind: pa.DataType) -> pa.Array:
    """A column of `size` rows from values and the rows they go to; the others are null."""
    place = np.full(size, -1, np.int64)
    begin = 0
    for rows, _ in parts:
        place[rows] = np.arange(begin, begin + len(rows))
        begin += len(rows)
    whole = pa.concat_arrays([values for _, values in parts]) if parts else pa.array([], kind)
    return whole.take(pa.array(place, mask=place < 0))


def _topics(batch: pa.RecordBatch) -> list[str]:
    """The log's topic of each row."""
    found: list[str] = batch.column("topic").to_pylist()
    return found


def _messages(batch: pa.RecordBatch) -> Iterator[tuple[str, Message]]:
    """Topic and message of each row."""
    none = [None] * batch.num_rows
    topics, payloads = _topics(batch), batch.column("value").to_pylist()
    times = batch.column("timestamp").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
    keys = batch.column("key").to_pylist() if "key" in batch.schema.names else none
    headers = batch.column("headers").to_pylist() if "headers" in batch.schema.names else none
    last, received_at = 0, _EPOCH
    for topic, value, us, key, given in zip(topics, payloads, times, keys, headers, strict=True):
        if us != last:  # a producer's batch has one time
            last, received_at = us, _EPOCH + timedelta(microseconds=us)
        named = tuple((header["key"], header["value"]) for header in given) if given else ()
        yield topic, Message(value, received_at, key, named)


def events_of(topic: str, rows: pa.Table) -> list[Event]:
    """The events of rows of DECODED that are of one topic and no rejected ones, in their order."""
    make, called = EVENT_TYPES[topic], COLUMNS[topic]
    names = [called[name] for name in make.__struct_fields__]
    return [make(*event) for event in zip(*(rows[name].to_pylist() for name in names), strict=True)]
