"""Messages of other shops: every kind becomes the rows that a plain message becomes, or one reason with its path."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from lakehouse.decode import Event, Message, Reason, Rejected, decode
from lakehouse.decode.document import parse_document
from lakehouse.sources import document_of, topic_of
from lakehouse.sources import sources_of as made
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
    assert isinstance(last, Event) and last.event_key == "N5:2"


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
    assert isinstance(first, Event) and isinstance(second, Event)
    assert first.event_key.removesuffix(":0") == second.event_key.removesuffix(":1")


def test_the_letter_of_a_binary_cloud_event_can_be_sent_again_without_headers() -> None:
    kind = KINDS["cloudevents binary"]
    (bad,) = SOURCES.named("shop_cloud").read(packed({"order": {"id": None}}), kind.headers)
    assert isinstance(bad, Rejected) and bad.kept is not None
    assert bad.detail == "order_id (data.order.id) is null"
    (again,) = SOURCES.named("shop_cloud").read(bad.kept)
    assert isinstance(again, Rejected) and (again.reason, again.detail) == (bad.reason, bad.detail)
    (broken,) = SOURCES.named("shop_cloud").read(b'1, "id": 2', kind.headers)
    assert isinstance(broken, Rejected) and broken.reason is Reason.NOT_JSON and broken.kept is not None
    (again,) = SOURCES.named("shop_cloud").read(broken.kept)
    assert isinstance(again, Rejected) and again.reason is Reason.NOT_JSON


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
    assert isinstance(late, Rejected) and late.reason is Reason.STALE_TIME
    assert isinstance(early, Rejected) and early.reason is Reason.FUTURE_TIME


def test_sources_go_to_other_processes_as_they_are() -> None:
    assert pickle.loads(pickle.dumps(SOURCES)) is SOURCES


def test_without_the_file_all_is_as_it_was() -> None:
    none = made("", "config/sources.yaml")
    plain = Message(packed(order("e", "1")), RECEIVED)
    assert none.log_topics == ("orders_topic", "clicks_topic", "errors_topic")
    assert none.decoder("orders_topic", None)(plain) == decode("orders_topic", plain, None)


def test_several_topics_of_the_log_feed_one_of_ours_and_ours_is_still_read() -> None:
    assert SOURCES.feeds["shop.public.orders"] == ("orders_topic",)
    assert SOURCES.fed_by("orders_topic")[:2] == ("orders_topic", "shop.public.orders")
    assert SOURCES.fed_by("clicks_topic") == ("clicks_topic",)
    plain = Message(packed(order("e", "1")), RECEIVED)
    assert SOURCES.decoder("orders_topic", None)(plain) == decode("orders_topic", plain, None)


# Values ----------------------------------------------------------------------------------------------------------------


def one_field(topic: str, field: str, how: object, message: dict[str, Any], **source: Any) -> object:
    """What a field of a source becomes, or the reason why not."""
    samples: dict[str, Any] = order("e", "1") if topic == "orders_topic" else {}
    fields = {name: {"value": value} for name, value in samples.items() if name != "event_id"} | {field: how}
    text = json.dumps({"a": {"topic": topic, "map": fields} | source})
    (found,) = made(text, "sources.yaml").named("a").read(packed(message))
    if isinstance(found, Rejected):
        return f"{found.reason} {found.detail}"
    return getattr(found, {"order_time": "order_ts"}.get(field, field))


TIMES = {
    "seconds": ({"path": "t", "epoch": "s"}, 1_795_770_845, "2026-11-27T09:14:05+00:00"),
    "seconds as text with decimals": ({"path": "t", "epoch": "s"}, "1795770845.25", "2026-11-27T09:14:05.250000+00:00"),
    "microseconds": ({"path": "t", "epoch": "us"}, 1_795_770_845_250_001, "2026-11-27T09:14:05.250001+00:00"),
    "nanoseconds": ({"path": "t", "epoch": "ns"}, 1_795_770_845_250_001_999, "2026-11-27T09:14:05.250001+00:00"),
    "before 1970": ({"path": "t", "epoch": "ms"}, -1, "1969-12-31T23:59:59.999000+00:00"),
    "days": ({"path": "t", "epoch": "days"}, 20_784, "2026-11-27T00:00:00+00:00"),
    "a spreadsheet's": ({"path": "t", "epoch": "excel", "zone": "Europe/Berlin"}, 46353.25, "2026-11-27T05:00:00+00:00"),
    "a form": ({"path": "t", "time": "%m/%d/%y %I:%M %p"}, "11/27/26 09:14 PM", "2026-11-27T21:14:00+00:00"),
    "the second of two forms": ({"path": "t", "time": ["%Y%m%d", "%d.%m.%Y"]}, "27.11.2026", "2026-11-27T00:00:00+00:00"),
    "digits that are a date": ({"path": "t", "time": "%Y%m%d"}, 20261127, "2026-11-27T00:00:00+00:00"),
    "a form with an offset": ({"path": "t", "time": "%Y-%m-%d %H:%M:%S %z", "zone": "Asia/Tokyo"}, "2026-11-27 10:00:00 +0100", "2026-11-27T09:00:00+00:00"),
    "a zone": ({"path": "t", "zone": "America/New_York"}, "2026-11-27T04:14:05", "2026-11-27T09:14:05+00:00"),
    "a zone, but an offset of its own": ({"path": "t", "zone": "America/New_York"}, "2026-11-27T04:14:05Z", "2026-11-27T04:14:05+00:00"),
    "an hour that comes twice": ({"path": "t", "zone": "Europe/Berlin"}, "2026-10-25T02:30:00", "2026-10-25T00:30:00+00:00"),
    "its second one": ({"path": "t", "zone": "Europe/Berlin", "doubtful": "second"}, "2026-10-25T02:30:00", "2026-10-25T01:30:00+00:00"),
    "an hour that is skipped": ({"path": "t", "zone": "Europe/Berlin"}, "2026-03-29T02:30:00", "2026-03-29T01:30:00+00:00"),
    "skipped, whichever is meant": ({"path": "t", "zone": "Europe/Berlin", "doubtful": "second"}, "2026-03-29T02:30:00", "2026-03-29T01:30:00+00:00"),
}  # fmt: skip


@pytest.mark.parametrize(("how", "value", "wanted"), TIMES.values(), ids=TIMES)
def test_times_of_every_kind(how: dict[str, Any], value: object, wanted: str) -> None:
    found = one_field("orders_topic", "order_time", how, {"t": value})
    assert isinstance(found, datetime), found
    assert found == datetime.fromisoformat(wanted) and found.tzinfo is UTC


def test_a_doubtful_hour_can_be_refused() -> None:
    how = {"path": "t", "zone": "Europe/Berlin", "doubtful": "reject"}
    assert one_field("orders_topic", "order_time", how, {"t": "2026-10-25T02:30"}) == (
        "BAD_VALUE order_time (t) is 2026-10-25 02:30:00, which happens twice in Europe/Berlin: its clock is changed then"
    )
    assert "which does not happen in" in str(one_field("orders_topic", "order_time", how, {"t": "2026-03-29T02:30"}))


AMOUNTS = {
    "cents": ({"path": "p", "minor": 2}, 1999, "19.9900"),
    "cents as text": ({"path": "p", "minor": 2}, "1999", "19.9900"),
    "no decimals": ({"path": "p", "minor": 0}, 1999, "1999.0000"),
    "decimal comma": ({"path": "p", "decimal": ","}, "19,99", "19.9900"),
    "decimal comma and thousands": ({"path": "p", "decimal": ",", "thousands": "."}, "1.234.567,5", "1234567.5000"),
    "thousands alone": ({"path": "p", "thousands": ","}, "1,234", "1234.0000"),
    "lakhs": ({"path": "p", "thousands": ","}, "12,34,567.5", "1234567.5000"),
    "a narrow blank": ({"path": "p", "decimal": ",", "thousands": "\u202f"}, "1\u202f234,5", "1234.5000"),
    "a number of JSON": ({"path": "p", "decimal": ","}, 19.99, "19.9900"),
    "exact": ({"number": "p * 3 - 0.1"}, 0.1, "0.2000"),
    "before and after": ({"number": "-(1 - p) / 3"}, 2, "0.3333"),
    "Connect's decimal": ({"path": "p", "unscaled": 4}, "AeJA", "12.3456"),
}  # fmt: skip


@pytest.mark.parametrize(("how", "value", "wanted"), AMOUNTS.values(), ids=AMOUNTS)
def test_amounts_of_every_kind(how: dict[str, Any], value: object, wanted: str) -> None:
    assert str(one_field("orders_topic", "price", how, {"p": value})) == wanted


def test_an_amount_that_is_written_in_another_way_is_not_guessed() -> None:
    how = {"path": "p", "decimal": ",", "thousands": "."}
    for wrong in ("1.23,4", "12.34", "1,2,3", "€ 5", "1.234.56"):
        assert str(one_field("orders_topic", "price", how, {"p": wrong})).startswith("BAD_TYPE price (p) is "), wrong


def test_a_table_names_what_it_does_not_know() -> None:
    how = {"path": "s", "table": {"Completed": "DELIVERED", "7": "SHIPPED"}}
    assert one_field("orders_topic", "status", how, {"s": "Completed"}) == "DELIVERED"
    assert one_field("orders_topic", "status", how, {"s": 7}) == "SHIPPED"
    assert one_field("orders_topic", "status", how, {"s": "Lost"}) == (
        "BAD_VALUE status (s) is 'Lost', which its table of values does not name"
    )
    assert one_field("orders_topic", "status", how | {"default": "CREATED"}, {}) == "CREATED"


def test_joined_text_needs_all_of_its_parts() -> None:
    how = {"text": "{a.b}/{n}/{'x.y'}"}
    assert one_field("orders_topic", "user_id", how, {"a": {"b": "q"}, "n": 1.50, "x.y": True}) == "q/1.5/true"
    assert "MISSING_FIELD" in str(one_field("orders_topic", "user_id", how, {"a": {"b": "q"}, "n": None, "x.y": 1}))


SELECTED: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"a": "x"}, {"a": "x"}, True),
    ({"a": "x"}, {"a": "y"}, False),
    ({"a": 5}, {"a": 5.0}, True),
    ({"a": 5}, {"a": "5"}, True),
    ({"a": "5"}, {"a": 5}, False),
    ({"a": True}, {"a": True}, True),
    ({"a": True}, {"a": 1}, False),
    ({"a": [None, "x"]}, {}, True),
    ({"a": {"not": ["x", "y"]}}, {"a": "z"}, True),
    ({"a": {"not": "x"}}, {"a": "x"}, False),
    ({"a": {"above": 0, "at_most": 10}}, {"a": "10"}, True),
    ({"a": {"above": 0}}, {"a": "abc"}, False),
    ({"a": {"below": 0}}, {"a": -0.5}, True),
    ({"a": {"starts": "C"}}, {"a": "C5364"}, True),
    ({"a": {"starts": ["C", "D"]}}, {"a": 5364}, False),
    ({"a": {"given": True}}, {"a": None}, False),
    ({"a": {"given": False}}, {"a": ""}, True),
    ({"a": {"differs": "b"}}, {"a": 1, "b": 1.0}, False),
    ({"a": {"differs": "b"}}, {"a": 1, "b": "1"}, True),
    ({"a": "x", "b": {"given": True}}, {"a": "x"}, False),
]


@pytest.mark.parametrize(("select", "message", "taken"), SELECTED)
def test_what_select_takes(select: dict[str, Any], message: dict[str, Any], taken: bool) -> None:
    fields = {name: {"value": value} for name, value in order("e", "1").items() if name != "event_id"}
    source = made(json.dumps({"s": {"topic": "orders_topic", "select": select, "map": fields}}), "sources.yaml").named(
        "s"
    )
    assert len(source.read(packed(message))) == taken
    assert len(source.reader.carefully(parse_document(packed(message)))) == taken
