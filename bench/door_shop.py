"""A day of a shop for bench door: its tables, what is asked of them, and a DuckDB over the same files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import cycle
from pathlib import Path

import duckdb
import pyarrow as pa
from pyiceberg.table import StaticTable

from console.feed.questions import LIST_ROWS, TILE_SPAN
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.settings import GatewaySettings
from lakehouse.dremio.statement import Fragment, Value, fill, question_sql
from lakehouse.kinds import distinct_orders
from lakehouse.settings.shop import OrdersSettings
from lakehouse.tables import CATALOG, SCHEMA
from lakehouse.topics import TOPICS
from producers.load import made_before
from producers.pace import iso
from tests.conftest import NOON, Shop

DAY = timedelta(days=1)
TAIL = timedelta(minutes=10)
"""Published in small pieces, as a running shop does; what is older than that, by the hour."""
TAIL_PUBLISHES = 60
_A_ROW_OF = {"orders_topic": 1, "clicks_topic": 5, "errors_topic": 50, "refunds_topic": 25}
"""For each event of a topic, so many orders."""
TIMES = {
    "orders_processed": "order_ts",
    "clicks_processed": "click_ts",
    "errors_processed": "error_ts",
    "refunds_processed": "refund_ts",
}

ONE = "SELECT 1 AS n"
AGGREGATE = (
    "SELECT device_type, url, COUNT(*) AS n, COUNT(DISTINCT user_id) AS users FROM {clicks_processed} "
    "GROUP BY device_type, url"
)
SCAN = (
    "SELECT order_id, user_id, product_id, quantity, price, order_total, status, order_ts, produced_at "
    "FROM {orders_processed}"
)
QUESTIONS = {
    "tiles": ("before", "since", "as_of", "counted_statuses", "distinct"),
    "latest_orders": ("since", "as_of", "most"),
    "latest_errors": ("since", "as_of", "severities", "most"),
    "minutes": ("since", "as_of"),
    "as_of": (),
}
"""Of lakehouse/questions, with their binds."""


@dataclass(frozen=True)
class Made:
    """Where a day ends, and the commit that holds it."""

    folder: Path
    ended: datetime
    commit: str

    def question(self, name: str, number: int, shape: int | None = None) -> str:
        """A question of the console as it asks for the `number`th time, a millisecond later each.

        A `shape` of its own: the same question, whose tables have an alias that nobody used before.
        """
        as_of = self.ended - timedelta(minutes=1) + timedelta(milliseconds=number % 60_000)
        template = question_sql(name)
        if shape is not None:
            template = re.sub(r"{(\w+)}", rf"{{\1}} AS \1_{shape}", template)
        return fill(template, self.commit, _binds(name, as_of), name)

    def sql(self, template: str) -> str:
        return fill(template, self.commit, {})

    def plain(self, sql: str) -> str:
        """The same SQL for DuckDB, which has no commits."""
        return sql.replace(f' AT COMMIT "{self.commit}"', "")

    def views(self, since: datetime | None = None) -> str:
        """DuckDB's statements that give it the tables; only files that may hold rows since then, where it is said."""
        commit = SqliteCommits(self.folder / "catalog.db").head()
        assert commit is not None
        made = [f"ATTACH ':memory:' AS {CATALOG}", f"CREATE SCHEMA {CATALOG}.{SCHEMA}"]
        for table, time in TIMES.items():
            scan = StaticTable.from_metadata(commit.tables[table]).scan()
            if since is not None:
                scan = scan.filter(f"{time} >= '{since.isoformat()}'")
            files = ", ".join(f"'{task.file.file_path.removeprefix('file://')}'" for task in scan.plan_files())
            made.append(f"CREATE VIEW {CATALOG}.{SCHEMA}.{table} AS SELECT * FROM read_parquet([{files}])")
        return "; ".join(made)


def _binds(name: str, as_of: datetime) -> Mapping[str, Value | Fragment]:
    since, counting = as_of - TILE_SPAN, OrdersSettings.load().counting
    known: Mapping[str, Value | Fragment] = {
        "before": since - TILE_SPAN,
        "since": since,
        "as_of": as_of,
        "counted_statuses": counting.statuses,
        "distinct": distinct_orders(counting),
        "severities": ("ERROR", "FATAL"),
        "most": LIST_ROWS,
    }
    return {bind: known[bind] for bind in QUESTIONS[name]}


def make(folder: Path, orders: int) -> Made:
    """A day with so many orders, a click for five and an error for fifty of them."""
    shop, events = Shop(folder), _Events(orders)
    ends = [NOON - DAY + timedelta(hours=hour) for hour in range(1, 24)] + [NOON - TAIL]
    ends += [NOON - TAIL + TAIL * number / TAIL_PUBLISHES for number in range(1, TAIL_PUBLISHES + 1)]
    for end in ends:
        shop.now = end
        events.send(shop, end)
        shop.publish()
        if end == NOON - TAIL:
            shop.maintain()
    shop.close()
    commit = SqliteCommits(folder / "catalog.db").head()
    assert commit is not None
    return Made(folder, NOON, commit.id)


class _Events:
    """Messages of simulated shoppers, each sent as an event of another time."""

    def __init__(self, orders: int) -> None:
        self._each_s = DAY.total_seconds() / orders
        self._sent = dict.fromkeys(_A_ROW_OF, 0)
        messages = made_before(1, tuple(TOPICS))
        # A message ends with its event time and its event_id: what stands before them stays.
        self._heads = {
            topic: cycle(
                [(key, body[: body.rindex(b'"%b":"' % TOPICS[topic].time.encode())]) for _, _, of, key, body in messages
                 if of == topic]
            )
            for topic in _A_ROW_OF
        }  # fmt: skip

    def send(self, shop: Shop, end: datetime) -> None:
        """What happened since the last time, in equal steps."""
        day_began = (NOON - DAY).timestamp()
        for topic, orders in _A_ROW_OF.items():
            each_s, first = self._each_s * orders, self._sent[topic]
            until = round((end.timestamp() - day_began) / each_s)
            for number in range(first, until):
                key, head = next(self._heads[topic])
                time = iso(day_began + number * each_s).encode()
                words = (head, TOPICS[topic].time.encode(), time, number, time)
                shop.sink.send(topic, key, b'%b"%b":"%b","event_id":"d-%d","produced_at":"%b"}' % words)
            shop.sink.flush()
            self._sent[topic] = until


class Plain:
    """DuckDB in this process, over the tables that `views` makes; with the gateway's number of threads, or another."""

    def __init__(self, views: str, threads: int | None = None) -> None:
        self._database = connected(views, threads)

    def ask(self, sql: str) -> pa.Table:
        return self._database.execute(sql).to_arrow_table()


def connected(views: str, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that knows the tables by their names."""
    database = duckdb.connect(config={"threads": threads or GatewaySettings.load().threads})
    for statement in ("SET GLOBAL TimeZone = 'UTC'", *views.split("; ")):
        database.execute(statement)
    return database


def in_memory(views: str) -> str:
    """The same tables, read once and kept: for a DuckDB that opens no file when it is asked."""
    return views.replace("CREATE VIEW", "CREATE TABLE")
