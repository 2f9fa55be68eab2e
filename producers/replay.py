"""Real data from files: CSV, text in columns, or JSON lines, sent as events of one topic.

The whole file is read and every line judged by lakehouse.events.decode before the first one is sent; it is held in
memory, some 500 bytes a line. A line's event_id is a hash of the file's content and the line's number: a second replay
of the same file at the same times adds nothing, and two equal lines stay two events.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lakehouse.events import (
    CLICKS_TOPIC,
    ERRORS_TOPIC,
    MAX_LEAD,
    ORDERS_TOPIC,
    TIME_FIELD,
    Event,
    Rejected,
    decode,
    event_time,
    parse_number,
)
from lakehouse.settings.base import Shared
from lakehouse.sinks import Sink
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from producers.formats import ID_FIELD, Columns, JsonLines, Values, Where, json_text
from producers.layout import Layout
from producers.pace import Clock, deliver, iso, paced

KEY_FIELD = {ORDERS_TOPIC: "user_id", CLICKS_TOPIC: "user_id", ERRORS_TOPIC: "service_name"}
_DIVISION = Context(prec=60, rounding=ROUND_HALF_UP)
END_OF_TIME = datetime.max.replace(tzinfo=UTC)
"""Later than any time, for decode: whether a line lies in the future is asked once its time is known."""


@dataclass(frozen=True)
class Lines:
    """A file's lines as events that are ready to be sent, in the file's order.

    A body is the JSON text without the event's time, without produced_at and without the closing brace. `content` is
    the hash of the file's content, `told` what a reader should know of how it was read, a sentence each.
    """

    file: Path
    topic: str
    times: list[datetime] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    content: bytes = b""
    told: list[str] = field(default_factory=list)

    def rebased(self, span: timedelta, anchor: datetime) -> Self:
        """The same with times mapped linearly onto [anchor - span, anchor]."""
        first, last = min(self.times), max(self.times)
        whole = (last - first) // _US
        if not whole:
            return replace(self, times=[anchor] * len(self.times))
        length, begin = span // _US, anchor - span
        return replace(
            self, times=[begin + timedelta(microseconds=(at - first) // _US * length // whole) for at in self.times]
        )

    def refuse_future(self, now: datetime) -> None:
        """Raise UserError where a time lies so far ahead that it would be rejected."""
        latest = max(range(len(self.times)), key=self.times.__getitem__)
        if self.times[latest] - now > MAX_LEAD:
            raise UserError(
                f"{self.file}, line {self.numbers[latest]}: {TIME_FIELD[self.topic]} would be "
                f"{_text(self.times[latest])}, which is yet to come; correct it, or use --rebase-to-now."
            )

    def refuse_stale(self, now: datetime) -> None:
        """Raise UserError where max_event_age would reject lines."""
        max_event_age = Shared.load().max_event_age
        if max_event_age is None:
            return
        stale = sum(now - at > max_event_age for at in self.times)
        if stale:
            raise UserError(
                f"{stale:,} of {len(self.times):,} lines of {self.file} are older than max_event_age "
                f"({max_event_age.total_seconds() / 86400:g} d) and would be rejected, the oldest of "
                f"{_text(min(self.times))}; set TILLWATCH_MAX_EVENT_AGE=off for every part, or use --rebase-to-now "
                "(with --anchor where an earlier replay's moment is too long ago)."
            )


_US = timedelta(microseconds=1)
_TOLD = 20


def read(file: Path, layout: Layout) -> Lines:
    """All lines of a file, each of them a valid event. Raises UserError naming file, line, column and value."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}; correct the path.") from None
    digest = blake2b(content, digest_size=32).digest()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}, line {line}: not UTF-8; convert the file. Nothing was sent.") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{file}, line {line}: a zero character, so it is no UTF-8 text; convert the file.")
    if layout.form != "csv":
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = Lines(file, layout.topic, content=digest)
    reader = JsonLines(file, layout) if layout.form == "jsonl" else Columns(file, layout)
    given = _Given()
    for number, values, where in reader.records(text):
        _add(lines, layout, number, values, where, given)
    if not lines.times:
        raise UserError(f"{file} holds no line of data; nothing was sent.")
    if reader.unused:
        more = f" and {len(reader.unused) - _TOLD:,} more" if len(reader.unused) > _TOLD else ""
        lines.told.append(f"Not used: {', '.join(reader.unused[:_TOLD])}{more}.")
    if given.without_id:
        lines.told.append(
            f"{given.without_id:,} lines have no {ID_FIELD[layout.topic]}: it is made of the file's content and the "
            "line's number."
        )
    return lines


@dataclass
class _Given:
    """What lines say of their identity: how many have no id, and by event_id and time the line and its values."""

    without_id: int = 0
    lines: dict[tuple[str, datetime], tuple[int, bytes]] = field(default_factory=dict)

    def refuse_two(self, event: Event, number: int, body: bytes, place: str) -> None:
        """Of two events of one event_id and time only the first would be stored."""
        first, before = self.lines.setdefault((event.event_key, event_time(event)), (number, body))
        if body != before:
            raise UserError(
                f"{place}: event_id '{event.event_key}' and time are those of line {first}, and other values are not: "
                "only one of the two would be stored. Nothing was sent; correct one."
            )


def replay(lines: Lines, sink: Sink, clock: Clock, stop: Stop, rate: float | None = None) -> int:
    """Send the lines in order of their times, `rate` a second; how many were sent. Raises SinkError.

    produced_at is the moment of sending. On a terminal a bar shows how far it is.
    """
    name = TIME_FIELD[lines.topic]
    # By time and not by line: the CDNOW file is sorted by customer, and every batch would touch all its 545 days.
    order = sorted(range(len(lines.times)), key=lines.times.__getitem__)
    sent = 0
    with _bar(lines) as advance:
        for batch in paced(len(order), rate, clock, stop):
            produced_at = iso(clock.now())
            for place in batch:
                index = order[place]
                sink.send(
                    lines.topic, lines.keys[index], _value(lines.bodies[index], name, lines.times[index], produced_at)
                )
            deliver(sink, clock, stop)
            sent += len(batch)
            advance(len(batch))
    return sent


def _value(body: bytes, time_field: str, time: datetime, produced_at: str) -> bytes:
    return b'%b,"%b":"%b","produced_at":"%b"}' % (
        body,
        time_field.encode(),
        _text(time).encode(),
        produced_at.encode(),
    )


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


@contextmanager
def _bar(lines: Lines) -> Iterator[Callable[[int], None]]:
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(lines.file.name, total=len(lines.times))
        yield lambda count: progress.advance(task, count)


# One line -----------------------------------------------------------------------------------------------------------


def _add(lines: Lines, layout: Layout, number: int, values: Values, where: Where, given: _Given) -> None:
    topic, time_field = layout.topic, TIME_FIELD[layout.topic]
    place = f"{lines.file}, line {number}"

    def wrong(name: str, says: str) -> UserError:
        return UserError(f"{place}, {where(name)}: {says}. Nothing was sent; correct the line.")

    if layout.price_from_total:
        values["price"] = _price(values, wrong)
    text = _string(values.get("event_id", msgspec.Raw(b'""')))
    has_identity = text is None or bool(text.strip())
    if not has_identity:
        event_id = blake2b(lines.content + number.to_bytes(8, "big"), digest_size=16).hexdigest()
        values["event_id"] = json_text(event_id)
    given.without_id += ID_FIELD[topic] not in values
    values.setdefault(ID_FIELD[topic], values["event_id"])
    if layout.date_format and time_field in values:
        text = _string(values[time_field])
        time = None if text is None else _parsed(text, layout.date_format)
        if time is None:
            raise wrong(time_field, f"{_shown(values[time_field])} is no date of the form {layout.date_format}")
        values[time_field] = json_text(_text(time))
    event = decode(topic, msgspec.json.encode(values), END_OF_TIME, None)
    if isinstance(event, Rejected):
        value = values.get(event.field)
        says = event.detail if value is None else f"value {_shown(value)}: {event.detail}"
        raise wrong(event.field, says) if event.field else UserError(f"{place}: {says}. Nothing was sent.")
    del values[time_field]
    body = msgspec.json.encode(values)[:-1]
    if has_identity:
        given.refuse_two(event, number, body, place)
    lines.times.append(event_time(event))
    lines.numbers.append(number)
    lines.keys.append(str(getattr(event, KEY_FIELD[topic])).encode())
    lines.bodies.append(body)


def _price(values: Values, wrong: Callable[[str, str], UserError]) -> msgspec.Raw:
    """order_total / quantity, exact but for its fourth decimal."""
    numbers: dict[str, Decimal] = {}
    for name in ("order_total", "quantity"):
        given = values.get(name)
        if given is None:
            raise wrong(name, "nothing there, and the price is computed from it")
        number = parse_number(_string(given) or bytes(given).decode())
        if number is None:
            raise wrong(name, f"{_shown(given)} is no number")
        numbers[name] = number
    if numbers["quantity"] <= 0 or numbers["quantity"].adjusted() > 9:
        raise wrong("quantity", f"{_shown(values['quantity'])} pieces: the price of one cannot be computed")
    if numbers["order_total"] and numbers["order_total"].adjusted() > 15:
        raise wrong("order_total", f"{_shown(values['order_total'])} is beyond decimal(18,2)")
    price = _DIVISION.divide(numbers["order_total"], numbers["quantity"])
    return msgspec.Raw(f"{price.quantize(Decimal('0.0001'), context=_DIVISION):f}".encode())


def _string(raw: msgspec.Raw) -> str | None:
    """The text in a JSON value, or None where it is another type."""
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.MsgspecError:
        return None


def _shown(raw: msgspec.Raw) -> str:
    text = _string(raw)
    text = bytes(raw).decode(errors="replace") if text is None else text
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"


# Of numbers without anything between them strptime takes fewer digits where it must: 2026111 is 1 November to it.
_RUN_TOGETHER = re.compile(r"(?:%[YymdHIMSj]){2,}")
_DIGITS = {"Y": 4, "j": 3}


@lru_cache
def _digits(date_format: str) -> list[re.Pattern[str]]:
    """What a text of that form must hold for each run of numbers: as many digits as they have when written in full."""
    runs = (run[0].split("%")[1:] for run in _RUN_TOGETHER.finditer(date_format))
    return [re.compile(rf"(?<!\d)\d{{{sum(_DIGITS.get(each, 2) for each in run)}}}(?!\d)") for run in runs]


@lru_cache(maxsize=4096)  # many orders share a day, and strptime is slow
def _parsed(text: str, date_format: str) -> datetime | None:
    try:
        found = datetime.strptime(text, date_format)  # noqa: DTZ007  # a date without an offset is UTC
        if not all(digits.search(text) for digits in _digits(date_format)):
            return None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
