"""Messages of other shops: every kind becomes the rows that a plain message becomes, or one reason with its path."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from lakehouse.decode import Event, Message, Reason, Rejected, decode
from lakehouse.sources import document_of, topic_of
from lakehouse.sources import sources_of as made
from lakehouse.topics import TOPICS
from tests.source_cast import AT, RECEIVED, YAML, Kind, debezium, event, kinds, order, packed

SOURCES = made(YAML, "config/sources.yaml")
KINDS = kinds()


def read(kind: Kind) -> tuple[Event | Rejected, ...]:
    return SOURCES.decoder(kind.log_topic, None)(Message(kind.value, RECEIVED, None, kind.headers))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_kind_of_message_becomes_the_events_of_a_plain_one(kind: Kind) -> None:
    assert read(kind) == kind.orders


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_fast_way_takes_it_and_the_careful_one_says_the_same(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = (source for source in SOURCES.sources.values() if kind.log_topic in source.reads)
    monkeypatch.setattr(source.reader, "carefully", lambda document: pytest.fail("looked at carefully"))
    assert read(kind) == kind.orders
    monkeypatch.undo()
    monkeypatch.setattr(source.reader, "_parse", lambda value: [][0])
    monkeypatch.setattr(source.reader, "_parse_data", lambda value: [][0])
    assert source.reader._otherwise(kind.value, kind.headers) == kind.orders


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_event_as_a_plain_message_is_the_same_event(kind: Kind) -> None:
    for one in read(kind):
        assert isinstance(one, Event)
        message = Message(msgspec.json.encode(document_of(one)), RECEIVED)
        assert decode(topic_of(one), message, None) == (one,)


def test_deletions_and_changes_of_other_columns_are_left_out_as_the_map_says() -> None:
    decoder = SOURCES.decoder("shop.public.orders", None)
    for change in (debezium(1, op="d"), debezium(1, before="sent")):
        assert decoder(Message(packed(change), RECEIVED)) == ()
    assert decoder(Message(None, RECEIVED)) == ()  # the tombstone after a deletion
    assert decoder(Message(packed(debezium(1, op="c", before=None, after="open")), RECEIVED)) == (
        event(order("orders-1-24023129", "1")),
    )


def test_debezium_without_its_schema_is_read_alike() -> None:
    bare = Message(packed(debezium(1)["payload"]), RECEIVED)
    assert SOURCES.decoder("shop.public.orders", None)(bare) == KINDS["debezium update"].orders


def test_one_bad_element_is_one_dead_letter_and_the_others_are_stored() -> None:
    held = json.loads(KINDS["nested items"].value)
    held["lines"].insert(1, {"sku": "pot", "n": 0, "sum": "1,00"})
    first, bad, last = SOURCES.decoder("shop_lines", None)(Message(packed(held), RECEIVED))
    assert first == KINDS["nested items"].orders[0]
    assert bad == Rejected(Reason.BAD_VALUE, "quantity (lines[1].n) is 0, not within 1 to 2147483647", "quantity")
    assert isinstance(last, Event)
    assert last.event_key == "N5:2"


def test_two_elements_that_say_the_same_are_two_events() -> None:
    lines = made(
        "a:\n  topic: errors_topic\n  each: '[]'\n  map: "
        + json.dumps(
            {name: f"[].{name}" for name in ("error_id", "service_name", "error_message", "severity", "error_time")}
        ),
        "sources.yaml",
    )
    one = {
        "error_id": "1",
        "service_name": "pay",
        "error_message": "no",
        "severity": "WARN",
        "error_time": AT.isoformat(),
    }
    first, second = lines.named("a").read(packed([one, one]))
    assert isinstance(first, Event)
    assert isinstance(second, Event)
    assert first.event_key.removesuffix(":0") == second.event_key.removesuffix(":1")


def test_the_letter_of_a_binary_cloud_event_can_be_sent_again_without_headers() -> None:
    kind = KINDS["cloudevents binary"]
    (bad,) = SOURCES.named("shop_cloud").read(packed({"order": {"id": None}}), kind.headers)
    assert isinstance(bad, Rejected)
    assert bad.kept is not None
    assert bad.detail == "order_id (data.order.id) is null"
    (again,) = SOURCES.named("shop_cloud").read(bad.kept)
    assert isinstance(again, Rejected)
    assert (again.reason, again.detail) == (bad.reason, bad.detail)
    (broken,) = SOURCES.named("shop_cloud").read(b'1, "id": 2', kind.headers)
    assert isinstance(broken, Rejected)
    assert broken.reason is Reason.NOT_JSON
    assert broken.kept is not None
    (late,) = SOURCES.decoder("shop_cloud", timedelta(0))(Message(kind.value, RECEIVED, None, kind.headers))
    assert isinstance(late, Rejected)
    assert late.kept is not None
    assert SOURCES.named("shop_cloud").read(late.kept) == kind.orders
    (again,) = SOURCES.named("shop_cloud").read(broken.kept)
    assert isinstance(again, Rejected)
    assert again.reason is Reason.NOT_JSON


REJECTED = {
    "missing": ({"user": None, "customer": ""}, Reason.MISSING_FIELD, "user_id (user, customer) is missing"),
    "empty id": ({"order": " "}, Reason.MISSING_FIELD, "order_id (order) is empty"),
    "no time": ({"at": "soon"}, Reason.BAD_TYPE, "order_time (at) is 'soon', expected a number"),
    "far time": (
        {"at": 10**30},
        Reason.BAD_VALUE,
        "order_time (at) is 1" + "0" * 30 + ", no time of the years 1 to 9999 in ms",
    ),
    "no count": ({"count": "two"}, Reason.BAD_TYPE, "quantity (count) is 'two', expected a number"),
    "half": ({"count": 1.5}, Reason.BAD_TYPE, "quantity (count) is 1.5, expected a whole number"),
    "no number": ({"price": "NaN"}, Reason.NOT_FINITE, "price is NaN"),
    "negative": ({"price": -1}, Reason.BAD_VALUE, "price is -1, below 0"),
    "object": (
        {"product": {"a": 1}},
        Reason.BAD_TYPE,
        "product_id (product) is an object, expected text or an integer",
    ),
    "first of the order": ({"count": "two", "order": None}, Reason.MISSING_FIELD, "order_id (order) is null"),
}


@pytest.mark.parametrize(("change", "reason", "detail"), REJECTED.values(), ids=REJECTED)
def test_what_does_not_fit_has_its_path_and_value(change: dict[str, Any], reason: Reason, detail: str) -> None:
    held = json.loads(KINDS["epoch milliseconds"].value) | change
    (found,) = SOURCES.decoder("shop_millis", None)(Message(packed(held), RECEIVED))
    assert isinstance(found, Rejected)
    assert (found.reason, found.detail) == (reason, detail)


def test_times_are_judged_against_the_log_as_of_plain_messages() -> None:
    kind = KINDS["epoch milliseconds"]
    decoder = SOURCES.decoder(kind.log_topic, timedelta(days=15))
    (late,) = decoder(Message(kind.value, AT + timedelta(days=16)))
    (early,) = decoder(Message(kind.value, AT - timedelta(minutes=6)))
    assert isinstance(late, Rejected)
    assert late.reason is Reason.STALE_TIME
    assert isinstance(early, Rejected)
    assert early.reason is Reason.FUTURE_TIME


def test_sources_go_to_other_processes_as_they_are() -> None:
    first, again = (pickle.loads(pickle.dumps(SOURCES)) for _ in range(2))
    assert first is again
    assert list(first.sources) == list(SOURCES.sources)


def test_without_the_file_all_is_as_it_was() -> None:
    none = made("", "config/sources.yaml")
    plain = Message(packed(order("e", "1")), RECEIVED)
    assert none.log_topics == tuple(TOPICS)
    assert none.decoder("orders_topic", None)(plain) == decode("orders_topic", plain, None)


def test_several_topics_of_the_log_feed_one_of_ours_and_ours_is_still_read() -> None:
    assert SOURCES.feeds["shop.public.orders"] == ("orders_topic",)
    assert SOURCES.fed_by("orders_topic")[:2] == ("orders_topic", "shop.public.orders")
    assert SOURCES.fed_by("clicks_topic") == ("clicks_topic",)
    plain = Message(packed(order("e", "1")), RECEIVED)
    assert SOURCES.decoder("orders_topic", None)(plain) == decode("orders_topic", plain, None)
