"""What SQLAlchemy 1.4 with sqlalchemy_dremio finds at the gateway on port argv[1]; tests/client_cast.py asks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import pandas
import sqlalchemy

warnings.simplefilter("ignore")
SCHEMA = "nessie_minio_catalog.ecommerce_db"
ADDRESS = f"dremio+flight://dremio:dremio123@localhost:{sys.argv[1]}"

engine = sqlalchemy.create_engine(f"{ADDRESS}/?UseEncryption=false")
inside = sqlalchemy.create_engine(f"{ADDRESS}/{SCHEMA}?UseEncryption=false")
look = sqlalchemy.inspect(engine)
orders = sqlalchemy.Table("orders_processed", sqlalchemy.MetaData(), schema=SCHEMA, autoload_with=engine)
connection = engine.connect()


def ids() -> list[str]:
    found = connection.execute(sqlalchemy.select(orders.c.order_id).order_by(orders.c.order_ts))
    return [row[0] for row in found]


def every_table() -> dict[str, int]:
    names = look.get_table_names(schema=SCHEMA)
    return {name: len(pandas.read_sql_query(f"SELECT * FROM {SCHEMA}.{name}", connection)) for name in names}


def asked(where: sqlalchemy.ColumnElement[bool]) -> list[str]:
    found = connection.execute(sqlalchemy.select(orders.c.order_id).where(where).order_by(orders.c.order_id))
    return [row[0] for row in found]


def guessed() -> None:
    address = ADDRESS.replace("dremio123", "guess")
    sqlalchemy.create_engine(f"{address}/?UseEncryption=false").connect()


def count(sql: str) -> int:
    return int(pandas.read_sql_query(sql, connection)["n"][0])


ASKS: dict[str, Callable[[], object]] = {
    "schemas": look.get_schema_names,
    "tables": lambda: look.get_table_names(schema=SCHEMA),
    "has": lambda: [look.has_table(name, schema=SCHEMA) for name in ("orders_processed", "sales")],
    "columns": lambda: {
        column["name"]: str(column["type"]) for column in look.get_columns("orders_processed", schema=SCHEMA)
    },
    "reflected": orders.columns.keys,
    "ids": ids,
    "every table": every_table,
    # Not dead_letters: the dialect does not know Dremio's name of a column of bytes.
    "frame": lambda: len(pandas.read_sql_table("orders_processed", connection, schema=SCHEMA)),
    "query": lambda: count(f"SELECT COUNT(*) AS n FROM {SCHEMA}.orders_processed"),
    "bytes": lambda: count(f"SELECT SUM(file_size_in_bytes) AS n FROM TABLE(table_files('{SCHEMA}.orders_processed'))"),
    "inside": lambda: inside.connect().exec_driver_sql("SELECT COUNT(*) AS n FROM orders_processed").fetchall()[0][0],
    "parameters": lambda: asked(sqlalchemy.and_(orders.c.user_id == "grace's", orders.c.quantity >= 1)),
    "bad SQL": lambda: count("SELEC 1"),
    "bad password": guessed,
    "bad column": lambda: count(f"SELECT nope AS n FROM {SCHEMA}.orders_processed"),
    "bad table": lambda: look.get_columns("sales", schema=SCHEMA),
    "after all": lambda: count("SELECT 1 AS n"),
}
