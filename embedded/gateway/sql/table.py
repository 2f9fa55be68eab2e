"""The table of functions: which there are, which way a call is written, and why one is refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from embedded.gateway.errors import Refusal, no_function, validation
from embedded.gateway.sql import aggregates, maths, others, texts, times
from embedded.gateway.sql.rows import Row, TypedCall


def _by_name(rows: Sequence[Row]) -> Mapping[str, tuple[Row, ...]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.name].append(row)
    return {name: tuple(found[name]) for name in sorted(found)}


TABLE: Mapping[str, tuple[Row, ...]] = _by_name([*maths.ROWS, *texts.ROWS, *times.ROWS, *aggregates.ROWS, *others.ROWS])
DONE = frozenset(name for name, rows in TABLE.items() if any(row.how is not None for row in rows))


def refusal(name: str, start: int | None = None, length: int = 1) -> Refusal:
    """Why a function is refused: Dremio does not have it, or the gateway does not answer it yet."""
    if name.upper() in TABLE:
        return validation(f"The gateway does not answer the function {name.upper()} yet", start, length)
    return no_function(name, start, length)


def row_for(name: str, call: TypedCall) -> Row:
    """The row that a call fits. Raises Refusal."""
    rows = [row for row in TABLE.get(name.upper(), ()) if row.use != "syntax"]
    if not any(row.how is not None for row in rows):
        raise refusal(name)
    for row in rows:
        if row.fits(call):
            if row.how is None:
                break
            return row
    types = ", ".join(str(kind) for kind in call.types)
    raise validation(f"The gateway does not answer {name.upper()}({types}) yet")
