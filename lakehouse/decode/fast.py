"""The fast way: one typed decoder a topic, whose source is written from the declaration, as dataclasses do.

Where it gives None or raises, the message is looked at carefully; that alone says that it is rejected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from lakehouse.decode.amounts import amount_arguments, amount_lines, converts_amounts, kept_name, local_name
from lakehouse.decode.customs import AS_DECLARED, Customs
from lakehouse.decode.event import Event, event_type, hash_of, key_fields, placed
from lakehouse.decode.values import EXACT, MAX_COUNT, SCALES, parse_time
from lakehouse.rates import CODE, NoRate, Rates
from lakehouse.topics import FieldKind, Topic, TopicField
from lakehouse.topics.topic import EVENT_ID

# Whatever this matches fits the types of all amounts after rounding.
_PLAIN_NUMBER = re.compile(rb"\d{1,13}(?:\.\d{1,20})?")
_JSON_TYPES: dict[FieldKind, Any] = {
    FieldKind.ID: str | int,
    FieldKind.TEXT: str,
    FieldKind.CHOICE: str,
    FieldKind.COUNT: int,
    FieldKind.PRICE: msgspec.Raw,
    FieldKind.MONEY: msgspec.Raw,
    FieldKind.TIME: str,
    FieldKind.CURRENCY: str,
}


# Events of one moment come together, and are sent when they happen: most times were read just now.
seen_before = lru_cache(maxsize=4096)(parse_time)


def reader(topic: Topic, customs: Customs = AS_DECLARED) -> Callable[[bytes], Event | None]:
    """What reads the plain messages of a topic, those of nearly all producers; raises on others, or gives None."""
    source = [*amount_lines(topic, customs), "def read(payload):", "    given = decode(payload)"]
    source += [f"    {line}" for line in event_lines(topic, _given, _as_bytes, customs=customs)]
    source.append("    return event")
    names = {**event_names(topic, customs), "decode": msgspec.json.Decoder(_json_struct(topic, customs)).decode}
    read: Callable[[bytes], Event | None] = compiled("read", source, names, topic.name)
    return read


def compiled(name: str, source: Sequence[str], names: dict[str, Any], of: str) -> Any:
    """The function `name` of a source, which may use `names`."""
    exec(compile("\n".join(source), f"<reader of {of}>", "exec"), names)
    return names[name]


def event_names(topic: Topic, customs: Customs = AS_DECLARED) -> dict[str, Any]:
    """What the lines below use."""
    names: dict[str, Any] = {
        "EXACT": EXACT,
        "Decimal": Decimal,
        "Event": event_type(topic),
        "hash_of": hash_of,
        "lru_cache": lru_cache,
        "parse_time": seen_before,
        "placed": placed,
        "plain": _PLAIN_NUMBER.fullmatch,
    }
    if customs.rates is not None:
        names["rate_of"] = _rates(customs.rates)
    names |= {f"choices_{field.name}": frozenset(field.choices) for field in topic.fields if field.choices}
    names |= {f"unit_{field.name}": SCALES[field.kind].unit for field in topic.fields if field.kind in SCALES}
    return names


def _given(field: TopicField) -> str:
    return f"given.{field.name}"


def _as_bytes(field: TopicField) -> str:
    return f"bytes({_given(field)})" if field.required else f"{_given(field)} and bytes({_given(field)})"


def _json_struct(topic: Topic, customs: Customs) -> type[msgspec.Struct]:
    """What msgspec reads a message into; an event_id that is no text is left to the careful way."""
    fields = {field: field.required and not customs.may_lack(topic, field) for field in customs.fields(topic)}
    needed = [(field.name, _JSON_TYPES[field.kind]) for field, required in fields.items() if required]
    optional = [_optional(field) for field, required in fields.items() if not required]
    return msgspec.defstruct("Json", [*needed, *optional], gc=False)


def _optional(field: TopicField) -> tuple[str, Any, Any]:
    if field.kind in SCALES:  # msgspec takes no number as Raw | None; a null comes as it is, and is none of the plain
        return (field.name, msgspec.Raw, None)
    return (field.name, (str if field is EVENT_ID else _JSON_TYPES[field.kind]) | None, None)


def event_lines(
    topic: Topic,
    given: Callable[[TopicField], str],
    amount: Callable[[TopicField], str],
    *,
    place: str = "",
    ready: Collection[str] = (),
    customs: Customs = AS_DECLARED,
) -> Iterator[str]:
    """Lines that make `event` of a message, or return None.

    `given` and `amount`: where a field's value stands, and the bytes of an amount's, None where it is optional and not
    there. `ready`: fields whose value is of our type already. `place`: where an element's place stands.
    """
    amounts, converts = [field for field in topic.fields if field.kind in SCALES], converts_amounts(topic, customs)
    refused: list[str] = []
    for field in topic.stored:
        if field.kind is FieldKind.CURRENCY:
            yield f"{local_name(field)} = {given(field) if converts else None}"
        elif customs.may_lack(topic, field):
            yield f"{local_name(field)} = '' if {given(field)} is None else str({given(field)})"
            yield f"if not {local_name(field)}.strip():"
            yield f"    {local_name(field)} = ''"
        elif field not in amounts:
            yield from [f"{local_name(field)} = {given(field)}"] if field.name in ready else _value_lines(field, given)
            refused += _refused(field, given)
    if amounts:
        factors = amount_arguments(topic, amounts)
        arguments = [amount(f) if f in amounts else local_name(f) for f in factors]
        if converts:
            assert topic.currency is not None
            currency = local_name(topic.currency)
            at = local_name(topic.field(topic.time))
            yield f"rate = rate_of({currency}, {at}) if {currency} is not None else None"
            refused.append(f"{currency} is not None and rate is None")
            arguments.append("rate")
        yield f"amounts = amounts_of({', '.join(arguments)})"
        refused.append("amounts is None")
    yield f"if {' or '.join(refused)}:"
    yield "    return None"
    if amounts:
        yield f"{', '.join([*map(local_name, amounts), *(map(kept_name, amounts) if converts else ())])}, = amounts"
    yield f"key = {given(EVENT_ID)}"
    yield "if not (key and key.strip()):"
    first, later = key_fields(topic)
    said = "".join(f", {local_name(field)}" for field in first)
    made = "hash_of(tuple(said))" if later else f"hash_of(({topic.name!r}{said}))"
    if later:
        yield f"    said = [{topic.name!r}{said}]"
        for field in later:
            yield f"    if {local_name(field)} is not None:"
            yield f"        said.append(({field.name!r}, {local_name(field)}))"
    yield f"    key = placed({made}, {place})" if place else f"    key = {made}"
    # The key is that of what was given: a later rate makes no other event of it.
    stored = [kept_name(field) if converts and field in amounts else local_name(field) for field in topic.stored]
    as_given = [f"None if rate is None else {local_name(field)}" if converts else "None" for field in topic.originals]
    yield f"event = Event({', '.join(['key', *stored, *as_given])})"


def _rates(rates: Rates) -> Callable[[str, datetime | None], Decimal | None]:
    """The rate of a currency at a time, or None, where it must be looked at carefully."""

    def rate_of(currency: str, time: datetime | None) -> Decimal | None:
        if time is None or not CODE.fullmatch(currency):
            return None
        try:
            return rates.of(currency, time.date())
        except NoRate:
            return None

    return rate_of


def _value_lines(field: TopicField, at: Callable[[TopicField], str]) -> Iterator[str]:
    name, given = local_name(field), at(field)
    if field.kind is FieldKind.TIME:
        yield f"{name} = parse_time({given})" + ("" if field.required else f" if {given} else None")
    elif field.kind is FieldKind.ID:
        yield f"{name} = str({given})" + ("" if field.required else f" if {given} is not None else None")
    else:
        yield f"{name} = {given}"
    if field.kind in (FieldKind.ID, FieldKind.TEXT, FieldKind.CHOICE) and not field.required:
        yield f"if {name} is not None and not {name}.strip():"
        yield f"    {name} = None"


def _refused(field: TopicField, at: Callable[[TopicField], str]) -> Iterator[str]:
    """When a value must be looked at carefully."""
    name = local_name(field)
    given = "" if field.required else f"{name} is not None and "
    match field.kind:
        case FieldKind.ID if field.required:
            yield f"not {name}.strip()"
        case FieldKind.CHOICE:
            yield f"{given}{name} not in choices_{field.name}"
        case FieldKind.COUNT:
            yield f"{given}not 0 < {name} <= {MAX_COUNT}"
        case FieldKind.TIME:
            yield f"{name} is None" + ("" if field.required else f" and {at(field)}")
