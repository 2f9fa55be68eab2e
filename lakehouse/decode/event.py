"""Events: one struct a topic, made from its declaration, and their keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from hashlib import blake2b
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from lakehouse.topics import TOPICS, FieldKind, Topic, TopicField

_TYPES: dict[FieldKind, type] = {
    FieldKind.ID: str,
    FieldKind.TEXT: str,
    FieldKind.CHOICE: str,
    FieldKind.COUNT: int,
    FieldKind.PRICE: Decimal,
    FieldKind.MONEY: Decimal,
    FieldKind.TIME: datetime,
    FieldKind.CURRENCY: str,
}


class Event(msgspec.Struct, frozen=True, gc=False):
    """What happened once. Its attributes are the columns of the topic's raw table that a message fills.

    Times are UTC; amounts have the decimals of their columns.
    """

    event_key: str

    if TYPE_CHECKING:

        def __init__(self, *values: Any, **by_name: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...


@cache
def event_type(topic: Topic) -> type[Event]:
    """The struct of a topic's events: the key, its columns in order, then amounts as they were given."""
    fields = [
        (field.column, _TYPES[field.kind] if field.always else _TYPES[field.kind] | None) for field in topic.stored
    ]
    fields += [(str(field.original), _TYPES[field.kind] | None) for field in topic.originals]
    name = "".join(word.capitalize() for word in topic.name.removesuffix("_topic").split("_")) + "Event"
    made: Any = msgspec.defstruct(name, fields, bases=(Event,), module=__name__, frozen=True, gc=False)
    kind: type[Event] = made
    return kind


EVENT_TYPES: Mapping[str, type[Event]] = {name: event_type(topic) for name, topic in TOPICS.items()}
_TIMES: dict[type, Callable[[Any], datetime]] = {
    EVENT_TYPES[name]: attrgetter(topic.time_column) for name, topic in TOPICS.items()
}


def event_time(event: Event) -> datetime:
    """When it happened (UTC)."""
    return _TIMES[type(event)](event)


def time_getter(kind: type[Event]) -> Callable[[Event], datetime]:
    """`event_time` for events of one topic."""
    return _TIMES[kind]


def key_fields(topic: Topic) -> tuple[tuple[TopicField, ...], tuple[TopicField, ...]]:
    """The fields of the key, and those that enter it, by name, only where they are given: they came later."""
    first = tuple(topic.field(name) for name in topic.key)
    return first, tuple(field for field in topic.stored if field not in first)


def hash_of(said: tuple[object, ...]) -> str:
    """A hash of what was decoded, so spacing and order of the fields do not matter."""
    return blake2b(msgspec.json.encode(said), digest_size=16).hexdigest()


def placed(key: str, place: str) -> str:
    """The key of an element: its message's, and its place there."""
    return f"{key}:{place}" if place else key


@cache
def builder(topic: Topic) -> Callable[[Mapping[str, Any], str, Mapping[str, Any]], Event]:
    """What makes an event from the values of a topic's fields, by field, and its place where a message holds several.

    The place tells two elements apart that say the same. The values are as given; `converted` are those that are stored
    in place of some, where a currency was given.
    """
    kind, stored = event_type(topic), [field.name for field in topic.stored]
    originals = [field.name for field in topic.originals]
    first, later = key_fields(topic)

    def build(values: Mapping[str, Any], place: str, converted: Mapping[str, Any]) -> Event:
        said = [topic.name, *(values[field.name] for field in first)]
        said += [(field.name, values[field.name]) for field in later if values[field.name] is not None]
        # The key is that of what was given: a later rate makes no other event of it.
        key = values["event_id"] or placed(hash_of(tuple(said)), place)
        kept = (values[name] if converted else None for name in originals)
        return kind(key, *(converted.get(name, values[name]) for name in stored), *kept)

    return build
