"""What flightsql-dbapi finds at the gateway on port argv[1]; tests/client_cast.py asks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from flightsql import FlightSQLClient

SCHEMA = "nessie_minio_catalog.ecommerce_db"
ORDERS = f"{SCHEMA}.orders_processed"


def connect(password: str = "dremio123") -> Any:
    return FlightSQLClient(host="localhost", port=int(sys.argv[1]), user="dremio", password=password, insecure=True)


client = connect()


def rows(info: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.do_get(info.endpoints[0].ticket).read_all().to_pylist()
    return found


def parameters() -> list[dict[str, Any]]:
    with client.prepare(f"SELECT order_id FROM {ORDERS} WHERE user_id = ?") as prepared:
        return rows(prepared.execute(pa.record_batch({"0": ["grace's"]})))


def tables() -> list[str]:
    listed = rows(client.get_tables(table_types=["TABLE"]))
    return [f"{row['db_schema_name']}.{row['table_name']}" for row in listed]


def columns() -> list[str]:
    [row] = rows(client.get_tables(table_name_filter_pattern="orders\\_processed", include_schema=True))
    names: list[str] = pa.ipc.read_schema(pa.py_buffer(row["table_schema"])).names
    return names


def cancel() -> float:
    """Seconds until a reader that is cancelled gives back the line."""
    tables = ", ".join(f"{ORDERS} AS t{number}" for number in range(18))
    reader = client.do_get(client.execute(f"SELECT t0.order_id FROM {tables}").endpoints[0].ticket)
    reader.read_chunk()
    begun = time.monotonic()
    reader.cancel()
    rows(client.execute("SELECT 1 AS n"))
    return time.monotonic() - begun


ASKS: dict[str, Callable[[], object]] = {
    "select": lambda: rows(client.execute(f"SELECT order_id FROM {ORDERS} ORDER BY order_id")),
    "every table": lambda: {path: len(rows(client.execute(f"SELECT * FROM {path}"))) for path in tables()},
    "schemas": lambda: [row["db_schema_name"] for row in rows(client.get_db_schemas())],
    "catalogs": lambda: rows(client.get_catalogs()),
    "table types": lambda: [row["table_type"] for row in rows(client.get_table_types())],
    "columns": columns,
    "vendor": lambda: rows(client.get_sql_info([0]))[0]["value"],
    "parameters": parameters,
    "describe": lambda: [row["COLUMN_NAME"] for row in rows(client.execute(f"DESCRIBE {ORDERS}"))],
    "cancel": cancel,
    "bad SQL": lambda: client.execute("SELEC 1"),
    "bad password": lambda: connect("guess"),
    "update": lambda: client.execute_update(f"DELETE FROM {ORDERS}"),
    "after all": lambda: rows(client.execute("SELECT 1 AS n")),
}
