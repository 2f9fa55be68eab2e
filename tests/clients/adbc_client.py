"""What ADBC's Flight SQL driver and polars find at the gateway on port argv[1]; tests/client_cast.py asks."""

from __future__ import annotations

import atexit
import sys
import threading
import time
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import adbc_driver_flightsql.dbapi as flight_sql
import polars
import pyarrow as pa

warnings.simplefilter("ignore")  # that there are no transactions
SCHEMA = "nessie_minio_catalog.ecommerce_db"
ORDERS = f"{SCHEMA}.orders_processed"


def connect(password: str = "dremio123", **options: str) -> Any:
    kwargs = {"username": "dremio", "password": password, **options}
    return flight_sql.connect(f"grpc://localhost:{sys.argv[1]}", db_kwargs=kwargs, autocommit=True)


connection = connect()


def rows(sql: str, parameters: tuple[object, ...] | None = None, on: Any = connection) -> list[dict[str, Any]]:
    with on.cursor() as cursor:
        cursor.execute(sql, parameters)
        found: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
        return found


def every_table() -> dict[str, int]:
    listed = connection.adbc_get_objects(depth="tables", table_types_filter=["TABLE"]).read_all().to_pylist()
    paths = [
        f"{schema['db_schema_name']}.{table['table_name']}"
        for catalog in listed
        for schema in catalog["catalog_db_schemas"]
        for table in schema["db_schema_tables"]
    ]
    return {path: len(rows(f"SELECT * FROM {path}")) for path in paths}


def columns() -> list[str]:
    [catalog] = (
        connection.adbc_get_objects(depth="all", db_schema_filter=SCHEMA, table_name_filter="orders\\_processed")
        .read_all()
        .to_pylist()
    )
    [schema] = catalog["catalog_db_schemas"]
    [table] = schema["db_schema_tables"]
    return [column["column_name"] for column in table["table_columns"]]


def parameters() -> list[dict[str, Any]]:
    since = datetime(2020, 1, 1, tzinfo=UTC)
    return rows(
        f"SELECT order_id FROM {ORDERS} WHERE user_id = ? AND quantity >= ? AND price < ? AND order_ts > ?"
        " AND CAST(order_ts AS DATE) >= ? AND ? IS NULL",
        ("grace's", 1, Decimal("100.5"), since, date(2020, 1, 1), None),
    )


def prepared() -> list[str]:
    with connection.cursor() as cursor:
        schema = cursor.adbc_prepare(f"SELECT order_id FROM {ORDERS} WHERE user_id = ? AND quantity >= ?")
        return [str(field.type) for field in schema]


def frame(sql: str, on: Any = connection) -> polars.DataFrame:
    return polars.read_database(sql, on)


def insert() -> None:
    with connection.cursor() as cursor:
        cursor.adbc_ingest("orders_processed", pa.table({"a": [1]}), mode="append")


def cancelled() -> float:
    """Seconds from the cancel to its error."""
    tables = ", ".join(f"{ORDERS} AS t{number}" for number in range(18))
    total = " + ".join(f"t{number}.quantity" for number in range(18))
    with connection.cursor() as cursor:
        at: list[float] = []

        def cancel() -> None:
            time.sleep(1)
            at.append(time.monotonic())
            cursor.adbc_cancel()

        threading.Thread(target=cancel).start()
        try:
            cursor.execute(f"SELECT SUM(t0.quantity) AS n FROM {tables} WHERE {total} < 0")
            cursor.fetchall()
        except Exception:
            return time.monotonic() - at[0]
    raise AssertionError("it was not cancelled")


def session() -> list[dict[str, Any]]:
    with connect(**{"adbc.flight.sql.rpc.with_cookie_middleware": "true"}) as own:
        own.adbc_current_db_schema = SCHEMA
        assert own.adbc_current_db_schema == SCHEMA
        return rows("SELECT COUNT(*) AS n FROM orders_processed", on=own)


ASKS: dict[str, Callable[[], object]] = {
    "select": lambda: rows(f"SELECT order_id, price, order_ts FROM {ORDERS} ORDER BY order_id"),
    "empty": lambda: rows(f"SELECT order_id FROM {ORDERS} WHERE order_id = 'none'"),
    "table types": connection.adbc_get_table_types,
    "vendor": lambda: connection.adbc_get_info()["vendor_name"],
    "every table": every_table,
    "columns": columns,
    "table schema": lambda: connection.adbc_get_table_schema("orders_processed").names,
    "parameters": parameters,
    "prepared": prepared,
    "too few parameters": lambda: rows(f"SELECT order_id FROM {ORDERS} WHERE user_id = ?", ()),
    "bad SQL": lambda: rows("SELEC 1"),
    "bad column": lambda: rows(f"SELECT nope FROM {ORDERS}"),
    "bad password": lambda: connect("guess"),
    "delete": lambda: rows(f"DELETE FROM {ORDERS}"),
    "insert": insert,
    "cancel": cancelled,
    "session": session,
    "polars": lambda: polars.read_database(f"SELECT order_id, price FROM {ORDERS}", connection).rows(),
    "polars parameters": lambda: polars.read_database(
        f"SELECT order_id FROM {ORDERS} WHERE user_id = ?", connection, execute_options={"parameters": ["grace's"]}
    ).rows(),
    "polars empty": lambda: dict(frame(f"SELECT order_id, price FROM {ORDERS} WHERE order_id = 'none'").schema),
    "polars every table": lambda: {path: len(frame(f"SELECT * FROM {path}")) for path in every_table()},
    "polars describe": lambda: frame(f"DESCRIBE {ORDERS}")["COLUMN_NAME"].to_list(),
    "polars in batches": lambda: sum(
        len(part) for part in polars.read_database(f"SELECT * FROM {ORDERS}", connection, iter_batches=True)
    ),
    "polars bad SQL": lambda: frame("SELEC 1"),
    "polars bad column": lambda: frame(f"SELECT nope FROM {ORDERS}"),
    "polars bad password": lambda: frame("SELECT 1 AS n", connect("guess")),
    "after all": lambda: rows("SELECT 1 AS n"),
}
atexit.register(connection.close)
