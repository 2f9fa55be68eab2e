"""Which statements are light: those that the engine can bound by itself, whatever the rows are.

Light is what is known to be: every function must be listed here, and the statement be small. All others are heavy and
run apart (apart.py); that costs them some 20 ms and the rows in memory, and changes no answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from embedded.gateway.tokens import Word

_parser: Any = vars(re)["_parser"]
"""What else knows how little a pattern takes?"""
LONG = 20_000
"""Characters: from here on a statement is not even looked at here."""

_MOST_WORDS = 2_000
_MOST_LISTS = 4
_MOST_NODES = 2_500
_MOST_DEPTH = 60
_MOST_SOURCES = 8
_MOST_QUERIES = 16
_MOST_NESTED = 4
_MOST_WINDOWS = 10
_MOST_TEXT = 1_000
_MOST_JOINED_TEXTS = 12
# One level of queries after the other, a text that is joined with itself doubles.
_MOST_JOINED_TEXTS_NESTED = 4

# Functions whose values are as small as their arguments, and aggregates that keep one value, or count in DuckDB's
# memory what they keep. Not among them: those that make long texts (REPEAT, LPAD, LISTAGG, HEX …) or lists (ARRAY_*,
# FLATTEN), and those that keep all values where DuckDB does not count them (MEDIAN, PERCENTILE_CONT …).
_LIGHT = frozenset(
    """
    ABS ACOS APPROX_COUNT_DISTINCT APPROX_PERCENTILE ARRAY_CONTAINS ARRAY_LENGTH ARRAY_SIZE ASCII ASIN ATAN ATAN2
    AVG BIN BITWISE_AND BITWISE_NOT BITWISE_OR BITWISE_XOR BIT_AND BIT_LENGTH BIT_OR BOOL_AND BOOL_OR BROUND BTRIM
    CARDINALITY CBRT CEIL CEILING CHARACTER_LENGTH CHAR_LENGTH CHR COALESCE COL_LIKE CONCAT CONVERT_TIMEZONE CORR
    COS COSH COT COUNT COVAR_POP COVAR_SAMP CUME_DIST CURRENT_DATE CURRENT_DATE_UTC CURRENT_SCHEMA CURRENT_TIME
    CURRENT_TIMESTAMP DATEDIFF DATETYPE DATE_ADD DATE_DIFF DATE_PART DATE_SUB DATE_TRUNC DAY DAYOFMONTH DAYOFWEEK
    DAYOFYEAR DEGREES DENSE_RANK E ENDS_WITH EXP FACTORIAL FIRST_VALUE FLOOR FROM_HEX GEO_DISTANCE GREATEST HOUR
    ILIKE INITCAP INSTR ISFALSE ISNOTFALSE ISNOTNULL ISNOTTRUE ISNULL ISTRUE IS_SUBSTR IS_UTF8 LAG LAST_DAY
    LAST_VALUE LCASE LEAD LEAST LEFT LENGTH LN LOCALTIME LOCALTIMESTAMP LOCATE LOG LOG10 LOG2 LOWER LSHIFT LTRIM MAX
    MD5 MIN MINUTE MOD MONTH MONTHS_BETWEEN NDV NEXT_DAY NOW NTILE NULLIF NVL OCTET_LENGTH PERCENT_RANK PI PMOD
    POSITION POW POWER QUARTER QUERY_USER RADIANS RANDOM RANK REGEXP_EXTRACT REGEXP_LIKE REGEXP_MATCHES REVERSE
    RIGHT ROUND ROW_NUMBER RSHIFT RTRIM SECOND SESSION_USER SHA SHA1 SHA256 SHIFTLEFT SHIFTRIGHT SIGN SIN SINH
    SPLIT_PART SQRT STARTS_WITH STDDEV STDDEV_POP STDDEV_SAMP STRPOS SUBSTR SUBSTRING SUBSTRING_INDEX SUM
    SYSTEM_USER TAN TANH TIMESTAMPADD TIMESTAMPDIFF TIMESTAMPTYPE TO_CHAR TO_DATE TO_NUMBER TO_TIME TO_TIMESTAMP
    TRANSACTION_TIMESTAMP TRANSLATE TRIM TRUNC TRUNCATE TYPEOF UCASE UNBASE64 UNHEX UNIX_TIMESTAMP UPPER USER
    VARIANCE VAR_POP VAR_SAMP WEEK WEEKOFYEAR XOR YEAR YEARWEEK
    """.split()  # noqa: SIM905  # a list of words
)
# What has a syntax of its own.
_LIGHT_NODES = (
    exp.And, exp.Case, exp.Cast, exp.Exists, exp.Extract, exp.If, exp.Or, exp.StrPosition, exp.Substring, exp.Trim,
)  # fmt: skip
_REPLACES = ("REPLACE", "REGEXP_REPLACE")
_GROUPINGS = (exp.Cube, exp.GroupingSets, exp.Rollup)


def is_long(words: list[Word]) -> bool:
    """Whether reading it would hold others up: sqlglot takes twice as long for each square bracket in another."""
    depth = deepest = 0
    for word in words:
        if word.text == "[":
            depth += 1
            deepest = max(deepest, depth)
        elif word.text == "]":
            depth -= 1
    return len(words) > _MOST_WORDS or deepest > _MOST_LISTS


def is_heavy(nodes: Sequence[exp.Expr]) -> bool:
    """Whether a statement, parsed and checked, runs apart. `nodes` are those of its tree, parents first."""
    if len(nodes) > _MOST_NODES + 1:
        return True
    # Sides of a UNION are planned each for itself, unless a WITH query multiplies them.
    sided = not any(isinstance(node, exp.With) for node in nodes)
    # By id: depth, depth of SELECTs, and side. A node is as deep as its parent, and one more.
    places: dict[int, tuple[int, int, int]] = {}
    sources: Counter[int] = Counter()
    queries: Counter[int] = Counter()
    windows = joined = 0
    for node in nodes:
        parent = node.parent
        above = (-1, 0, 0) if parent is None else places.get(id(parent))
        if above is None:
            return True  # what sqlglot puts together otherwise than is known here
        depth, nested, side = above[0] + 1, above[1], above[2]
        if sided and isinstance(parent, exp.SetOperation):
            side = id(node)
        if isinstance(node, exp.Select):
            nested += 1
            queries[side] += 1
        elif isinstance(node, exp.SetOperation):
            queries[side] += 1
        elif isinstance(node, exp.Table | exp.Values):
            sources[side] += 1
        elif isinstance(node, exp.Window):
            windows += 1
        elif isinstance(node, exp.DPipe):
            joined += 1
        elif isinstance(node, exp.Anonymous) and node.name.upper() == "CONCAT":
            joined += len(node.expressions) - 1
        if depth > _MOST_DEPTH or nested > _MOST_NESTED or _grows(node):
            return True
        places[id(node)] = (depth, nested, side)
    most_joined = _MOST_JOINED_TEXTS if queries.total() <= 1 else _MOST_JOINED_TEXTS_NESTED
    return (
        max(sources.values(), default=0) > _MOST_SOURCES
        or max(queries.values(), default=0) > _MOST_QUERIES
        or windows > _MOST_WINDOWS
        or joined > most_joined
    )


def _grows(node: exp.Expr) -> bool:
    if isinstance(node, exp.Literal):
        return len(node.name) > _MOST_TEXT
    if isinstance(node, exp.Anonymous):
        name = node.name.upper()
        return not _keeps_its_size(name, node.expressions) if name in _REPLACES else name not in _LIGHT
    if isinstance(node, exp.Func):
        return not isinstance(node, _LIGHT_NODES)
    return isinstance(node, _GROUPINGS)


def _keeps_its_size(name: str, given: list[exp.Expr]) -> bool:
    """Whether no letter is replaced by more than one."""
    if len(given) != 3 or not isinstance(given[2], exp.Literal) or len(given[2].name) > 1:
        return False
    pattern = given[1]
    if not given[2].name or name == "REPLACE":
        return True
    # A pattern that takes nothing is replaced between all letters. What Python reads otherwise than RE2 is not known.
    if not isinstance(pattern, exp.Literal) or any(text in pattern.name for text in ("[:", "(?", "\\Q", "\\E")):
        return False
    try:
        least, _ = _parser.parse(pattern.name).getwidth()
    except (re.error, RecursionError, OverflowError):
        return False
    return bool(least >= 1)
