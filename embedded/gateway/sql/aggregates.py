"""Functions of groups of rows, and of windows."""

from __future__ import annotations

from embedded.gateway.sql import kinds
from embedded.gateway.sql.kinds import Kind, decimal
from embedded.gateway.sql.rows import Row, TypedCall

_REFERENCE, _SOURCE = "reference", "reference; source of 25.2"


def _sum(call: TypedCall) -> Kind:
    kind = call.types[0]
    return decimal(kinds.MOST_DIGITS, kind.scale) if kind.name == "decimal" else kinds.DOUBLE


def _row(name: str, takes: str, gives: object, how: str | None, source: str = _REFERENCE, note: str = "") -> Row:
    return Row(name, takes, gives, how, source, "aggregate", note)  # type: ignore[arg-type]


def _window(name: str, takes: str, gives: str, how: str | None) -> Row:
    return Row(name, takes, gives, how, _SOURCE, "window")


ROWS = [
    _row("APPROX_COUNT_DISTINCT", "any", "bigint", "approx_count_distinct({0})", note="near enough, in both"),
    _row("APPROX_PERCENTILE", "number, number!", "double", "approx_quantile(CAST({0} AS DOUBLE), {1})",
         note="near enough, in both"),
    _row("ARRAY_AGG", "any", lambda call: kinds.list_of(call.types[0]), None),
    _row("AVG", "number", "double", "avg({0})", _SOURCE),
    _row("BIT_AND", "whole", "argument 1", "coalesce(bit_and({0}), -1)", note="all bits, of nothing"),
    _row("BIT_OR", "whole", "argument 1", "coalesce(bit_or({0}), 0)", note="no bit, of nothing"),
    _row("BOOL_AND", "bool", "bool", "coalesce(bool_and({0}), true)", _SOURCE, "TRUE of nothing"),
    _row("BOOL_OR", "bool", "bool", "coalesce(bool_or({0}), false)", _SOURCE, "FALSE of nothing"),
    *(_row(name, "number, number", "double", f"{name.lower()}(CAST({{0}} AS DOUBLE), CAST({{1}} AS DOUBLE))", _SOURCE)
      for name in ("CORR", "COVAR_POP", "COVAR_SAMP")),
    _row("COUNT", "*", "bigint", "count({0})"),
    _row("COUNT", "any|list|map", "bigint", "count({0})"),
    _row("LISTAGG", "text", "text", "listagg({0}, '')", _SOURCE, "no delimiter is none"),
    _row("LISTAGG", "text, text!", "text", "listagg({0}, {1})", _SOURCE),
    _row("MAX", "any", "argument 1", "max({0})"),
    _row("MEDIAN", "number", "double", "median(CAST({0} AS DOUBLE))", _SOURCE),
    _row("MIN", "any", "argument 1", "min({0})"),
    _row("NDV", "any", "bigint", "approx_count_distinct({0})", note="near enough, in both"),
    _row("NDV", "any, whole!", "bigint", None),
    _row("PERCENTILE_CONT", "number!", "double", "quantile_cont"),
    _row("PERCENTILE_DISC", "number!", "double", "quantile_disc"),
    *(_row(name, "number", "double", f"{name.lower()}(CAST({{0}} AS DOUBLE))", _SOURCE)
      for name in ("STDDEV", "STDDEV_POP", "STDDEV_SAMP", "VAR_POP", "VAR_SAMP")),
    _row("VARIANCE", "number", "double", "var_samp(CAST({0} AS DOUBLE))", "source of 25.2"),
    _row("SUM", "whole", "bigint", "sum({0})", _SOURCE),
    _row("SUM", "number", _sum, "sum({0})", _SOURCE),
    _window("CUME_DIST", "", "double", "cume_dist()"),
    _window("DENSE_RANK", "", "bigint", "dense_rank()"),
    _window("FIRST_VALUE", "any", "argument 1", "first_value({0})"),
    _window("LAG", "any[, whole!]", "argument 1", "lag({0})"),
    _window("LAST_VALUE", "any", "argument 1", "last_value({0})"),
    _window("LEAD", "any[, whole!]", "argument 1", "lead({0})"),
    _window("NTILE", "whole!", "int", "ntile({0})"),
    _window("PERCENT_RANK", "", "double", "percent_rank()"),
    _window("RANK", "", "bigint", "rank()"),
    _window("ROW_NUMBER", "", "bigint", "row_number()"),
]  # fmt: skip
