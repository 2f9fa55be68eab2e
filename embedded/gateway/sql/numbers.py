"""Java's formats of numbers (#,##0.00): java.text.DecimalFormat, which Dremio gives a number as a double."""

from __future__ import annotations

import re

from embedded.gateway.errors import validation
from embedded.gateway.sql import kinds
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.maths import not_yet
from embedded.gateway.sql.raw import quoted

_PATTERN = re.compile(r"(?P<before>\$?)(?P<whole>(?:#+,)*#*0*)(?P<point>\.(?P<zeros>0*)(?P<marks>#*))?")
_SURE = 15
"""Digits that a double keeps of any decimal: with more, Java prints the shortest that means the same."""


def printed(pattern: str, kind: Kind) -> str:
    """DuckDB's SQL for {0}, a number, as a text; halves are rounded to the even neighbour. Raises Refusal."""
    match = _PATTERN.fullmatch(pattern)
    refusal = validation(f"The gateway does not answer a number in the format '{pattern}' yet")
    if match is None or not match["whole"] or match["point"] == ".":
        raise refusal
    grouped = "," in pattern
    if grouped and len(match["whole"].rpartition(",")[2]) != 3:
        raise refusal
    width, least = match["whole"].count("0"), len(match["zeros"] or "")
    most = least + len(match["marks"] or "")
    if most >= _SURE or (grouped and width > 1):
        raise refusal
    # Without a 0 the digit before the point is there where nothing is sure to follow.
    bare = width == 0 and least > 0
    comma = "," if grouped else ""
    if kind.name in kinds.WHOLE:
        wide = f"0{width}" if width > 1 else ""
        tail = quoted("." + "0" * least) if least else "''"
        text = f"(format('{{{{:{wide}{comma}}}}}', abs(CAST({{0}} AS HUGEINT))) || {tail})"
        return f"(CASE WHEN {{0}} < 0 THEN '-' ELSE '' END || '{match['before']}' || {_without_nought(text, bare)})"
    wide = f"0{width + (most + 1 if most else 0)}" if width > 1 else ""
    text = f"format('{{{{:{wide}{comma}.{most}f}}}}', abs(CAST({{0}} AS DOUBLE)))"
    if most > least:
        text = f"regexp_replace({text}, '(\\.[0-9]{{{{{least}}}}}[0-9]*?)0+$', '\\1')"
        if not least:
            text = f"rtrim({text}, '.')"
    # By printf, in which a number below 0 keeps its sign where nothing else is left of it.
    sign = "CASE WHEN starts_with(printf('%.0f', CAST({0} AS DOUBLE)), '-') THEN '-' ELSE '' END"
    unsure = not_yet("so many digits in a format")
    digits = f"abs(CAST({{0}} AS DOUBLE)) < 1e{_SURE - most}"
    return (
        f"(CASE WHEN {digits} THEN {sign} || '{match['before']}' || {_without_nought(text, bare)} "
        f"WHEN {{0}} IS NULL THEN NULL ELSE {unsure} END)"
    )


def _without_nought(text: str, bare: bool) -> str:
    return f"regexp_replace({text}, '^0\\.', '.')" if bare else text
