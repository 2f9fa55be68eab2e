"""Replay: real files become events, checked whole before the first one is sent."""

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from embedded.log import EventLog
from lakehouse.decode import EVENT_TYPES, Event, Message, Rejected, decode
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from producers.__main__ import app
from producers.layout import Layout
from producers.lines import Lines
from producers.pace import SystemClock
from producers.reading import read
from producers.replay import replay
from producers.shop import CLICKS_TOPIC, ERRORS_TOPIC, ORDERS_TOPIC
from tests.test_shoppers import Basket, FakeClock

SAMPLE = Path(__file__).parent / "data" / "cdnow_sample.txt"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

CSV = """order_id,user_id,product_id,quantity,price,status,order_time
1,ann,p-1,2,9.99,CREATED,2026-11-23T10:00:00Z
2,bob,p-2,1,5,SHIPPED,2026-11-23T09:00:00Z
3,ann,p-1,1,9.99,CREATED,2026-11-23T11:00:00Z
"""


@cache
def cdnow(path: Path = SAMPLE) -> Lines:
    return read(path, Layout.of(path, form="cdnow"))


def sent(lines: Lines, rate: float | None = None) -> list[Event]:
    """What a replay puts into the log, judged as ingest judges it."""
    basket = Basket()
    replay(lines, basket, FakeClock(), Stop(), rate)
    found = []
    for topic, _, value in basket.sent:
        (event,) = decode(topic, Message(value, NOW), None)
        assert not isinstance(event, Rejected), event
        found.append(event)
    return found


def orders(events: list[Event]) -> list[Event]:
    assert all(isinstance(event, EVENT_TYPES[ORDERS_TOPIC]) for event in events)
    return events


def in_the_log(data_dir: Path) -> Counter[tuple[str, datetime]]:
    """How often each order was sent, by key and time."""
    with EventLog(data_dir / "events.db") as log:
        return Counter(
            (event.event_key, event.order_ts)
            for record in log.read(ORDERS_TOPIC, 0, 20_000)
            for event in decode(ORDERS_TOPIC, Message(record.value, record.received_at), None)
            if isinstance(event, Event)
        )


def file(tmp_path: Path, text: str, name: str = "orders.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def csv_lines(tmp_path: Path, text: str, **layout: Any) -> Lines:
    path = file(tmp_path, text)
    return read(path, Layout.of(path, **layout))


def test_the_cdnow_sample_is_sent_whole_and_to_the_cent() -> None:
    found = orders(sent(cdnow()))
    assert len(found) == 6_919
    assert sum(order.order_total for order in found) == Decimal("244091.94")
    assert len({order.event_key for order in found}) == 6_919  # twins are two orders
    assert {(order.product_id, order.status) for order in found} == {("cd", "DELIVERED")}
    assert all(order.order_id == order.event_key for order in found)
    assert min(order.order_ts for order in found) == datetime(1997, 1, 1, tzinfo=UTC)
    assert max(order.order_ts for order in found) == datetime(1998, 6, 30, tzinfo=UTC)
    assert [order.order_ts for order in found] == sorted(order.order_ts for order in found)


def test_a_cdnow_line_is_read_as_its_columns_say(tmp_path: Path) -> None:
    path = file(tmp_path, " 00004 0001 19970101  3   29.33\r\n", "one.txt")
    (order,) = orders(sent(cdnow(path)))
    assert (order.user_id, order.quantity, order.order_total) == ("00004", 3, Decimal("29.33"))
    assert order.price == Decimal("9.7767")
    assert order.order_ts == datetime(1997, 1, 1, tzinfo=UTC)
    assert order.produced_at == NOW


def test_the_same_replay_twice_has_the_same_keys_and_times() -> None:
    first, again = (orders(sent(read(SAMPLE, Layout.of(SAMPLE, form="cdnow")))) for _ in range(2))
    assert [(order.event_key, order.order_ts) for order in first] == [
        (order.event_key, order.order_ts) for order in again
    ]


def test_another_file_has_other_keys(tmp_path: Path) -> None:
    other = file(tmp_path, SAMPLE.read_text() + "99999 0001 19970101 1 1.00\n", "other.txt")
    assert not set(cdnow().bodies) & set(cdnow(other).bodies)


def test_times_are_mapped_linearly_onto_the_span_before_the_anchor(tmp_path: Path) -> None:
    lines = csv_lines(tmp_path, CSV).rebased(timedelta(hours=4), NOW)
    assert [(order.order_id, order.order_ts) for order in orders(sent(lines))] == [
        ("2", NOW - timedelta(hours=4)),
        ("1", NOW - timedelta(hours=2)),
        ("3", NOW),
    ]


def test_the_same_anchor_gives_the_same_events_and_another_one_other_times() -> None:
    whole = cdnow()
    cut = Lines(whole.file, whole.topic, whole.times[:500], whole.numbers[:500], whole.keys[:500], whole.bodies[:500])
    first, again, later = (
        [(order.event_key, order.order_ts) for order in orders(sent(cut.rebased(timedelta(hours=1), anchor)))]
        for anchor in (NOW, NOW, NOW + timedelta(seconds=1))
    )
    assert first == again
    assert [key for key, _ in first] == [key for key, _ in later]
    assert not set(first) & set(later)


def test_a_file_of_one_moment_is_put_on_the_anchor(tmp_path: Path) -> None:
    path = file(tmp_path, "1 1 19970101 1 1.00\n2 2 19970101 1 1.00\n", "two.txt")
    assert {order.order_ts for order in orders(sent(cdnow(path).rebased(timedelta(hours=1), NOW)))} == {NOW}


@pytest.mark.parametrize(
    "text",
    [
        CSV,
        CSV.replace("\n", "\r\n"),
        "\ufeff" + CSV,
        CSV.replace("2,9.99", ' 2 ,"9.99"'),
        CSV.replace("\n", "\n\n"),
    ],
    ids=["plain", "CRLF", "BOM", "blanks and quotes", "empty lines"],
)
def test_csv_files_are_read_as_they_come(tmp_path: Path, text: str) -> None:
    found = sorted(orders(sent(csv_lines(tmp_path, text))), key=lambda order: order.order_id)
    assert [(order.order_id, order.order_total) for order in found] == [
        ("1", Decimal("19.98")),
        ("2", Decimal("5.00")),
        ("3", Decimal("9.99")),
    ]


def test_columns_are_mapped_by_name_and_by_number_and_fields_set_to_constants(tmp_path: Path) -> None:
    text = "who;day;pieces;total\nann;24.12.2025;4;10\n"
    layout = {
        "delimiter": ";",
        "columns": {"user_id": "who", "order_time": "day", "quantity": "3", "order_total": "total"},
        "constants": {"product_id": "tree", "status": "CREATED"},
        "price_from_total": True,
        "date_format": "%d.%m.%Y",
    }
    (order,) = orders(sent(csv_lines(tmp_path, text, **layout)))
    assert (order.user_id, order.product_id, order.price) == ("ann", "tree", Decimal("2.5"))
    assert order.order_ts == datetime(2025, 12, 24, tzinfo=UTC)
    headless = {"user_id": "1", "order_time": "2", "quantity": "3", "order_total": "4"}
    (again,) = orders(
        sent(csv_lines(tmp_path, text.split("\n", 1)[1], **layout | {"columns": headless, "header": False}))
    )
    assert (again.user_id, again.price) == ("ann", order.price)


def test_a_date_format_with_an_offset_is_turned_to_utc(tmp_path: Path) -> None:
    text = CSV.splitlines()[0] + "\n1,ann,p-1,2,9.99,CREATED,23.11.2026 10:00 +0200\n"
    (order,) = orders(sent(csv_lines(tmp_path, text, date_format="%d.%m.%Y %H:%M %z")))
    assert order.order_ts == datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def test_json_lines_of_any_topic_are_sent(tmp_path: Path) -> None:
    clicks = file(
        tmp_path,
        '{"user_id": 7, "url": "/cart", "device_type": "mobile", "click_time": "2026-11-23T10:00:00+01:00"}\r\n\r\n'
        '{"click_id": "c", "event_id": "k", "user_id": 7, "url": "/", "device_type": "tablet", '
        '"click_time": "2026-11-23", "produced_at": "2026-11-23"}\n',
        "clicks.jsonl",
    )
    first, second = sorted(
        sent(read(clicks, Layout.of(clicks, topic=CLICKS_TOPIC))), key=lambda event: event.event_key == "k"
    )
    assert isinstance(first, EVENT_TYPES[CLICKS_TOPIC])
    assert isinstance(second, EVENT_TYPES[CLICKS_TOPIC])
    assert (first.click_id, first.user_id) == (first.event_key, "7")
    assert first.click_ts == datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
    assert (second.click_id, second.event_key) == ("c", "k")
    assert first.produced_at == second.produced_at == NOW
    errors = file(tmp_path, '{"svc": "mailer", "error_message": "é", "error_time": "2026-11-23"}\n', "errors.ndjson")
    layout = Layout.of(errors, topic=ERRORS_TOPIC, columns={"service_name": "svc"}, constants={"severity": "FATAL"})
    (error,) = sent(read(errors, layout))
    assert isinstance(error, EVENT_TYPES[ERRORS_TOPIC])
    assert (error.service_name, error.error_message, error.severity) == ("mailer", "é", "FATAL")


def test_equal_lines_stay_separate_events(tmp_path: Path) -> None:
    line = '{"user_id":"a","product_id":"p","quantity":1,"price":1,"status":"CREATED","order_time":"2026-11-23"}\n'
    path = file(tmp_path, line * 3, "orders.jsonl")
    assert len({order.event_key for order in sent(read(path, Layout.of(path)))}) == 3


def test_the_price_keeps_what_the_file_says_exactly(tmp_path: Path) -> None:
    line = (
        '{"user_id":"a","product_id":"p","quantity":3,"price":0.335000,"status":"CREATED","order_time":"2026-11-23"}\n'
    )
    path = file(tmp_path, line, "orders.jsonl")
    (order,) = orders(sent(read(path, Layout.of(path))))
    assert order.order_total == Decimal("1.01")  # 1.005, half up: a float would have said 1.00


# Names and places of columns -----------------------------------------------------------------------------------------

JSON = '{"user_id":"a","product_id":"p","quantity":1,"price":1,"status":"CREATED","order_time":"2026-11-23"}'
HEADER, FIRST = CSV.splitlines()[:2]


@pytest.mark.parametrize("name", [" Order_ID ", "Order ID", "order-id", "orderId", "ORDER_ID"])
def test_a_header_of_nearly_the_same_name_is_that_column(tmp_path: Path, name: str) -> None:
    found = orders(sent(csv_lines(tmp_path, CSV.replace("order_id", name))))
    assert sorted(order.order_id for order in found) == ["1", "2", "3"]
    line = '{"%s":"o-1","user_id":"a","product_id":"p","quantity":1,"price":1,"status":"CREATED","order_time":"2026"}'
    path = file(tmp_path, (line % name).replace('"2026"', '"2026-11-23"'), "orders.jsonl")
    (order,) = orders(sent(read(path, Layout.of(path))))
    assert order.order_id == "o-1"


def test_what_is_not_used_and_what_is_made_is_told(tmp_path: Path) -> None:
    told = csv_lines(tmp_path, CSV.replace("order_id", "number").replace("product_id", "Product ID")).told
    assert told[0] == "Not used: column 'number'."
    assert re.fullmatch(r"3 lines have no order_id: it is made of .*", told[1])
    assert csv_lines(tmp_path, CSV).told == []
    assert cdnow().told[0] == "Not used: column 2."
    line = (
        '{"id":"1","user_id":"a","product_id":"p","quantity":1,"price":1,"status":"CREATED","order_time":"2026-11-23"}'
    )
    path = file(tmp_path, line, "orders.jsonl")
    assert read(path, Layout.of(path)).told[0] == "Not used: 'id'."


WRONG: list[tuple[str, str, str, dict[str, Any]]] = [
    ("a missing column", CSV.replace("price", "cost"), r"has no column 'price'.*line 1.*quantity, cost, status", {}),
    ("a mapped column missing", CSV, r"line 1: .*no column 'cost' for the field price", {"columns": {"price": "cost"}}),
    ("a short line", f"{HEADER}\n{FIRST}\n2,bob,p-2\n", r"line 3, column 'quantity' is missing", {}),
    ("a wrong date", CSV.replace("2026-11-23T09:00:00Z", "23.11.26"), r"line 3, column 'order_time'.*'23\.11\.26'", {}),
    (
        "a date of another form",
        CSV,
        r"line 2, column 'order_time': '2026-11-23T10:00:00Z' is no date of the form %Y%m%d",
        {"date_format": "%Y%m%d"},
    ),
    ("a bad number", CSV.replace(",5,", ",five,"), r"line 3, column 'price'.*'five'", {}),
    ("a number with a comma", CSV.replace(",5,", ',"5,00",'), r"line 3, column 'price'.*'5,00'", {}),
    ("half a piece", CSV.replace(",1,5,", ",0.5,5,"), r"line 3, column 'quantity'.*'0\.5'.*whole number", {}),
    ("no number of pieces", CSV.replace(",1,5,", ",,5,"), r"line 3, column 'quantity'.*''", {}),
    ("an unknown status", CSV.replace("SHIPPED", "SENT"), r"line 3, column 'status'.*'SENT'.*CREATED", {}),
    ("an empty id", CSV.replace("bob", " "), r"line 3, column 'user_id'.*empty", {}),
    ("a price below zero", CSV.replace(",5,", ",-5,"), r"line 3, column 'price'.*'-5'", {}),
    ("a bad constant", CSV, r"line 2, --const status.*'SENT'", {"constants": {"status": "SENT"}}),
    ("an open quote", CSV + '4,"ann', r"line 5: unexpected end of data", {}),
    ("a header only", HEADER + "\n", r"holds no line of data", {}),
    ("nothing", "", r"has no column", {}),
    ("more cells than the header", CSV.replace(",9.99,", ",9,99,"), r"line 2: there are 8 columns.*names 7", {}),
    ("a comma at the end", CSV.replace("10:00:00Z", "10:00:00Z,"), r"line 2: there are 8 columns.*names 7", {}),
    (
        "fewer cells than the header",
        f"{HEADER},note\n{FIRST},x\n{FIRST}\n",
        r"line 3: there are 7 columns.*names 8",
        {},
    ),
    ("two equal headers", CSV.replace("order_id", "price"), r"'price' and column 'price' \(numbers 1 and 5\)", {}),
    (
        "two nearly equal headers",
        CSV.replace("order_id", " Price"),
        r"column 'Price' and column 'price'.*--map price=NUMBER",
        {},
    ),
    (
        "a mapped name that two have",
        CSV.replace("order_id", "cost").replace("price", "cost"),
        r"both cost; say which by --map price=NUMBER",
        {"columns": {"price": "cost"}},
    ),
    ("another delimiter", CSV.replace(",", ";"), r"one column, so --delimiter seems to be another", {}),
    (
        "numbers only, and no word of a header",
        CSV.replace(HEADER + "\n", ""),
        r"line 1 may be data; say --header",
        {
            "columns": {"user_id": "2", "order_time": "7", "quantity": "4", "price": "5"},
            "constants": {"product_id": "p", "status": "CREATED"},
        },
    ),
    (
        "a quote that takes the next line",
        f'{HEADER},note\n{FIRST},"nice\n{FIRST},nice"\n',
        r"line 2: a quote runs on to line 3",
        {},
    ),
    ("a zero character", CSV.replace("ann", "a\0nn"), r"line 2: a zero character", {}),
    ("a thousands separator", CSV.replace(",5,", ',"1,234.50",'), r"line 3, column 'price'.*'1,234\.50'", {}),
    ("a number beyond its type", CSV.replace(",5,", ",1e400,"), r"line 3, column 'price'", {}),
    ("NaN", CSV.replace(",5,", ",NaN,"), r"line 3, column 'price'.*'NaN'", {}),
    ("a time with a zone's name", CSV.replace("10:00:00Z", "10:00 EST"), r"line 2, column 'order_time'", {}),
    (
        "a date with a digit too few",
        CSV.replace("2026-11-23T10:00:00Z", "2026111"),
        r"line 2, column 'order_time': '2026111' is no date",
        {"date_format": "%Y%m%d"},
    ),
    (
        "one event_id and time, other values",
        CSV.replace("order_id", "event_id").replace(
            "2,bob,p-2,1,5,SHIPPED,2026-11-23T09", "1,bob,p-2,1,5,SHIPPED,2026-11-23T10"
        ),
        r"line 3: event_id '1' and time are those of line 2",
        {},
    ),
    (
        "a name without a header",
        CSV,
        r"no header, so columns are numbers",
        {"header": False, "columns": {"price": "p"}},
    ),
]


@pytest.mark.parametrize(("text", "says", "layout"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_file_is_refused_with_file_line_column_and_value(
    tmp_path: Path, text: str, says: str, layout: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=says) as refusal:
        csv_lines(tmp_path, text, **layout)
    assert "orders.csv" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (" 1 1 19970101 0 5.00", r"line 2, column 4: '0' pieces"),
        (" 1 1 19970101 x 5.00", r"line 2, column 4: 'x' is no number"),
        (" 1 1 19970101 1 free", r"line 2, column 5: 'free' is no number"),
        (" 1 1 19971301 1 5.00", r"line 2, column 3: '19971301' is no date of the form %Y%m%d"),
        (" 1 1 19970101 1", r"line 2, column 5 is missing"),
        (" 1 1 19970101 1 12 50", r"line 2: there are 6 columns.*the first line has 5; a blank within a value"),
        (" 1 1 1997011 1 5.00", r"line 2, column 3: '1997011' is no date"),
    ],
)
def test_a_wrong_cdnow_line_is_refused(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        cdnow(file(tmp_path, f" 1 1 19970101 1 5.00\r\n{line}\r\n", "cd.txt"))


def test_lines_may_end_in_any_way(tmp_path: Path) -> None:
    for end in ("\n", "\r\n", "\r"):
        assert len(cdnow(file(tmp_path, f" 1 1 19970101 1 5.00{end}" * 2, f"{len(end)}{ord(end[0])}.txt")).times) == 2


@pytest.mark.parametrize(
    ("line", "layout", "says"),
    [
        ('{"price":1,"price":2}', {}, r"line 1: 'price' stands there twice"),
        ('{"price":1,"Price":2}', {}, r"'price' and 'Price' are both price; say which by --map price=NAME"),
        (
            JSON,
            {"columns": {"order_total": "sum"}},
            r"--map order_total=sum: no line of .* has 'sum'; they have .*user_id",
        ),
    ],
)
def test_a_json_line_that_says_a_thing_twice_or_not_at_all_is_refused(
    tmp_path: Path, line: str, layout: dict[str, Any], says: str
) -> None:
    path = file(tmp_path, line + "\n", "orders.jsonl")
    with pytest.raises(UserError, match=says):
        read(path, Layout.of(path, **layout))


def test_a_blank_event_id_in_a_json_line_is_none(tmp_path: Path) -> None:
    path = file(tmp_path, JSON[:-1] + ',"event_id":" "}', "orders.jsonl")
    first, again = (sent(read(path, Layout.of(path)))[0] for _ in range(2))
    assert first.event_key == again.event_key == json.loads(read(path, Layout.of(path)).bodies[0] + b"}")["event_id"]


@pytest.mark.parametrize("line", ["{", "[1]", '{"user_id":NaN}', '{"a":' + "[" * 100_000, "not JSON"])
def test_a_line_that_is_no_json_object_is_refused(tmp_path: Path, line: str) -> None:
    path = file(tmp_path, f"\n{line}\n", "orders.jsonl")
    with pytest.raises(UserError, match=r"orders\.jsonl, line 2: .* is no JSON object"):
        read(path, Layout.of(path))


def test_a_field_missing_in_a_json_line_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, '{"user_id":"a","product_id":null}\n', "orders.jsonl")
    with pytest.raises(UserError, match=r"line 1, field 'product_id': product_id is missing"):
        read(path, Layout.of(path))


def test_broken_text_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(CSV.encode() + b"\xff\n")
    with pytest.raises(UserError, match="line 5: byte 0xFF is not UTF-8"):
        read(path, Layout.of(path))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"form": "xls"}, "expected one of csv, whitespace, jsonl, json, parquet, cdnow"),
        ({"topic": "orders"}, "expected one of orders_topic"),
        ({"columns": {"cost": "1"}}, "--map names the field 'cost'; orders_topic has order_id"),
        ({"columns": {"price": "1"}, "constants": {"price": "1"}}, "both name 'price'"),
        ({"delimiter": "||"}, "expected one character"),
        ({"form": "cdnow", "topic": CLICKS_TOPIC}, "cdnow has orders"),
        ({"delimiter": '"'}, "and no quote"),
        ({"columns": {"price": " "}}, "names no column"),
        ({"columns": {"price": "1"}, "price_from_total": True}, "leave one out"),
        ({"date_format": "%d.%m.%Y %H:%M %Z"}, r"a zone's name \(%Z\) says no offset"),
        ({"date_format": "%d.%m."}, "has no year"),
        ({"date_format": "%m/%Y"}, "has no day"),
        ({"date_format": "%Y-%m-%d %I:%M"}, "%I goes with %p"),
        ({"date_format": "%Y-%m-%d %H:%M %p"}, "%I goes with %p"),
    ],
)
def test_wrong_flags_are_refused_in_a_sentence(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Layout.of(Path("orders.csv"), **flags)


def test_what_would_be_rejected_as_too_old_or_yet_to_come_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"6,919 of 6,919 lines .* older than max_event_age \(15 d\)"):
        cdnow().refuse_stale(NOW)
    monkeypatch.setenv("TILLWATCH_MAX_EVENT_AGE", "off")
    cdnow().refuse_stale(NOW)
    lines = csv_lines(tmp_path, CSV.replace("2026-11-23T11", "2027-11-23T11"))
    with pytest.raises(UserError, match=r"line 4: order_time would be 2027-11-23T11:00:00Z, which is yet to come"):
        lines.refuse_future(NOW)
    lines.rebased(timedelta(hours=1), NOW).refuse_future(NOW)


def test_the_anchor_of_a_first_replay_is_kept_for_the_next_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLWATCH_DATA_DIR", str(tmp_path / "shop"))
    anchor = datetime.fromtimestamp(SystemClock().now() - 600, UTC).replace(microsecond=0)
    said = []
    for more in (["--anchor", anchor.isoformat()], []):
        done = CliRunner().invoke(app, ["replay", str(file(tmp_path, CSV)), "--rebase-to-now", "1h", *more])
        assert done.exit_code == 0, done.output
        said.append(done.output.splitlines()[-1])
    assert said[0] == said[1]
    assert set(in_the_log(tmp_path / "shop").values()) == {2}


def test_lines_go_out_at_the_rate_asked_for_in_small_batches() -> None:
    basket, clock = Basket(), FakeClock()
    began = clock.at
    assert replay(cdnow(), basket, clock, Stop(), 200) == 6_919
    assert 34.0 < clock.at - began < 35.0
    assert max(map(len, basket.flushes)) <= 21
    slow, clock = Basket(), FakeClock()
    whole = cdnow()
    three = Lines(whole.file, whole.topic, whole.times[:3], whole.numbers[:3], whole.keys[:3], whole.bodies[:3])
    replay(three, slow, clock, Stop(), 0.5)
    assert [len(flush) for flush in slow.flushes] == [1, 1, 1]
    assert 3.9 < clock.at - began < 4.1


def test_the_command_fills_the_event_log_and_a_wrong_file_leaves_it_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLWATCH_DATA_DIR", str(tmp_path / "shop"))
    run = CliRunner().invoke
    bad = file(tmp_path, CSV.replace(",5,", ",five,"))
    refused = run(app, ["replay", str(bad), "--rebase-to-now", "1h"])
    assert isinstance(refused.exception, UserError)
    assert not (tmp_path / "shop" / "events.db").exists()
    stale = run(app, ["replay", str(SAMPLE), "--format", "cdnow", "--original-times"])
    assert isinstance(stale.exception, UserError)
    began = SystemClock().now()
    for later_s in (0, 7200):
        monkeypatch.setattr(SystemClock, "now", lambda _self, at=began + later_s: at)
        good = run(app, ["replay", str(SAMPLE), "--format", "cdnow", "--rebase-to-now", "1h"])
        assert good.exit_code == 0, good.output
        assert "6,919 of 6,919 lines" in good.output
    monkeypatch.setattr(SystemClock, "now", lambda _self: began + 20 * 86_400)
    long_ago = run(app, ["replay", str(SAMPLE), "--format", "cdnow", "--rebase-to-now", "1h"])
    assert isinstance(long_ago.exception, UserError)
    assert "with --anchor where an earlier replay's moment is too long ago" in str(long_ago.exception)
    events = in_the_log(tmp_path / "shop")
    assert events.total() == 2 * 6_919
    assert set(events.values()) == {2}  # the same key and the same time: each is stored once


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["replay", "x.csv"], "either --original-times or --rebase-to-now"),
        (["replay", "x.csv", "--original-times", "--rebase-to-now", "1h"], "either --original-times"),
        (["replay", "x.csv", "--original-times", "--anchor", "2026-01-01"], "--anchor goes with"),
        (["replay", "x.csv", "--original-times"], "x.csv cannot be read"),
        (["replay", "x.csv", "--original-times", "--map", "user_id"], "--map is 'user_id'"),
        (["replay", "x.csv", "--original-times", "--const", "status=A", "--const", "status=B"], "names 'status' twice"),
        (["replay", "x.csv", "--rebase-to-now", "1h", "--sink", "kafka"], "onto Kafka needs --anchor TIME"),
        (["replay", "x.csv", "--rebase-to-now", "soon"], "--rebase-to-now is 'soon'"),
        (["shoppers", "--from", "2026-01-01"], "--from and --to go together"),
        (["shoppers", "--from", "2026-01-02", "--to", "2026-01-01"], "is not before"),
        (["shoppers", "--from", "2026-01-02", "--to", "9999-01-01"], "yet to come"),
        (["shoppers", "--duration", "5"], "--duration is '5'"),
        (["shoppers", "--sink", "queue"], "--sink is 'queue'"),
        (["shoppers", "--incident", "payments"], "expected SERVICE@START"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused_in_a_sentence(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, UserError), result.output
    assert says in str(result.exception)


def test_a_past_span_is_filled_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_DATA_DIR", str(tmp_path / "shop"))
    arguments = ["shoppers", "--from", "2020-01-01T12:00:00Z", "--to", "2020-01-01T12:01:00Z", "--rate", "50", "--flat"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    with EventLog(tmp_path / "shop" / "events.db") as log:
        assert log.bounds(CLICKS_TOPIC)[1] > 2_000
