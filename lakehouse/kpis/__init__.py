"""KPI queries, written once, run by DuckDB and (transpiled) by Spark.

Each reads raw rows of whole minutes under the raw table's own name and answers all columns of its table but updated_at.
Times are UTC without a zone, there and back: DuckDB truncates those five times faster than times with a zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lakehouse.tables import TABLES, Table

# What the queries read of each raw table; nothing else needs to be at hand.
READS = {
    "orders_processed": ("order_ts", "user_id", "status", "order_total"),
    "clicks_processed": ("click_ts", "user_id", "url", "device_type"),
    "errors_processed": ("error_ts", "service_name", "severity"),
}


@cache
def kpi_sql(table: str, counted_statuses: Sequence[str]) -> str:
    """The query of one KPI table, in DuckDB's dialect. `counted_statuses` is a tuple of known statuses."""
    text = (Path(__file__).parent / f"{table}.sql").read_text(encoding="utf-8")
    # Statuses come from a closed list (OrdersSettings), never from data.
    return text.replace(":counted_statuses", ", ".join(f"'{status}'" for status in counted_statuses))


@dataclass(frozen=True)
class Kpi:
    """One KPI table and what fills it."""

    topic: str
    table: Table
    reads: tuple[str, ...]
    window: int = 1

    def sql(self, counted_statuses: Sequence[str]) -> str:
        return kpi_sql(self.table.name, tuple(counted_statuses))


KPIS = {
    name: Kpi(topic, TABLES[name], READS[raw], window)
    for name, topic, raw, window in (
        ("orders_revenue_per_minute", "orders_topic", "orders_processed", 1),
        ("active_users_per_window", "clicks_topic", "clicks_processed", 5),
        ("errors_per_minute", "errors_topic", "errors_processed", 1),
        ("clicks_per_minute", "clicks_topic", "clicks_processed", 1),
    )
}


def kpis_of(topic: str) -> tuple[Kpi, ...]:
    return tuple(kpi for kpi in KPIS.values() if kpi.topic == topic)
