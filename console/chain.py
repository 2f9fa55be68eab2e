"""The way of an event from its producer to a screen: what each leg takes now, and its limit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from console.drill.tab import Pulse
from console.feed.numbers import THIN, short
from console.parts import Part
from console.tab import ListColumn, RowList
from console.words import STALE_S
from lakehouse.clock import CLOCK_SLACK
from lakehouse.texts import visible

MEASURED = ("lag", "to_log_seconds", "batch_seconds")
"""What of ingest's figures the chain shows."""
TO_LOG_S = 5.0
WAITING = 40_000.0
"""Messages: as many as ingest takes of a topic at a time. More than that, and it does not keep up."""
LATE_S = 10.0
"""A partition that was not read to the end for so long lags."""
BATCH_S = 2.0
LOOK_S = 1.0
STATEMENTS = 3000.0
"""A minute: four looks a second, and the questions of all tabs at a commit of each second."""
TICK_S = 0.25
VIEWERS = 200.0
"""Pages that one console holds."""

CHAIN = RowList(
    "chain",
    "From event to screen",
    (
        ListColumn("Part", "part"),
        ListColumn("State", "state_words", css="state"),
        ListColumn("Now", "now", "number"),
        ListColumn("Limit", "limit", "number"),
        ListColumn("What it is", "words", hover="{words}", css="wide"),
    ),
    "Nothing is known yet.",
    also=("newest", "positions", "ahead"),
)


class Link(NamedTuple):
    """A part of the chain: what it takes now and at most, in words of its own; unit s, or none for a count."""

    part: str
    now: float | None
    limit: float
    words: str
    unit: str = "s"


def links(
    measured: Iterable[Mapping[str, Any]],
    positions: Iterable[Mapping[str, Any]],
    ahead: Iterable[Mapping[str, Any]],
    pulse: Pulse,
    now: datetime,
) -> Iterator[Link]:
    """In the order in which an event goes; then what is of all of it. `measured`, `positions` and `ahead` are answers
    to pipeline_newest, pipeline_positions and clock_ahead."""
    newest: dict[str, list[tuple[float, str]]] = {}
    for row in measured:
        newest.setdefault(row["metric"], []).append((row["value"], visible(row["topic"])))
    took = max(newest.get("to_log_seconds", []), default=None)
    of = f", slowest for {took[1]}" if took else ""
    yield Link(
        "event to log", took and took[0], TO_LOG_S, f"from being sent to being in the log, mean of the last minute{of}"
    )
    unread = sum(value for value, _ in newest["lag"]) if "lag" in newest else None
    yield Link("in the log", unread, WAITING, "messages that ingest had not read when it last told", "")
    behind = [behind_s(row) for row in positions if row["read_to"] is not None]
    worst = max(behind, default=None)
    yield Link("log to ingest", worst, LATE_S, "how far reading is behind the log, at the worst partition")
    batch = next((value for value, _ in newest.get("batch_seconds", [])), None)
    yield Link("ingest to publish", batch, BATCH_S, "a batch, from reading to its commit, mean of the last minute")
    yield Link("publish to poll", pulse.asked_s, LOOK_S, "all questions of the open tabs at a new commit")
    yield Link("poll to screen", pulse.tick_s, TICK_S, "drawing what is new on one page, mean")
    age = None if pulse.as_of is None else max(0.0, (now - pulse.as_of).total_seconds())
    # Rounded, so that an age that only grows is not sent at every tick.
    yield Link("newest commit", None if age is None else float(int(age)), STALE_S, "age of the newest commit")
    yield _clock(ahead)
    yield Link("statements", pulse.statements, STATEMENTS, "statements a minute, whoever looks", "")
    yield Link("viewers", float(pulse.viewers), VIEWERS, "pages that are open", "")


def _clock(rows: Iterable[Mapping[str, Any]]) -> Link:
    told = [row for row in rows if row["messages"]]
    most = max((float(row["ahead_s"]) for row in told), default=0.0)
    words = "how far log times lay ahead of ingest's clock in the last hour, at most"
    if told:
        topics = ", ".join(visible(row["topic"]) for row in told)
        words += f": {short(float(sum(row['messages'] for row in told)), 0)} messages of {topics}"
    return Link("clock of the log", most, CLOCK_SLACK.total_seconds(), words)


def behind_s(row: Mapping[str, Any]) -> float:
    """How far a partition was read behind its publish."""
    behind: timedelta = row["updated_at"] - row["read_to"]
    return max(0.0, behind.total_seconds())


def seconds(value: float) -> str:
    return f"{short(value, 2)}{THIN}s"


def link_row(one: Link) -> Part:
    state = "none" if one.now is None else "open" if one.now > one.limit else "resolved"
    said = {"none": "n/a", "open": "over its limit", "resolved": "ok"}

    def words(value: float) -> str:
        return seconds(value) if one.unit else short(value, 0)

    return {
        "key": one.part,
        "part": one.part,
        "state": state,
        "state_words": said[state],
        "now": None if one.now is None else words(one.now),
        "limit": words(one.limit),
        "words": one.words,
    }
