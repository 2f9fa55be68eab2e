"""What could not be read: by topic and reason with one of them, and one by one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from console.feed.numbers import exactly
from console.parts import Part, iso_ms
from console.tab import ListColumn, RowList
from lakehouse.decode import REASONS
from lakehouse.texts import visible

SEARCHED = ("topic", "reason", "detail")
WHERE_IT_WAS = "topic, source_partition, source_offset DESC"
"""What orders letters that are equal in what they are ordered by."""
PAYLOAD_SHOWN = 400
USUAL_SINCE = timedelta(days=1)
"""How far the command looks back by itself."""

LETTERS = RowList(
    "dead_letters",
    "Dead letters",
    (
        ListColumn("Newest", "newest_at", "time"),
        ListColumn("Topic", "topic"),
        ListColumn("Reason", "reason", hover="{meaning}"),
        ListColumn("Count", "count", "number"),
        ListColumn("The newest of them", "sample", hover="{sample}", css="wide"),
        ListColumn("Send them again", "again", hover="to correct them first: {show}", css="wide"),
    ),
    "Every message of this range could be read.",
    exports="letters",
    also=("samples",),
)
REJECTED = RowList(
    "dead_letter_rows",
    "Each dead letter",
    (
        ListColumn("Received", "at", "time", sort="received_at"),
        ListColumn("Topic", "topic", sort="topic"),
        ListColumn("Partition", "partition", "number", css="spare", sort="source_partition"),
        ListColumn("Offset", "offset", "number", css="spare", sort="source_offset"),
        ListColumn("Reason", "reason", hover="{meaning}", sort="reason"),
        ListColumn("Why", "why", hover="{why}", css="wide", sort="detail"),
        ListColumn("Message", "text", hover="{text}", css="wide"),
    ),
    "No dead letter matches. Widen the range, or take a filter away.",
    long=True,
    exports="letter_rows",
    also=("letters",),
)


def by_reason(row: Mapping[str, Any], samples: Iterable[Mapping[str, Any]], since: datetime, now: datetime) -> Part:
    """A row a topic and reason; `since` is where the range begins."""
    of_this = (one for one in samples if (one["topic"], one["reason"]) == (row["topic"], row["reason"]))
    sample = next(of_this, None)
    text = ""
    if sample is not None:
        payload = _text(sample["payload"])
        text = visible(f"{sample['detail']}: {payload}" if payload else sample["detail"])
    which = f"--topic {row['topic']} --reason {row['reason']}{_looking_back(now - since)}"
    command = "tillwatch producers dead-letters"
    return {
        "key": f"{row['topic']} {row['reason']}",
        "newest_at": iso_ms(row["newest_at"]),
        "topic": visible(row["topic"]),
        "reason": row["reason"],
        "meaning": REASONS.get(row["reason"], ""),
        "count": exactly(row["letters"]),
        "sample": text,
        "again": visible(f"{command} replay {which}"),
        "show": visible(f"{command} show {which} > letters.jsonl, then {command} replay --file letters.jsonl"),
    }


def letter_row(row: Mapping[str, Any]) -> Part:
    return {
        "key": f"{row['topic']}:{row['source_partition']}:{row['source_offset']} {iso_ms(row['received_at'])}",
        "at": iso_ms(row["received_at"]),
        "topic": visible(row["topic"]),
        "partition": row["source_partition"],
        "offset": exactly(row["source_offset"]),
        "reason": row["reason"],
        "meaning": REASONS.get(row["reason"], ""),
        "why": visible(row["detail"]),
        "text": visible(_text(row["payload"])),
    }


def _text(payload: bytes | None) -> str:
    return (payload or b"")[:PAYLOAD_SHOWN].decode("utf-8", "replace")


def _looking_back(length: timedelta) -> str:
    """What makes the command look back as far as the range begins."""
    return f" --since {math.ceil(length / timedelta(days=1))}d" if length > USUAL_SINCE else ""
