"""Times as tables and memory have them: microseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

EPOCH = datetime.fromtimestamp(0, UTC)
MINUTE_US = 60_000_000
_US = timedelta(microseconds=1)
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - EPOCH) // _US


def moment(us: int) -> datetime:
    """A time (UTC) from microseconds since the epoch; of what lies before the year 1 its begin."""
    return EPOCH + timedelta(microseconds=max(us, _FIRST_US))


def micros(when: datetime) -> int:
    """Microseconds since the epoch."""
    return (when - EPOCH) // _US


def us_of(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """The times of a column (us), in microseconds since the epoch."""
    micros: NDArray[np.int64] = pc.cast(column, pa.int64()).to_numpy()
    return micros
