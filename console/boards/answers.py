"""What an answer must be for what is drawn of it; what it is not is said in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from lakehouse.texts import near, visible


class UnfitAnswer(Exception):
    """An answer has another form; the message says which, without a full stop."""


def require(table: pa.Table, columns: Iterable[str]) -> None:
    """Raises UnfitAnswer for the first of the columns that the answer does not have."""
    for column in columns:
        if column not in table.column_names:
            known = ", ".join(map(visible, table.column_names))
            raise UnfitAnswer(
                f"'{column}' is no column of the answer{near(column, table.column_names)}; it has {known}"
            )


def number_in(row: Mapping[str, Any], column: str) -> float | None:
    value = row[column]
    if value is None:
        return None
    if isinstance(value, int | float | Decimal):
        return float(value)
    raise UnfitAnswer(f"'{column}' is no number: it holds '{visible(str(value), 40)}'")


def moment_in(row: Mapping[str, Any], column: str) -> datetime:
    value = row[column]
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise UnfitAnswer(f"'{column}' is no time: it holds '{visible(str(value), 40)}'")


def word_in(row: Mapping[str, Any], column: str) -> str:
    value = row[column]
    return "(none)" if value is None else str(value)
