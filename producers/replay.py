"""Real data from files: CSV, text in columns, or JSON lines, sent as events of one topic.

The whole file is read and every line judged by lakehouse.events.decode before the first one is sent; it is held in
memory, some 500 bytes a line. A line's event_id is a hash of the file's content and the line's number: a second replay
of the same file adds nothing, and two equal lines stay two events.
"""

import csv
import io
import sys
from collections.abc import Callable, Iterator, Mapping
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
    FIELDS,
    MAX_LEAD,
    ORDERS_TOPIC,
    TIME_FIELD,
    TOPICS,
    Kind,
    Rejected,
    decode,
    event_time,
    parse_number,
)
from lakehouse.settings import Shared, UserError
from lakehouse.sinks import Sink
from lakehouse.stop import Stop
from producers.pace import Clock, deliver, iso, paced

FORMATS = ("csv", "whitespace", "jsonl", "cdnow")
_BY_ENDING = {".csv": "csv", ".txt": "whitespace", ".dat": "whitespace", ".jsonl": "jsonl", ".ndjson": "jsonl"}

# The CDNOW sample: customer, customer's number in the sample, date, number of CDs, dollars.
_CDNOW_COLUMNS = {"user_id": "1", "order_time": "3", "quantity": "4", "order_total": "5"}
_CDNOW_CONSTANTS = {"product_id": "cd", "status": "DELIVERED"}
_CDNOW_DATES = "%Y%m%d"

_ID_FIELD = {ORDERS_TOPIC: "order_id", CLICKS_TOPIC: "click_id", ERRORS_TOPIC: "error_id"}
KEY_FIELD = {ORDERS_TOPIC: "user_id", CLICKS_TOPIC: "user_id", ERRORS_TOPIC: "service_name"}
_NUMBERS = (Kind.COUNT, Kind.PRICE, Kind.MONEY)
_DIVISION = Context(prec=60, rounding=ROUND_HALF_UP)
# Later than any time: whether a line lies in the future is asked once its time is known.
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Layout:
    """How a file's columns become a topic's fields.

    A column is a name, or a number from 1. A field that is in neither `columns` nor `constants` is taken from the
    column of its own name where there is one; the topic's own id else is the line's event_id.
    """

    form: str
    topic: str
    header: bool
    delimiter: str
    columns: Mapping[str, str]
    constants: Mapping[str, str]
    price_from_total: bool
    date_format: str | None

    @classmethod
    def of(
        cls,
        file: Path,
        *,
        form: str | None = None,
        topic: str = ORDERS_TOPIC,
        header: bool | None = None,
        delimiter: str = ",",
        columns: Mapping[str, str] | None = None,
        constants: Mapping[str, str] | None = None,
        price_from_total: bool = False,
        date_format: str | None = None,
    ) -> Self:
        """The layout that the flags say; what they leave open follows from the format. Raises UserError."""
        form = form or _BY_ENDING.get(file.suffix.lower())
        if form not in FORMATS:
            raise UserError(f"--format of {file} is '{form or 'not given'}'; expected one of {', '.join(FORMATS)}.")
        if topic not in TOPICS:
            raise UserError(f"--topic is '{topic}'; expected one of {', '.join(TOPICS)}.")
        if len(delimiter) != 1:
            raise UserError(f"--delimiter is '{delimiter}'; expected one character.")
        columns, constants = dict(columns or {}), dict(constants or {})
        names = [each.name for each in FIELDS[topic] if each.name != "produced_at"]
        for option, given in (("--map", columns), ("--const", constants)):
            for name in given:
                if name not in names:
                    raise UserError(f"{option} names the field '{name}'; {topic} has {', '.join(names)}.")
        if twice := columns.keys() & constants.keys():
            raise UserError(f"--map and --const both name '{min(twice)}'; leave one out.")
        if form == "cdnow":
            if topic != ORDERS_TOPIC:
                raise UserError(f"--format cdnow has orders, not {topic}; leave --topic out.")
            form, price_from_total = "whitespace", price_from_total or "price" not in columns.keys() | constants.keys()
            columns = {name: column for name, column in _CDNOW_COLUMNS.items() if name not in constants} | columns
            constants = {name: value for name, value in _CDNOW_CONSTANTS.items() if name not in columns} | constants
            date_format = date_format or _CDNOW_DATES
        if price_from_total and topic != ORDERS_TOPIC:
            raise UserError(f"--price-from-total goes with {ORDERS_TOPIC}; leave it out.")
        return cls(
            form=form,
            topic=topic,
            header=form == "csv" if header is None else header,
            delimiter=delimiter,
            columns=columns,
            constants=constants,
            price_from_total=price_from_total,
            date_format=date_format,
        )


@dataclass(frozen=True)
class Lines:
    """A file's lines as events that are ready to be sent, in the file's order.

    A body is the JSON text without the event's time, without produced_at and without the closing brace.
    """

    file: Path
    topic: str
    times: list[datetime] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

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
                f"{_text(min(self.times))}; set TILLWATCH_MAX_EVENT_AGE=off for every part, or use --rebase-to-now."
            )


_US = timedelta(microseconds=1)


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
    lines = Lines(file, layout.topic)
    reader = _JsonLines(file, layout) if layout.form == "jsonl" else _Columns(file, layout)
    for number, values, where in reader.records(text):
        _add(lines, layout, digest, number, values, where)
    if not lines.times:
        raise UserError(f"{file} holds no line of data; nothing was sent.")
    return lines


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

type _Values = dict[str, msgspec.Raw]
"""By field the JSON text of its value."""
type _Where = Callable[[str], str]
"""Names a field's column for a reader, like "column 4"."""


def _add(lines: Lines, layout: Layout, digest: bytes, number: int, values: _Values, where: _Where) -> None:
    topic, time_field = layout.topic, TIME_FIELD[layout.topic]
    place = f"{lines.file}, line {number}"

    def wrong(name: str, says: str) -> UserError:
        return UserError(f"{place}, {where(name)}: {says}. Nothing was sent; correct the line.")

    if layout.price_from_total:
        values["price"] = _price(values, wrong)
    if bytes(values.get("event_id", b'""')) == b'""':
        event_id = blake2b(digest + number.to_bytes(8, "big"), digest_size=16).hexdigest()
        values["event_id"] = _json(event_id)
    values.setdefault(_ID_FIELD[topic], values["event_id"])
    if layout.date_format and time_field in values:
        text = _string(values[time_field])
        time = None if text is None else _parsed(text, layout.date_format)
        if time is None:
            raise wrong(time_field, f"{_shown(values[time_field])} is no date of the form {layout.date_format}")
        values[time_field] = _json(_text(time))
    event = decode(topic, msgspec.json.encode(values), _END_OF_TIME, None)
    if isinstance(event, Rejected):
        given = values.get(event.field)
        says = event.detail if given is None else f"value {_shown(given)}: {event.detail}"
        raise wrong(event.field, says) if event.field else UserError(f"{place}: {says}. Nothing was sent.")
    del values[time_field]
    lines.times.append(event_time(event))
    lines.numbers.append(number)
    lines.keys.append(str(getattr(event, KEY_FIELD[topic])).encode())
    lines.bodies.append(msgspec.json.encode(values)[:-1])


def _price(values: _Values, wrong: Callable[[str, str], UserError]) -> msgspec.Raw:
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


def _json(value: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


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


@lru_cache(maxsize=4096)  # many orders share a day, and strptime is slow
def _parsed(text: str, date_format: str) -> datetime | None:
    try:
        found = datetime.strptime(text, date_format)  # noqa: DTZ007  # a date without an offset is UTC
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# Formats ------------------------------------------------------------------------------------------------------------


class _JsonLines:
    def __init__(self, file: Path, layout: Layout) -> None:
        self._file = file
        self._source = {
            each.name: layout.columns.get(each.name, each.name)
            for each in FIELDS[layout.topic]
            if each.name != "produced_at" and each.name not in layout.constants
        }
        self._constants = {name: _json(value) for name, value in layout.constants.items()}
        self._decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    def records(self, text: str) -> Iterator[tuple[int, _Values, _Where]]:
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                found = self._decode(line)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                start = line.strip()
                shown = start if len(start) <= 60 else f"{start[:57]}..."
                raise UserError(
                    f"{self._file}, line {number}: '{shown}' is no JSON object. Nothing was sent; correct the line."
                ) from None
            values = {name: found[source] for name, source in self._source.items() if source in found}
            values = {name: raw for name, raw in values.items() if bytes(raw) != b"null"}
            yield number, values | self._constants, self._where

    def _where(self, name: str) -> str:
        return f"field '{self._source[name]}'" if name in self._source else f"--const {name}"


class _Columns:
    """CSV and text in columns."""

    def __init__(self, file: Path, layout: Layout) -> None:
        self._file = file
        self._layout = layout
        self._names: list[str] = []
        self._place: dict[str, int] = {}

    def records(self, text: str) -> Iterator[tuple[int, _Values, _Where]]:
        rows = self._csv(text) if self._layout.form == "csv" else self._words(text)
        if self._layout.header:
            line, self._names = next(rows, (1, []))
            self._place = self._named(line)
        else:
            self._place = {name: self._number(name, column) for name, column in self._layout.columns.items()}
        self._refuse_gaps()
        kinds = {each.name: each.kind for each in FIELDS[self._layout.topic]}
        constants = {name: self._value(kinds[name], value) for name, value in self._layout.constants.items()}
        for number, row in rows:
            values = dict(constants)
            for name, place in self._place.items():
                if place >= len(row):
                    shown = " ".join(row)[:60]
                    raise UserError(
                        f"{self._file}, line {number}, {self._where(name)} is missing: there are {len(row)} columns, "
                        f"'{shown}'. Nothing was sent; correct the line."
                    )
                values[name] = self._value(kinds[name], row[place].strip())
            yield number, values, self._where

    def _csv(self, text: str) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self._layout.delimiter, strict=True)
        number = 1
        try:
            for row in reader:
                if row and any(cell.strip() for cell in row):
                    yield number, row
                number = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{self._file}, line {number}: {error}. Nothing was sent; correct the line.") from None

    def _words(self, text: str) -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(text.split("\n"), start=1):
            if row := line.split():
                yield number, row

    def _named(self, line: int) -> dict[str, int]:
        names = [name.strip() for name in self._names]
        place = {}
        for each in FIELDS[self._layout.topic]:
            if each.name in self._layout.constants or each.name == "produced_at":
                continue
            column = self._layout.columns.get(each.name)
            if column is None:
                if each.name in names:
                    place[each.name] = names.index(each.name)
            elif column in names:
                place[each.name] = names.index(column)
            elif column.isdecimal() and 1 <= int(column) <= len(names):
                place[each.name] = int(column) - 1
            else:
                raise UserError(
                    f"{self._file}, line {line}: there is no column '{column}' for the field {each.name}; "
                    f"the columns are {', '.join(names)}. Nothing was sent; correct --map."
                )
        self._names = names
        return place

    def _number(self, name: str, column: str) -> int:
        if not column.isdecimal() or int(column) < 1:
            raise UserError(
                f"--map {name}={column}: {self._file} has no header, so columns are numbers from 1; "
                "use one, or --header."
            )
        return int(column) - 1

    def _refuse_gaps(self) -> None:
        """Every required field must come from somewhere."""
        layout = self._layout
        given = self._place.keys() | layout.constants.keys() | {_ID_FIELD[layout.topic]}
        if layout.price_from_total:
            given |= {"price"}
        missing = [each.name for each in FIELDS[layout.topic] if each.required and each.name not in given]
        if missing:
            has = f"; its columns (line 1) are {', '.join(self._names)}" if self._names else ""
            raise UserError(
                f"{self._file} has no column '{missing[0]}'{has}. Nothing was sent; "
                f"use --map {missing[0]}=COLUMN or --const {missing[0]}=VALUE."
            )

    def _value(self, kind: Kind, text: str) -> msgspec.Raw:
        # A number that is none stays text: decode says what is wrong with it.
        number = parse_number(text) if kind in _NUMBERS else None
        return _json(text) if number is None else msgspec.Raw(str(number).encode())

    def _where(self, name: str) -> str:
        place = self._place.get(name)
        if place is None:
            return f"--const {name}" if name in self._layout.constants else f"field {name}"
        return f"column '{self._names[place]}'" if self._names else f"column {place + 1}"
