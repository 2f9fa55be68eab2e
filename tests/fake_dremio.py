"""A small Dremio for tests of readers: the contract's tables in DuckDB's memory, asked with the real questions."""

from __future__ import annotations

import random
import re
import threading
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from lakehouse.dremio.errors import QueryError, Unavailable
from lakehouse.dremio.state import ConnectionState
from lakehouse.dremio.statement import fill, question_sql
from lakehouse.tables import CATALOG, SCHEMA, TABLES, Table

_TYPES = {"string": "VARCHAR", "int": "INTEGER", "long": "BIGINT", "double": "DOUBLE", "timestamptz": "TIMESTAMP"}
_TYPES |= {"boolean": "BOOLEAN", "binary": "BLOB"}
MINUTE = timedelta(minutes=1)

_FILES = re.compile(r"TABLE\(TABLE_FILES\('(\w+)'\)\)")
_AT = re.compile(r"""\s+AT (?:COMMIT "\w+"|TIMESTAMP '[^']+')""")
LONG = "x" * 6000
TURNED = "invoice\u202efdp.exe"
ODD = "R&D #1 +5%"
"""Names that nobody expects: one word without end, one that turns what follows around, one that links must encode."""


def _definition(table: Table) -> str:
    columns = ", ".join(f'"{column.name}" {_TYPES.get(column.type, column.type)}' for column in table.columns)
    return f'CREATE TABLE "{table.name}" ({columns})'


class FakeDremio:
    """Answers `head` and `ask` as the client does. Commits are counted; only the newest can be read.

    `down` makes every statement fail as an unreachable server does; `broken` names questions that fail alone.
    `asked` lists every statement, for tests that count.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._connection = duckdb.connect(":memory:", config={"threads": 1})
        for table in TABLES.values():
            self._connection.execute(_definition(table))
        self._connection.execute("CREATE MACRO replace_all(s, of, b) AS regexp_replace(s, of, b, 'g')")
        self.commits = 0
        self.down = False
        self.broken: set[str] = set()
        self.asked: list[str] = []
        self._slow: list[tuple[str, threading.Event]] = []

    near = False

    @property
    def state(self) -> ConnectionState:
        return ConnectionState("down" if self.down else "up")

    def head(self) -> str:
        self._answers("head")
        return self._commit()

    def next_head(self, known: str, wait_s: float) -> str:
        return self.head()

    def sql(self, text: str, *, within_s: float | None = None) -> pa.Table:
        """A statement, at whatever commit; `broken` may name a word of it."""
        self._answers(text)
        return self._answer(_AT.sub("", text))

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table:
        self._answers(question)
        return self._answer(fill(question_sql(question), None, binds, name=question))

    def _answer(self, sql: str) -> pa.Table:
        sql = sql.replace(f"{CATALOG}.{SCHEMA}.", "")
        # Dremio's replaces all that it finds, DuckDB's only the first.
        sql = sql.replace("REGEXP_REPLACE(", "replace_all(")
        sql = _FILES.sub(r"(SELECT COUNT(*) AS record_count, 1024 AS file_size_in_bytes FROM \1)", sql)
        with self._lock:
            try:
                table = whole_sums(self._connection.execute(sql).to_arrow_table())
            except duckdb.Error as error:
                raise QueryError(str(error).splitlines()[0], sql) from None
        for index, field in enumerate(table.schema):
            if pa.types.is_timestamp(field.type):
                utc = pa.timestamp("ms", "UTC")
                column = table.column(index).cast(pa.timestamp("ms"), safe=False).cast(utc)
                table = table.set_column(index, pa.field(field.name, utc), column)
        return table

    def slow_down(self, word: str) -> threading.Event:
        """Statements with this word wait for the event."""
        free = threading.Event()
        self._slow.append((word, free))
        return free

    def _commit(self) -> str:
        return f"{self.commits:064x}"

    def _answers(self, what: str) -> None:
        self.asked.append(what)
        if self.down:
            raise Unavailable("Neither Dremio nor a gateway answers at grpc://localhost:1: connection refused.")
        for word, free in self._slow:
            if word in what:
                free.wait()
        if any(word in what for word in self.broken):
            raise QueryError("Column 'x' not found in any table.")

    # ---- what ingest would do

    def insert(self, table: str, **values: Any) -> None:
        names = [column.name for column in TABLES[table].columns]
        row = [_naive(values.get(name)) for name in names]
        with self._lock:
            self._connection.execute(f'INSERT INTO "{table}" VALUES ({", ".join("?" * len(names))})', row)

    def execute(self, statement: str) -> None:
        """A statement that writes many rows at once."""
        with self._lock:
            self._connection.execute(statement)

    def delete(self, table: str, column: str, values: tuple[str, ...]) -> None:
        with self._lock:
            self._connection.execute(f'DELETE FROM "{table}" WHERE list_contains(?, "{column}")', [list(values)])

    def order(self, at: datetime, total: str = "10.00", **values: Any) -> None:
        key = values.setdefault("event_key", uuid.uuid4().hex)
        defaults: dict[str, Any] = {
            "order_id": key[:8],
            "user_id": "ada",
            "product_id": "tea",
            "quantity": 1,
            "price": Decimal(total),
            "order_total": Decimal(total),
            "status": "CREATED",
            "order_ts": at,
            "produced_at": at,
            "ingested_at": at,
        }
        self.insert("orders_processed", **(defaults | values))

    def click(self, at: datetime, user: str = "ada", url: str = "/cart", **values: Any) -> None:
        defaults: dict[str, Any] = {
            "event_key": uuid.uuid4().hex,
            "click_id": uuid.uuid4().hex[:8],
            "user_id": user,
            "url": url,
        }
        defaults |= {"device_type": "mobile", "click_ts": at, "produced_at": at, "ingested_at": at}
        self.insert("clicks_processed", **(defaults | values))

    def error(self, at: datetime, severity: str = "ERROR", service: str = "payments", **values: Any) -> None:
        defaults: dict[str, Any] = {
            "event_key": uuid.uuid4().hex,
            "error_id": uuid.uuid4().hex[:8],
            "service_name": service,
        }
        defaults |= {"error_message": "card declined", "severity": severity, "error_ts": at}
        defaults |= {"produced_at": at, "ingested_at": at}
        self.insert("errors_processed", **(defaults | values))

    def refund(self, at: datetime, amount: str = "5.00", **values: Any) -> None:
        defaults: dict[str, Any] = {"event_key": uuid.uuid4().hex, "refund_id": uuid.uuid4().hex[:8], "order_id": "o"}
        defaults |= {"amount": Decimal(amount), "refund_ts": at, "produced_at": at, "ingested_at": at}
        self.insert("refunds_processed", **(defaults | values))

    def left_out(self, kpi: str, hour: datetime | None, filled_to: datetime | None, reason: str) -> None:
        """A KPI table lacks the rows of an hour, or is being filled in."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO kpi_state VALUES (?, 'd', ?, ?, ?, ?)", [kpi, hour, filled_to, reason, hour or filled_to]
            )

    def clock_ahead(self, at: datetime, topic: str, messages: int, seconds: float) -> None:
        """What ingest reported of log times ahead of its clock."""
        for metric, value in (("clock_ahead", float(messages)), ("clock_ahead_seconds", seconds)):
            self.insert("pipeline_metrics", measured_at=at, topic=topic, metric=metric, value=value, ingested_at=at)

    def alert(
        self, at: datetime, incident: str, status: str = "FIRING", service: str = "payments", **values: Any
    ) -> None:
        words = f"Fatal error in service: {service} - card declined"
        defaults: dict[str, Any] = {
            "alert_id": uuid.uuid4().hex,
            "alert_type": "FATAL_ERROR",
            "description": words if status == "FIRING" else f"Resolved: {words}",
            "alert_timestamp": at,
            "metric_value": 1.0,
            "status": status,
            "incident_id": incident,
            "starts_at": at,
            "rule": "fatal_error",
            "severity": "FATAL",
            "service_name": service,
            "received_at": at,
            "ingested_at": at,
        }
        self.insert("alerts", **(defaults | values))

    def publish(self, as_of: datetime) -> str:
        """Recompute the KPI tables, set the positions, and move the head."""
        with self._lock:
            for raw, statements in _DERIVED.items():
                # A reader of alerts alone publishes by the second, and has none of these.
                if raw is None or self._connection.execute(f"SELECT 1 FROM {raw} LIMIT 1").fetchone():
                    for statement in statements:
                        self._connection.execute(statement, {"as_of": _naive(as_of)} if "$as_of" in statement else {})
            self.commits += 1
        return self._commit()

    def close(self) -> None:
        self._connection.close()


def whole_sums(table: pa.Table) -> pa.Table:
    """A sum of whole numbers as BIGINT, which it is to Dremio; to DuckDB it is wider."""
    for index, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type) and field.type.scale == 0:
            table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
    return table


def _naive(value: Any) -> Any:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


_DERIVED: dict[str | None, tuple[str, ...]] = {
    "orders_processed": (
        "DELETE FROM orders_revenue_per_minute",
        """INSERT INTO orders_revenue_per_minute SELECT date_trunc('minute', order_ts), date_trunc('minute', order_ts)
    + INTERVAL 1 MINUTE, count(*), sum(order_total), 0, 0, count(DISTINCT user_id), now()::TIMESTAMP
    FROM orders_processed GROUP BY ALL""",
    ),
    "refunds_processed": (
        "DELETE FROM refunds_per_minute",
        """INSERT INTO refunds_per_minute SELECT date_trunc('minute', refund_ts), date_trunc('minute', refund_ts)
    + INTERVAL 1 MINUTE, count(*), sum(amount), now()::TIMESTAMP FROM refunds_processed GROUP BY ALL""",
    ),
    "errors_processed": (
        "DELETE FROM errors_per_minute",
        """INSERT INTO errors_per_minute SELECT date_trunc('minute', error_ts), date_trunc('minute', error_ts)
    + INTERVAL 1 MINUTE, service_name, severity, count(*), now()::TIMESTAMP FROM errors_processed GROUP BY ALL""",
    ),
    "clicks_processed": (
        "DELETE FROM clicks_per_minute",
        """INSERT INTO clicks_per_minute SELECT date_trunc('minute', click_ts), date_trunc('minute', click_ts)
    + INTERVAL 1 MINUTE, 'cart', device_type, count(*), count(DISTINCT user_id), now()::TIMESTAMP
    FROM clicks_processed GROUP BY ALL""",
        "DELETE FROM active_users_per_window",
        """INSERT INTO active_users_per_window SELECT ends - INTERVAL 5 MINUTE, ends, count(DISTINCT user_id),
    now()::TIMESTAMP FROM (SELECT DISTINCT date_trunc('minute', click_ts) + (step + 1) * INTERVAL 1 MINUTE AS ends
    FROM clicks_processed, range(5) AS steps(step)) JOIN clicks_processed
    ON click_ts >= ends - INTERVAL 5 MINUTE AND click_ts < ends WHERE ends <= $as_of GROUP BY ends""",
    ),
    None: (
        "DELETE FROM ingest_positions",
        """INSERT INTO ingest_positions
    SELECT 'c', 'orders_topic', 0, count(*), $as_of, min(order_ts), $as_of FROM orders_processed
    UNION ALL SELECT 'c', 'clicks_topic', 0, count(*), $as_of, min(click_ts), $as_of FROM clicks_processed
    UNION ALL SELECT 'c', 'errors_topic', 0, count(*), $as_of, min(error_ts), $as_of FROM errors_processed""",
    ),
}
"""By the raw table that they are made of; None: of any."""


def a_shop(dremio: FakeDremio, as_of: datetime, *, minutes: int = 65, seed: int = 1, busy: int = 12) -> None:
    """A seeded hour: people click, some order, services fail now and then, payments has an incident."""
    random_ = random.Random(seed)
    start = as_of - minutes * MINUTE
    rows: dict[str, list[dict[str, Any]]] = {"orders_processed": [], "clicks_processed": [], "errors_processed": []}
    products = ["green tea", "black tea", "oolong", "mug", "teapot", "strainer", "honey", "biscuits"]
    for number in range(minutes * busy):
        at = start + random_.random() * minutes * MINUTE
        user = f"user-{random_.randrange(180):03d}"
        rows["clicks_processed"].append(_fact(at, number, "c") | {
            "click_id": f"c{number}", "user_id": user, "url": random_.choice(["/cart", "/page/home", "/tea"]),
            "device_type": random_.choice(["mobile", "desktop", "tablet"]), "click_ts": at,
        })  # fmt: skip
        if number % 4 == 0:
            total = Decimal(random_.randrange(300, 9000)) / 100
            rows["orders_processed"].append(_fact(at, number, "o") | {
                "order_id": f"{10_000 + number}", "user_id": user, "product_id": random_.choice(products),
                "quantity": 1, "price": total, "order_total": total, "order_ts": at,
                "status": random_.choice(["CREATED"] * 5 + ["PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED"]),
            })  # fmt: skip
            if number % 40 == 0:
                dremio.refund(at, f"{total}", order_id=f"{10_000 + number}", event_key=f"r{number}")
        if number % 15 == 0:
            severity = random_.choice(["DEBUG", "INFO", "WARN", "WARN", "ERROR", "ERROR"])
            rows["errors_processed"].append(_fact(at, number, "e") | {
                "error_id": f"e{number}", "service_name": random_.choice(["payments", "search", "cart", "mail"]),
                "error_message": random_.choice(["timeout after 3 s", "card declined", "stock unknown"]),
                "severity": severity, "error_ts": at,
            })  # fmt: skip
    for table, facts in rows.items():
        for fact in facts:
            dremio.insert(table, **fact)
    incident = str(uuid.UUID(int=seed))
    for step in range(6):
        at = as_of - timedelta(minutes=4, seconds=30 * step)
        dremio.error(at, "FATAL", "payments", error_message="gateway refused the charge: HTTP 503")
        dremio.alert(at, incident, starts_at=as_of - timedelta(minutes=7))
    resolved = str(uuid.UUID(int=seed + 1))
    began = as_of - timedelta(minutes=40)
    dremio.alert(began, resolved, service="search")
    dremio.alert(as_of - timedelta(minutes=34), resolved, "RESOLVED", service="search", starts_at=began)
    dremio.publish(as_of)


def _fact(at: datetime, number: int, kind: str) -> dict[str, Any]:
    return {
        "event_key": f"{kind}{number}",
        "produced_at": at,
        "ingested_at": at,
        "source_partition": 0,
        "source_offset": number,
    }
