"""What is an event, what is not, and why: the table of reasons, and that the fast way agrees with the careful one."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.decode import (
    AS_DECLARED,
    EVENT_TYPES,
    REASONS,
    Customs,
    Event,
    Message,
    Reason,
    Rejected,
    decode,
    decode_carefully,
)
from lakehouse.decode.values import page_of, parse_time
from lakehouse.rates import Rates
from lakehouse.topics import TOPICS
from producers.shop import CLICKS_TOPIC, DEVICE_TYPES, ERRORS_TOPIC, ORDERS_TOPIC, REFUNDS_TOPIC, SEVERITIES, STATUSES

Order, Click, ErrorEvent = (EVENT_TYPES[name] for name in (ORDERS_TOPIC, CLICKS_TOPIC, ERRORS_TOPIC))
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AGE = timedelta(days=15)
CUSTOMS = Customs(
    Rates("EUR", timedelta(days=7), "1", {"USD": [date(2026, 11, 20)]}, {"USD": [Decimal("0.9")]}),
    frozenset((ORDERS_TOPIC, CLICKS_TOPIC)),
)
"""Of a shop with guests and two currencies."""

ORDER: dict[str, str] = {
    "order_id": '"o-1"',
    "user_id": '"ann"',
    "product_id": '"p-7"',
    "quantity": "2",
    "price": "19.99",
    "status": '"CREATED"',
    "order_time": '"2026-11-23T11:59:58.5Z"',
}
CLICK = {
    "click_id": '"c-1"',
    "user_id": '"ann"',
    "url": '"/page/cart?x=1"',
    "device_type": '"mobile"',
    "click_time": '"2026-11-23T11:59:59Z"',
}
ERROR = {
    "error_id": '"e-1"',
    "service_name": '"payments"',
    "error_message": '"Card processor unreachable"',
    "severity": '"FATAL"',
    "error_time": '"2026-11-23T11:59:59Z"',
}
REFUND = {
    "refund_id": '"r-1"',
    "order_id": '"o-1"',
    "amount": "19.99",
    "refund_time": '"2026-11-23T11:59:59Z"',
}
SAMPLES = {ORDERS_TOPIC: ORDER, CLICKS_TOPIC: CLICK, ERRORS_TOPIC: ERROR, REFUNDS_TOPIC: REFUND}


def payload(sample: dict[str, str], **fields: str | None) -> bytes:
    """A message with some fields replaced by other JSON text, or left out (None)."""
    pairs = [f'"{name}":{text}' for name, text in {**sample, **fields}.items() if text is not None]
    return ("{" + ",".join(pairs) + "}").encode()


def judged(topic: str, value: bytes | None, max_event_age: timedelta | None = AGE) -> Event | Rejected:
    (found,) = decode(topic, Message(value, NOW), max_event_age)
    return found


def order(**fields: str | None) -> Event:
    event = judged(ORDERS_TOPIC, payload(ORDER, **fields))
    assert isinstance(event, Order), event
    return event


def test_an_order_is_read_with_exact_money_and_utc_times() -> None:
    assert order(event_id='"k-1"', produced_at='"2026-11-23T12:59:58.6+01:00"') == Order(
        event_key="k-1",
        order_id="o-1",
        user_id="ann",
        product_id="p-7",
        quantity=2,
        price=Decimal("19.9900"),
        order_total=Decimal("39.98"),
        status="CREATED",
        order_ts=datetime(2026, 11, 23, 11, 59, 58, 500_000, UTC),
        original_currency=None,
        produced_at=datetime(2026, 11, 23, 11, 59, 58, 600_000, UTC),
        original_total=None,
    )


def test_clicks_and_errors_are_read() -> None:
    click = judged(CLICKS_TOPIC, payload(CLICK, event_id='"k"'))
    at = datetime(2026, 11, 23, 11, 59, 59, tzinfo=UTC)
    assert click == Click("k", "c-1", "ann", "/page/cart?x=1", "mobile", at, None)
    error = judged(ERRORS_TOPIC, payload(ERROR, event_id='"k"'))
    assert error == ErrorEvent("k", "e-1", "payments", "Card processor unreachable", "FATAL", at, None)


BAD: list[tuple[str, bytes | None, Reason]] = [
    ("a tombstone", None, Reason.EMPTY),
    ("no bytes", b"", Reason.EMPTY),
    ("only blanks", b" \t\r\n", Reason.EMPTY),
    ("the JSON text null", b" null ", Reason.EMPTY),
    ("plain text", b"hello", Reason.NOT_JSON),
    ("a list", b"[1]", Reason.NOT_JSON),
    ("a number", b"5", Reason.NOT_JSON),
    ("a bare NaN", b"NaN", Reason.NOT_JSON),
    ("a cut object", payload(ORDER)[:-1], Reason.NOT_JSON),
    ("trailing text", payload(ORDER) + b" x", Reason.NOT_JSON),
    ("two objects", payload(ORDER) * 2, Reason.NOT_JSON),
    ("a BOM", b"\xef\xbb\xbf" + payload(ORDER), Reason.NOT_JSON),
    ("UTF-16", payload(ORDER).decode().encode("utf-16"), Reason.NOT_JSON),
    ("broken UTF-8 in a field", payload(ORDER).replace(b"ann", b"\xff\xfe"), Reason.NOT_JSON),
    ("broken UTF-8 in an unknown field", payload(ORDER, x='"?"').replace(b"?", b"\xff"), Reason.NOT_JSON),
    ("a surrogate in UTF-8", payload(ORDER).replace(b"ann", b"\xed\xa0\x80"), Reason.NOT_JSON),
    ("half a surrogate pair", payload(ORDER, user_id=r'"\ud83d"'), Reason.NOT_JSON),
    ("half a pair in an unknown field", payload(ORDER, x=r'"\udc00"'), Reason.NOT_JSON),
    ("half a pair in a name", payload(ORDER)[:-1] + rb',"\ud800":1}', Reason.NOT_JSON),
    ("a pair the wrong way round", payload(ORDER, x=r'"\ude00\ud83d"'), Reason.NOT_JSON),
    ("a control character", payload(ORDER, user_id='"a\nb"'), Reason.NOT_JSON),
    ("nesting without an end", payload(ORDER, x="[" * 100_000), Reason.NOT_JSON),
    ("nesting as deep, closed", payload(ORDER, x="[" * 100_000 + "]" * 100_000), Reason.NOT_JSON),
    ("an empty object", b"{}", Reason.MISSING_FIELD),
    ("a field left out", payload(ORDER, price=None), Reason.MISSING_FIELD),
    ("a null", payload(ORDER, status="null"), Reason.MISSING_FIELD),
    ("an empty id", payload(ORDER, user_id='""'), Reason.MISSING_FIELD),
    ("a blank id", payload(ORDER, product_id='"  "'), Reason.MISSING_FIELD),
    ("true as quantity", payload(ORDER, quantity="true"), Reason.BAD_TYPE),
    ("false as quantity", payload(ORDER, quantity="false"), Reason.BAD_TYPE),
    ("2.5 pieces", payload(ORDER, quantity="2.5"), Reason.BAD_TYPE),
    ("'2.5' pieces", payload(ORDER, quantity='"2.5"'), Reason.BAD_TYPE),
    ("nearly no piece", payload(ORDER, quantity="1e-400"), Reason.BAD_TYPE),
    ("text as price", payload(ORDER, price='"abc"'), Reason.BAD_TYPE),
    ("an empty price", payload(ORDER, price='""'), Reason.BAD_TYPE),
    ("digits of another script", payload(ORDER, price='"٣"'), Reason.BAD_TYPE),
    ("an underscore in a number", payload(ORDER, price='"1_000"'), Reason.BAD_TYPE),
    ("a list as id", payload(ORDER, order_id="[1]"), Reason.BAD_TYPE),
    ("1.5 as id", payload(ORDER, order_id="1.5"), Reason.BAD_TYPE),
    ("true as event_id", payload(ORDER, event_id="true"), Reason.BAD_TYPE),
    ("a number as status", payload(ORDER, status="1"), Reason.BAD_TYPE),
    ("a number as time", payload(ORDER, order_time="1795402800"), Reason.BAD_TYPE),
    ("a deep list as price", payload(ORDER, price="[" * 500 + "]" * 500), Reason.BAD_TYPE),
    ("NaN", payload(ORDER, price="NaN"), Reason.NOT_FINITE),
    ("Infinity", payload(ORDER, price="Infinity"), Reason.NOT_FINITE),
    ("-Infinity pieces", payload(ORDER, quantity="-Infinity"), Reason.NOT_FINITE),
    ("NaN as text", payload(ORDER, price='"NaN"'), Reason.NOT_FINITE),
    ("inf as text", payload(ORDER, order_total='"-inf"'), Reason.NOT_FINITE),
    ("an unknown status", payload(ORDER, status='"LOST"'), Reason.BAD_VALUE),
    ("a status in small letters", payload(ORDER, status='"created"'), Reason.BAD_VALUE),
    ("no piece", payload(ORDER, quantity="0"), Reason.BAD_VALUE),
    ("minus one piece", payload(ORDER, quantity="-1"), Reason.BAD_VALUE),
    ("more pieces than 32 bits hold", payload(ORDER, quantity="2147483648"), Reason.BAD_VALUE),
    ("pieces without an end", payload(ORDER, quantity="1e400"), Reason.BAD_VALUE),
    ("a price below zero", payload(ORDER, price="-0.00001"), Reason.BAD_VALUE),
    ("1e400", payload(ORDER, price="1e400"), Reason.BAD_VALUE),
    ("an exponent beyond all", payload(ORDER, price="1e" + "9" * 5000), Reason.BAD_VALUE),
    ("ten thousand digits", payload(ORDER, price="1" * 10_000), Reason.BAD_VALUE),
    ("a price that rounds beyond its type", payload(ORDER, price="99999999999999.99995"), Reason.BAD_VALUE),
    ("a total beyond its type", payload(ORDER, price="99999999999999", quantity="1000"), Reason.BAD_VALUE),
    ("a given total beyond its type", payload(ORDER, order_total="1e16"), Reason.BAD_VALUE),
    ("an unreadable time", payload(ORDER, order_time='"yesterday"'), Reason.BAD_VALUE),
    ("an empty time", payload(ORDER, order_time='""'), Reason.BAD_VALUE),
    ("the 30th of February", payload(ORDER, order_time='"2026-02-30T00:00:00Z"'), Reason.BAD_VALUE),
    ("a time before the first year", payload(ORDER, order_time='"0001-01-01T00:00:00+14:00"'), Reason.BAD_VALUE),
    ("an unreadable produced_at", payload(ORDER, produced_at='"soon"'), Reason.BAD_VALUE),
    ("five minutes and more ahead", payload(ORDER, order_time='"2026-11-23T12:05:00.000001Z"'), Reason.FUTURE_TIME),
    ("fifteen days and more ago", payload(ORDER, order_time='"2026-11-08T11:59:59.999999Z"'), Reason.STALE_TIME),
    # The first reason of the list holds, wherever its field stands.
    ("bad type and missing", payload(ORDER, order_id="[]", order_time=None), Reason.MISSING_FIELD),
    ("bad value and bad type", payload(ORDER, quantity="0", order_time="5"), Reason.BAD_TYPE),
    ("bad value and NaN", payload(ORDER, quantity="0", price="NaN"), Reason.NOT_FINITE),
    ("NaN and bad type", payload(ORDER, price="NaN", status="5"), Reason.BAD_TYPE),
    ("stale and bad value", payload(ORDER, order_time='"1997-01-01"', status='"?"'), Reason.BAD_VALUE),
]


@pytest.mark.parametrize(("message", "reason"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_is_no_event_gets_the_first_reason_that_holds(message: bytes | None, reason: Reason) -> None:
    found = judged(ORDERS_TOPIC, message)
    assert isinstance(found, Rejected), found
    assert found.reason is reason, found.detail
    assert found.detail
    assert len(found.detail) < 300


def test_every_reason_has_a_case_and_a_line_in_the_contract() -> None:
    assert {case[2] for case in BAD} == set(Reason) == set(REASONS)


@pytest.mark.parametrize(
    ("topic", "fields"),
    [(CLICKS_TOPIC, {"device_type": '"watch"'}), (ERRORS_TOPIC, {"severity": '"CRITICAL"'})],
)
def test_choices_of_other_topics_are_checked_too(topic: str, fields: dict[str, str]) -> None:
    found = judged(topic, payload(SAMPLES[topic], **fields))
    assert isinstance(found, Rejected)
    assert found.reason is Reason.BAD_VALUE


def test_the_detail_names_field_and_value() -> None:
    found = judged(ORDERS_TOPIC, payload(ORDER, quantity="2.5"))
    assert found == Rejected(Reason.BAD_TYPE, "quantity is 2.5, expected a whole number", "quantity")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [("2.0", 2), ('"2"', 2), ('" 2.0 "', 2), ("20e-1", 2), ("1" + "0" * 500 + "e-500", 1), ("2147483647", 2147483647)],
)
def test_a_whole_number_counts_however_it_is_written(text: str, pieces: int) -> None:
    assert order(quantity=text, price="0").quantity == pieces


@pytest.mark.parametrize(
    ("fields", "price", "total"),
    [
        ({"price": "0.00005", "quantity": "1"}, "0.0001", "0.00"),
        ({"price": "0.125", "quantity": "1"}, "0.1250", "0.13"),  # half up, not to the even digit
        ({"price": "0.00125", "quantity": "4"}, "0.0013", "0.01"),  # the total from the exact price: 0.005
        ({"price": "0.0012499", "quantity": "4"}, "0.0012", "0.00"),
        ({"price": '"19.99"'}, "19.9900", "39.98"),
        ({"price": "-0.0"}, "0.0000", "0.00"),
        ({"price": "1e-9999999999"}, "0.0000", "0.00"),
        ({"price": "0e9999999999"}, "0.0000", "0.00"),
        ({"price": "99999999999999.9999", "quantity": "1"}, "99999999999999.9999", "100000000000000.00"),
        ({"order_total": "5.005"}, "19.9900", "5.01"),
        ({"order_total": "-3"}, "19.9900", "-3.00"),
        ({"order_total": "null"}, "19.9900", "39.98"),
        ({"order_total": '" "'}, "19.9900", "39.98"),
    ],
)
def test_money_is_rounded_half_up_once(fields: dict[str, str | None], price: str, total: str) -> None:
    found = order(**fields)
    assert (str(found.price), str(found.order_total)) == (price, total)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("2026-11-23T11:00:00Z", 0),
        ("2026-11-23T11:00:00", 0),
        ("2026-11-23 11:00:00", 0),
        ("2026-11-23t11:00:00z", 0),
        ("2026-11-23T13:00:00+02:00", 0),
        ("2026-11-23T05:30-0530", 0),
        ("20261123T110000Z", 0),
        ("2026-11-23T11:00:00.123456789Z", 123_456),
        ("2026-11-23T11:00:00.999999999+00:00", 999_999),
        ("2026-11-23T11:00:00,5", 500_000),
    ],
)
def test_times_are_iso_8601_without_an_offset_utc_and_cut_at_microseconds(text: str, micros: int) -> None:
    assert order(order_time=f'"{text}"').order_ts == datetime(2026, 11, 23, 11, 0, 0, micros, UTC)


def test_a_date_is_midnight_and_a_week_is_no_time() -> None:
    assert parse_time("2026-11-23") == datetime(2026, 11, 23, tzinfo=UTC)
    assert parse_time("2026-W01-1T00:00:00Z") is None


def test_time_is_judged_by_the_log_and_off_keeps_history() -> None:
    assert order(order_time='"2026-11-23T12:05:00Z"').order_ts == NOW + timedelta(minutes=5)
    assert order(order_time='"2026-11-08T12:00:00Z"').order_ts == NOW - AGE
    old = judged(ORDERS_TOPIC, payload(ORDER, order_time='"1997-01-01"'), None)
    assert isinstance(old, Order)


def test_ids_given_as_integers_are_text() -> None:
    found = order(order_id="17", user_id="-0", event_id="12345678901234567890123")
    assert (found.order_id, found.user_id, found.event_key) == ("17", "0", "12345678901234567890123")
    assert order(order_id="9" * 6000).order_id == "9" * 6000


def test_unknown_fields_are_ignored_and_the_last_of_a_repeated_name_counts() -> None:
    doubled = payload(ORDER, x='{"deep":[1,null,"\\ud83d\\ude00"]}')[:-1] + b',"quantity":[],"quantity":3}'
    found = judged(ORDERS_TOPIC, doubled)
    assert isinstance(found, Order)
    assert found.quantity == 3


def test_without_event_id_the_key_is_what_was_said_not_how() -> None:
    plain = order()
    spaced = json.dumps(dict(reversed(json.loads(payload(ORDER)).items())), indent=2).replace("19.99", "19.9900")
    found = judged(ORDERS_TOPIC, spaced.encode())
    assert isinstance(found, Order)
    assert found.event_key == plain.event_key
    assert order(order_time='"2026-11-23T12:59:58.500+01:00"', event_id='" "').event_key == plain.event_key
    assert len(plain.event_key) == 32


def test_without_event_id_any_other_field_makes_another_key() -> None:
    changes: list[dict[str, str | None]] = [
        {},
        {"order_id": '"o-2"'},
        {"user_id": '"bob"'},
        {"product_id": '"p-8"'},
        {"quantity": "3"},
        {"price": "20"},
        {"status": '"SHIPPED"'},
        {"order_time": '"2026-11-23T11:59:58.6Z"'},
        {"order_total": "1"},
        {"produced_at": '"2026-11-23T11:59:59Z"'},
        {"order_id": '"o-1ann"', "user_id": '"-"'},
    ]
    assert len({order(**change).event_key for change in changes}) == len(changes)


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("/page/cart?x=1", "cart"),
        ("/cart", "cart"),
        ("/page/cart/items#top", "cart"),
        ("https://shop.example/page/cart", "cart"),
        ("https://shop.example", "home"),
        ("https://shop.example?x=/a/b", "home"),
        ("/page", "home"),
        ("/page?x=1", "home"),
        ("/page/", "home"),
        ("/pages", "pages"),
        ("/page/page/x", "page"),
        ("//cart//x", "cart"),
        ("product/p-1", "product"),
        ("/", "home"),
        ("", "home"),
    ],
)
def test_a_page_is_the_first_part_of_the_path(url: str, page: str) -> None:
    assert page_of(url) == page


# The fast way and the careful way ------------------------------------------------------------------------------------

_TIMES = st.sampled_from(
    [
        "2026-11-23T11:59:59Z",
        "2026-11-23T11:59:59.123456789Z",
        "2026-11-23 11:59:59",
        "2026-11-23T11:59:59.5+01:00",
        "2026-11-08T12:00:00Z",
        "2026-11-08T11:59:59.9Z",
        "2026-11-23T12:05:00.1Z",
        "0001-01-01T00:00:00+01:00",
        "2026-W01-1T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "20261123T115959Z",
        "",
    ]
)
_NUMBERS = st.one_of(
    st.integers(-3, 2**33).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.floats().map(lambda number: json.dumps(number)),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
)
_TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from([*STATUSES, *DEVICE_TYPES, *SEVERITIES, "USD", "usd", "NaN", "-inf", "2", " 2.50 ", "1_0"]),
)
_JSON_TEXT = st.one_of(
    _NUMBERS,
    _TIMES.map(lambda text: json.dumps(text)),
    _TEXTS.map(lambda text: json.dumps(text)),
    _TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        ["null", "true", "[]", '{"a":[1]}', "NaN", r'"\ud83d\ude00"', r'"\ud83d"', r'"\\ud83d"', '""', "tru"]
    ),
)


@st.composite
def _messages(draw: Any) -> tuple[str, bytes]:
    """Valid messages with a few fields changed, dropped, repeated or added, and sometimes a byte broken."""
    topic = draw(st.sampled_from(tuple(TOPICS)))
    names = [field.name for field in TOPICS[topic].fields]
    pairs = [(name, text) for name, text in SAMPLES[topic].items() if draw(st.integers(0, 30))]
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from([*names, "x", "\u00e9", "order\\u005fid"]))
        pairs.append((name, draw(_JSON_TEXT)))
    if draw(st.booleans()):
        pairs = draw(st.permutations(pairs))
    blank = draw(st.sampled_from(["", " ", "\n"]))
    text = "{" + f"{blank},{blank}".join(f'"{name}"{blank}:{blank}{value}' for name, value in pairs) + "}"
    message = text.encode("utf-8", "surrogatepass")
    if not draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(message)))
        message = message[:place] + draw(st.binary(max_size=3)) + message[place:]
    return topic, message


@settings(max_examples=500, deadline=None)
@given(_messages())
def test_the_fast_way_agrees_with_the_careful_one(message: tuple[str, bytes]) -> None:
    topic, text = message
    for customs in (AS_DECLARED, CUSTOMS):
        fast, careful = (read(topic, Message(text, NOW), AGE, customs) for read in (decode, decode_carefully))
        assert fast == careful


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(tuple(TOPICS)), st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_no_bytes_make_it_raise(topic: str, message: bytes) -> None:
    assert isinstance(judged(topic, message), Rejected)
