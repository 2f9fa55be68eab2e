"""A file read whole: every line an event, or one sentence why not."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import msgspec

from lakehouse.decode import Event, Rejected, event_time
from lakehouse.decode.excel import excel_time
from lakehouse.decode.values import parse_number
from lakehouse.sources import load_sources
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from producers.bad_lines import Bad, BadLines
from producers.columns import ColumnText
from producers.layout import EXCEL, Layout
from producers.lines import Judge, Lines, judged, key_of, text_of
from producers.objects import NamedValues
from producers.opening import Opened, opened
from producers.pace import Clock, SystemClock
from producers.parquet_rows import ParquetFile
from producers.progress import progress
from producers.records import LineRecord, Values, json_text, shown, string_of, with_point

TWICE = "TWICE"
_DIVISION = Context(prec=60, rounding=ROUND_HALF_UP)
_TOLD = 20
_STEP = 1000


def read(file: Path, layout: Layout, bad_lines: BadLines | None = None, clock: Clock | None = None) -> Lines:
    """All lines of a file, each of them a valid event; bad ones are added to `bad_lines`.

    Without bad_lines raises UserError naming file, line, column and value.
    """
    clock = clock or SystemClock()
    with opened(file, layout, clock) as found, progress(f"{file.name} read", found.lines, clock) as advance:
        lines = Lines(file, layout.topic, content=found.content, noun=found.noun)
        given, judge = _Given(), load_sources().decoder(layout.topic, None)
        records, reader = _records(found, layout)
        for count, record in enumerate(records, start=1):
            bad = record if isinstance(record, Bad) else _add(lines, layout, record, given, judge)
            if bad is not None:
                if bad_lines is None:
                    raise bad.error(file)
                bad_lines.add(bad)
            if count % _STEP == 0:
                advance(_STEP)
    if not lines.times and not (bad_lines and bad_lines.counts):
        raise UserError(f"{file} holds no line of data; nothing was sent.")
    if unused := reader.unused:
        more = f" and {len(unused) - _TOLD:,} more" if len(unused) > _TOLD else ""
        lines.told.append(f"Not used: {', '.join(unused[:_TOLD])}{more}.")
    if given.without_id:
        lines.told.append(
            f"{given.without_id:,} lines have no {TOPICS[layout.topic].id_field}: it is made of the file's content and "
            "the line's number."
        )
    return lines


def _records(found: Opened, layout: Layout) -> tuple[Iterator[LineRecord | Bad], NamedValues | ColumnText]:
    """What is in an open file, and what reads it."""
    name = str(found.file)
    if isinstance(found.held, ParquetFile):
        objects = NamedValues(name, layout)
        return objects.of_parquet(found.held), objects
    reader = NamedValues(name, layout) if layout.form in ("json", "jsonl") else ColumnText(name, layout)
    return reader.of_text(*found.held), reader


@dataclass
class _Given:
    """What lines say of their identity: how many have no id, and by event_id and time the place and its values."""

    without_id: int = 0
    lines: dict[tuple[str, datetime], tuple[str, bytes]] = field(default_factory=dict)

    def refuse_two(self, event: Event, place: str, body: bytes) -> str | None:
        """Why not, where another line has the event_id and time: of the two only the first would be stored."""
        first, before = self.lines.setdefault((event.event_key, event_time(event)), (place, body))
        if body == before:
            return None
        return (
            f"event_id '{event.event_key}' and time are those of {first}, and other values are not: only one of the "
            "two would be stored"
        )


class _WrongField(Exception):
    """A field is at fault; the message says how."""

    def __init__(self, name: str, says: str, reason: str = "BAD_VALUE") -> None:
        super().__init__(says)
        self.name = name
        self.reason = reason


def _add(lines: Lines, layout: Layout, record: LineRecord, given: _Given, judge: Judge) -> Bad | None:
    """Add the event of a record, or say why it is none."""
    try:
        _added(lines, layout, record, given, judge)
    except _WrongField as wrong:
        where = record.where(wrong.name) if wrong.name else ""
        raw = record.values.get(wrong.name)
        text = "" if raw is None else string_of(raw)
        return Bad(
            record.number,
            wrong.reason,
            f"{record.place}, {where}: {wrong}" if where else f"{record.place}: {wrong}",
            where,
            bytes(raw).decode(errors="replace") if raw is not None and text is None else text or "",
        )
    return None


def _added(lines: Lines, layout: Layout, record: LineRecord, given: _Given, judge: Judge) -> None:
    topic, values = TOPICS[layout.topic], record.values
    if layout.price_from_total:
        values["price"] = _price(values)
    text = string_of(values.get("event_id", msgspec.Raw(b'""')))
    has_identity = text is None or bool(text.strip())
    if not has_identity:
        event_id = blake2b(lines.content + record.number.to_bytes(8, "big"), digest_size=16).hexdigest()
        values["event_id"] = json_text(event_id)
    has_id = topic.id_field in values
    values.setdefault(topic.id_field, values["event_id"])
    if layout.date_format and topic.time in values:
        values[topic.time] = json_text(text_of(_time(values[topic.time], layout)))
    event = judged(topic.name, msgspec.json.encode(values), judge)
    if isinstance(event, Rejected):
        value = values.get(event.field)
        raise _WrongField(
            event.field, event.detail if value is None else f"value {shown(value)}: {event.detail}", event.reason
        )
    del values[topic.time]
    body = msgspec.json.encode(values)[:-1]
    if has_identity and (says := given.refuse_two(event, record.place, body)):
        raise _WrongField("", says, TWICE)
    given.without_id += not has_id
    lines.times.append(event_time(event))
    lines.numbers.append(record.number)
    lines.keys.append(key_of(topic.name, event))
    lines.bodies.append(body)


def _price(values: Values) -> msgspec.Raw:
    """order_total / quantity, exact but for its fourth decimal."""
    numbers: dict[str, Decimal] = {}
    for name in ("order_total", "quantity"):
        given = values.get(name)
        if given is None:
            raise _WrongField(name, "nothing there, and the price is computed from it", "MISSING_FIELD")
        number = parse_number(string_of(given) or bytes(given).decode())
        if number is None:
            raise _WrongField(name, f"{shown(given)} is no number", "BAD_TYPE")
        numbers[name] = number
    if numbers["quantity"] <= 0 or numbers["quantity"].adjusted() > 9:
        raise _WrongField("quantity", f"{shown(values['quantity'])} pieces: the price of one cannot be computed")
    if numbers["order_total"] and numbers["order_total"].adjusted() > 15:
        raise _WrongField("order_total", f"{shown(values['order_total'])} is beyond decimal(18,2)")
    price = _DIVISION.divide(numbers["order_total"], numbers["quantity"])
    return msgspec.Raw(f"{price.quantize(Decimal('0.0001'), context=_DIVISION):f}".encode())


# Times --------------------------------------------------------------------------------------------------------------


def _time(given: msgspec.Raw, layout: Layout) -> datetime:
    """The event's time, of the form that the layout names."""
    name, form = TOPICS[layout.topic].time, layout.date_format
    text = string_of(given)
    if form == EXCEL:
        serial = with_point(text) if text is not None and layout.decimal_comma else text
        try:
            return excel_time(bytes(given).decode() if serial is None else serial)
        except ValueError as error:
            raise _WrongField(name, f"{shown(given)} {error}") from None
    time = None if text is None or form is None else _parsed(text, form)
    if time is None:
        raise _WrongField(name, f"{shown(given)} is no date of the form {form}")
    return time


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
