"""Times of an answer as numbers, or with their zone, without pyarrow.compute: that costs a process 8 MB."""

from __future__ import annotations

import pyarrow as pa


def in_ms(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of times as int64, ms since the epoch, cut as Dremio cuts. Not as datetimes: pyarrow makes those with a
    zone through pandas, which costs 30 MB."""
    if column.type.unit != "ms":
        # None of Dremio's.
        column = column.cast(pa.timestamp("ms", column.type.tz), safe=False)
    return _viewed(column, pa.int64())


def in_utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Dremio's timestamp[ms] has no zone and means UTC: say so."""
    return _viewed(column, pa.timestamp(column.type.unit, "UTC"))


def _viewed(column: pa.ChunkedArray, as_type: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([chunk.view(as_type) for chunk in column.chunks], as_type)
