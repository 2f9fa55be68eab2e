"""What a sample holds, and what its source and its topic of the log are called."""

from __future__ import annotations

import re

from lakehouse.sources.envelope import Envelope
from tillwatch.init import names
from tillwatch.init.choices import ORDERS
from tillwatch.init.sample import Sample


def guess_topic(sample: Sample) -> str:
    """What the messages are: refunds, errors and clicks where names say so, else orders."""
    words = [column.words for column in sample.columns]

    def named(topic: str, *fields: str) -> bool:
        return all(any(names.rank(each, names.NAMES[topic][name]) is not None for each in words) for name in fields)

    amounts = named(ORDERS, "order_total") or named(ORDERS, "price")
    if any(each.startswith("refund") for each in words) and not named(ORDERS, "quantity"):
        return "refunds_topic"
    if named("errors_topic", "severity", "error_message") and not amounts:
        return "errors_topic"
    if named("clicks_topic", "url") and not amounts:
        return "clicks_topic"
    return ORDERS


def name_of(sample: Sample) -> str:
    """A source's name: the table's that a change is of, else the file's."""
    table = sample.columns.by_path.get("source.table")
    of = table.given[0] if table is not None and table.given else sample.file.name.partition(".")[0]
    found = re.sub(r"[^A-Za-z0-9_-]+", "_", of).strip("_-")[:60]
    return found if re.match(r"[A-Za-z]", found) else f"shop_{found}".strip("_")


def log_topic_of(sample: Sample) -> str | None:
    """The log's topic that Debezium gives a table's changes."""
    if sample.envelope is not Envelope.DEBEZIUM:
        return None
    columns = sample.columns.by_path
    parts = [
        columns[path].given[0]
        for path in ("source.name", "source.schema" if _given(sample, "source.schema") else "source.db", "source.table")
        if _given(sample, path)
    ]
    found = ".".join(parts)
    return found if len(parts) == 3 and re.fullmatch(r"[A-Za-z0-9._-]{1,249}", found) else None


def _given(sample: Sample, path: str) -> bool:
    column = sample.columns.by_path.get(path)
    return column is not None and bool(column.given)
