"""KPI queries, written once, run by DuckDB and (transpiled) by Spark.

Each reads raw rows of whole minutes under the raw table's own name and answers all columns of its table but updated_at.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path


@cache
def kpi_sql(table: str, counted_statuses: Sequence[str]) -> str:
    """The query of one KPI table, in DuckDB's dialect. `counted_statuses` is a tuple of known statuses."""
    text = (Path(__file__).parent / f"{table}.sql").read_text(encoding="utf-8")
    # Statuses come from a closed list (OrdersSettings), never from data.
    return text.replace(":counted_statuses", ", ".join(f"'{status}'" for status in counted_statuses))
