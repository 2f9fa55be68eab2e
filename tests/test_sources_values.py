"""Values of other shops as ours: times, amounts, tables, joined text, and what `select` takes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from lakehouse.decode import Event, Rejected
from lakehouse.decode.document import parse_document
from lakehouse.sources import sources_of as made
from tests.source_cast import order, packed

BERLIN = {"path": "t", "zone": "Europe/Berlin"}
NEW_YORK = {"path": "t", "zone": "America/New_York"}


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
    "seconds": ({"path": "t", "epoch": "s"}, 1_795_770_845, "2026-11-27T09:14:05"),
    "seconds as text with decimals": ({"path": "t", "epoch": "s"}, "1795770845.25", "2026-11-27T09:14:05.250000"),
    "microseconds": ({"path": "t", "epoch": "us"}, 1_795_770_845_250_001, "2026-11-27T09:14:05.250001"),
    "nanoseconds": ({"path": "t", "epoch": "ns"}, 1_795_770_845_250_001_999, "2026-11-27T09:14:05.250001"),
    "before 1970": ({"path": "t", "epoch": "ms"}, -1, "1969-12-31T23:59:59.999000"),
    "days": ({"path": "t", "epoch": "days"}, 20_784, "2026-11-27T00:00:00"),
    "a spreadsheet's": (BERLIN | {"epoch": "excel"}, 46353.25, "2026-11-27T05:00:00"),
    "a form": ({"path": "t", "time": "%m/%d/%y %I:%M %p"}, "11/27/26 09:14 PM", "2026-11-27T21:14:00"),
    "the second of two forms": ({"path": "t", "time": ["%Y%m%d", "%d.%m.%Y"]}, "27.11.2026", "2026-11-27T00:00:00"),
    "digits that are a date": ({"path": "t", "time": "%Y%m%d"}, 20261127, "2026-11-27T00:00:00"),
    "a form with an offset": (BERLIN | {"time": "%Y-%m-%d %H:%M %z"}, "2026-11-27 10:00 +0500", "2026-11-27T05:00:00"),
    "a zone": (NEW_YORK, "2026-11-27T04:14:05", "2026-11-27T09:14:05"),
    "a zone, but an offset of its own": (NEW_YORK, "2026-11-27T04:14:05Z", "2026-11-27T04:14:05"),
    "an hour that comes twice": (BERLIN, "2026-10-25T02:30:00", "2026-10-25T00:30:00"),
    "its second one": (BERLIN | {"doubtful": "second"}, "2026-10-25T02:30:00", "2026-10-25T01:30:00"),
    "an hour that is skipped": (BERLIN, "2026-03-29T02:30:00", "2026-03-29T01:30:00"),
    "skipped, whichever is meant": (BERLIN | {"doubtful": "second"}, "2026-03-29T02:30:00", "2026-03-29T01:30:00"),
}  # fmt: skip


@pytest.mark.parametrize(("how", "value", "wanted"), TIMES.values(), ids=TIMES)
def test_times_of_every_kind(how: dict[str, Any], value: object, wanted: str) -> None:
    found = one_field("orders_topic", "order_time", how, {"t": value})
    assert isinstance(found, datetime), found
    assert found == datetime.fromisoformat(wanted).replace(tzinfo=UTC)
    assert found.tzinfo is UTC


def test_a_doubtful_hour_can_be_refused() -> None:
    how = BERLIN | {"doubtful": "reject"}
    assert one_field("orders_topic", "order_time", how, {"t": "2026-10-25T02:30"}) == (
        "BAD_VALUE order_time (t) is 2026-10-25 02:30:00, which happens twice in Europe/Berlin: "
        "its clock is changed then"
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
    "a currency before it": ({"path": "p", "sign": "US$"}, "US$ 19.99", "19.9900"),
    "a currency after it": (
        {"path": "p", "decimal": ",", "thousands": ".", "sign": "€"}, "1.234,50\u00a0€", "1234.5000"
    ),
    "short forms of a number": ({"path": "p", "sign": "$"}, "$.99", "0.9900"),
    "a currency that is left out": ({"path": "p", "sign": "kr."}, "19.99", "19.9900"),
    "a currency and cents": ({"path": "p", "sign": "EUR", "minor": 2}, "1999 EUR", "19.9900"),
    "arithmetic with a currency": ({"number": "p / 2", "sign": "£"}, "£5.00", "2.5000"),
    "exact": ({"number": "p * 3 - 0.1"}, 0.1, "0.2000"),
    "before and after": ({"number": "-(1 - p) / 3"}, 2, "0.3333"),
    "Connect's decimal": ({"path": "p", "unscaled": 4}, "AeJA", "12.3456"),
}  # fmt: skip


@pytest.mark.parametrize(("how", "value", "wanted"), AMOUNTS.values(), ids=AMOUNTS)
def test_amounts_of_every_kind(how: dict[str, Any], value: object, wanted: str) -> None:
    assert str(one_field("orders_topic", "price", how, {"p": value})) == wanted


def test_a_number_and_the_same_digits_as_text_are_read_by_their_own_rules() -> None:
    how = {"path": "p", "decimal": ",", "thousands": "."}
    fields = {name: {"value": value} for name, value in order("e", "1").items() if name != "event_id"}
    text = json.dumps({"a": {"topic": "orders_topic", "map": fields | {"price": how}}})
    source = made(text, "sources.yaml").named("a")
    read = [event for value in (1.234, "1.234", 1.234) for event in source.read(packed({"p": value}))]
    found = [event.price for event in read if isinstance(event, Event)]
    assert [str(price) for price in found] == ["1.2340", "1234.0000", "1.2340"]


def test_an_amount_that_is_written_in_another_way_is_not_guessed() -> None:
    how = {"path": "p", "decimal": ",", "thousands": "."}
    for wrong in ("1.23,4", "12.34", "1,2,3", "€ 5", "1.234.56"):
        assert str(one_field("orders_topic", "price", how, {"p": wrong})).startswith("BAD_TYPE price (p) is "), wrong


def test_an_amount_of_another_currency_is_none() -> None:
    for wrong in ("$5.00", "€5€", "€", "€ 5 USD", "5€00", "5.00"):
        of = {"path": "p", "sign": "€", "decimal": ","}
        assert str(one_field("orders_topic", "price", of, {"p": wrong})).startswith("BAD_TYPE price (p) is "), wrong
    assert str(one_field("orders_topic", "price", {"path": "p", "sign": "€"}, {"p": "5.00 $"})) == (
        "BAD_TYPE price (p) is '5.00 $', expected a number with '.' before decimals, '€' beside it"
    )


def test_a_currency_is_for_amounts_and_conditions_read_numbers_as_the_source_writes_them() -> None:
    fields = {name: {"value": value} for name, value in order("e", "1").items() if name != "event_id"}
    of = {"price": "p", "quantity": "q"}
    content = {"topic": "orders_topic", "decimal": ",", "sign": "€", "select": {"p": {"above": 0}, "q": [1, 2]}}
    source = made(json.dumps({"a": content | {"map": fields | of}}), "sources.yaml").named("a")

    def told(price: str, quantity: str) -> list[str]:
        found = source.read(packed({"p": price, "q": quantity}))
        return [str(each.price) if isinstance(each, Event) else each.reason.value for each in found]

    assert told("5,50 €", "2") == ["5.5000"]
    assert told("-5,50 €", "2") == told("5,50", "3") == told("5.50", "2") == []
    text = json.dumps({"a": {"topic": "orders_topic", "sign": "€", "map": fields | {"quantity": "q"}}})
    [bad] = made(text, "sources.yaml").named("a").read(packed({"q": "2 €"}))
    assert (bad.reason.value, bad.field) == ("BAD_TYPE", "quantity")


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
    ({"a": {"starts": "53"}}, {"a": 5364}, True),
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
