"""Which statements are light: those that the engine can bound by itself, whatever the rows are.

Light is what is known to be: every function must be listed here, and the statement be small. All others are heavy and
run apart (apart.py); that costs them some 20 ms and the rows in memory, and changes no answer.
"""

from __future__ import annotations

import re
from re import _parser  # type: ignore[attr-defined]  # what else knows how little a pattern takes

from sqlglot import exp

from embedded.gateway.tokens import Word

LONG = 20_000
"""Characters: from here on a statement is not even looked at here."""

_MOST_WORDS = 2_000
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
# memory what they keep. Not among them: those that make long texts (REPEAT, LPAD, REPLACE, LISTAGG …), and those that
# keep all values where DuckDB does not count them (MEDIAN, PERCENTILE_CONT …).
_LIGHT: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.Abs, exp.Acos, exp.And, exp.ApproxDistinct, exp.Ascii, exp.Asin, exp.Atan, exp.Atan2, exp.Avg,
        exp.BitwiseAndAgg, exp.BitwiseOrAgg, exp.Case, exp.Cast, exp.Ceil, exp.Chr, exp.Coalesce, exp.Concat, exp.Corr,
        exp.Cos, exp.Cot, exp.Count, exp.CovarPop, exp.CovarSamp, exp.CumeDist, exp.CurrentDate, exp.CurrentTimestamp,
        exp.DateTrunc, exp.Day, exp.DayOfMonth, exp.DayOfYear, exp.Degrees, exp.DenseRank, exp.EndsWith, exp.Exists,
        exp.Exp, exp.Extract, exp.FirstValue, exp.Floor, exp.Greatest, exp.Hour, exp.If, exp.Initcap, exp.Lag,
        exp.LastDay, exp.LastValue, exp.Lead, exp.Least, exp.Left, exp.Length, exp.Ln, exp.Log, exp.LogicalAnd,
        exp.LogicalOr, exp.Lower, exp.MD5, exp.Max, exp.Min, exp.Minute, exp.Mod, exp.Month, exp.NthValue, exp.Ntile,
        exp.Nullif, exp.Or, exp.PercentRank, exp.Pi, exp.Pow, exp.Quarter, exp.Radians, exp.Rank, exp.Reverse,
        exp.Right, exp.Round, exp.RowNumber, exp.Second, exp.Sign, exp.Sin, exp.SplitPart, exp.Sqrt, exp.StartsWith,
        exp.Stddev, exp.StddevPop, exp.StddevSamp, exp.StrPosition, exp.Substring, exp.Sum, exp.Tan,
        exp.TimestampTrunc, exp.Translate, exp.Trim, exp.Trunc, exp.Upper, exp.Variance, exp.VariancePop, exp.Week,
        exp.Year,
    }
)  # fmt: skip
# Those that sqlglot has no class for, by their names.
_LIGHT_NAMES = frozenset(
    """APPROX_PERCENTILE BTRIM CHARACTER_LENGTH CHAR_LENGTH DATEDIFF DAYOFWEEK IFNULL ILIKE LOCATE LTRIM NDV NOW NVL
    POSITION REGEXP_LIKE RTRIM STRPOS TIMESTAMPADD TIMESTAMPDIFF TO_CHAR TO_TIMESTAMP UNIX_TIMESTAMP""".split()  # noqa: SIM905  # a list of words
)
_GROUPINGS = (exp.Cube, exp.GroupingSets, exp.Rollup)


def is_long(words: list[Word]) -> bool:
    """Whether planning it would hold others up."""
    return len(words) > _MOST_WORDS


def is_heavy(tree: exp.Expr) -> bool:
    """Whether a statement, parsed and checked, runs apart."""
    depths = {id(tree): (0, 0)}
    sources = queries = windows = joined = 0
    for number, node in enumerate(tree.walk()):
        depth, nested = depths[id(node)]
        sources += isinstance(node, exp.Table | exp.Values)
        windows += isinstance(node, exp.Window)
        queries += isinstance(node, exp.Select | exp.SetOperation)
        nested += isinstance(node, exp.Select)
        if isinstance(node, exp.DPipe | exp.Concat):
            joined += max(1, len(node.expressions) - 1)
        if _grows(node) or number > _MOST_NODES or depth > _MOST_DEPTH or nested > _MOST_NESTED:
            return True
        for child in node.iter_expressions():
            depths[id(child)] = (depth + 1, nested)
    most_joined = _MOST_JOINED_TEXTS if queries <= 1 else _MOST_JOINED_TEXTS_NESTED
    return sources > _MOST_SOURCES or queries > _MOST_QUERIES or windows > _MOST_WINDOWS or joined > most_joined


def _grows(node: exp.Expr) -> bool:
    if isinstance(node, exp.Replace | exp.RegexpReplace):
        return not _keeps_its_size(node)
    if isinstance(node, exp.Literal):
        return len(node.name) > _MOST_TEXT
    if isinstance(node, exp.Anonymous):
        return node.name.upper() not in _LIGHT_NAMES
    if isinstance(node, exp.Func):
        return type(node) not in _LIGHT
    return isinstance(node, _GROUPINGS)


def _keeps_its_size(node: exp.Expr) -> bool:
    """Whether no letter is replaced by more than one."""
    by, pattern = node.args.get("replacement"), node.args.get("expression")
    if not isinstance(by, exp.Literal) or len(by.name) > 1:
        return False
    if not by.name or isinstance(node, exp.Replace):
        return True
    # A pattern that takes nothing is replaced between all letters. What Python reads otherwise than RE2 is not known.
    if not isinstance(pattern, exp.Literal) or any(text in pattern.name for text in ("[:", "(?", "\\Q", "\\E")):
        return False
    try:
        least, _ = _parser.parse(pattern.name).getwidth()
    except (re.error, RecursionError, OverflowError):
        return False
    return bool(least >= 1)
