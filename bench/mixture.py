"""A shop's events as they really come: good, bad, late, doubled, with keys used twice; the same from the same seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lakehouse.decode import Reason
from lakehouse.topics import TOPICS
from producers.shop import CLICKS_TOPIC, DEVICE_TYPES, ERRORS_TOPIC, ORDERS_TOPIC, REFUNDS_TOPIC, STATUSES


@dataclass(frozen=True)
class MixedMessage:
    """One message. `kind` says why it is here: good, late, ahead, doubled, conflict, or the reason it is rejected."""

    topic: str
    key: bytes | None
    value: bytes | None
    kind: str


type Fields = dict[str, str]
"""Names and their JSON text."""

_PLAIN, _LATE, _AHEAD, _DOUBLED, _CONFLICT, _BAD = "good", "late", "ahead", "doubled", "conflict", "bad"
_SHARES = ((_PLAIN, 74), (_LATE, 10), (_AHEAD, 1), (_DOUBLED, 8), (_CONFLICT, 2), (_BAD, 5))
_TOPIC_SHARES = ((ORDERS_TOPIC, 30), (CLICKS_TOPIC, 57), (ERRORS_TOPIC, 10), (REFUNDS_TOPIC, 3))
_LATE_HOURS = (1, 2, 5, 26, 73, 13 * 24)
"""Late events lie in few hours, for each hour is a file of its own a table and publish."""
_CHOICE_FIELD = {ORDERS_TOPIC: "status", CLICKS_TOPIC: "device_type", ERRORS_TOPIC: "severity"}
_URLS = (
    "/page/cart?step=1",
    "/cart",
    "/page/product/p-7#top",
    "https://shop.example/page/checkout",
    "https://shop.example?from=/mail/autumn",
    "/",
    "",
    "/page",
    "//search//shoes",
    "/page/page/x",
)
_SERVICES = ("payments", "search", "cart", "accounts", "mail-sender", "stock; DROP")
_TEXTS = ("Card processor unreachable", "it's slow", 'said "no"', "Überlauf \u2028 \U0001f6d2", "", "a\\b\tc")
_SEVERITIES = (("DEBUG", 20), ("INFO", 20), ("WARN", 25), ("ERROR", 30), ("FATAL", 5))


def mixture(count: int, seed: int, now: datetime) -> list[MixedMessage]:
    """`count` messages of the shipped topics, in the order they are sent.

    All but a few orders and errors, which come from a clock that is ahead, lie before `now`'s minute, and none lies
    near a limit of age: whoever reads them within minutes of `now` must come to the same verdicts.
    """
    return _Mixer(seed, now).messages(count)


class _Mixer:
    def __init__(self, seed: int, now: datetime) -> None:
        self._draw = random.Random(seed)
        self._now = now.replace(second=0, microsecond=0)
        self._number = 0
        self._sent: dict[str, list[tuple[Fields, bytes]]] = {topic: [] for topic, _ in _TOPIC_SHARES}

    def messages(self, count: int) -> list[MixedMessage]:
        found: list[MixedMessage] = []
        while len(found) < count:
            topic, kind = self._one_of(_TOPIC_SHARES), self._one_of(_SHARES)
            if kind in (_DOUBLED, _CONFLICT) and not self._sent[topic]:
                continue
            found.append(self._message(topic, kind))
        return found

    def _one_of(self, shares: Sequence[tuple[str, int]]) -> str:
        return self._draw.choices([name for name, _ in shares], [share for _, share in shares])[0]

    def _message(self, topic: str, kind: str) -> MixedMessage:
        match kind:
            case "doubled":
                return self._doubled(topic)
            case "conflict":
                fields, key = self._draw.choice(self._sent[topic])
                # Only who gave an event_id can use it twice; without, this is one more event.
                again = fields | {TOPICS[topic].time: self._time(topic, _PLAIN)}
                self._sent[topic].append((again, key))
                return MixedMessage(topic, key, _json(again), kind)
            case "bad":
                return self._bad(topic)
        fields, key = self._event(topic, kind)
        self._sent[topic].append((fields, key))
        return MixedMessage(topic, key, _json(fields), kind)

    def _event(self, topic: str, kind: str) -> tuple[Fields, bytes]:
        self._number += 1
        draw, number = self._draw, self._number
        user = f"user-{int(draw.paretovariate(0.6)) % 400}"
        fields: Fields
        if topic == ORDERS_TOPIC:
            fields = {
                "order_id": _text(f"o-{number}") if draw.random() < 0.9 else str(number),
                "user_id": _text(user),
                "product_id": _text(f"p-{draw.randrange(60)}"),
                "quantity": draw.choice(("1", "1", "2", "3", "2.0", '"4"', "10e0")),
                "price": draw.choice(("19.99", "0.125", "0.00005", '"7.5"', "1e2", "0", "99999999.9999", "3.00125")),
                "status": _text(draw.choice(STATUSES)),
            }
            if draw.random() < 0.3:
                fields["order_total"] = f"{draw.randrange(100_000) / 1000:.3f}"
        elif topic == CLICKS_TOPIC:
            fields = {
                "click_id": _text(f"c-{number}"),
                "user_id": _text(user),
                "url": _text(draw.choice(_URLS)),
                "device_type": _text(draw.choice(DEVICE_TYPES)),
            }
        elif topic == REFUNDS_TOPIC:
            order = f"o-{draw.randrange(max(1, number))}"
            fields = {
                "refund_id": _text(f"r-{number}"),
                "order_id": _text(order),
                "amount": draw.choice(("19.99", "0.005", '"7.5"', "1e2", "99999999.9999")),
            }
            user = order
        else:
            fields = {
                "error_id": _text(f"e-{number}"),
                "service_name": _text(draw.choice(_SERVICES)),
                "error_message": _text(draw.choice(_TEXTS)),
                "severity": _text(self._one_of(_SEVERITIES)),
            }
            user = json.loads(fields["service_name"])
        if kind == _AHEAD and topic == CLICKS_TOPIC:
            kind = _PLAIN  # active users are compared up to the newest click, which both engines must have reached
        fields[TOPICS[topic].time] = self._time(topic, kind)
        if draw.random() < 0.7:
            fields["event_id"] = _text(f"{topic[0]}-{number:x}-{draw.getrandbits(32):08x}")
        if draw.random() < 0.7:
            fields["produced_at"] = fields[TOPICS[topic].time]
        if draw.random() < 0.1:
            fields["note"] = '{"unknown": [1, null, "\\ud83d\\ude00"]}'
        return fields, user.encode()

    def _time(self, topic: str, kind: str) -> str:
        draw = self._draw
        match kind:
            case "late":
                hour = self._now.replace(minute=0) - timedelta(hours=draw.choice(_LATE_HOURS))
                when = hour + timedelta(minutes=draw.randrange(3), microseconds=draw.randrange(60_000_000))
            case "ahead":
                when = self._now + timedelta(seconds=draw.randrange(60, 120))
            case _:
                when = self._now - timedelta(microseconds=1 + draw.randrange(1_200_000_000))
        form = draw.randrange(4)
        if form == 0:
            return f'"{when:%Y-%m-%dT%H:%M:%S.%f}"'
        if form == 1:
            return f'"{when + timedelta(hours=2):%Y-%m-%dT%H:%M:%S.%f}+02:00"'
        if form == 2:
            return f'"{when:%Y-%m-%d %H:%M:%S.%f}789Z"'
        return f'"{when:%Y-%m-%dT%H:%M:%S.%f}Z"'

    def _doubled(self, topic: str) -> MixedMessage:
        """An earlier event again: byte by byte, written in another way, or with its key and time but other words."""
        fields, key = self._draw.choice(self._sent[topic])
        way = self._draw.randrange(3)
        if way == 0:
            return MixedMessage(topic, key, _json(fields), _DOUBLED)
        if way == 2 and "event_id" in fields:
            changed = dict(fields)
            changed[TOPICS[topic].id_field] = _text("changed")
            return MixedMessage(topic, key, _json(changed), _DOUBLED)
        spaced = ",\n ".join(f'"{name}" : {value}' for name, value in reversed(fields.items()))
        return MixedMessage(topic, key, f" {{{spaced}}}\r\n".encode(), _DOUBLED)

    def _bad(self, topic: str) -> MixedMessage:
        fields, key = self._event(topic, _PLAIN)
        spoilt = _SPOILT + _SPOILT_CHOICES * (topic in _CHOICE_FIELD) + _SPOILT_ORDERS * (topic == ORDERS_TOPIC)
        reason, spoil = self._draw.choice(spoilt)
        return MixedMessage(
            topic, key if self._draw.random() < 0.5 else None, spoil(topic, fields, self._now), str(reason)
        )


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json(fields: Fields) -> bytes:
    return ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()


type _Spoil = Callable[[str, Fields, datetime], bytes | None]


def _with(choose: Callable[[str], str], value: str) -> _Spoil:
    """A spoiler that gives the topic's field another JSON text."""
    return lambda topic, fields, _: _json(fields | {choose(topic): value})


def _without(choose: Callable[[str], str]) -> _Spoil:
    return lambda topic, fields, _: _json({name: text for name, text in fields.items() if name != choose(topic)})


def _at(lead: timedelta) -> _Spoil:
    return lambda topic, fields, now: _json(fields | {TOPICS[topic].time: f'"{now + lead:%Y-%m-%dT%H:%M:%SZ}"'})


_SPOILT: tuple[tuple[Reason, _Spoil], ...] = (
    (Reason.EMPTY, lambda *_: None),
    (Reason.EMPTY, lambda *_: b""),
    (Reason.EMPTY, lambda *_: b" \t\r\n"),
    (Reason.EMPTY, lambda *_: b" null "),
    (Reason.NOT_JSON, lambda *_: b"hello"),
    (Reason.NOT_JSON, lambda topic, fields, now: _json(fields)[:-1]),
    (Reason.NOT_JSON, lambda topic, fields, now: _json(fields) + b" x"),
    (Reason.NOT_JSON, lambda topic, fields, now: b"\xef\xbb\xbf" + _json(fields)),
    (Reason.NOT_JSON, lambda topic, fields, now: _json(fields)[:-1] + b',"x":"\xff\xfe"}'),
    (Reason.NOT_JSON, lambda topic, fields, now: _json(fields)[:-1] + rb',"x":"\ud83d"}'),
    (Reason.NOT_JSON, lambda topic, fields, now: b"[" + _json(fields) + b"]"),
    (Reason.MISSING_FIELD, lambda *_: b"{}"),
    (Reason.MISSING_FIELD, _without(lambda topic: TOPICS[topic].id_field)),
    (Reason.MISSING_FIELD, _with(lambda topic: TOPICS[topic].id_field, '"  "')),
    (Reason.BAD_TYPE, _with(lambda topic: TOPICS[topic].id_field, "1.5")),
    (Reason.BAD_TYPE, _with(lambda topic: TOPICS[topic].time, "1795402800")),
    (Reason.BAD_VALUE, _with(lambda topic: TOPICS[topic].time, '"2026-02-30T00:00:00Z"')),
    (Reason.BAD_VALUE, _with(lambda topic: "produced_at", '"soon"')),
    (Reason.FUTURE_TIME, _at(timedelta(hours=1))),
    (Reason.FUTURE_TIME, _at(timedelta(days=73 * 365))),
    (Reason.STALE_TIME, _at(-timedelta(days=20))),
    (Reason.STALE_TIME, _at(-timedelta(days=29 * 365))),
)
_SPOILT_CHOICES: tuple[tuple[Reason, _Spoil], ...] = (
    (Reason.MISSING_FIELD, _with(lambda topic: _CHOICE_FIELD[topic], "null")),
    (Reason.BAD_TYPE, _with(lambda topic: _CHOICE_FIELD[topic], "true")),
    (Reason.BAD_VALUE, _with(lambda topic: _CHOICE_FIELD[topic], '"LOST"')),
)
# Only orders have counts and prices.
_SPOILT_ORDERS: tuple[tuple[Reason, _Spoil], ...] = (
    (Reason.BAD_TYPE, _with(lambda _: "quantity", "2.5")),
    (Reason.BAD_TYPE, _with(lambda _: "price", '"abc"')),
    (Reason.NOT_FINITE, _with(lambda _: "price", "NaN")),
    (Reason.NOT_FINITE, _with(lambda _: "price", '"-inf"')),
    (Reason.NOT_FINITE, _with(lambda _: "quantity", "Infinity")),
    (Reason.BAD_VALUE, _with(lambda _: "quantity", "0")),
    (Reason.BAD_VALUE, _with(lambda _: "price", "-1")),
    (Reason.BAD_VALUE, _with(lambda _: "price", "1e400")),
)
