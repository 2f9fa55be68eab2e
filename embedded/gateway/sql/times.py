"""Functions of dates and times."""

from __future__ import annotations

import re

from embedded.gateway.errors import validation
from embedded.gateway.sql import formats, kinds, zones
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.maths import not_yet
from embedded.gateway.sql.numbers import printed
from embedded.gateway.sql.raw import quoted
from embedded.gateway.sql.rows import Row, TypedCall

_REFERENCE, _SOURCE, _TESTS = "reference", "reference; source of 25.2", "reference; tests of 25.2"

NOW = "date_trunc('millisecond', CAST(now() AS TIMESTAMP))"
UNITS = ("YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND")
_OF_A_CLOCK = ("HOUR", "MINUTE", "SECOND")

# Day 1 is Sunday, a week begins on Monday, as in Joda's calendar.
PARTS = {
    "YEAR": "year({0})",
    "QUARTER": "quarter({0})",
    "MONTH": "month({0})",
    "WEEK": "week({0})",
    "DAY": "day({0})",
    "HOUR": "hour({0})",
    "MINUTE": "minute({0})",
    "SECOND": "second({0})",
    "DOW": "(dayofweek({0}) + 1)",
    "DOY": "dayofyear({0})",
    "EPOCH": "(epoch_ms({0}) // 1000)",
    "DECADE": "(year({0}) // 10)",
    "CENTURY": "((year({0}) - 1) // 100 + 1)",
    "MILLENNIUM": "((year({0}) - 1) // 1000 + 1)",
}


def part(name: str, kind: Kind) -> str:
    """DuckDB's SQL for a part of a time. Raises Refusal for what Dremio does not know."""
    how = PARTS.get(name.upper())
    if how is None:
        raise validation(f"'{name}' is not a part of a time")
    if kind == kinds.DATE and name.upper() in _OF_A_CLOCK:
        return "CASE WHEN {0} IS NOT NULL THEN 0 END"
    if kind == kinds.TIME and name.upper() not in _OF_A_CLOCK:
        raise validation(f"The gateway does not answer {name.upper()} of a TIME yet")
    return how


def _date_part(call: TypedCall) -> str:
    return part(call.text(0) or "", call.types[1]).replace("{0}", "{1}")


def _part_of(name: str, unit: str, takes: str) -> Row:
    return Row(name, takes, "bigint", lambda call: part(unit, call.types[0]), _SOURCE)


def added(unit: str, kind: Kind) -> str:
    """DuckDB's SQL for {0} units added to {1}."""
    count = "CAST({0} AS INTEGER)"
    if unit in _OF_A_CLOCK and kind == kinds.DATE:
        return f"(CAST({{1}} AS TIMESTAMP) + to_{unit.lower()}s({count}))"
    if unit == "QUARTER":
        return f"({{1}} + to_months(3 * {count}))"
    return f"({{1}} + to_{unit.lower()}s({count}))"


def kind_of_added(unit: str, kind: Kind) -> Kind:
    return kinds.DATE if kind == kinds.DATE and unit not in _OF_A_CLOCK else kinds.TIMESTAMP


def difference(unit: str) -> str:
    """DuckDB's SQL for the whole units from {0} to {1}."""
    return f"date_sub('{unit.lower()}', CAST({{0}} AS TIMESTAMP), CAST({{1}} AS TIMESTAMP))"


def _truncated(call: TypedCall) -> str:
    unit = (call.text(0) or "").upper()
    if unit not in UNITS:
        raise validation(f"The gateway does not answer DATE_TRUNC to '{unit}' yet")
    return f"date_trunc('{unit.lower()}', {{1}})"


def _shifted(name: str, sign: str) -> list[Row]:
    """DATE_ADD, DATE_SUB and DATE_DIFF with days or an interval."""
    return [
        Row(name, "date, whole", "date", f"({{0}} {sign} CAST({{1}} AS INTEGER))", _REFERENCE),
        Row(name, "iso|text!, whole", "date", f"(CAST({{0}} AS DATE) {sign} CAST({{1}} AS INTEGER))", _REFERENCE),
        Row(name, "timestamp, whole", "timestamp", f"({{0}} {sign} to_days(CAST({{1}} AS INTEGER)))", _TESTS),
        Row(name, "date, interval", "timestamp", f"({{0}} {sign} {{1}})", _REFERENCE),
        Row(name, "iso|text!, interval", "timestamp", f"(CAST({{0}} AS DATE) {sign} {{1}})", _REFERENCE,
            note="the time of the text is lost"),
        Row(name, "timestamp, interval", "timestamp", f"({{0}} {sign} {{1}})", _REFERENCE),
        Row(name, "time, interval of days", "time", f"({{0}} {sign} {{1}})", _REFERENCE),
    ]  # fmt: skip


_DAYS = {
    name: number
    for number, names in enumerate(
        (
            "MO MON MONDAY", "TU TUE TUESDAY", "WE WED WEDNESDAY", "TH THU THURSDAY", "FR FRI FRIDAY",
            "SA SAT SATURDAY", "SU SUN SUNDAY",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip


def _next_day(call: TypedCall) -> str:
    day = _DAYS.get(call.text(1) or "")
    if day is None:
        raise validation(f"'{call.text(1)}' is no day of the week: NEXT_DAY takes SU, SUN or SUNDAY and so on")
    return f"(CAST({{0}} AS DATE) + CAST((({day} - isodow({{0}}) + 6) % 7) + 1 AS INTEGER))"


# Whether the hours of a text count is not known; mostly they make no difference.
_WHOLE_DAYS = "date_sub('day', CAST({1} AS TIMESTAMP), CAST({0} AS TIMESTAMP))"
_DAYS_BETWEEN = (
    f"CASE WHEN date_diff('day', CAST({{1}} AS DATE), CAST({{0}} AS DATE)) <> {_WHOLE_DAYS} "
    f"THEN {not_yet('DATEDIFF of such times')} ELSE {_WHOLE_DAYS} END"
)
_MONTHS_BETWEEN = (
    "((year({0}) - year({1})) * 12 + month({0}) - month({1}) + CASE WHEN day({0}) = day({1}) "
    "OR ({0} = last_day({0}) AND {1} = last_day({1})) THEN 0e0 ELSE (day({0}) - day({1})) / 31e0 END)"
)


def _to_char(call: TypedCall) -> str:
    format_ = formats.read(call.text(1) or "")
    if call.types[0] == kinds.TIME:
        if not format_.names <= {"HH24", "HH12", "HH", "MI", "SS", "FFF", "AM", "PM"}:
            raise validation("The gateway does not answer TO_CHAR of a TIME with parts of a date yet")
        return f"strftime(DATE '1970-01-01' + {{0}}, {quoted(format_.duckdb)})"
    return f"strftime({{0}}, {quoted(format_.duckdb)})"


def _to_number(call: TypedCall) -> str:
    pattern = call.text(1) or ""
    if not re.fullmatch(r"#+|0+", pattern):
        raise validation(f"The gateway does not answer a number in the format '{pattern}' yet")
    unsure = not_yet("TO_NUMBER of what is no whole number")
    return (
        f"CASE WHEN regexp_full_match({{0}}, '-?[0-9]{{{{1,15}}}}') THEN CAST({{0}} AS DOUBLE) "
        f"WHEN {{0}} IS NULL THEN NULL ELSE {unsure} END"
    )


def _parsed(target: str) -> list[Row]:
    """TO_DATE, TO_TIME and TO_TIMESTAMP of texts and of seconds since 1970."""
    name, gives = f"TO_{target}", target.lower()

    def by_format(call: TypedCall) -> str:
        flag = call.whole(2) if len(call.types) > 2 else 0
        if flag not in (0, 1):
            raise validation(f"{name} takes 0 or 1 for what to do with other texts")
        return f"CAST({formats.parsing(call.text(1) or '', flag == 1)} AS {target})"

    return [
        Row(name, "text, text![, whole!]", gives, by_format, _TESTS),
        Row(name, "whole", gives, f"CAST(make_timestamp_ms(CAST({{0}} AS BIGINT) * 1000) AS {target})", _REFERENCE),
        Row(name, "number", gives,
            f"CAST(make_timestamp_ms(CAST(trunc(CAST({{0}} AS DOUBLE) * 1000) AS BIGINT)) AS {target})", _REFERENCE),
    ]  # fmt: skip


_ISO_SECONDS = r"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d"
_UNIX = (
    f"CASE WHEN regexp_full_match({{0}}, '{_ISO_SECONDS}') THEN epoch_ms(CAST({{0}} AS TIMESTAMP)) // 1000 "
    f"WHEN {{0}} IS NULL THEN NULL ELSE {not_yet('a text that is not like 2026-03-02 12:00:00')} END"
)


def _unix_by_format(call: TypedCall) -> str:
    return f"epoch_ms({formats.parsing(call.text(1) or '', False)}) // 1000"


_ANY_TIME = "moment|iso"

ROWS = [
    Row("CONVERT_TIMEZONE", f"text!, {_ANY_TIME}", "timestamp", zones.converted, _TESTS),
    Row("CONVERT_TIMEZONE", f"text!, text!, {_ANY_TIME}", "timestamp", zones.converted, _TESTS),
    *(Row(name, "", "date", "CAST(CAST(now() AS TIMESTAMP) AS DATE)", _REFERENCE)
      for name in ("CURRENT_DATE", "CURRENT_DATE_UTC")),
    *(Row(name, "", "time", f"CAST({NOW} AS TIME)", _REFERENCE) for name in ("CURRENT_TIME", "LOCALTIME")),
    *(Row(name, "", "timestamp", NOW, _REFERENCE)
      for name in ("CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "NOW", "TRANSACTION_TIMESTAMP")),
    Row("DATEDIFF", "date|iso, date|iso", "int", _DAYS_BETWEEN, _REFERENCE),
    Row("DATETYPE", "whole, whole, whole", "date", "make_date({0}, {1}, {2})", _TESTS),
    *_shifted("DATE_ADD", "+"),
    *_shifted("DATE_DIFF", "-"),
    Row("DATE_DIFF", "moment, moment", lambda _: kinds.DAYS, None, _REFERENCE),
    *_shifted("DATE_SUB", "-"),
    Row("DATE_PART", "text!, moment|time", "bigint", _date_part, _SOURCE),
    Row("DATE_TRUNC", "text!, moment", "argument 2", _truncated, _SOURCE),
    Row("DATE_TRUNC", "text!, iso|text!", "date", _truncated, _SOURCE, note="a text is taken for a date"),
    _part_of("DAY", "DAY", _ANY_TIME),
    _part_of("DAYOFMONTH", "DAY", _ANY_TIME),
    _part_of("DAYOFWEEK", "DOW", _ANY_TIME),
    _part_of("DAYOFYEAR", "DOY", _ANY_TIME),
    Row("EXTRACT", "unit FROM time", "bigint", "see DATE_PART", _SOURCE, use="syntax"),
    _part_of("HOUR", "HOUR", f"time|{_ANY_TIME}"),
    Row("ISDATE", "text", "bool", None, _REFERENCE),
    Row("LAST_DAY", _ANY_TIME, "date", "last_day({0})", _REFERENCE),
    _part_of("MINUTE", "MINUTE", f"time|{_ANY_TIME}"),
    _part_of("MONTH", "MONTH", _ANY_TIME),
    Row("MONTHS_BETWEEN", "date, date", "double", _MONTHS_BETWEEN, _REFERENCE),
    Row("NEXT_DAY", f"{_ANY_TIME}, text!", "date", _next_day, _REFERENCE),
    _part_of("QUARTER", "QUARTER", _ANY_TIME),
    _part_of("SECOND", "SECOND", f"time|{_ANY_TIME}"),
    Row("TIMESTAMPADD", "unit, whole, moment", "moment", "{1} + to_units({0})", _SOURCE, use="syntax"),
    Row("TIMESTAMPDIFF", "unit, moment, moment", "int", "date_sub(unit, {0}, {1})", _TESTS, use="syntax"),
    Row("TIMESTAMPTYPE", "whole, whole, whole, whole, whole, whole, whole", "timestamp",
        "make_timestamp({0}, {1}, {2}, {3}, {4}, {5} + {6} / 1000e0)", _TESTS),
    Row("TO_CHAR", "moment, text!", "text", _to_char, _REFERENCE),
    Row("TO_CHAR", "time, text!", "text", _to_char, _REFERENCE),
    Row("TO_CHAR", "number, text!", "text", lambda call: printed(call.text(1) or "", call.types[0]), _SOURCE),
    Row("TO_DATE", "timestamp", "date", "CAST({0} AS DATE)", _REFERENCE),
    *_parsed("DATE"),
    Row("TO_NUMBER", "text, text!", "double", _to_number, _REFERENCE),
    *_parsed("TIME"),
    *_parsed("TIMESTAMP"),
    Row("UNIX_TIMESTAMP", "", "bigint", f"epoch_ms({NOW}) // 1000", _REFERENCE),
    Row("UNIX_TIMESTAMP", "text", "bigint", _UNIX, _TESTS),
    Row("UNIX_TIMESTAMP", "text, text!", "bigint", _unix_by_format, _TESTS),
    _part_of("WEEK", "WEEK", _ANY_TIME),
    _part_of("WEEKOFYEAR", "WEEK", _ANY_TIME),
    _part_of("YEAR", "YEAR", _ANY_TIME),
    Row("YEARWEEK", "moment", "bigint", "week({0})", "tests of 25.2", note="the week alone"),
]  # fmt: skip
