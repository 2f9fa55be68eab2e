"""KPIs kept up as events come: at every publish what the query gives over the raw rows, whatever came before."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from lakehouse.kpis import KPIS, OTHER, Counting, Kpi, load_kpis
from lakehouse.kpis.check import asked
from lakehouse.sources import sources_of
from lakehouse.tables import RAW_OF_TOPIC
from lakehouse.topics import TOPICS
from pipeline.batch import kpi_files
from pipeline.batch.kept import keep_up
from pipeline.batch.split import NotSplit
from pipeline.batch.times import micros, us_of
from tests.conftest import NOON, Shop

STATUSES = ("CREATED", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED")
COUNTING = Counting(STATUSES)
MINUTE = timedelta(minutes=1)


def plainly(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Rows in one order, without when they were made."""
    return sorted(str({name: row[name] for name in sorted(row) if name != "updated_at"}) for row in rows)


def over_raw(shop: Shop, kpi: Kpi, counting: Counting = COUNTING) -> list[dict[str, Any]]:
    """What the query gives over all raw rows that are published."""
    core = shop.ingest.core
    raw = shop.ingest.catalog.rows(RAW_OF_TOPIC[kpi.topic].name)
    time = str(RAW_OF_TOPIC[kpi.topic].event_time)
    place = raw.schema.get_field_index(time)
    sources = {
        RAW_OF_TOPIC[kpi.topic].name: raw.set_column(place, time, raw[time].cast(pa.timestamp("us"))).select(kpi.reads)
    }
    if kpi.window > 1:
        first = min(raw[time].to_pylist(), default=NOON)
        due = micros(core.as_of) // 60_000_000 if core.as_of else 0
        ends = [end * 60_000_000 for end in range(micros(first) // 60_000_000 + 1, due + 1)]
        sources["window_ends"] = pa.table({"window_end": pa.array(ends, pa.timestamp("us"))})
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        answer = asked(db, kpi.sql(counting), sources)
    fields = [
        pa.field(f.name, pa.timestamp("us", "UTC") if pa.types.is_timestamp(f.type) else f.type) for f in answer.schema
    ]
    wanted = pa.schema(
        [f.with_type(pa.int64()) if pa.types.is_decimal(f.type) and not f.type.scale else f for f in fields]
    )
    found: list[dict[str, Any]] = answer.cast(wanted).to_pylist()
    return found


@pytest.mark.parametrize(
    ("seed", "memory", "large", "grain"),
    [(1, 0, 4_000, "order"), (2, 4_000, 8, "line"), (3, 64 << 20, 2, "order"), (4, 64 << 20, 4_000, "line")],
)
def test_at_every_publish_of_any_history_a_kpi_is_what_its_query_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, memory: int, large: int, grain: str
) -> None:
    """With as much memory, and hours that count as large from so many rows on; with guests, and orders of lines."""
    monkeypatch.setenv("TILLWATCH_ORDERS_GRAIN", grain)
    counting = Counting(STATUSES, grain == "line")
    monkeypatch.setattr(kpi_files, "LARGE", large)
    shop = Shop(tmp_path, kpis={"memory": memory})
    shop.sources = sources_of("{orders_topic: {guests: true}, clicks_topic: {guests: true}}", "sources.yaml")
    draw = random.Random(seed)
    sent: list[tuple[str, dict[str, Any]]] = []
    send = shop.send

    def noted(topic: str, fields: dict[str, Any]) -> None:
        sent.append((topic, fields))
        send(topic, fields)

    shop.send = noted  # type: ignore[method-assign]
    for _ in range(20):
        shop.pass_time(timedelta(seconds=draw.choice((1, 7, 40, 95))))
        for _ in range(draw.randrange(8)):
            at = shop.now - timedelta(seconds=draw.choice((0, 0, 1, 70, 600, 2000, 90_000, -120)))
            user = draw.choice(("", "u1", "u2", "u3", "u4"))
            match draw.randrange(6):
                case 0:
                    price = draw.randrange(-900, 9_000_000) / 8
                    more = {"order_id": f"o-{draw.randrange(9)}"} if grain == "line" else {}
                    shop.order(at, user_id=user, status=draw.choice(STATUSES), price=abs(price), **more)
                case 1:
                    shop.click(
                        at, user_id=user, url=draw.choice(("/", "/page/cart", "/cart#x", "https://s.example/page"))
                    )
                case 2:
                    shop.error(at, severity=draw.choice(("WARN", "ERROR")), service_name=draw.choice(("a", "b")))
                case 3:
                    shop.refund(at, amount=draw.randrange(1, 900))
                case _ if sent:
                    send(*draw.choice(sent))  # again: in the same batch, or long after
        shop.publish()
        if draw.random() < 0.2:
            shop.restart()
        if draw.random() < 0.2:
            shop.maintain()
        if draw.random() < 0.3:
            shop.ingest.publish(heartbeat=True)
        for name, kpi in KPIS.items():
            assert plainly(shop.rows(name)) == plainly(over_raw(shop, kpi, counting)), name
    shop.close()


HEADER = """/*
order: 9
topic: orders_topic
doc: x
grain: x
columns:
{columns}
*/
"""
QUERIES = [
    "SELECT {start}, COUNT(*) AS a FROM {raw} GROUP BY {minute}",
    "SELECT {start}, product_id AS p, COUNT(produced_at) AS a, SUM(quantity) AS b FROM {raw} GROUP BY window_start, p",
    "SELECT {start}, COALESCE(SUM(order_total), 0) / COUNT(*) AS a FROM {raw} o "
    "WHERE o.status <> 'CANCELLED' GROUP BY 1",
    "SELECT {start}, COUNT(DISTINCT user_id) * 2 - 1 AS a, COUNT(DISTINCT produced_at) AS b, "
    "SUM(CASE WHEN status = 'SHIPPED' THEN order_total END) AS c FROM {raw} GROUP BY {minute}",
    "SELECT {start}, LEFT(user_id, 1) || '-' || product_id AS g, COUNT(*) FILTER (WHERE quantity > 1) AS a, "
    "COUNT(DISTINCT user_id) FILTER (WHERE status = 'CREATED') AS b, COUNT_IF(price > 5) AS c "
    "FROM {raw} GROUP BY ALL",
    "SELECT {start}, status, SUM(price * quantity) AS a FROM {raw} GROUP BY 1, 2 "
    "HAVING COUNT(*) > 3 AND SUM(quantity) < 20000000000",
    "SELECT {start}, quantity % 3 AS g, COUNT(DISTINCT order_total) AS a, COUNT(DISTINCT quantity) AS b "
    "FROM {raw} GROUP BY {minute}, quantity % 3",
    "SELECT {start}, COUNT(:distinct CASE WHEN quantity % 2 = 0 THEN product_id END) AS a, "
    "COUNT(DISTINCT NULLIF(product_id, '')) AS b FROM {raw} GROUP BY 1",
    "SELECT window_end - INTERVAL '5' MINUTE AS window_start, window_end, w.status, COUNT(*) AS a, SUM(quantity) AS b, "
    "COUNT(DISTINCT user_id) AS c FROM {raw} AS w JOIN window_ends ON w.order_ts < window_end "
    "AND order_ts >= window_end - INTERVAL '5' MINUTE GROUP BY window_end, status",
]


def a_kpi(tmp_path: Path, query: str) -> Kpi:
    text = query.replace("{start}", "{minute} AS window_start").replace("{raw}", "orders_processed")
    text = text.replace("{minute}", "DATE_TRUNC('minute', order_ts)")
    window = "window: 5\n" if "window_ends" in query else ""
    path = tmp_path / "orders_by_anything.sql"
    path.write_text(HEADER.format(columns="  a: {type: long, doc: x}").replace("topic:", f"{window}topic:") + text)
    return load_kpis([path], TOPICS)["orders_by_anything"]


def some_orders(draw: random.Random, count: int, reads: Sequence[str]) -> pa.Table:
    def at() -> datetime:
        return NOON + timedelta(seconds=draw.randrange(420), microseconds=draw.randrange(1_000_000))

    columns = {
        "order_ts": pa.array([at() for _ in range(count)], pa.timestamp("us")),
        "produced_at": pa.array([at() if draw.random() < 0.7 else None for _ in range(count)], pa.timestamp("us")),
        "user_id": [f"{draw.choice('äbc')}{draw.randrange(30)}" for _ in range(count)],
        "product_id": [draw.choice(("book", "", "cup")) for _ in range(count)],
        "status": [draw.choice(STATUSES) for _ in range(count)],
        "quantity": pa.array([draw.randrange(1, 2**31) for _ in range(count)], pa.int32()),
        "price": pa.array([Decimal(draw.randrange(10**8)) / 10_000 for _ in range(count)], pa.decimal128(18, 4)),
        "order_total": pa.array([Decimal(draw.randrange(10**17)) / 100 for _ in range(count)], pa.decimal128(18, 2)),
    }
    return pa.table({name: columns[name] for name in reads})


@pytest.mark.parametrize("query", QUERIES, ids=[str(number) for number in range(len(QUERIES))])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_in_any_pieces_give_what_the_query_gives_over_all(tmp_path: Path, query: str, seed: int) -> None:
    kpi, draw = a_kpi(tmp_path, query), random.Random(seed)
    rows = some_orders(draw, 300, kpi.reads)
    with duckdb.connect() as db:
        counting = Counting(STATUSES, by_line=seed == 2)
        kept = keep_up(kpi, counting, 1 << 20, 500)
        minutes = set((us_of(rows["order_ts"]) // 60_000_000).tolist())
        begin = 0
        while begin < 300:
            piece = rows.slice(begin, draw.randrange(1, 120))
            begin += piece.num_rows
            kept.take(minutes)
            kept.add(asked(db, kept.split.new, {"orders_processed": piece}))
            if draw.random() < 0.7:
                kept.trim()
        kept.take(minutes)
        sources = {"orders_processed": rows}
        if kpi.window == 1:
            spans = {minute: range(minute, minute + 1) for minute in minutes}
        else:
            first = min(minutes)
            spans = {end: range(end - 5, end) for end in range(first, first + 14)}
            kept.take({minute for span in spans.values() for minute in span})
            ends = pa.array([end * 60_000_000 for end in spans], pa.timestamp("us"))
            sources["window_ends"] = pa.table({"window_end": ends})
        found, wanted = kept.answer(spans, lambda sql, of: asked(db, sql, of)), asked(db, kpi.sql(counting), sources)
    assert found.schema.names == wanted.schema.names
    found = found.cast(wanted.schema)
    assert wanted.num_rows
    assert plainly(found.to_pylist()) == plainly(wanted.to_pylist())


@pytest.mark.parametrize(
    ("query", "why"),
    [
        (
            "SELECT {start}, MAX(price) AS a FROM {raw} GROUP BY 1",
            "MAX(price) is none of SUM",
        ),
        (
            "SELECT {start}, SUM(DISTINCT quantity) AS a FROM {raw} GROUP BY 1",
            "is none of SUM",
        ),
        (
            "SELECT {start}, COUNT(DISTINCT quantity, price) AS a FROM {raw} GROUP BY 1",
            "is none",
        ),
        (
            "SELECT {start}, SUM(CAST(price AS DOUBLE)) AS a FROM {raw} GROUP BY 1",
            "is DOUBLE",
        ),
        (
            "SELECT {start}, COUNT(DISTINCT (user_id, status)) AS a FROM {raw} GROUP BY 1",
            "is STRUCT(",
        ),
        (
            "SELECT {start}, COUNT(DISTINCT STRING_SPLIT(user_id, '-')) AS a FROM {raw} GROUP BY 1",
            "is VARCHAR[][]",
        ),
        (
            "SELECT {start}, STRING_SPLIT(user_id, '-') AS g, COUNT(*) AS a FROM {raw} GROUP BY 1, 2",
            "is VARCHAR[]",
        ),
        (
            "SELECT {start}, COUNT(*) AS a FROM {raw}, {raw} b GROUP BY 1",
            "it reads",
        ),
        (
            "WITH b AS (SELECT * FROM {raw}) SELECT {start}, COUNT(*) AS a FROM b GROUP BY 1",
            "it",
        ),
        (
            "SELECT {start}, COUNT(*) AS a FROM (SELECT * FROM {raw}) GROUP BY 1",
            "it has a q",
        ),
        ("SELECT {start}, COUNT(*) AS a FROM {raw} GROUP BY 1 LIMIT 3", "it is no plain"),
        ("SELECT DISTINCT {minute} AS window_start, COUNT(*) AS a FROM {raw} GROUP BY 1", "it is no plain"),
        (
            "SELECT {start}, COUNT(*) AS a FROM {raw} GROUP BY ROLLUP ({minute})",
            "it is not",
        ),
        (
            "SELECT {start}, RANDOM() AS a FROM {raw} GROUP BY 1",
            "is not known to be the same",
        ),
        (
            "SELECT {start}, COUNT(*) FILTER (WHERE order_ts > NOW()) AS a FROM {raw} GROUP BY 1",
            "is",
        ),
        (
            "SELECT {start}, SUM(COUNT(*)) OVER () AS a FROM {raw} GROUP BY 1",
            "it has a query or",
        ),
        (
            "SELECT DATE_TRUNC('hour', order_ts) AS window_start, COUNT(*) AS a FROM {raw} GROUP BY 1",
            "it is not gr",
        ),
        (
            "SELECT window_end, COUNT(*) AS a FROM window_ends JOIN {raw} ON order_ts < window_end GROUP BY 1",
            "its j",
        ),
        (
            "SELECT window_end, COUNT(*) FILTER (WHERE order_ts < window_end - INTERVAL '1' MINUTE) AS a "
            "FROM window_ends JOIN {raw} "
            "ON order_ts >= window_end - INTERVAL '5' MINUTE AND order_ts < window_end GROUP BY 1",
            "window_end stands within",
        ),
    ],
)
def test_what_cannot_be_kept_up_is_told_with_the_reason(tmp_path: Path, query: str, why: str) -> None:
    kpi = a_kpi(tmp_path, query)
    with pytest.raises(NotSplit) as refused:
        keep_up(kpi, COUNTING, 0, 500)
    assert why in str(refused.value)


@pytest.mark.parametrize("bound", [0, 10_000, 1 << 20])
def test_what_is_kept_takes_no_more_bytes_than_it_may(tmp_path: Path, bound: int) -> None:
    kpi = a_kpi(tmp_path, "SELECT {start}, COUNT(DISTINCT user_id) AS a FROM {raw} GROUP BY 1")
    kept = keep_up(kpi, COUNTING, bound, 500)
    with duckdb.connect() as db:
        for minute in range(20):
            users = [f"user-{number:020}" for number in range(50)]
            rows = pa.table({"user_id": users, "order_ts": pa.array([NOON + minute * MINUTE] * 50, pa.timestamp("us"))})
            kept.take({micros(NOON) // 60_000_000 + minute})
            kept.add(asked(db, kept.split.new, {"orders_processed": rows}))
            kept.trim()
            assert kept.bytes <= bound
    # 50 users take about 6 KB: of the bounds the last holds all minutes, the one before the newest.
    newest = micros(NOON) // 60_000_000 + 19
    assert kept.take({newest}) == (set() if bound else {newest})
    assert len(kept.take(range(newest - 19, newest))) == {0: 19, 10_000: 19, 1 << 20: 0}[bound]


def test_of_too_many_groups_the_largest_stay_and_the_rest_is_one_row(shop: Shop) -> None:
    shop.kpis_settings = shop.kpis_settings.model_copy(update={"most_groups": 5})
    for number in range(9):
        for user in range(9 - number):
            shop.click(url=f"/page/p{number}", user_id=f"u{user}")
    shop.publish()
    pages = {row["page"]: (row["clicks"], row["users"]) for row in shop.rows("clicks_per_minute")}
    wanted = {f"p{number}": (9 - number, 9 - number) for number in range(4)}
    # Of p4 to p8 the users are those of p4: distinct over all of them.
    assert pages == wanted | {OTHER: (5 + 4 + 3 + 2 + 1, 5)}
    (other,) = [row for row in shop.rows("clicks_per_minute") if row["page"] == OTHER]
    assert other["device_type"] == OTHER
    for _ in range(3):
        shop.click(url="/page/p8", user_id="ben")
    shop.restart()
    shop.publish()
    pages = {row["page"]: (row["clicks"], row["users"]) for row in shop.rows("clicks_per_minute")}
    wanted = {f"p{number}": (9 - number, 9 - number) for number in range(4)}
    assert pages == wanted | {OTHER: (18, 6)}


def test_a_group_that_is_called_like_the_rest_is_of_the_rest(tmp_path: Path) -> None:
    kpi = a_kpi(tmp_path, "SELECT {start}, product_id AS p, COUNT(*) AS a FROM {raw} GROUP BY window_start, p")
    kept = keep_up(kpi, COUNTING, 1 << 20, 3)
    products = [product for product, count in ((OTHER, 5), ("a", 4), ("b", 2), ("c", 1)) for _ in range(count)]
    rows = pa.table({"product_id": products, "order_ts": pa.array([NOON] * len(products), pa.timestamp("us"))})
    minute = micros(NOON) // 60_000_000
    kept.take({minute})
    with duckdb.connect() as db:
        kept.add(asked(db, kept.split.new, {"orders_processed": rows}))
        answer = kept.answer({minute: (minute,)}, lambda sql, sources: asked(db, sql, sources))
    assert {row["p"]: row["a"] for row in answer.to_pylist()} == {"a": 4, "b": 2, OTHER: 6}


def test_of_too_many_groups_those_that_are_kept_first_stay_however_small(shop: Shop) -> None:
    shop.kpis_settings = shop.kpis_settings.model_copy(update={"most_groups": 4})
    for number, severity in enumerate(("WARN", "INFO", "DEBUG", "WARN", "INFO")):
        for _ in range(10):
            shop.error(severity=severity, service_name=f"s{number}")
    shop.error(severity="FATAL", service_name="small")
    shop.error(severity="ERROR", service_name="b")
    shop.error(severity="ERROR", service_name="a")
    shop.publish()
    rows = {(row["service_name"], row["severity"]): row["error_count"] for row in shop.rows("errors_per_minute")}
    assert rows == {("small", "FATAL"): 1, ("a", "ERROR"): 1, ("b", "ERROR"): 1, (OTHER, OTHER): 50}
