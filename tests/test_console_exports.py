"""A file of rows holds what they hold, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from console.exports import csv_bytes


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", '=cmd|" /C calc"!A0'])
def test_a_text_is_no_formula_and_a_number_stays_one(text: str) -> None:
    moment = datetime(2026, 3, 2, 12, 0, 0, 250_000, tzinfo=UTC)
    table = pa.table(
        {
            "name": [text, "plain", None],
            "total": pa.array([Decimal("-12.50"), Decimal("3.00"), None], pa.decimal128(18, 2)),
            "count": [-3, 4, None],
            "at": pa.array([moment, moment, None], pa.timestamp("ms", "UTC")),
        }
    )
    lines = list(csv.reader(io.StringIO(csv_bytes(table).decode(), newline="")))
    assert lines == [
        ["name", "total", "count", "at"],
        [f"'{text}", "-12.50", "-3", "2026-03-02T12:00:00.250Z"],
        ["plain", "3.00", "4", "2026-03-02T12:00:00.250Z"],
        ["", "", "", ""],
    ]
