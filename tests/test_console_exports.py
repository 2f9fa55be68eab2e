"""A file of rows holds what they hold, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from console.exports import csv_bytes, fields_of


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


def test_a_row_is_shown_whole_and_its_text_as_text() -> None:
    moment = datetime(2026, 3, 2, 12, 0, 0, 250_000, tzinfo=UTC)
    table = pa.table(
        {
            "event_key": ["a", "b"],
            "error_ts": pa.array([moment, moment], pa.timestamp("ms", "UTC")),
            "error_message": ["short", "x" * 10_000 + "\u202e"],
            "service_name": [None, "cart"],
        }
    )
    assert fields_of(table, "b") == [
        ["event_key", "b", "text"],
        ["error_ts", "2026-03-02T12:00:00.250Z", "time"],
        ["error_message", "x" * 10_000 + "\\u202e", "text"],
        ["service_name", "cart", "text"],
    ]
    assert (fields_of(table, "a") or [])[-1] == ["service_name", None, "text"]
    assert fields_of(table, "c") is None
