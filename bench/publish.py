"""One publish of seven tables, beside pyiceberg's own append and overwrite of the same rows in the same run.

Promise: CPU of publishes 850 to 900 <= 1.2 x that of 5 to 55, and <= half of stock's at its best.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from bench.report import Report
from embedded.catalog import Catalog, now_us
from lakehouse.tables import CATALOG, SCHEMA, TABLES, Table, arrow_schema
from pipeline.iceberg.schema import iceberg_schema, partition_spec

RAW = ("orders_processed", "clicks_processed", "errors_processed")
KPIS = ("orders_revenue_per_minute", "errors_per_minute", "clicks_per_minute", "ingest_positions")
RAW_ROWS, KPI_ROWS = 100, 60
MERGE_AT = 16


def rows_of(table: Table, count: int, at: datetime) -> pa.Table:
    """Plausible rows, all in one hour."""
    values: dict[str, list[Any]] = {}
    for column in table.columns:
        match column.type:
            case "string":
                values[column.name] = [f"{column.name}-{number * 7919 % 1000}" for number in range(count)]
            case "timestamptz":
                values[column.name] = [at + timedelta(milliseconds=number) for number in range(count)]
            case "double":
                values[column.name] = [float(number) for number in range(count)]
            case "binary":
                values[column.name] = [b"bytes"] * count
            case kind if kind.startswith("decimal"):
                values[column.name] = [Decimal(number) / 4 for number in range(count)]
            case _:
                values[column.name] = list(range(count))
    return pa.table(values, schema=arrow_schema(table))


def ours(folder: Path, publishes: int, rows: dict[str, pa.Table]) -> list[float]:
    """CPU seconds of each publish, merging of small files, thinning and sweeping included."""
    catalog = Catalog(folder)
    seconds = []
    for number in range(publishes):
        before = time.process_time()
        sequence = catalog.sequence + 1
        staged = []
        for name, table_rows in rows.items():
            writer = catalog.tables[name]
            added, removed = writer.write(table_rows), []
            if name in KPIS:
                removed = list(writer.live.values())
            else:
                for level in (0, 1):
                    group = [file for file in writer.live.values() if file.level == level]
                    if len(group) >= MERGE_AT:
                        added += writer.write(catalog.read(name, group), level + 1)
                        removed = group
                        break
            staged.append(writer.stage(added, removed, sequence))
        catalog.publish(staged, now_us())
        if number % 60 == 59:
            catalog.thin(now_us(), timedelta(seconds=5), timedelta(hours=6))
            catalog.sweep(now_us(), timedelta(seconds=5))
        seconds.append(time.process_time() - before)
    return seconds


def stock(folder: Path, publishes: int, rows: dict[str, pa.Table]) -> list[float]:
    """The same with Table.append and Table.overwrite, a commit a table."""
    catalog = SqlCatalog(CATALOG, uri=f"sqlite:///{folder}/stock.db", warehouse=f"file://{folder}/stock")
    catalog.create_namespace(SCHEMA)
    tables = {
        name: catalog.create_table(
            f"{SCHEMA}.{name}", schema=iceberg_schema(TABLES[name]), partition_spec=partition_spec(TABLES[name])
        )
        for name in rows
    }
    seconds = []
    for _ in range(publishes):
        before = time.process_time()
        for name, table_rows in rows.items():
            if name in KPIS:
                tables[name].overwrite(table_rows)
            else:
                tables[name].append(table_rows)
        seconds.append(time.process_time() - before)
    return seconds


def main() -> None:
    """`python -m bench publish`."""
    parser = argparse.ArgumentParser(prog="bench publish", description=__doc__)
    parser.add_argument("--publishes", type=int, default=900)
    parser.add_argument("--stock", type=int, default=60, help="publishes of stock pyiceberg; it grows dearer")
    arguments = parser.parse_args()
    at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    rows = {name: rows_of(TABLES[name], RAW_ROWS if name in RAW else KPI_ROWS, at) for name in (*RAW, *KPIS)}
    with tempfile.TemporaryDirectory() as folder:
        stock_seconds = stock(Path(folder), arguments.stock, rows)
    with tempfile.TemporaryDirectory() as folder:
        our_seconds = ours(Path(folder), arguments.publishes, rows)

    def median_ms(seconds: list[float]) -> float:
        return statistics.median(seconds) * 1000

    early, late = median_ms(our_seconds[5:55]), median_ms(our_seconds[-50:])
    windows = [median_ms(stock_seconds[n : n + 10]) for n in range(0, len(stock_seconds) - 9, 5)]
    report = Report(
        "publish", f"7 tables, {RAW_ROWS} rows a raw table, {KPI_ROWS} a KPI table; CPU of one thread, median"
    )
    report.row("publishes 5 to 55", early, "ms")
    report.row(f"publishes {arguments.publishes - 50} to {arguments.publishes}", late, "ms")
    report.row("late / early", late / early, "x", at_most=1.2)
    report.row("stock pyiceberg, best ten", min(windows), "ms")
    report.row(f"stock pyiceberg, last ten of {arguments.stock}", windows[-1], "ms")
    report.row("late / stock's best", late / min(windows), "x", at_most=0.5)
    report.finish()


if __name__ == "__main__":
    main()
