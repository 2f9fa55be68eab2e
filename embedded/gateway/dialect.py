"""Dremio's SQL to DuckDB's: what a statement asks for, told apart from the values that change at each question.

`prepare` cuts a statement into a *shape* (everything but its timestamps and AT clauses) and those values. Shapes are
translated once: a console that asks the same question at every commit pays for a look into a dictionary.
What Dremio does not have is refused here, although DuckDB may know it.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlglot import ErrorLevel, exp
from sqlglot.dialects.dremio import Dremio
from sqlglot.errors import ParseError, TokenError, UnsupportedError

from embedded.gateway.errors import Kind, Refusal, validation
from embedded.gateway.rewrites import rewrite
from embedded.gateway.words import FUNCTIONS, RESERVED, SYNTAX
from lakehouse.tables import TABLES

# Stands before the names that the gateway puts into a text: no statement of a client holds it.
MARK = "\x01"

_SHAPES_KEPT = 512
_TEXTS_KEPT = 64
_LONGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class At:
    """An AT clause: kind is BRANCH, TAG, COMMIT, REF, SNAPSHOT or TIMESTAMP."""

    kind: str
    value: str
    start: int


@dataclass(frozen=True, slots=True)
class Bound:
    """A condition `column op time` that every row of the answer meets; `time` is an index into the times."""

    column: str
    op: str
    time: int


@dataclass(frozen=True, slots=True)
class Relation:
    """A table that the statement reads; `at` is an index into the AT clauses, `start` its place in the text."""

    path: tuple[str, ...]
    at: int | None
    bounds: tuple[Bound, ...]
    start: int


@dataclass(frozen=True, slots=True)
class Shape:
    """A statement in DuckDB's SQL, with marks for what differs each time."""

    sql: str
    relations: tuple[Relation, ...]

    def filled(self, sources: list[str], times: tuple[str, ...]) -> str:
        """The statement with a source (a table expression in brackets) for each relation, and its times."""

        def replace(match: re.Match[str]) -> str:
            number = int(match[2])
            return sources[number] if match[1] == "r" else times[number]

        return _MARKED.sub(replace, self.sql)


_MARKED = re.compile(rf"[\"']{MARK}([rt])(\d+)[\"']")


@dataclass(frozen=True, slots=True)
class Statement:
    """A query, its times as DuckDB writes them (quoted, without the keyword) and its AT clauses."""

    shape: Shape
    times: tuple[str, ...]
    ats: tuple[At, ...]


def time_us(literal: str) -> int:
    """A time in quotes as us since the epoch. Raises ValueError when it is none."""
    value = datetime.fromisoformat(literal.strip("'"))
    if value.tzinfo is not None:
        raise ValueError(literal)
    return int((value.replace(tzinfo=UTC) - _EPOCH).total_seconds() * 1000 + 0.5) * 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# ---- words ----------------------------------------------------------------------------------------------------------

_LEXER = re.compile(
    r"""(?P<blank>\s+|--[^\n]*|//[^\n]*|/\*.*?\*/)
      | (?P<text>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*")
      | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
      | (?P<word>[^\W\d]\w*(?:\$\w*)?)
      | (?P<sign>::|==|->>?|<>|<=|>=|!=|\|\||[-+*/%(),.;<>=])
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


class Word(NamedTuple):
    """A token with its place; `kind` is text, name, number, word, sign or other."""

    kind: str
    text: str
    start: int

    @property
    def upper(self) -> str:
        return self.text.upper() if self.kind == "word" else self.text

    @property
    def plain(self) -> str:
        """A name or a text without its quotes."""
        if self.kind in ("text", "name"):
            quote = self.text[0]
            return self.text[1:-1].replace(quote * 2, quote)
        return self.text


def words_of(sql: str) -> list[Word]:
    """The tokens of a statement, without comments and one closing semicolon. Raises Refusal for what is not SQL."""
    if len(sql) > _LONGEST:
        raise Refusal(Kind.PARSE, f"The statement has {len(sql):,} characters; {_LONGEST:,} are the limit.")
    found: list[Word] = []
    for match in _LEXER.finditer(sql):
        kind = match.lastgroup or "other"
        if kind == "blank":
            continue
        word = Word(kind, match[0], match.start())
        if word.text == "?":
            raise Refusal(Kind.INTERNAL, "Cannot convert RexNode to equivalent Dremio expression. RexNode: ?0")
        if kind == "other" or word.text in ("::", "==", "->", "->>"):
            raise _encountered(word.text, word.start)
        found.append(word)
    if found and found[-1].text == ";":
        found.pop()
    for word in found:
        if word.text == ";":
            raise _encountered(";", word.start)
    if not found:
        raise Refusal(Kind.PARSE, 'Encountered "<EOF>": the statement is empty.', 0)
    return found


def _encountered(what: str, start: int) -> Refusal:
    return Refusal(Kind.PARSE, f'Failure parsing the query: encountered "{what}".', start, len(what))


# ---- preparing ------------------------------------------------------------------------------------------------------


class Dialect:
    """Prepares statements; keeps the shapes it met last. May be used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shapes: OrderedDict[str, Shape] = OrderedDict()
        self._planned: OrderedDict[str, Statement] = OrderedDict()

    def read(self, sql: str) -> Statement | list[Word]:
        """A query as shape and values; the words of any other statement. Raises Refusal for what Dremio would not take.

        Each text comes twice, to be planned and to be run: the newest ones are remembered.
        """
        with self._lock:
            known = self._planned.get(sql)
        if known is not None:
            return known
        words = words_of(sql)
        if words[0].upper not in ("SELECT", "WITH", "VALUES", "("):
            return words
        statement = self._prepare(sql, words)
        with self._lock:
            self._planned[sql] = statement
            while len(self._planned) > _TEXTS_KEPT:
                self._planned.popitem(last=False)
        return statement

    def _prepare(self, sql: str, words: list[Word]) -> Statement:
        text, times, ats = _cut(sql, words)
        with self._lock:
            shape = self._shapes.get(text)
            if shape is not None:
                self._shapes.move_to_end(text)
        if shape is None:
            _check_words(words)
            shape = _translate(sql, text)
            with self._lock:
                self._shapes[text] = shape
                while len(self._shapes) > _SHAPES_KEPT:
                    self._shapes.popitem(last=False)
        return Statement(shape, times, ats)


def _cut(sql: str, words: list[Word]) -> tuple[str, tuple[str, ...], tuple[At, ...]]:
    """The text with marks for timestamps and AT clauses, and what stood there; every place keeps its offset."""
    times: list[str] = []
    ats: list[At] = []
    pieces: list[str] = []
    done = 0
    index = 0

    def put(start: int, end: int, mark: str) -> None:
        nonlocal done
        pieces.append(sql[done:start])
        # As long as what it stands for, as far as that goes: sqlglot's offsets stay those of the statement.
        pieces.append(mark.ljust(end - start))
        done = end

    while index < len(words):
        word = words[index]
        if word.upper == "AT" and word.kind == "word" and index and words[index - 1].kind in ("word", "name"):
            found = _at_clause(words, index)
            if found is not None:
                at, after, end = found
                put(word.start, end, f'."{MARK}a{len(ats)}"')
                ats.append(at)
                index = after
                continue
        if word.kind == "text" and (casted := _is_time(words, index)) is not None:
            literal = _time(word, casted)
            if literal is not None:
                put(word.start, word.start + len(word.text), f"'{MARK}t{len(times)}'")
                times.append(literal)
        index += 1
    pieces.append(sql[done:])
    return "".join(pieces), tuple(times), tuple(ats)


def _is_time(words: list[Word], index: int) -> bool | None:
    """Whether the text is that of TIMESTAMP '…' (False) or CAST('…' AS TIMESTAMP) (True); None: neither."""
    before = [word.upper for word in words[max(0, index - 2) : index]]
    if before[-1:] == ["TIMESTAMP"]:
        return False
    after = [word.upper for word in words[index + 1 : index + 4]]
    return True if before == ["CAST", "("] and after == ["AS", "TIMESTAMP", ")"] else None


_TIME = re.compile(r"\d{4}-\d\d?-\d\d?([ T]\d\d?:\d\d?(:\d\d?(\.\d{1,9})?)?)?")


def _time(word: Word, casted: bool) -> str | None:
    """A time cut to milliseconds, in quotes. None for a CAST of something else: that fails when it runs."""
    text = word.plain.strip()
    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)
        day, _, clock = text.replace("T", " ").partition(" ")
        year, month, date = map(int, day.split("-"))
        whole, _, fraction = clock.partition(".")
        hour, minute, second = [*map(int, whole.split(":") if whole else ()), 0, 0, 0][:3]
        milliseconds = int(fraction[:3].ljust(3, "0")) if fraction else 0
        value = datetime(year, month, date, hour, minute, second, milliseconds * 1000)  # noqa: DTZ001  # as SQL has it
    except ValueError:
        if casted:
            return None
        raise validation(
            f"Illegal TIMESTAMP literal '{text}': not in format 'yyyy-MM-dd HH:mm:ss.SSS'", word.start, len(word.text)
        ) from None
    return f"'{value.isoformat(' ', 'milliseconds')}'"


_REFS = ("BRANCH", "TAG", "COMMIT", "REF", "REFERENCE")


def _at_clause(words: list[Word], index: int) -> tuple[At, int, int] | None:
    """The clause that begins with the AT at `index`, the index of the word after it, and where its text ends."""
    rest = words[index + 1 : index + 8]
    if not rest or rest[0].upper not in (*_REFS, "SNAPSHOT", "TIMESTAMP"):
        return None
    start = words[index].start
    kind = "REF" if rest[0].upper == "REFERENCE" else rest[0].upper
    used = 1
    if kind in ("SNAPSHOT", "TIMESTAMP"):
        upper = [word.upper for word in rest]
        if upper[1:3] == ["CAST", "("] and upper[4:7] == ["AS", "TIMESTAMP", ")"]:
            value, used = rest[3], 7
        else:
            used += kind == "TIMESTAMP" and upper[1:2] == ["TIMESTAMP"]
            if len(rest) <= used:
                raise _encountered("<EOF>", rest[-1].start)
            value, used = rest[used], used + 1
        if value.kind != "text":
            raise validation(f"AT {kind} takes a text in single quotes here", value.start, len(value.text))
    else:
        if len(rest) < 2 or rest[1].kind not in ("word", "name"):
            raise validation(
                f'AT {kind} takes a name, in double quotes if need be: AT COMMIT "ab12…"', rest[-1].start, 1
            )
        value, used = rest[1], 2
    last = rest[used - 1]
    plain = value.plain
    if kind == "TIMESTAMP":
        plain = (_time(value, False) or "").strip("'")
    after = index + 1 + used
    if kind in _REFS and [word.upper for word in words[after : after + 2]] == ["AS", "OF"]:
        raise validation("AS OF after a branch or tag is not supported; use AT TIMESTAMP", words[after].start, 5)
    return At(kind, plain, start), after, last.start + len(last.text)


def _check_words(words: list[Word]) -> None:
    """Refuse functions and signs that Dremio does not have."""
    for index, word in enumerate(words[:-1]):
        if word.kind != "word" or words[index + 1].text != "(":
            continue
        if index and words[index - 1].text == ".":
            continue
        name = word.upper
        if name in FUNCTIONS or name in SYNTAX:
            continue
        # `FROM (…) alias (a, b)` and `WITH name (a, b) AS`
        before = words[index - 1].upper if index else ""
        if before in (")", "WITH", ",", "AS") and _is_column_list(words, index + 1):
            continue
        raise validation(f"No match found for function signature {name}(<arguments>)", word.start, len(word.text))


def _is_column_list(words: list[Word], index: int) -> bool:
    inside = words[index + 1 :]
    for place, word in enumerate(inside):
        if word.text == ")":
            # `name (a, b) AS (` opens a WITH query; else it must follow a subquery.
            after = inside[place + 1].upper if place + 1 < len(inside) else ""
            before = [item.upper for item in words[max(0, index - 3) : index - 1]]
            return place > 0 and (after == "AS" or before[-1:] == [")"] or before == [")", "AS"])
        if word.kind not in ("word", "name") and word.text != ",":
            return False
    return False


# ---- translating ----------------------------------------------------------------------------------------------------


def _call(name: str) -> Any:
    """A function that sqlglot would turn into something else: kept as it is written."""

    def build(args: list[exp.Expr]) -> exp.Expr:
        if name in ("TIMESTAMPADD", "TIMESTAMPDIFF") and args and isinstance(args[0], exp.Column):
            # A unit, not a column with a reserved name.
            args = [exp.var(args[0].name), *args[1:]]
        return exp.Anonymous(this=name, expressions=args)

    return build


class _Dialect(Dremio):
    class Parser(Dremio.Parser):  # type: ignore[misc, valid-type]  # sqlglot sets it when the class is made
        FUNCTIONS = {  # noqa: RUF012  # as sqlglot has it
            **Dremio.Parser.FUNCTIONS,
            **{
                name: _call(name)
                for name in (
                    "TIMESTAMPADD",
                    "TIMESTAMPDIFF",
                    "TO_CHAR",
                    "TO_TIMESTAMP",
                    "DATEDIFF",
                    "NDV",
                    "APPROX_PERCENTILE",
                    "UNIX_TIMESTAMP",
                    "ILIKE",
                    "DAYOFWEEK",
                    "REGEXP_LIKE",
                    "LOCATE",
                )
            },
        }


_DREMIO = _Dialect()


def _translate(sql: str, text: str) -> Shape:
    try:
        trees = [tree for tree in _DREMIO.parse(text, error_level=ErrorLevel.IMMEDIATE) if tree is not None]
    except (ParseError, TokenError) as error:
        raise _parse_refusal(error, sql) from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        raise _encountered(sql.split(maxsplit=1)[0], 0)
    tree: exp.Expr = trees[0]
    _check_tree(tree, sql)
    for select in tree.find_all(exp.Select):
        select.set("hint", None)
        _name_columns(select)
    relations = _take_relations(tree, sql)
    tree = rewrite(tree)
    try:
        result = tree.sql("duckdb", identify=True, comments=False, unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        raise validation(f"Not supported by the gateway: {str(error).partition(chr(10))[0]}") from None
    return Shape(result, relations)


def _parse_refusal(error: ParseError | TokenError, sql: str) -> Refusal:
    details = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
    near = str(details.get("highlight") or "").replace(MARK, "")
    line, column = details.get("line"), details.get("col")
    start = None
    if isinstance(line, int) and isinstance(column, int):
        # sqlglot's column is the one of the token's last character.
        lines = sql.split("\n")
        start = sum(len(item) + 1 for item in lines[: line - 1]) + max(0, column - max(1, len(near)))
    what = f'encountered "{near}"' if near else "the statement breaks off"
    return Refusal(Kind.PARSE, f"Failure parsing the query: {what}.", start, max(1, len(near)))


_NOT_IN_DREMIO: tuple[tuple[type[exp.Expr], str], ...] = (
    (exp.TryCast, "TRY_CAST"),
    (exp.Filter, "FILTER (WHERE …)"),
    (exp.Lambda, "a lambda"),
    (exp.TableSample, "TABLESAMPLE"),
    (exp.Pivot, "PIVOT"),
    (exp.Unnest, "UNNEST"),
    (exp.Lateral, "LATERAL"),
    (exp.Bracket, "an index in brackets"),
    (exp.Placeholder, "a parameter"),
    (exp.Parameter, "a parameter"),
    (exp.Into, "INTO"),
    (exp.Lock, "FOR UPDATE"),
    (exp.Columns, "COLUMNS(…)"),
)


def _check_tree(tree: exp.Expr, sql: str) -> None:
    for node in tree.walk():
        for kind, name in _NOT_IN_DREMIO:
            if isinstance(node, kind):
                raise validation(f"{name} is not supported", *_place(node, sql))
        if isinstance(node, exp.Identifier) and not node.quoted and node.name.upper() in RESERVED:
            start, length = _place(node, sql)
            raise Refusal(
                Kind.PARSE,
                f'Failure parsing the query: encountered "{node.name}", a reserved word: put it in double quotes.',
                start,
                length,
            )
        if isinstance(node, exp.With) and node.recursive:
            raise validation("WITH RECURSIVE is not supported")
        if isinstance(node, exp.Join) and (node.method or node.kind in ("SEMI", "ANTI")):
            raise validation(f"{node.method or node.kind} JOIN is not supported")
        if isinstance(node, exp.Window) and node.this.find(exp.Distinct):
            raise validation("DISTINCT is not supported in a window function")
        if isinstance(node, exp.Star) and any(node.args.get(key) for key in ("except", "except_", "replace", "rename")):
            raise validation("* EXCEPT and * REPLACE are not supported")
        if isinstance(node, exp.Distinct) and node.args.get("on"):
            raise validation("DISTINCT ON is not supported")
        if isinstance(node, exp.Group) and node.args.get("all"):
            raise validation("GROUP BY ALL is not supported")
        if isinstance(node, exp.Interval):
            unit = str(node.args.get("unit") or "").upper().split(" ")[0].rstrip("S")
            if unit not in ("YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"):
                raise Refusal(Kind.PARSE, f"Failure parsing the query: INTERVAL has no unit {unit or 'here'}.", 0)
        truncates = isinstance(node, exp.TimestampTrunc | exp.DateTrunc)
        if truncates and not isinstance(node.args.get("unit"), exp.Literal | exp.Var):
            raise validation("The unit of DATE_TRUNC must be a literal")


def _place(node: exp.Expr, sql: str) -> tuple[int, int]:
    """Offset and length of a node in the statement, as far as it is known."""
    for item in node.walk():
        start, end = item.meta.get("start"), item.meta.get("end")
        if isinstance(start, int) and isinstance(end, int):
            return start, end - start + 1
    return 0, 1


def place_of_name(name: str, sql: str) -> tuple[int, int]:
    """Where a name stands first in a statement."""
    match = re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", sql, re.IGNORECASE)
    return (match.start(), len(name)) if match else (0, 1)


def _name_columns(select: exp.Select) -> None:
    """Columns without a name are EXPR$0, EXPR$1 …, by their place."""
    for index, item in enumerate(list(select.expressions)):
        if isinstance(item, exp.Alias | exp.Column | exp.Star) or item.is_star:
            continue
        item.replace(exp.alias_(item.copy(), f"EXPR${index}", quoted=True))


# ---- tables and bounds ----------------------------------------------------------------------------------------------


def _take_relations(tree: exp.Expr, sql: str) -> tuple[Relation, ...]:
    """Replace each table by a mark. Names of WITH queries stay."""
    named = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for column in tree.find_all(exp.Column):
        # `catalog.schema.table.column` is `table.column` here: the mark has the table's name as alias.
        column.set("db", None)
        column.set("catalog", None)
    relations: list[Relation] = []
    for table in list(tree.find_all(exp.Table)):
        parts = table.parts
        if not all(isinstance(part, exp.Identifier) for part in parts):
            raise validation("Table functions are not supported", *_place(table, sql))
        path = [part.name for part in parts]
        at = None
        if path[-1].startswith(MARK):
            at = int(path.pop()[2:])
        if at is None and len(path) == 1 and path[0].lower() in named:
            continue
        alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(path[-1], quoted=True))
        if not alias.name:
            alias.set("this", exp.to_identifier(path[-1], quoted=True))
        bounds = _bounds(table, alias.name.lower(), path[-1])
        mark = exp.Table(this=exp.to_identifier(f"{MARK}r{len(relations)}", quoted=True), alias=alias)
        for key in ("joins", "laterals"):
            if table.args.get(key):
                mark.set(key, table.args[key])
        table.replace(mark)
        relations.append(Relation(tuple(path), at, bounds, _place(parts[len(path) - 1], sql)[0]))
    return tuple(relations)


_OPS: dict[type[exp.Expr], str] = {exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=", exp.EQ: "="}
_MIRROR = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "=": "="}


def _bounds(table: exp.Table, alias: str, name: str) -> tuple[Bound, ...]:
    """Conditions on times, joined by AND in the WHERE of the query that reads the table.

    They hold for its rows before any join too: a row that a comparison refuses, or that an outer join fills with NULL
    in its stead, does not pass the WHERE.
    """
    parent = table.parent
    if isinstance(parent, exp.Join):
        parent = parent.parent
    select = parent.parent if isinstance(parent, exp.From) else parent
    if not isinstance(select, exp.Select) or not isinstance(where := select.args.get("where"), exp.Where):
        return ()
    sources = 1 + len(select.args.get("joins") or ())
    columns = {column.name for column in TABLES[name.lower()].columns} if name.lower() in TABLES else set()

    def own(node: exp.Expr) -> str | None:
        if not isinstance(node, exp.Column):
            return None
        if node.table:
            return node.name.lower() if node.table.lower() == alias else None
        return node.name.lower() if sources == 1 or node.name.lower() in columns else None

    found: list[Bound] = []
    for condition in _conjuncts(where.this):
        pairs: list[tuple[exp.Expr, str, exp.Expr]] = []
        if isinstance(condition, exp.Between):
            pairs = [(condition.this, ">=", condition.args["low"]), (condition.this, "<=", condition.args["high"])]
        elif type(condition) in _OPS:
            op = _OPS[type(condition)]
            pairs = [(condition.this, op, condition.expression), (condition.expression, _MIRROR[op], condition.this)]
        for left, op, right in pairs:
            column, time = own(left), _time_index(right)
            if column is not None and time is not None:
                found.append(Bound(column, op, time))
    return tuple(found)


def _conjuncts(node: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(node, exp.And):
        yield from _conjuncts(node.left)
        yield from _conjuncts(node.right)
    elif isinstance(node, exp.Paren):
        yield from _conjuncts(node.this)
    else:
        yield node


def _time_index(node: exp.Expr) -> int | None:
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Literal) and node.this.name.startswith(f"{MARK}t"):
        return int(node.this.name[2:])
    return None
