"""`map`: how the value of one of our fields comes out of a message."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal
from unicodedata import category
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from lakehouse.decode.careful import Problem, WrongValue, read_value
from lakehouse.decode.document import JsonInteger, JsonNumber, json_type, shown
from lakehouse.decode.rejected import Reason
from lakehouse.decode.values import parse_time
from lakehouse.sources import convert
from lakehouse.sources.arithmetic import NoArithmetic, calculation
from lakehouse.sources.convert import Convert, Doubtful
from lakehouse.sources.entry import Entry
from lakehouse.sources.path import ABSENT, Getter, Path, Scope, getter
from lakehouse.texts import near, visible
from lakehouse.topics import FieldKind, TopicField
from lakehouse.topics.topic import AMOUNTS, NUMBERS

ORIGINS = ("path", "first", "value", "text", "number")
OF_TIMES = ("epoch", "time", "zone", "doubtful")
OF_NUMBERS = ("decimal", "thousands")
OF_AMOUNTS = ("minor", "unscaled", "sign")
KEYS = (*ORIGINS, "table", "default", *OF_TIMES, *OF_NUMBERS, *OF_AMOUNTS)
EPOCHS = ("s", "ms", "us", "ns", "days", "excel")
OTHERWISE = "*"
"""In a table of values: whatever else is there."""

_SIGN_LETTERS = 5
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Habits:
    """How a source writes numbers and times, where a field does not say otherwise."""

    zone: tzinfo | None = None
    doubtful: Doubtful = Doubtful.FIRST
    decimal: str = "."
    thousands: str = ""
    sign: str = ""

    @property
    def number(self) -> Callable[[object], Decimal | WrongValue]:
        """What reads a number."""
        return convert.number_reader(self.decimal, self.thousands, self.sign)

    @property
    def of_counts(self) -> Habits:
        """Of numbers that are no amounts."""
        return replace(self, sign="")

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written as JSON writes them."""
        return (self.decimal, self.thousands, self.sign) == (".", "", "")


@dataclass(frozen=True)
class Mapped:
    """Where a field's value comes from.

    `get` gives it as JSON has it, or in our type; None or ABSENT where there is none, WrongValue where it cannot be.
    `words`: what reasons call its origin. `paths`: all that it reads; `path`: the only one, where it is taken as it is.
    `is_time`: it is a datetime.
    """

    get: Getter
    words: str
    paths: tuple[Path, ...]
    path: Path | None = None
    is_time: bool = False

    @property
    def lists(self) -> int:
        return max((path.lists for path in self.paths), default=0)


type PathReader = Callable[[Entry], Path]
"""The path that an entry names. Raises UserError."""


def habits(entries: Mapping[str, Entry], held: Habits) -> Habits:
    """What stands there, over what holds anyway."""
    zone = _zone(entries["zone"]) if "zone" in entries else held.zone
    doubtful = entries["doubtful"].choice(Doubtful) if "doubtful" in entries else held.doubtful
    decimal, thousands, sign = held.decimal, held.thousands, held.sign
    if "decimal" in entries:
        decimal = entries["decimal"].one_of((".", ","))
    if "thousands" in entries:
        thousands = entries["thousands"].value  # type: ignore[assignment]  # a blank is one of them
        if thousands not in (".", ",", "'", "’", " ", "\u00a0", "\u202f", "_", ""):
            raise entries["thousands"].wrong(f"'thousands' is '{thousands}'; expected one of . , ' _ or a blank")
    if decimal == thousands:
        entry = entries.get("decimal") or entries["thousands"]
        raise entry.wrong(f"'{decimal}' cannot stand before decimals and between thousands; correct one")
    if "sign" in entries:
        given = entries["sign"].value
        sign = given if isinstance(given, str) else str(given)
        if given != "" and not (sign is given and is_sign(sign)):
            raise entries["sign"].wrong(
                f"'sign' is '{visible(sign, 20)}'; expected what stands beside an amount, like €, US$, kr. or EUR"
            )
    return Habits(zone, doubtful, decimal, thousands, sign)


def is_sign(text: str) -> bool:
    """Whether a text may be a currency's, as it stands beside an amount."""
    if not 0 < len(text) <= _SIGN_LETTERS:
        return False
    # A point may end it: kr. 59,00.
    letters = text[:1] + text[1:].removesuffix(".")
    return all(each.isalpha() or category(each) == "Sc" for each in letters)


def mapped(field: TopicField, entry: Entry, path_of: PathReader, held: Habits) -> Mapped:
    """What fills a field. Raises UserError."""
    if not isinstance(entry.value, dict):
        if isinstance(entry.value, str):
            return _converted(field, {}, _of_path(entry, path_of), held)
        return _constant(field, entry)
    keys = entry.keys(KEYS)
    origins = [name for name in ORIGINS if name in keys]
    if len(origins) != 1:
        said = f"has {' and '.join(map(repr, origins))}" if origins else "says not where its value comes from"
        raise entry.wrong(f"'{field.name}' {said}; expected one of {', '.join(ORIGINS)}")
    _check_kind(field, keys)
    if origins == ["value"]:
        if len(keys) > 1:
            raise entry.wrong(f"'{field.name}' is a constant, which nothing else changes; leave the other keys out")
        return _constant(field, keys["value"])
    own = habits(keys, held)
    match origins[0]:
        case "path":
            found = _of_path(keys["path"], path_of)
        case "first":
            found = _first([_of_path(each, path_of) for each in keys["first"].each()])
        case "text":
            found = _text(keys["text"], path_of)
        case _:
            found = _number(keys["number"], path_of, own if field.kind in AMOUNTS else own.of_counts)
    if "table" in keys:
        found = _looked_up(field, keys["table"], found)
    found = _converted(field, keys, found, own)
    if "default" in keys:
        found = _or_else(found, _constant(field, keys["default"]))
    return found


def _check_kind(field: TopicField, keys: Mapping[str, Entry]) -> None:
    for names, kinds, what in (
        (OF_TIMES, (FieldKind.TIME,), "times"),
        (OF_NUMBERS, NUMBERS, "numbers"),
        (OF_AMOUNTS, AMOUNTS, "amounts"),
        (("number",), NUMBERS, "numbers"),
    ):
        for name in names:
            if name in keys and field.kind not in kinds:
                raise keys[name].wrong(f"'{name}' goes with {what}, and {field.name} is none; leave it out")
    for one, other in (("epoch", "time"), ("minor", "unscaled"), ("number", "unscaled"), ("number", "table")):
        if one in keys and other in keys:
            raise keys[other].wrong(f"'{one}' and '{other}' do not go together; leave one out")


# Where it comes from -------------------------------------------------------------------------------------------------


def _of_path(entry: Entry, path_of: PathReader) -> Mapped:
    path = path_of(entry)
    return Mapped(getter(path), path.text, (path,), path)


def _constant(field: TopicField, entry: Entry) -> Mapped:
    value = _as_json(entry)
    try:
        read_value(field, value)
    except Problem as problem:
        name = field.name if entry.name == "value" else entry.name
        raise entry.wrong(f"'{name}' {problem.detail}{near(str(entry.value), field.choices)}") from None
    return Mapped(lambda _: value, shown(str(value)), ())


def _as_json(entry: Entry) -> object:
    """A value of YAML as JSON would have it."""
    value = entry.value
    if type(value) is int:
        return JsonInteger(value)
    if type(value) is float:
        return JsonNumber(value)
    if isinstance(value, date):
        raise entry.wrong(f"'{entry.name}' is a date to YAML; write it in quotes")
    if not isinstance(value, str):
        raise entry.wrong(f"'{entry.name}' is no text and no number; write a path, or one of {', '.join(ORIGINS)}")
    return value


def _is_there(value: object) -> bool:
    """Whether something is said; a cell of a CSV file that is blank says nothing."""
    return value is not None and value is not ABSENT and not (type(value) is str and not value.strip())


def _first(parts: list[Mapped]) -> Mapped:
    getters = [part.get for part in parts]

    def get(scope: Scope) -> object:
        for one in getters:
            value = one(scope)
            if _is_there(value):
                return value
        return ABSENT

    return Mapped(get, ", ".join(part.words for part in parts), _paths(parts))


def _or_else(found: Mapped, constant: Mapped) -> Mapped:
    get, value = found.get, constant.get(())
    if found.is_time and isinstance(value, str):
        value = parse_time(value)

    def given(scope: Scope) -> object:
        held = get(scope)
        return held if _is_there(held) else value

    return Mapped(given, found.words, found.paths, is_time=found.is_time)


def _text(entry: Entry, path_of: PathReader) -> Mapped:
    """`{customer.id}-{number}`; ABSENT where one of its parts is."""
    text = entry.text()
    pieces = _BRACES.split(text)
    if any(brace in piece for piece in pieces[::2] for brace in "{}") or len(pieces) < 3:
        raise entry.wrong(f"'text' is '{text}'; expected paths in braces, as in '{{customer.id}}-{{number}}'")
    parts = [_of_path(Entry(entry.where, entry.yaml, entry.place, piece), path_of) for piece in pieces[1::2]]
    begin, joints = pieces[0], [(part.get, part.words, after) for part, after in zip(parts, pieces[2::2], strict=True)]

    def get(scope: Scope) -> object:
        said = begin
        for one, words, after in joints:
            value = one(scope)
            if type(value) is not str:
                if not _is_there(value):
                    return ABSENT
                if isinstance(value, dict | list):
                    return WrongValue(Reason.BAD_TYPE, f"needs {words}, which is {json_type(value)}, expected text")
                value = _said(value)
            elif not value.strip():
                return ABSENT
            said += value + after
        return said

    return Mapped(get, text, _paths(parts))


def _said(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "0" if type(value) is JsonInteger and value == "-0" else str(value)


def _number(entry: Entry, path_of: PathReader, own: Habits) -> Mapped:
    text = entry.text()
    read = own.number

    def get_path(path: Path) -> Getter:
        path_of(Entry(entry.where, entry.yaml, entry.place, path.text))
        return getter(path)

    try:
        get, paths = calculation(text, get_path, read)
    except NoArithmetic as error:
        raise entry.wrong(f"'number' {error}") from None
    return Mapped(get, text, tuple(paths))


def _looked_up(field: TopicField, entry: Entry, found: Mapped) -> Mapped:
    table = {}
    for name, value in entry.mapping().items():
        _constant(field, value)
        table[name] = _as_json(value)
    otherwise = table.pop(OTHERWISE, None)
    get = found.get

    def looked_up(scope: Scope) -> object:
        value = get(scope)
        if not _is_there(value) or type(value) is WrongValue:
            return value
        known = table.get(_said(value), otherwise) if not isinstance(value, dict | list) else otherwise
        if known is None:
            of = shown(value) if isinstance(value, str) else json_type(value)
            return WrongValue(Reason.BAD_VALUE, f"is {of!r}, which its table of values does not name")
        return known

    return Mapped(looked_up, found.words, found.paths)


def _paths(parts: list[Mapped]) -> tuple[Path, ...]:
    return tuple(path for part in parts for path in part.paths)


# How it is written ---------------------------------------------------------------------------------------------------


def _converted(field: TopicField, keys: Mapping[str, Entry], found: Mapped, own: Habits) -> Mapped:
    if field.kind is FieldKind.TIME:
        how = _time(keys, own)
    elif field.kind in NUMBERS:
        how = _amount(keys, own if field.kind in AMOUNTS else own.of_counts)
    else:
        how = None
    if how is None:
        return found
    get = found.get

    def converted(scope: Scope) -> object:
        value = get(scope)
        return how(value) if _is_there(value) and type(value) is not WrongValue else value

    return Mapped(converted, found.words, found.paths, is_time=field.kind is FieldKind.TIME)


def _time(keys: Mapping[str, Entry], own: Habits) -> Convert | None:
    zone = own.zone or UTC
    if "epoch" in keys:
        return convert.epoch(keys["epoch"].one_of(EPOCHS), zone, own.doubtful, own.of_counts.number)
    if "time" in keys:
        return convert.of_form(tuple(_form(entry) for entry in keys["time"].each()), zone, own.doubtful)
    return None if own.zone is None else convert.of_zone(zone, own.doubtful)


def _amount(keys: Mapping[str, Entry], own: Habits) -> Convert | None:
    if "unscaled" in keys:
        return convert.unscaled(keys["unscaled"].count(38))
    minor = keys["minor"].count(8) if "minor" in keys else 0
    if not minor and ("number" in keys or own.is_plain):
        return None
    return convert.amount(own.number, minor)


def _zone(entry: Entry) -> tzinfo:
    name = entry.text()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise entry.wrong(
            f"'zone' is '{name}', no zone{near(name, available_timezones())}; expected one like Europe/Berlin"
        ) from None


def _form(entry: Entry) -> str:
    form = entry.text()
    sample = datetime(2024, 12, 31, 23, 59, 58, tzinfo=UTC)
    try:
        read = datetime.strptime(sample.strftime(form), form)  # noqa: DTZ007  # only its day is looked at
        if read.date() != sample.date():
            raise ValueError
    except ValueError:
        raise entry.wrong(
            f"'time' is '{form}', which reads no day; expected a form of strptime like '%d/%m/%Y %H:%M'"
        ) from None
    return form
