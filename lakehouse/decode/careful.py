"""The careful way: every payload, every reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from lakehouse.decode.customs import AS_DECLARED, Customs
from lakehouse.decode.document import JsonInteger, JsonNotFinite, json_type, parse_document, shown
from lakehouse.decode.event import Event, builder
from lakehouse.decode.rejected import Reason, Rejected
from lakehouse.decode.values import (
    EXACT,
    MAX_COUNT,
    NOT_FINITE_TEXT,
    SCALES,
    parse_number,
    parse_time,
    rounded,
)
from lakehouse.rates import CODE, NoRate, Rates
from lakehouse.topics import FieldKind, Topic, TopicField


class Problem(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class WrongValue(NamedTuple):
    """What stands in place of a value that no map could make: why not."""

    reason: Reason
    detail: str


def read_carefully(topic: Topic, payload: bytes | None, customs: Customs = AS_DECLARED) -> Event | Rejected:
    """The event in a message, whenever it happened, or why it is none; about five times slower than the fast way."""
    document = parse_document(payload)
    if isinstance(document, Rejected):
        return document
    assert isinstance(document, dict)
    return read_values(topic, document, customs=customs)


def read_values(
    topic: Topic,
    document: Mapping[str, Any],
    called: Callable[[str], str] = str,
    place: str = "",
    customs: Customs = AS_DECLARED,
) -> Event | Rejected:
    """The event of a topic's fields, as JSON or `Wrong` has them, or why there is none.

    Reasons are looked for over the whole of it: a missing field anywhere comes before a bad type anywhere. `called`:
    how a reason names a field. `place`: of an element in its message, for the key of an event without event_id.
    """
    fields = customs.fields(topic)
    given = {field.name: document.get(field.name) for field in fields}
    for field in fields:
        value = given[field.name]
        if type(value) is str and not value.strip() and (field.kind is FieldKind.ID or not field.required):
            given[field.name] = None
        if given[field.name] is None and customs.may_lack(topic, field):
            given[field.name] = ""
        elif given[field.name] is None and field.required:
            absence = f"{called(field.name)} is {_absence(document, field.name)}"
            return Rejected(Reason.MISSING_FIELD, absence, field.name)

    values: dict[str, Any] = dict.fromkeys(field.name for field in topic.fields)
    worst: tuple[Reason, str, str] | None = None
    for field in fields:
        try:
            values[field.name] = None if given[field.name] is None else read_value(field, given[field.name])
        except Problem as problem:
            if worst is None or _RANK[problem.reason] < _RANK[worst[0]]:
                worst = (problem.reason, f"{called(field.name)} {problem.detail}", field.name)
    if worst is not None:
        return Rejected(*worst)
    return _built(topic, values, called, place, customs.rates)


_RANK = {reason: rank for rank, reason in enumerate(Reason)}


def _absence(document: Mapping[str, Any], name: str) -> str:
    if name not in document:
        return "missing"
    return "null" if document[name] is None else "empty"


def read_value(field: TopicField, value: object) -> object:
    """A field's value in our type, amounts exact; raises Problem."""
    if type(value) is WrongValue:
        raise Problem(*value)
    match field.kind:
        case FieldKind.ID:
            if type(value) is JsonInteger:
                return "0" if value == "-0" else str(value)
            return _text(value, "text or an integer")
        case FieldKind.TEXT:
            return _text(value, "text")
        case FieldKind.CHOICE:
            choice = _text(value, "text")
            if choice not in field.choices:
                raise Problem(Reason.BAD_VALUE, f"is {shown(choice)!r}, not one of {' '.join(field.choices)}")
            return choice
        case FieldKind.TIME if type(value) is datetime:
            return value
        case FieldKind.TIME:
            time = parse_time(_text(value, "a time as text"))
            if time is None:
                raise Problem(Reason.BAD_VALUE, f"is {shown(value)!r}, no ISO 8601 time of the years 1 to 9999")
            return time
        case FieldKind.CURRENCY:
            code = _text(value, "text").strip().upper()
            if not CODE.fullmatch(code):
                raise Problem(Reason.BAD_VALUE, f"is {shown(value)!r}, no code of ISO 4217, like EUR")
            return code
        case FieldKind.COUNT:
            return _count(number_of(value), value)
        case FieldKind.PRICE | FieldKind.MONEY:
            return _amount(field, value)


def _amount(field: TopicField, value: object) -> Decimal:
    """The number, exact still: a product of it is rounded once."""
    number, scale = number_of(value), SCALES[field.kind]
    if field.kind is FieldKind.PRICE and number < 0:
        raise Problem(Reason.BAD_VALUE, f"is {shown(value)}, below 0")
    kept = rounded(number, scale)
    if kept is None:
        raise Problem(Reason.BAD_VALUE, f"is {shown(value)}, beyond {scale.type}")
    if field.above is not None and kept <= field.above:
        raise Problem(Reason.BAD_VALUE, f"is {shown(value)}, not above {field.above}")
    return number


def _text(value: object, wanted: str) -> str:
    if type(value) is str:
        return value
    raise Problem(Reason.BAD_TYPE, f"is {json_type(value)}, expected {wanted}")


def number_of(value: object) -> Decimal:
    """The number that a JSON value says, exactly; raises Problem."""
    if isinstance(value, JsonNotFinite) or (type(value) is str and NOT_FINITE_TEXT.fullmatch(value)):
        raise Problem(Reason.NOT_FINITE, f"is {shown(str(value).strip())}")
    if not isinstance(value, str):
        raise Problem(Reason.BAD_TYPE, f"is {json_type(value)}, expected a number")
    number = parse_number(value)
    if number is None:
        raise Problem(Reason.BAD_TYPE, f"is {shown(value)!r}, expected a number")
    return number


def _count(number: Decimal, value: object) -> int:
    whole = number.normalize(EXACT)
    exponent = whole.as_tuple().exponent
    if isinstance(exponent, int) and exponent < 0:
        raise Problem(Reason.BAD_TYPE, f"is {shown(value)}, expected a whole number")
    if whole <= 0 or whole.adjusted() > 9 or whole > MAX_COUNT:
        raise Problem(Reason.BAD_VALUE, f"is {shown(value)}, not within 1 to {MAX_COUNT}")
    return int(whole)


def _built(
    topic: Topic, values: dict[str, Any], called: Callable[[str], str], place: str, rates: Rates | None
) -> Event | Rejected:
    """The event of a topic's values, amounts rounded and products filled in; converted where a currency is given."""
    exact = dict(values)
    for field in topic.fields:
        if field.product and values[field.name] is None:
            left, right = field.product
            exact[field.name] = EXACT.multiply(exact[left], exact[right])
            kept = rounded(exact[field.name], SCALES[field.kind])
            if kept is None or (field.above is not None and kept <= field.above):
                limit = f"beyond {SCALES[field.kind].type}" if kept is None else f"not above {field.above}"
                return Rejected(Reason.BAD_VALUE, f"{left} x {right} is {limit}", right)
    for field in topic.fields:
        if field.kind in SCALES and exact[field.name] is not None:
            values[field.name] = rounded(exact[field.name], SCALES[field.kind])
    currency = topic.currency
    if rates is None or currency is None or values[currency.name] is None:
        return builder(topic)(values, place, {})
    try:
        converted = _converted(topic, exact, values[currency.name], rates)
    except NoRate as reason:
        return Rejected(Reason.BAD_VALUE, f"{called(currency.name)} {reason}", currency.name)
    return converted if isinstance(converted, Rejected) else builder(topic)(values, place, converted)


def _converted(topic: Topic, exact: dict[str, Any], given: str, rates: Rates) -> dict[str, Decimal] | Rejected:
    """The amounts in the shop's currency, by the rate of the event's day (UTC), rounded once. Raises NoRate."""
    rate = rates.of(given, exact[topic.time].date())
    converted: dict[str, Decimal] = {}
    for field in topic.fields:
        if field.kind in SCALES and exact[field.name] is not None:
            kept = rounded(EXACT.multiply(exact[field.name], rate), SCALES[field.kind])
            if kept is None or (field.above is not None and kept <= field.above):
                limit = f"beyond {SCALES[field.kind].type}" if kept is None else f"not above {field.above}"
                detail = f"{field.name} of {given} x {rate} is {limit}"
                return Rejected(Reason.BAD_VALUE, detail, field.name)
            converted[field.name] = kept
    return converted
