"""Dremio's SQL to DuckDB's: what a statement asks for, told apart from the values that change at each question.

`prepare` cuts a statement into a *shape* (everything but its timestamps and AT clauses) and those values. Shapes are
translated once: a console that asks the same question at every commit pays for a look into a dictionary.
What Dremio does not have is refused here, although DuckDB may know it.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlglot import ErrorLevel, exp
from sqlglot.dialects.dremio import Dremio
from sqlglot.errors import ParseError, TokenError, UnsupportedError

from embedded.gateway import tree as trees
from embedded.gateway.errors import Kind, Refusal, no_function, validation
from embedded.gateway.names import Need, resolve
from embedded.gateway.relations import Relation
from embedded.gateway.rewrites import rewrite
from embedded.gateway.words import FUNCTIONS, SYNTAX

# One of these stands before the names that the gateway puts into a text: the first that the statement itself lacks.
_MARKS = "\x01\x02\x03\x04\x05\x06"

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
class Shape:
    """A statement in DuckDB's SQL, with marks for what differs each time.

    `needs` are the columns that its relations must have, `mark` is the character that marks begin with.
    """

    sql: str
    relations: tuple[Relation, ...]
    needs: tuple[Need, ...]
    mark: str = field(repr=False)

    def filled(self, sources: list[str], times: tuple[str, ...]) -> str:
        """The statement with a source (a table expression in brackets) for each relation, and its times."""

        def replace(match: re.Match[str]) -> str:
            number = int(match[2])
            return sources[number] if match[1] == "r" else times[number]

        return re.sub(rf"[\"']{self.mark}([rt])(\d+)[\"']", replace, self.sql)


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
    if "\0" in sql:
        raise Refusal(Kind.PARSE, "Failure parsing the query: it holds a NUL character.", sql.index("\0"))
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
        mark = _mark(sql)
        text, times, ats = _cut(sql, words, mark)
        with self._lock:
            shape = self._shapes.get(text)
            if shape is not None:
                self._shapes.move_to_end(text)
        if shape is None:
            _check_words(words)
            shape = _translate(sql, text, mark)
            with self._lock:
                self._shapes[text] = shape
                while len(self._shapes) > _SHAPES_KEPT:
                    self._shapes.popitem(last=False)
        return Statement(shape, times, ats)


def _mark(sql: str) -> str:
    """A character for the gateway's own names, one that the statement does not hold: so no text is taken for a name."""
    for mark in _MARKS:
        if mark not in sql:
            return mark
    raise Refusal(Kind.PARSE, "Failure parsing the query: it holds too many control characters.", 0)


def _cut(sql: str, words: list[Word], mark: str) -> tuple[str, tuple[str, ...], tuple[At, ...]]:
    """The text with marks for timestamps and AT clauses, and what stood there; every place keeps its offset."""
    times: list[str] = []
    ats: list[At] = []
    pieces: list[str] = []
    done = 0
    index = 0

    def put(start: int, end: int, name: str) -> None:
        nonlocal done
        pieces.append(sql[done:start])
        # As long as what it stands for, as far as that goes: sqlglot's offsets stay those of the statement.
        pieces.append(name.ljust(end - start))
        done = end

    while index < len(words):
        word = words[index]
        if word.upper == "AT" and word.kind == "word" and index and words[index - 1].kind in ("word", "name"):
            found = _at_clause(words, index)
            if found is not None:
                at, after, end = found
                put(word.start, end, f'."{mark}a{len(ats)}"')
                ats.append(at)
                index = after
                continue
        if word.kind == "text" and (casted := _is_time(words, index)) is not None:
            literal = _time(word, casted)
            if literal is not None:
                put(word.start, word.start + len(word.text), f"'{mark}t{len(times)}'")
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
    """Refuse functions that Dremio does not have, by the name that they are written with, quoted or not."""
    for index, word in enumerate(words[:-1]):
        if word.kind not in ("word", "name") or words[index + 1].text != "(":
            continue
        name = word.plain.upper()
        dotted = index > 0 and words[index - 1].text == "."
        if not dotted and (name in FUNCTIONS or (word.kind == "word" and name in SYNTAX)):
            continue
        # `FROM (…) alias (a, b)` and `WITH name (a, b) AS`
        before = words[index - 1].upper if index else ""
        if before in (")", "WITH", ",", "AS") and _is_column_list(words, index + 1):
            continue
        raise no_function(name, word.start, len(word.text))


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


def _translate(sql: str, text: str, mark: str) -> Shape:
    try:
        found = [tree for tree in _DREMIO.parse(text, error_level=ErrorLevel.IMMEDIATE) if tree is not None]
        if len(found) != 1 or not isinstance(found[0], exp.Query):
            raise _encountered(sql.split(maxsplit=1)[0], 0)
        tree: exp.Expr = found[0]
        for select in tree.find_all(exp.Select):
            select.set("hint", None)
        trees.check(tree, sql)
        for select in tree.find_all(exp.Select):
            _name_columns(select)
        names = resolve(tree, sql, mark)
        result = rewrite(tree).sql("duckdb", identify=True, comments=False, unsupported_level=ErrorLevel.RAISE)
    except (ParseError, TokenError) as error:
        raise _parse_refusal(error, sql, mark) from None
    except UnsupportedError as error:
        raise validation(f"Not supported by the gateway: {str(error).partition(chr(10))[0]}") from None
    except RecursionError:
        raise Refusal(Kind.PARSE, "Failure parsing the query: it is nested too deeply.", 0) from None
    return Shape(result, names.relations, names.needs, mark)


def _parse_refusal(error: ParseError | TokenError, sql: str, mark: str) -> Refusal:
    details = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
    near = str(details.get("highlight") or "").replace(mark, "")
    line, column = details.get("line"), details.get("col")
    start = None
    if isinstance(line, int) and isinstance(column, int):
        # sqlglot's column is the one of the token's last character.
        lines = sql.split("\n")
        start = sum(len(item) + 1 for item in lines[: line - 1]) + max(0, column - max(1, len(near)))
    what = f'encountered "{near}"' if near else "the statement breaks off"
    return Refusal(Kind.PARSE, f"Failure parsing the query: {what}.", start, max(1, len(near)))


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
