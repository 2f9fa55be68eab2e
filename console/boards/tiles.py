"""Tiles of boards: a figure, its change, its state in a word, its last hour as a line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from console.boards.answers import moment_in, number_in, require
from console.boards.feed import BoardAnswer
from console.boards.spec import BoardTile, Spark
from console.feed.minutes import Series, series_of, starts_of
from console.feed.numbers import THIN, exactly, short, with_currency
from console.feed.questions import whole_minute
from console.feed.tiles import change_of, points_of
from console.parts import Part, SharedPart, iso_ms
from console.view import COMPARED_WORDS
from lakehouse.settings.durations import write_duration


def base_words(tile: BoardTile, timed: bool, compare: str) -> str:
    """The window of a tile, and what it is compared with; empty where its question takes no time."""
    if not timed:
        return ""
    span = write_duration(tile.span)
    if not tile.compare:
        return span
    before = f"the {span} before" if compare == "before" else f"the same {COMPARED_WORDS[compare]}"
    return f"{span}, vs {before}"


# Pages look at the same answers: the first one pays.
@lru_cache(maxsize=256)
def tile_parts(
    tile: BoardTile,
    told: BoardAnswer,
    before: BoardAnswer | None,
    spark: BoardAnswer | None,
    stale: bool,
    base: str,
    currency: str,
) -> Mapping[str, Part]:
    """The parts `tile` and `spark`, by these names. Raises UnfitAnswer."""
    values = _spark(tile.spark, spark) if tile.spark and spark is not None and spark.table is not None else ()
    value = _figure(tile, told)
    part: Part = {
        "text": "n/a", "value": None, "exact": "", "change": "", "good": None, "state": "none", "word": "",
        "why": "no figure", "produced_at": iso_ms(told.as_of), "tip": _digits(values[-1]) if values else None,
        "stale": stale, "base": base,
    }  # fmt: skip
    if value is not None:
        limit = next((one for one in tile.limits if one.holds(value)), None)
        was = _figure(tile, before) if before is not None and before.table is not None else None
        change, good = _change(tile, value, was) if base and tile.compare else ("", None)
        part |= {
            "text": _with_unit(tile, short(value, tile.digits), currency), "value": f"{value:.10g}",
            "exact": _with_unit(tile, exactly(round(value, 6)), currency), "change": change, "good": good, "why": "",
            "state": limit.state if limit else "ok", "word": limit.word if limit else "",
        }  # fmt: skip
    return {
        "tile": SharedPart(part),
        "spark": SharedPart({"values": [_digits(one) for one in values[:-1]]}),
    }


def _figure(tile: BoardTile, told: BoardAnswer) -> float | None:
    """The column of the first row; None for a null, and where there is no row."""
    assert told.table is not None
    require(told.table, (tile.column,))
    if not told.table.num_rows:
        return None
    value = number_in(told.table.slice(0, 1).to_pylist()[0], tile.column)
    return value if value is None or math.isfinite(value) else None


def _change(tile: BoardTile, value: float, before: float | None) -> tuple[str, bool | None]:
    if before is None:
        return "n/a", None
    if tile.unit == "%":
        change, up = points_of(value / 100, before / 100, more_is_better=True)
    else:
        change, up, _ = change_of(value, before)
    return change, None if up is None or tile.good == "neither" else up == (tile.good == "up")


def _with_unit(tile: BoardTile, text: str, currency: str) -> str:
    if tile.unit == "{currency}":
        return with_currency(currency, text)
    return f"{text}{THIN}{tile.unit}" if tile.unit else text


def _spark(spec: Spark, told: BoardAnswer) -> Series:
    assert told.table is not None
    assert told.as_of is not None
    require(told.table, ("moment", spec.column))
    found: dict[datetime, float | None] = {}
    for row in told.table.to_pylist():
        start, value = whole_minute(moment_in(row, "moment")), number_in(row, spec.column)
        found[start] = value if found.get(start) is None else (found[start] or 0.0) + (value or 0.0)
    first = min(found, default=None)
    return series_of(starts_of(told.as_of), found, first, told.as_of)


def _digits(value: float | None) -> float | None:
    """Enough for a sparkline of 40 pixels."""
    return None if value is None else float(f"{value:.4g}")
