"""A plain job from Kafka to Iceberg, as such stacks usually have it; bench/plain_job.py starts and measures it.

Seven streaming queries, each with a reader of Kafka, a checkpoint and a sink of its own: from_json into three raw
tables, and four aggregates in append mode over windows of 60 s that slide by 30 s. No duplicates are dropped, nothing
is rejected, and no two tables fit together. It has the session of our own driver: heap, cores, jars, two shuffle
partitions in place of Spark's 200.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from pyspark.errors import StreamingQueryException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.settings.kafka import KafkaSettings
from lakehouse.tables import SCHEMA
from pipeline.settings import NessieSettings, S3Settings

CATALOG = "plain"
WATERMARK_S, WINDOW_S, SLIDE_S = 60, 60, 30
AGAIN = "begun again"
"""What stands in the log of each query that failed."""

SCHEMAS: Mapping[str, str] = {
    "orders": "order_id STRING, user_id STRING, product_id STRING, quantity INT, price DOUBLE, order_total DOUBLE, "
    "status STRING, order_time TIMESTAMP, event_id STRING, produced_at TIMESTAMP",
    "clicks": "click_id STRING, user_id STRING, url STRING, device_type STRING, click_time TIMESTAMP, "
    "event_id STRING, produced_at TIMESTAMP",
    "errors": "error_id STRING, service_name STRING, error_message STRING, severity STRING, error_time TIMESTAMP, "
    "event_id STRING, produced_at TIMESTAMP",
}
TIMES: Mapping[str, str] = {"orders": "order_ts", "clicks": "click_ts", "errors": "error_ts"}


def raw(messages: DataFrame, kind: str) -> DataFrame:
    """Rows of a raw table."""
    rows = messages.select(F.from_json(F.col("value").cast("string"), SCHEMAS[kind]).alias("event")).select("event.*")
    rows = rows.withColumnRenamed(TIMES[kind].replace("_ts", "_time"), TIMES[kind])
    if kind == "orders":
        rows = rows.withColumn("order_total", F.coalesce("order_total", F.col("quantity") * F.col("price")))
    return rows


def _windowed(rows: DataFrame, kind: str, keys: list[Column], *figures: Column) -> DataFrame:
    window = F.window(TIMES[kind], f"{WINDOW_S} seconds", f"{SLIDE_S} seconds")
    found = rows.withWatermark(TIMES[kind], f"{WATERMARK_S} seconds").groupBy(window, *keys).agg(*figures)
    return found.select(F.col("window.start").alias("window_start"), F.col("window.end").alias("window_end"), "*").drop(
        "window"
    )


def orders_revenue(rows: DataFrame) -> DataFrame:
    cancelled = F.col("status") == "CANCELLED"
    return _windowed(
        rows,
        "orders",
        [],
        F.count("*").alias("orders_count"),
        F.sum("order_total").alias("total_revenue"),
        F.sum(cancelled.cast("long")).alias("cancelled_count"),
        F.sum(F.when(cancelled, F.col("order_total")).otherwise(0.0)).alias("cancelled_revenue"),
        F.approx_count_distinct("user_id").alias("buyers"),
    )


def active_users(rows: DataFrame) -> DataFrame:
    return _windowed(rows, "clicks", [], F.approx_count_distinct("user_id").alias("active_users_approx"))


def errors_by_service(rows: DataFrame) -> DataFrame:
    keys = [F.col("service_name"), F.col("severity")]
    return _windowed(rows, "errors", keys, F.count("*").alias("error_count"))


def clicks_by_page(rows: DataFrame) -> DataFrame:
    page = F.regexp_extract("url", "^(?:/page)?/*([^/?#]*)", 1)
    keys = [F.when(page == "", "home").otherwise(page).alias("page"), F.col("device_type")]
    users = F.approx_count_distinct("user_id").alias("users")
    return _windowed(rows, "clicks", keys, F.count("*").alias("clicks"), users)


KPIS: Mapping[str, tuple[str, Callable[[DataFrame], DataFrame]]] = {
    "orders_revenue_per_minute": ("orders", orders_revenue),
    "active_users_per_window": ("clicks", active_users),
    "errors_per_minute": ("errors", errors_by_service),
    "clicks_per_minute": ("clicks", clicks_by_page),
}
TABLES: Mapping[str, str] = {f"{kind}_processed": kind for kind in SCHEMAS} | {
    name: kind for name, (kind, _) in KPIS.items()
}
"""Every table, and so every query, with the kind of event it is made of."""


def session(branch: str, scratch: Path) -> SparkSession:
    """Our driver's own session, with a catalog that writes straight to a branch of Nessie."""
    # A script's folder, no package: it is on the path of whoever starts this.
    from session import SparkSettings, io_properties, open_session

    nessie, s3 = NessieSettings.load(), S3Settings.load()
    spark = open_session(SparkSettings.load(), nessie, s3, scratch)
    catalog = f"spark.sql.catalog.{CATALOG}"
    spark.conf.set(catalog, "org.apache.iceberg.spark.SparkCatalog")
    settings = io_properties(nessie, s3) | {
        "type": "nessie",
        "uri": nessie.uri,
        "ref": branch,
        # A folder of its own: what lies in ours and is reached by no commit of main is swept away.
        "warehouse": f"s3://{nessie.bucket}/plain",
    }
    for name, value in settings.items():
        spark.conf.set(f"{catalog}.{name}", value)
    return spark


def start(spark: SparkSession, table: str, checkpoint: Path, trigger: str) -> None:
    """Start the query of a table, or go on where it was ended."""
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", KafkaSettings.load().brokers)
        .option("subscribe", f"{TABLES[table]}_topic")
        .option("startingOffsets", "earliest")
        .load()
    )
    rows = raw(messages, TABLES[table])
    if table in KPIS:
        rows = KPIS[table][1](rows)
    (
        rows.writeStream.format("iceberg")
        .queryName(table)
        .outputMode("append")
        .trigger(processingTime=trigger)
        .option("checkpointLocation", f"file://{checkpoint}")
        .toTable(f"{CATALOG}.{SCHEMA}.{table}")
    )


def main() -> None:
    """Run until a signal; a query that fails is begun again."""
    parser = argparse.ArgumentParser(prog="plain_spark", description=__doc__)
    parser.add_argument("--branch", required=True)
    parser.add_argument("--folder", required=True, type=Path, help="for checkpoints and scratch files")
    parser.add_argument("--trigger", default="0 seconds", help="from one batch's begin to the next one's")
    arguments = parser.parse_args()
    spark = session(arguments.branch, arguments.folder / "scratch")
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {CATALOG}.{SCHEMA}")
    while True:
        running = {query.name for query in spark.streams.active}
        for table in TABLES.keys() - running:
            start(spark, table, arguments.folder / "checkpoints" / table, arguments.trigger)
        try:
            spark.streams.awaitAnyTermination()
        except StreamingQueryException as error:
            # As a supervisor would: a connection to Nessie that was closed meanwhile ends a query.
            print(f"{AGAIN}: {error}"[:300], flush=True)
        spark.streams.resetTerminated()
