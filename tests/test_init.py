"""`tillwatch init`: from a sample to a config/ that checks, starts and shows what the sample comes to."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.statements import Statements
from lakehouse import ROOT
from lakehouse.sources import Sources, load_sources
from producers.__main__ import app as producers
from tests.conftest import Shop
from tests.init_cast import SAMPLES, Given, init, lines, sources, written

FILES = ["alerts.yaml", "people.yaml", "routes.yaml", "sources.yaml", "tillwatch.yaml"]
_CHECK = """
import json, os, sys
from pathlib import Path
from lakehouse.sources import load_sources
from tillwatch.check import look
found = {}
for folder in map(Path, sys.argv[1:]):
    os.environ["TILLWATCH_CONFIG"] = str(folder / "tillwatch.yaml")
    mistakes, _ = look()
    found[folder.name] = [each.sentence for each in mistakes]
    load_sources()
print(json.dumps(found))
"""


# ---- ten samples


def test_what_is_written_from_ten_samples_checks(tmp_path: Path) -> None:
    folders = []
    for number, sample in enumerate(SAMPLES.values()):
        place = tmp_path / f"{number}"
        place.mkdir()
        folders.append(str(written(place, sample()).rename(tmp_path / f"config{number}")))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", _CHECK, *folders], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {Path(folder).name: [] for folder in folders}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES.keys())
def test_the_screen_shows_what_a_sample_comes_to(
    sample: Callable[[], Given], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = sample()
    folder = written(tmp_path, given)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert f"\n{given.says}" in (folder / "sources.yaml").read_text(encoding="utf-8")
    monkeypatch.setenv("TILLWATCH_CONFIG", str(folder / "tillwatch.yaml"))
    monkeypatch.setenv("TILLWATCH_MAX_EVENT_AGE", "off")
    data_dir = tmp_path / "data"
    shop = Shop(data_dir)
    shop.max_event_age, shop.now, shop.sources = None, datetime.now(UTC), load_sources()
    send(shop, shop.sources, given, tmp_path)
    shop.publish()
    letters = shop.rows("dead_letters")
    shop.close()
    assert letters == []
    orders, revenue = totals(data_dir)
    assert (orders, revenue) == (given.orders, given.total)


def send(shop: Shop, found: Sources, given: Given, tmp_path: Path) -> None:
    """Live messages by their topic of the log, lines of files by a replay."""
    source = next(iter(found.sources.values()))
    if given.name.endswith(".csv"):
        of_csv = ["--delimiter", ";", "--encoding", "cp1252"] if b";" in given.content[:20] else []
        bad = ["--skip-bad", str(tmp_path / "bad.csv")] if "--skip-bad" in given.flags else []
        line = ["replay", str(tmp_path / given.name), "--source", source.name, "--original-times", *of_csv, *bad]
        done = CliRunner().invoke(producers, line)
        assert done.exit_code == 0, (done.output, done.exception)
        return
    whole = (
        json.loads(given.content) if given.name.endswith(".json") else list(map(json.loads, given.content.splitlines()))
    )
    for message in whole if isinstance(whole, list) else [whole]:
        shop.send(source.reads[0], message)


def totals(data_dir: Path) -> tuple[int, Decimal]:
    """Orders and revenue, as a reader asks for them in SQL."""
    engine = Engine(data_dir, data_dir / "spill", threads=1, memory_limit_mb=64, timeout_s=20)
    statements = Statements(SqliteCommits(data_dir / "catalog.db"), engine)
    table = "nessie_minio_catalog.ecommerce_db.orders_revenue_per_minute"
    planned = statements.plan(f"SELECT SUM(orders_count) AS orders, SUM(total_revenue) AS revenue FROM {table}")
    (batch,) = statements.run(planned.ticket, lambda: False).batches
    engine.close()
    (row,) = batch.to_pylist()
    return row["orders"], row["revenue"]


# ---- what is written


def test_the_map_is_there_to_be_read_and_changed(tmp_path: Path) -> None:
    orders = b"Order ID;When;Customer;SKU;Qty;Unit price;State\n7;02.03.2026 09:05;ada;mug;2;1,50;Completed\n"
    folder = written(tmp_path, Given("orders 2026.csv", orders, 1, Decimal(3), ["--zone", "Europe/Berlin"]))
    _, text = (folder / "sources.yaml").read_text(encoding="utf-8").split("\n\n", 1)
    assert text == (
        "orders_2026:\n"
        "  topic: orders_topic\n"
        "  zone: Europe/Berlin\n"
        "  decimal: ','\n"
        "  event_id: {text: 'orders_2026-{Order ID}'}\n"
        "  map:\n"
        "    order_id: Order ID                          # like 7\n"
        "    user_id: Customer                           # like ada\n"
        "    product_id: SKU                             # like mug\n"
        "    quantity: Qty                               # like 2\n"
        "    price: Unit price                           # like 1,50\n"
        "    status: {path: State, table: {Completed: DELIVERED, '*': PROCESSING}}  # like Completed\n"
        "    order_time: {path: When, time: '%d.%m.%Y %H:%M'}  # like 02.03.2026 09:05\n"
    )


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ("nested lines", {"grain": "line"}),
        ("changes of Debezium", {"counted_statuses": ["CREATED"]}),
        ("cents with a currency", {"currency": "EUR"}),
        ("semicolons and a decimal comma", {"currency": "EUR"}),
    ],
)
def test_settings_say_what_was_chosen_and_the_shop_has_data_of_its_own(
    sample: str, expected: dict[str, Any], tmp_path: Path
) -> None:
    settings = yaml.safe_load((written(tmp_path, SAMPLES[sample]()) / "tillwatch.yaml").read_text(encoding="utf-8"))
    assert settings["orders"] == expected
    assert (settings["data_dir"], settings["demo"]) == (".tillwatch-config", {"shoppers": False})


def test_other_currencies_need_rates_and_that_is_said(tmp_path: Path) -> None:
    of = {"customer": "u", "total": "2.50", "placed_at": "2026-03-02T12:00:00Z"}
    three = lines(*({"id": n, "currency": code} | of for n, code in enumerate(["EUR", "USD", "EUR"])))
    sample = Given("shop.jsonl", three, 3, Decimal("7.5")).put(tmp_path)
    done = init(tmp_path / "config", "--sample", str(sample), "--yes")
    assert "becomes 3 orders of 5.00 EUR, 2.50 USD," in done.output
    assert (
        f"Note: USD: without rates to EUR in {tmp_path}/config/rates.csv such events are dead letters." in done.output
    )
    assert (tmp_path / "config" / "rates.csv").read_text() == "date,currency,rate\n"


def test_lines_that_do_not_add_up_to_the_total_are_an_order_and_may_be_said_to_be_lines(tmp_path: Path) -> None:
    order = {"id": 5, "email": "a@b.example", "created_at": "2026-03-02T12:00:00Z", "total_price": "27.00"}
    order |= {"line_items": [{"sku": "a", "quantity": 2, "price": "10.50"}, {"sku": "b", "quantity": 1, "price": "1"}]}
    sample = Given("order.json", json.dumps(order).encode(), 1, Decimal(27)).put(tmp_path)
    done = init(tmp_path / "one", "--sample", str(sample), "--yes")
    assert "1 message. It becomes 1 order of 27.00, 2026-03-02 12:00:00 UTC:" in done.output
    assert sources(tmp_path / "one")["order"]["map"]["product_id"] == "line_items[0].sku"
    done = init(tmp_path / "two", "--sample", str(sample), "--yes", "--grain", "line")
    assert "becomes 2 lines of 1 order of 22.00," in done.output


def test_orders_that_come_again_with_each_status_count_once(tmp_path: Path) -> None:
    of = {"user": "u", "total": "2.50", "product": "mug", "placed_at": "2026-03-02T12:00:00Z"}
    states = [(1, "placed"), (2, "placed"), (1, "paid"), (1, "sent"), (2, "cancelled")]
    sample = Given("states.jsonl", lines(*({"id": n, "status": status} | of for n, status in states)), 2, Decimal(5))
    done = init(tmp_path / "config", "--sample", str(sample.put(tmp_path)), "--yes")
    assert "5 messages. It becomes 2 orders of 5.00," in done.output
    assert "Note: 3 more say how orders went on; an order counts as CREATED (orders.counted_statuses)." in done.output
    settings = yaml.safe_load((tmp_path / "config" / "tillwatch.yaml").read_text(encoding="utf-8"))
    assert settings["orders"] == {"counted_statuses": ["CREATED"]}


def test_decimals_of_kafka_connect_are_read_by_the_schema_beside_them(tmp_path: Path) -> None:
    scale = {"field": "total", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}}
    held = {
        "id": 3,
        "buyer": "u-7",
        "qty": 2,
        "total": base64.b64encode((2510).to_bytes(2)).decode(),
        "at": 1_772_452_800,
    }
    message = json.dumps({"schema": {"type": "struct", "fields": [scale]}, "payload": held}).encode()
    folder = written(tmp_path, Given("sink.json", message, 1, Decimal("25.10")))
    of_price = {name: sources(folder)["sink"]["map"].get(name) for name in ("price", "order_total", "quantity")}
    assert of_price == {"price": {"path": "total", "unscaled": 2}, "order_total": None, "quantity": {"value": 1}}


STRIPE = {"id": "ch_1", "created": 1_772_452_800, "amount": 2599, "currency": "usd", "customer": "c"}
LISTS = {"order_id": "o", "placed_at": "2026-03-02T12:00:00Z", "product": "mug", "quantity": 2, "price": "4.00"}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "day and clock.csv",
            "Date,Time,Transaction ID,Gross\n03/02/2026,10:31:00,T1,25.00\n03/13/2026,10:31:00,T2,15.00\n",
            "    order_time: {text: '{Date} {Time}', time: '%m/%d/%Y %H:%M:%S'}",
        ),
        ("whole cents.json", json.dumps(STRIPE), "    price: {path: amount, minor: 2}"),
        (
            "two lists.json",
            json.dumps(LISTS | {"total": "8.00", "payments": [{"id": "p", "amount": "8.00", "method": "card"}]}),
            "    order_total: total",
        ),
        (
            "line breaks in a head.csv",
            '"Order\nNo.",Placed,Total\n1,2026-03-02,5\n',
            """    order_id: "'Order\\nNo.'\"""",
        ),
        (
            "guests.jsonl",
            json.dumps({"id": 1, "total": "5", "placed_at": "2026-03-02T12:00:00Z"}),
            "orders_topic:",
        ),
        (
            "all in may.csv",
            'ID,Purchase Date,Grand Total (Base)\n01,"May 2, 2026, 10:31:00 AM","1,045.00"\n',
            "    order_time: {path: Purchase Date, time: ['%b %d, %Y, %I:%M:%S %p', '%B %d, %Y, %I:%M:%S %p']}",
        ),
        (
            "no id of a log.json",
            json.dumps({"level": 50, "time": 1_772_452_800_123, "hostname": "web", "name": "pay", "msg": "no"}),
            "    error_id: {text: '{time}-{name}'}",
        ),
        (
            "lines.csv",
            "order_id,order_line,date,price,quantity,total_price\n1,1,2026-03-02,2,3,6\n1,2,2026-03-02,5,1,5\n",
            "  event_id: {text: 'lines-{order_id}-{order_line}'}",
        ),
        (
            "each total.csv",
            "Order Number,Order Date,Item Name,Item Cost,Order Total\n7,2026-03-02,Mug,10,35\n7,2026-03-02,Pot,20,35\n",
            "# A line an article, with the whole order's total on each: an order is its first line.",
        ),
    ],
)
def test_shapes_that_shops_have(name: str, text: str, expected: str, tmp_path: Path) -> None:
    folder = written(tmp_path, Given(name, text.encode(), 0, Decimal()))
    lines_of_it = (folder / "sources.yaml").read_text(encoding="utf-8").splitlines()
    assert expected in [line.split("  # ")[0].rstrip() for line in lines_of_it]


@pytest.mark.parametrize(
    ("total", "of", "currency", "note"),
    [
        ("1.045,50 €", {"decimal": ",", "thousands": ".", "sign": "€"}, "EUR", ""),
        ("kr. 5,00", {"decimal": ",", "sign": "kr."}, "", "'kr.' stands beside amounts"),
        ("$5.00", {"sign": "$"}, "USD", "'$' stands beside amounts, and was taken for USD"),
        ("5.00 SFr", {"sign": "SFr"}, "", "'SFr' stands beside amounts"),
        ("5.00 CHF", {"sign": "CHF"}, "CHF", ""),
        ("5.00", {}, "", ""),
    ],
)
def test_a_currency_beside_amounts_is_read(
    total: str, of: dict[str, str], currency: str, note: str, tmp_path: Path
) -> None:
    (tmp_path / "orders.csv").write_text(f"id;placed_at;total\n1;2026-03-02 10:31;{total}\n", encoding="utf-8")
    done = init(tmp_path / "shop", "--sample", str(tmp_path / "orders.csv"), "--yes")
    assert done.exit_code == 0, done.output
    source = sources(tmp_path / "shop")["orders"]
    assert {name: value for name, value in source.items() if name in ("decimal", "thousands", "sign")} == of
    settings = yaml.safe_load((tmp_path / "shop" / "tillwatch.yaml").read_text(encoding="utf-8"))
    assert (settings["orders"] or {}).get("currency", "") == currency
    assert ("stands beside amounts" in done.output) == bool(note)
    assert note in " ".join(done.output.split())


def test_a_unit_of_pieces_is_no_currency_and_a_constant_one_is_the_shops(tmp_path: Path) -> None:
    sample = tmp_path / "orders.csv"
    sample.write_text("id;placed_at;qty;total\n1;2026-03-02 10:31;2;$5.00\n", encoding="utf-8")
    assert init(tmp_path / "cad", "--sample", str(sample), "--yes", "--const", "currency=CAD").exit_code == 0
    settings = yaml.safe_load((tmp_path / "cad" / "tillwatch.yaml").read_text(encoding="utf-8"))
    assert settings["orders"]["currency"] == "CAD"
    sample.write_text("id;placed_at;qty;total\n1;2026-03-02 10:31;2 pcs;5.00\n", encoding="utf-8")
    done = init(tmp_path / "pcs", "--sample", str(sample), "--yes")
    assert "PCS" not in done.output
    assert "sign" not in done.output


def test_parquet_and_packed_text_are_samples_too(tmp_path: Path) -> None:
    table = pa.table({"order_id": ["a"], "order_date": [datetime(2026, 3, 2, 12, tzinfo=UTC)], "total": [1.5]})
    pq.write_table(table, tmp_path / "orders.parquet")
    done = init(tmp_path / "parquet", "--sample", str(tmp_path / "orders.parquet"), "--yes")
    assert "Parquet, 1 line. It becomes 1 order of 1.50, 2026-03-02 12:00:00 UTC:" in done.output
    (tmp_path / "orders.csv.gz").write_bytes(gzip.compress(b"order_id;order_date;total\n1;2026-03-02;1,50\n"))
    done = init(tmp_path / "packed", "--sample", str(tmp_path / "orders.csv.gz"), "--yes")
    assert (
        "CSV, ';' between columns, utf-8, 1 line. It becomes 1 order of 1.50, 2026-03-02 00:00:00 UTC:" in done.output
    )


@pytest.mark.parametrize(
    ("topic", "document", "expected"),
    [
        (
            "clicks",
            {"eventId": "e1", "userId": 7, "pageUrl": "/cart", "device": "iPhone", "timestamp": 1_772_452_800_000},
            {"click_id": "eventId", "url": "pageUrl", "click_time": {"path": "timestamp", "epoch": "ms"}}
            | {"device_type": {"path": "device", "table": {"iPhone": "mobile", "*": "desktop"}}, "user_id": "userId"},
        ),
        (
            "errors",
            {"id": "x", "service": "pay", "level": "warning", "msg": "slow", "time": "2026-03-02T12:00:00Z"},
            {"error_id": "id", "service_name": "service", "error_message": "msg", "error_time": "time"}
            | {"severity": {"path": "level", "table": {"warning": "WARN", "*": "INFO"}}},
        ),
        (
            "refunds",
            {"refund_id": "r", "order_id": "o", "refund_amount_cents": 250, "refunded_at": "2026-03-02T12:00:00Z"},
            {"refund_id": "refund_id", "order_id": "order_id", "amount": {"path": "refund_amount_cents", "minor": 2}}
            | {"refund_time": "refunded_at"},
        ),
    ],
)
def test_clicks_errors_and_refunds_are_known_by_their_names(
    topic: str, document: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    folder = written(tmp_path, Given(f"{topic}.json", json.dumps(document).encode(), 1, Decimal()))
    assert sources(folder)[topic]["map"] == expected
    assert sources(folder)[topic]["topic"] == f"{topic}_topic"


def test_what_a_head_cuts_is_left_out_and_said(tmp_path: Path) -> None:
    sample = Given("head.csv", b"order_id,date,total\n1,2026-03-02,5\n2,2026-03-02,6\n3,2026", 2, Decimal(11)).put(
        tmp_path
    )
    done = init(tmp_path / "config", "--sample", str(sample), "--yes")
    assert "2 lines. It becomes 2 orders of 11.00," in done.output
    assert "Note: The last line is cut and was not looked at" in done.output
