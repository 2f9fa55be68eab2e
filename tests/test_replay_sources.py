"""Replay through a source of config/sources.yaml: what is sent is what live messages of that shape would become."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from embedded.log import EventLog
from lakehouse import ROOT
from lakehouse.decode import Event, Message, decode
from lakehouse.sources import load_sources
from lakehouse.user_error import UserError
from producers.__main__ import app
from producers.shop import ORDERS_TOPIC

SOURCES = """
baskets:
  topic: orders_topic
  each: items
  event_id: id
  select: {kind: sale}
  map:
    order_id: id
    user_id: customer.id
    product_id: items[].sku
    quantity: items[].n
    price: {path: "items[].cents", minor: 2}
    status: {value: CREATED}
    order_time: {path: at, epoch: ms}

rows:
  topic: orders_topic
  map:
    order_id: number
    user_id: who
    product_id: what
    quantity: {value: 1}
    price: price
    status: {value: CREATED}
    order_time: at

numbered:
  topic: orders_topic
  event_id: {text: "{_file}-{_line}"}
  map:
    order_id: {text: "{_line}"}
    user_id: '1'
    product_id: '2'
    quantity: {value: 1}
    price: '3'
    status: {value: CREATED}
    order_time: '4'

sheet:
  topic: orders_topic
  zone: Europe/London
  decimal: ","
  event_id: {text: "{_file}-{_line}"}
  map:
    order_id: {text: "{_line}"}
    user_id: who
    product_id: {value: tea}
    quantity: {value: 1}
    price: price
    status: {value: CREATED}
    order_time: {path: day, epoch: excel}
"""


def basket(number: int, **other: Any) -> dict[str, Any]:
    items = [{"sku": "a", "n": 2, "cents": 1050}, {"sku": "b", "n": 1, "cents": 99}]
    held = {"kind": "sale", "id": f"b-{number}", "customer": {"id": number}, "at": 1_764_410_400_000, "items": items}
    return held | other


ROWS = "number,who,what,price,at\n1,ann,tea,2.50,2025-11-29\n2,bob,pot,9,2025-11-29\n"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = tmp_path / "config"
    config.mkdir()
    (config / "tillwatch.yaml").write_bytes((ROOT / "config" / "tillwatch.yaml").read_bytes())
    (config / "sources.yaml").write_text(SOURCES)
    monkeypatch.setenv("TILLWATCH_CONFIG", str(config / "tillwatch.yaml"))
    monkeypatch.setenv("TILLWATCH_DATA_DIR", str(tmp_path / "shop"))
    monkeypatch.setenv("TILLWATCH_MAX_EVENT_AGE", "off")
    return tmp_path


def put(shop: Path, name: str, content: str | bytes) -> Path:
    path = shop / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def replay(path: Path, source: str, *more: str) -> Any:
    return CliRunner().invoke(app, ["replay", str(path), "--source", source, "--original-times", *more])


def refused(path: Path, source: str, *more: str) -> str:
    done = replay(path, source, *more)
    assert isinstance(done.exception, UserError), (done.output, done.exception)
    return str(done.exception)


def stored(shop: Path) -> list[Event]:
    found = []
    with EventLog(shop / "shop" / "events.db") as log:
        for record in log.read(ORDERS_TOPIC, 0, 1000):
            (event,) = decode(ORDERS_TOPIC, Message(record.value, record.received_at), None)
            assert isinstance(event, Event)
            found.append(event)
    return found


def lines(baskets: list[dict[str, Any]]) -> str:
    return "\n".join(map(json.dumps, baskets))


@pytest.mark.parametrize(
    ("name", "write"),
    [("b.jsonl", lines), ("b.json", json.dumps), ("b.json", lambda held: json.dumps(held, indent=1))],
)
def test_each_element_is_an_event_with_the_key_that_a_live_message_gets(
    shop: Path, name: str, write: Callable[[list[dict[str, Any]]], str]
) -> None:
    baskets = [basket(1), basket(2), basket(3, kind="return")]
    path = put(shop, name, write(baskets))
    for _ in range(2):
        done = replay(path, "baskets")
        assert done.exit_code == 0, done.output
    assert "1 lines left out, as `select`" in done.output or "1 elements left out, as `select`" in done.output
    assert "4 of 4 events of the" in done.output
    source = load_sources().named("baskets")
    found = [event for held in baskets for event in source.read(json.dumps(held).encode())]
    live = {event.event_key: event.order_total for event in found if isinstance(event, Event)}
    assert len(live) == 4
    sent = stored(shop)
    assert len(sent) == 8
    assert {event.event_key: event.order_total for event in sent} == live


def test_parquet_with_lists_goes_through_a_source(shop: Path) -> None:
    path = shop / "b.parquet"
    pq.write_table(pa.Table.from_pylist([basket(1), basket(2)]), path)
    done = replay(path, "baskets")
    assert done.exit_code == 0, done.output
    assert sum(event.order_total for event in stored(shop)) == 2 * (Decimal("21.00") + Decimal("0.99"))


def test_one_bad_element_is_listed_and_the_others_go(shop: Path) -> None:
    bad = basket(2)
    bad["items"][0]["n"] = -1
    path = put(shop, "b.jsonl", lines([basket(1), bad]))
    assert "b.jsonl, line 2: quantity (items[0].n) is -1" in refused(path, "baskets")
    done = replay(path, "baskets", "--skip-bad", str(shop / "bad.csv"))
    assert "3 of 3 events" in done.output
    assert "1 left out: BAD_VALUE 1;" in done.output
    assert len(stored(shop)) == 3
    listed = (shop / "bad.csv").read_text()
    assert '2,BAD_VALUE,quantity,"{""kind"":""sale"",' in listed
    assert "_line" not in listed


def test_equal_lines_are_one_event_unless_the_map_tells_them_apart(shop: Path) -> None:
    done = replay(put(shop, "rows.csv", ROWS + ROWS.splitlines()[1] + "\n"), "rows")
    assert "1 events are the same as others, by key and time, and are stored once; where they are not, give source" in (
        done.output
    )
    assert len({event.event_key for event in stored(shop)}) == 2
    twins = put(shop, "twins.txt", "ann tea 2.50 2025-11-29\n" * 2)
    done = replay(twins, "numbered")
    assert done.exit_code == 0, done.output
    found = stored(shop)[3:]
    assert [event.order_id for event in found] == ["1", "2"]
    assert len({event.event_key for event in found}) == 2


def test_excel_dates_and_commas_go_through_a_source(shop: Path) -> None:
    sheet = "who;price;day\nann;2,55;40513,3507\nbob;3;40391,5\n"
    done = replay(put(shop, "sheet.csv", sheet), "sheet", "--delimiter", ";")
    assert done.exit_code == 0, done.output
    assert [(event.user_id, str(event.price), event.order_ts.isoformat()) for event in stored(shop)] == [
        ("bob", "3.0000", "2010-08-01T11:00:00+00:00"),
        ("ann", "2.5500", "2010-12-01T08:25:00.480000+00:00"),
    ]
    objects = put(shop, "sheet.jsonl", '{"who":"ann","price":2.55,"day":40513.5}\n' * 2)
    assert "2 of 2 events" in replay(objects, "sheet").output
    for day, says in (("60", "is 29 February 1900 to Excel"), ("1.12.2010", "expected a number with ','")):
        words = refused(put(shop, "sheet.csv", sheet.replace("40391,5", day)), "sheet", "--delimiter", ";")
        assert "sheet.csv, line 3: order_time (day) " in words
        assert says in words


def test_times_through_a_source_are_rebased_like_others(shop: Path) -> None:
    path = put(shop, "rows.csv", ROWS)
    arguments = ["replay", str(path), "--source", "rows", "--rebase-to-now", "1h", "--anchor", "2026-01-01T00:00:00Z"]
    for _ in range(2):
        assert CliRunner().invoke(app, arguments).exit_code == 0
    assert {event.order_ts.isoformat() for event in stored(shop)} == {"2026-01-01T00:00:00+00:00"}


ITEMS = "number,what,price\n1,tea,2.50\n1,pot,9\n2,tea,2.50\n"
ORDERS = "number,who,at\n1,ann,2025-11-29\n2,bob,2025-11-28\n3,cid,2025-11-28\n"


def test_items_get_the_columns_of_their_orders(shop: Path) -> None:
    items, orders = put(shop, "items.csv", ITEMS), put(shop, "orders.csv", ORDERS)
    done = replay(items, "rows", "--join", str(orders), "--on", "number")
    assert done.exit_code == 0, done.output
    assert [(event.order_id, event.user_id, str(event.price)) for event in stored(shop)] == [
        ("2", "bob", "2.5000"),
        ("1", "ann", "2.5000"),
        ("1", "ann", "9.0000"),
    ]


@pytest.mark.parametrize(
    ("items", "orders", "more", "says"),
    [
        (ITEMS + "9,tea,1\n", ORDERS, (), "items.csv, line 5: no line of"),
        (ITEMS, ORDERS + "1,dan,2025-11-28\n", (), "orders.csv, line 5: 'number' is '1', as in a line before"),
        (ITEMS, ORDERS + ",dan,2025-11-28\n", (), "orders.csv, line 5: nothing stands in 'number' (--on)"),
        (ITEMS, ORDERS.replace("number", "id"), (), "orders.csv, line 2: nothing stands in 'number' (--on)"),
        (ITEMS, ORDERS + "5,dan\n", (), "orders.csv, line 5: there are 2 columns"),
        (ITEMS.replace("price", "what"), ORDERS, (), "items.csv, line 1: two columns are called 'what'"),
        (ITEMS.replace("price", "cost"), ORDERS, (), "items.csv, line 2: price is missing"),
        (ITEMS.splitlines()[0], ORDERS, (), "items.csv holds no line of data"),
        (ITEMS, ORDERS, ("--map", "price=cost"), "--map does not go with --source"),
        (ITEMS, ORDERS, ("--topic", "orders_topic"), "--topic does not go with --source"),
        (ITEMS, ORDERS, ("--date-format", "excel"), "--date-format does not go with --source"),
    ],
)
def test_what_does_not_fit_a_source_is_refused_in_a_sentence(
    shop: Path, items: str, orders: str, more: tuple[str, ...], says: str
) -> None:
    join = ("--join", str(put(shop, "orders.csv", orders)), "--on", "number")
    words = refused(put(shop, "items.csv", items), "rows", *join, *more)
    assert says in words
    assert "\n" not in words
    assert not (shop / "shop" / "events.db").exists()


def test_a_source_that_is_none_or_takes_nothing_is_said(shop: Path) -> None:
    path = put(shop, "rows.csv", ROWS)
    assert "'row' is no source (did you mean 'rows'?)" in refused(path, "row")
    assert "--join FILE, --on COLUMN and --source NAME go together" in refused(path, "rows", "--on", "number")
    returns = put(shop, "b.jsonl", lines([basket(1, kind="return")]))
    assert "holds no line of data: source baskets leaves out all of its 1 lines" in refused(returns, "baskets")
    assert "b.jsonl, line 1: not an object" in refused(put(shop, "b.jsonl", "[1]\n"), "rows")
