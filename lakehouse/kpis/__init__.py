"""KPI tables, one SQL file each: a header that declares the table, and the query that fills it.

The shipped ones lie here, a shop's own in config/kpis.

Queries are DuckDB's; Spark runs them transpiled. Each reads raw rows of whole minutes under the raw table's own name
and answers all columns of its table but updated_at. Times are UTC without a zone, there and back: DuckDB truncates
those five times faster than times with a zone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lakehouse.kpis.kpi import OTHER, Counting, Kpi
from lakehouse.kpis.load import load_kpis
from lakehouse.own import own_files
from lakehouse.topics import TOPICS
from lakehouse.user_error import exit_on_user_error

__all__ = ["KPIS", "OTHER", "Counting", "Kpi", "kpis_of", "load_kpis"]

with exit_on_user_error():
    KPIS: Mapping[str, Kpi] = load_kpis(Path(__file__).parent.glob("*.sql"), TOPICS, own_files("kpis", ".sql"))


def kpis_of(topic: str) -> tuple[Kpi, ...]:
    """The KPI tables that are filled from a topic: several, one or none."""
    return tuple(kpi for kpi in KPIS.values() if kpi.topic == topic)
