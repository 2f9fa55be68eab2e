"""Dremio's formats of times (YYYY-MM-DD HH24:MI:SS) as DuckDB's (%Y-%m-%d %H:%M:%S)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from embedded.gateway.errors import validation
from embedded.gateway.sql.raw import quoted


@dataclass(frozen=True)
class _Element:
    """An element of a format: DuckDB's, what Joda reads for it at most, and what both read alike."""

    duckdb: str
    loose: str = ""
    strict: str = ""


_ELEMENTS = {
    "YYYY": _Element("%Y", r"[+-]?\d+", r"\d{4}"),
    # Dremio's YY is a year from 1950 to 2049, DuckDB's one from 1969 to 2068.
    "YY": _Element("%y", r"[+-]?\d+", r"(?:[0-4]\d|69|[7-9]\d)"),
    "MM": _Element("%m", r"\d+", r"\d\d"),
    "MON": _Element("%b"),
    "MONTH": _Element("%B"),
    "DDD": _Element("%-j"),
    "DD": _Element("%d", r"\d+", r"\d\d"),
    "DY": _Element("%a"),
    "DAY": _Element("%A"),
    "HH24": _Element("%H", r"\d+", r"\d\d"),
    "HH12": _Element("%I", r"\d+", r"\d\d"),
    "HH": _Element("%I", r"\d+", r"\d\d"),
    "MI": _Element("%M", r"\d+", r"\d\d"),
    "SS": _Element("%S", r"\d+", r"\d\d"),
    "FFF": _Element("%g", r"\d+", r"\d{3}"),
    "AM": _Element("%p"),
    "PM": _Element("%p"),
}
_NEXT = re.compile("|".join(sorted(_ELEMENTS, key=len, reverse=True)) + r'|"([^"]*)"|[^A-Za-z"]', re.IGNORECASE)


@dataclass(frozen=True)
class Format:
    """A format, read. `strict` and `loose` are regular expressions of texts in quotes; empty where none is known."""

    duckdb: str
    strict: str
    loose: str
    names: frozenset[str]


def read(template: str) -> Format:
    """Raises Refusal for what the gateway does not know."""
    done, pieces, strict, loose, names = 0, [], [], [], set()
    known = True
    for match in _NEXT.finditer(template):
        if match.start() != done:
            break
        done = match.end()
        element = _ELEMENTS.get(match[0].upper()) if match[1] is None else None
        if element is None:
            text = match[1] if match[1] is not None else match[0]
            pieces.append(text.replace("%", "%%"))
            strict.append(re.escape(text))
            loose.append(re.escape(text))
            continue
        names.add(match[0].upper())
        pieces.append(element.duckdb)
        known = known and bool(element.strict)
        strict.append(element.strict)
        loose.append(element.loose)
    if done != len(template):
        raise validation(f"The gateway does not answer the format '{template}' yet, from its place {done + 1} on")
    return Format("".join(pieces), "".join(strict) if known else "", "".join(loose) if known else "", frozenset(names))


def parsing(template: str, null_for_errors: bool) -> str:
    """DuckDB's SQL that reads {0} by a format; with NULL for a text that it cannot be, if so asked. Raises Refusal."""
    format_ = read(template)
    if not format_.strict:
        raise validation(f"The gateway does not answer a text read by the format '{template}' yet")
    strict, loose = (quoted(pattern) for pattern in (format_.strict, format_.loose))
    parsed = f"strptime({{0}}, {quoted(format_.duckdb)})"
    unsure = f"error('The gateway does not answer a text that is not just like its format yet: {_shown(template)}')"
    if null_for_errors:
        # What has digits of another number Joda may read, or not.
        return (
            f"CASE WHEN regexp_full_match({{0}}, {strict}) THEN try_{parsed} "
            f"WHEN NOT regexp_full_match({{0}}, {loose}) THEN NULL WHEN {{0}} IS NULL THEN NULL ELSE {unsure} END"
        )
    return f"CASE WHEN regexp_full_match({{0}}, {strict}) THEN {parsed} WHEN {{0}} IS NULL THEN NULL ELSE {unsure} END"


def _shown(template: str) -> str:
    return re.sub(r"[^A-Za-z0-9 :.,-]", "", template)[:60]
