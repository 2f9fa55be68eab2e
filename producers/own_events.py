"""Events of a shop's own topics, so that they live in a demo too: one for each order, made of what its file declares.

A field that an order has as well (order_id, user_id, quantity …) has the order's value, an amount is the order's total,
and a cancelled order gives the last of a field's choices, where files name what went wrong. All else is drawn, alike
whenever the same order is asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from lakehouse.topics import TOPICS, FieldKind, Topic, TopicField
from producers.messages import Message
from producers.shop import ORDERS_TOPIC, SERVICES

_LATEST_MS = 900
"""After its order, at most: not much later than what else is sent with it."""
OWN: tuple[Topic, ...] = tuple(topic for topic in TOPICS.values() if topic.table.own)


def with_own(messages: Iterable[list[Message]], topics: Sequence[Topic] = OWN) -> Iterator[list[Message]]:
    """The same lists in their order, each with the events that its orders give on these topics."""
    for each in messages:
        more = [_event(topic, message) for message in each if message[2] == ORDERS_TOPIC for topic in topics]
        yield sorted([*each, *more], key=lambda message: message[0]) if more else each


def _event(topic: Topic, ordered: Message) -> Message:
    order = msgspec.json.decode(ordered[4] + b"}")
    name = order["order_id"]
    time_ms = ordered[0] + _drawn(name, topic.name, _LATEST_MS)
    time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    values = {field.name: value for field in topic.fields if (value := _value(topic, field, order, time)) is not None}
    # As all messages of shoppers: the time and the event_id come last.
    values.pop(topic.time)
    values |= {topic.time: time, "event_id": f"{topic.name}-{name}"}
    key = str(values.get(topic.message_key, name)).encode()
    return time_ms, time, topic.name, key, msgspec.json.encode(values)[:-1]


def _value(topic: Topic, field: TopicField, order: dict[str, Any], time: str) -> Any:
    """What a field has; None: nothing."""
    name = order["order_id"]
    luck = _drawn(name, f"{topic.name}.{field.name}", 1_000_000)
    if field.name in ("event_id", "produced_at") or (not field.required and luck % 2):
        return None
    if field.kind is FieldKind.TIME:
        return time
    if field.name in order and field.kind is not FieldKind.CHOICE:
        return order[field.name]
    match field.kind:
        case FieldKind.ID:
            letter = field.name[0]
            return f"{letter}{name[1:]}" if field.name == topic.id_field else f"{letter}-{luck % 1000:04d}"
        case FieldKind.CHOICE:
            return _choice(field.choices, order, luck)
        case FieldKind.COUNT:
            return 1 + luck % 3
        case FieldKind.PRICE | FieldKind.MONEY:
            return max(round(order["quantity"] * order["price"], 2), (field.above or 0) + 1)
    return SERVICES[luck % len(SERVICES)] if field.name == "service_name" else f"{field.name} {luck % 20}"


def _choice(choices: Sequence[str], order: dict[str, Any], luck: int) -> str:
    """The order's status where that is one of them; the last of a cancelled order; else rarer from each to the next."""
    if order["status"] in choices:
        return str(order["status"])
    if order["status"] == "CANCELLED":
        return choices[-1]
    place = 0
    while place < len(choices) - 2 and luck % 4 == 0:
        place, luck = place + 1, luck // 4
    return choices[place]


def _drawn(name: str, what: str, below: int) -> int:
    return zlib.crc32(f"{name} {what}".encode()) % below
