"""Java's formats of numbers (#,##0.00), as far as nothing has to be rounded."""

from __future__ import annotations

import re

from embedded.gateway.errors import validation
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.maths import not_yet

_PATTERN = re.compile(r"(?P<whole>(?:#+,)?#*0*)(?:\.(?P<zeros>0*)(?P<marks>#*))?")


def printed(pattern: str, kind: Kind) -> str:
    """DuckDB's SQL for {0}, a whole number or a decimal, as a text. Raises Refusal."""
    match = _PATTERN.fullmatch(pattern)
    grouped = "," in pattern
    if match is None or not match["whole"] or (grouped and len(match["whole"].rpartition(",")[2]) != 3):
        raise validation(f"The gateway does not answer a number in the format '{pattern}' yet")
    least, most = len(match["zeros"] or ""), len(match["zeros"] or "") + len(match["marks"] or "")
    if kind.scale > most:
        raise validation(f"The gateway does not answer {kind} rounded to the format '{pattern}' yet")
    digits = "CAST(abs({0}) AS VARCHAR)"
    whole = f"split_part({digits}, '.', 1)"
    if grouped:
        whole = f"format('{{{{:,}}}}', CAST({whole} AS BIGINT))"
    elif (width := match["whole"].count("0")) > 1:
        whole = f"CASE WHEN length({whole}) < {width} THEN lpad({whole}, {width}, '0') ELSE {whole} END"
    sign = f"{_doubtful(kind)}CASE WHEN {{0}} < 0 THEN '-' ELSE '' END"
    if not most:
        return f"({sign} || {whole})"
    given = f"rpad(split_part({digits}, '.', 2), {most}, '0')"
    fraction = f"left({given}, {least}) || rtrim(substr({given}, {least + 1}), '0')"
    return f"({sign} || {whole} || CASE WHEN {fraction} = '' THEN '' ELSE '.' || {fraction} END)"


def _doubtful(kind: Kind) -> str:
    """Dremio prints a decimal as a double, which keeps 15 digits: what has more fails."""
    if kind.name != "decimal" or kind.precision <= 15:
        return ""
    unsure = not_yet("a decimal of more than 15 digits in a format")
    return f"CASE WHEN abs({{0}}) >= 1{'0' * max(15 - kind.scale, 0)} THEN {unsure} ELSE '' END || "
