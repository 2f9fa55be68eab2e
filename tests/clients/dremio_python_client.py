"""What dremio-simple-query and dremioframe find at the gateway on port argv[1]; tests/client_cast.py asks."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import polars
from dremio_simple_query.connect import DremioConnection as ByToken
from dremio_simple_query.connectv2 import DremioConnection
from dremioframe.client import DremioClient

warnings.simplefilter("ignore")
SCHEMA = "nessie_minio_catalog.ecommerce_db"
ORDERS = f"{SCHEMA}.orders_processed"
ADDRESS = f"grpc://localhost:{sys.argv[1]}"
IDS = f"SELECT order_id FROM {ORDERS} ORDER BY order_id"
TABLES = (
    f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_SCHEMA = '{SCHEMA}' AND TABLE_TYPE = 'TABLE'"
)
ENDLESS = f"SELECT a.order_id FROM {', '.join(f'{ORDERS} AS {letter}' for letter in 'abcdefghijklmnop')}"


def connect(password: str = "dremio123") -> DremioConnection:
    return DremioConnection(location=ADDRESS, username="dremio", password=password)


def frames(password: str = "dremio123") -> DremioClient:
    # It asks Dremio's REST API for a token first, prints that it got none, and signs in by Flight.
    with contextlib.redirect_stdout(sys.stderr):
        return DremioClient(
            hostname="localhost",
            port=1,
            flight_port=int(sys.argv[1]),
            username="dremio",
            password=password,
            tls=False,
            mode="v26",
        )


connection = connect()
by_token = ByToken(connection.token, ADDRESS)
frame = frames()


def ids(found: polars.DataFrame) -> list[str]:
    names: list[str] = found["order_id"].to_list()
    return names


def counts(ask: Callable[[str], Any]) -> dict[str, int]:
    return {name: len(ask(f"SELECT * FROM {SCHEMA}.{name}")) for name in ask(TABLES)["TABLE_NAME"].to_list()}


def cancel() -> float:
    reader = connection.toArrow(ENDLESS)
    reader.read_chunk()
    begun = time.monotonic()
    reader.cancel()
    connection.toArrow("SELECT 1").read_all()
    return time.monotonic() - begun


def orders() -> Any:
    return frame.table(ORDERS)


ASKS: dict[str, Callable[[], object]] = {
    "arrow": lambda: connection.toArrow(IDS).read_all()["order_id"].to_pylist(),
    "pandas": lambda: connection.toPandas(IDS)["order_id"].tolist(),
    "polars": lambda: ids(connection.toPolars(IDS)),
    "duckdb": lambda: [row[0] for row in connection.toDuckDB(IDS).fetchall()],
    "by token": lambda: ids(by_token.toPolars(IDS)),
    "every table": lambda: counts(connection.toPolars),
    "describe": lambda: connection.toPolars(f"DESCRIBE {ORDERS}")["COLUMN_NAME"].to_list(),
    "bad SQL": lambda: connection.toArrow("SELEC 1"),
    "bad password": lambda: connect("guess"),
    "cancel": cancel,
    "after all": lambda: connection.toArrow("SELECT 1 AS n").read_all().to_pylist(),
    "frames: table": lambda: ids(orders().select("order_id").order_by("order_id").collect()),
    "frames: filter": lambda: ids(orders().select("order_id").filter("user_id = 'grace''s'").limit(5).collect()),
    "frames: aggregate": lambda: (
        orders().group_by("status").agg(n="COUNT(*)").order_by("n", ascending=False).collect("pandas")["n"].tolist()
    ),
    "frames: query": lambda: ids(frame.query(IDS, "polars")),
    "frames: mutate": lambda: orders().select("quantity").mutate(twice="quantity * 2").limit(1).collect().columns,
    "frames: branch": lambda: len(orders().at_branch("main").collect()),
    "frames: every table": lambda: counts(lambda sql: frame.query(sql, "polars")),
    "frames: explain": lambda: len(orders().select("order_id").explain()) > 0,
    "frames: bad SQL": lambda: frame.query("SELEC 1"),
    "frames: bad column": lambda: orders().select("nope").collect(),
    "frames: bad password": lambda: frames("guess").query("SELECT 1 AS n"),
    "frames: delete": lambda: orders().filter("quantity = 1").delete(),
}
