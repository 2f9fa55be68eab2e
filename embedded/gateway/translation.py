"""One shape of a statement, from Dremio's SQL to DuckDB's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlglot import ErrorLevel, exp
from sqlglot.dialects.dremio import Dremio
from sqlglot.errors import ParseError, TokenError, UnsupportedError

from embedded.gateway import pivots
from embedded.gateway import tree as trees
from embedded.gateway.brackets import check_bracket, write_maps
from embedded.gateway.errors import ErrorKind, Refusal, TooDeep, validation
from embedded.gateway.lexed import Lexed
from embedded.gateway.names import Need, resolve
from embedded.gateway.relations import Relation
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.parameters import Parameters
from embedded.gateway.sql.queries import Column, typed
from embedded.gateway.sql.raw import WRITTEN
from embedded.gateway.sql.table import DONE, refusal
from embedded.gateway.tokens import Word, encountered
from embedded.gateway.weight import LONG, is_heavy
from embedded.gateway.words import SYNTAX

# Of these alone nothing is made that depends on a table, the time, who asks, or chance.
_CONSTANT: frozenset[type[exp.Expr]] = frozenset(
    {
        exp.Add, exp.Alias, exp.Boolean, exp.DPipe, exp.Div, exp.EQ, exp.Identifier, exp.Literal, exp.Mod, exp.Mul,
        exp.Neg, exp.Null, exp.Paren, exp.Select, exp.Sub,
    }
)  # fmt: skip


@dataclass(slots=True)
class Shape:
    """What a statement asks for, without what differs each time.

    `digest` tells it from others. `needs` are the columns that its relations must have, `mark` is the character that
    marks begin with. What is `heavy` is written and run apart; the tree of any other is kept until it is written down
    for DuckDB, which uses it up. The answer to what is `constant` is always the same.
    """

    sql: str
    digest: bytes = field(repr=False)
    relations: tuple[Relation, ...]
    needs: tuple[Need, ...]
    mark: str = field(repr=False)
    heavy: bool = False
    constant: bool = False
    tree: exp.Expr | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class WrittenShape:
    """A shape in DuckDB's SQL, for relations with certain columns, with marks for what differs each time.

    Nested calls may grow when they are written, so what is `heavy` then may be more than the shape says.
    """

    sql: str
    columns: tuple[Column, ...]
    mark: str = field(repr=False)
    heavy: bool = False

    def filled(self, sources: list[str], times: tuple[str, ...], asker: tuple[str, str] = ("", "")) -> str:
        """The statement with a source (a table expression in brackets) for each relation, its times, and who asks.

        asker: the user, and the session's schema.
        """

        def replace(match: re.Match[str]) -> str:
            number = int(match[2])
            match match[1]:
                case "r":
                    return sources[number]
                case "t":
                    return times[number]
            return "'" + asker[number].replace("'", "''") + "'"

        return re.sub(rf"[\"']{self.mark}([rtu])(\d+)[\"']", replace, self.sql)


def _call(name: str) -> Any:
    """TIMESTAMPADD and TIMESTAMPDIFF: their first argument is a unit, not a column with a reserved name."""

    def build(args: list[exp.Expr]) -> exp.Expr:
        if args and isinstance(args[0], exp.Column):
            args = [exp.var(args[0].name), *args[1:]]
        return exp.Anonymous(this=name, expressions=args)

    return build


_WITHOUT_BRACKETS = frozenset(
    """CURRENT_CATALOG CURRENT_DATE CURRENT_DATE_UTC CURRENT_PATH CURRENT_ROLE CURRENT_SCHEMA CURRENT_TIME
    CURRENT_TIMESTAMP CURRENT_USER LAST_QUERY_ID LOCALTIME LOCALTIMESTAMP SESSION_USER SYSTEM_USER USER
    """.split()  # noqa: SIM905  # a list of words reads best as one
)
"""Functions that stand without brackets: Calcite's parser takes them for names, so a column is called like them."""

# Read with syntax of their own. Every other call is taken as it is written: the table of functions knows what it means.
_PARSED = ("CAST", "EXTRACT", "POSITION", "SUBSTRING", "TRIM")


class _Dialect(Dremio):
    NULL_ORDERING = "nulls_are_large"

    class Tokenizer(Dremio.Tokenizer):
        NESTED_COMMENTS = False
        KEYWORDS = {  # noqa: RUF012  # as sqlglot has it
            **{name: kind for name, kind in Dremio.Tokenizer.KEYWORDS.items() if name not in _WITHOUT_BRACKETS},
            "MINUS": Dremio.Tokenizer.KEYWORDS["EXCEPT"],
        }

    class Parser(Dremio.Parser):  # type: ignore[misc, valid-type]  # sqlglot sets it when the class is made
        FUNCTIONS = {name: _call(name) for name in ("TIMESTAMPADD", "TIMESTAMPDIFF")}  # noqa: RUF012
        FUNCTION_PARSERS = {name: Dremio.Parser.FUNCTION_PARSERS[name] for name in _PARSED}  # noqa: RUF012
        NO_PAREN_FUNCTION_PARSERS = {  # noqa: RUF012
            name: Dremio.Parser.NO_PAREN_FUNCTION_PARSERS[name] for name in ("ANY", "CASE")
        }


_DREMIO = _Dialect()
_LEXED = Lexed(_Dialect.Tokenizer)


def translate(sql: str, text: str, mark: str, digest: bytes = b"", words: Sequence[Word] = ()) -> Shape:
    """Read a statement, and resolve its names; `words` are those of the text, where they are known. Raises Refusal."""
    with _refusing(sql, mark):
        found = [tree for tree in _parsed(text, words) if tree is not None]
        tree = _of_values(found[0]) if len(found) == 1 else None
        if not isinstance(tree, exp.Query):
            raise encountered(sql.split(maxsplit=1)[0], 0)
        nodes = _plain(tree)
        if pivots.write_out(nodes, sql, mark):
            nodes = trees.nodes_of(tree)
        if write_maps(nodes, sql):
            nodes = trees.nodes_of(tree)
        trees.check(nodes, sql)
        heavy = is_heavy(nodes)
        for node in nodes:
            if isinstance(node, exp.Select):
                _name_columns(node)
        names = resolve(tree, nodes, sql, mark)
        constant = not names.relations and all(type(node) in _CONSTANT for node in nodes)
        return Shape(text, digest, names.relations, names.needs, mark, heavy, constant, tree)
    raise AssertionError("unreachable")


def _parsed(text: str, words: Sequence[Word]) -> list[exp.Expr | None]:
    tokens = _LEXED.tokens(text, words) if words else None
    if tokens is not None:
        # What is no SQL is read once more, for the place that sqlglot's own tokens tell.
        with suppress(ParseError):
            return _DREMIO.parser(error_level=ErrorLevel.IMMEDIATE).parse(tokens, text)
    return _DREMIO.parse(text, error_level=ErrorLevel.IMMEDIATE)


def digest_of(text: str, mark: str) -> bytes:
    """What tells shapes apart: a mark means something in the text that it was put into, and nothing in another."""
    return hashlib.sha256((mark + text).encode(errors="surrogatepass")).digest()


def _plain(tree: exp.Expr) -> list[exp.Expr]:
    """The tree without hints, and with calls for the functions that stand without brackets; its nodes."""
    nodes = trees.nodes_of(tree)
    hinted = [node for node in nodes if isinstance(node, exp.Select) and node.args.get("hint")]
    for select in hinted:
        select.set("hint", None)
    return trees.nodes_of(tree) if _call_without_brackets(nodes) or hinted else nodes


def write(shape: Shape, sql: str, relations: Sequence[Sequence[Column]]) -> WrittenShape:
    """The statement for DuckDB, for relations with these columns. Raises Refusal."""
    tree, shape.tree = shape.tree, None
    if tree is None:
        tree = translate(sql, shape.sql, shape.mark).tree
    with _refusing(sql, shape.mark):
        assert tree is not None
        columns = typed(tree, relations, shape.mark, sql)
        text = tree.sql(WRITTEN, identify=True, comments=False, unsupported_level=ErrorLevel.RAISE, copy=False)
        for node in trees.nodes_of(tree):
            node.parent = None  # so that it is gone at once: the collector would let some MB of trees come together
        return WrittenShape(text, tuple(columns), shape.mark, shape.heavy or len(text) > LONG)
    raise AssertionError("unreachable")


def parameter_kinds(shape: Shape, sql: str, relations: Sequence[Sequence[Column]], mark: str) -> dict[int, Kind]:
    """The types of parameters by number; they stand in the statement as texts of `mark`, p and that. Raises Refusal."""
    parameters = Parameters(mark)
    with _refusing(sql, shape.mark):
        tree = translate(sql, shape.sql, shape.mark).tree
        assert tree is not None
        typed(tree, relations, shape.mark, sql, parameters)
    return parameters.types()


@contextmanager
def _refusing(sql: str, mark: str) -> Iterator[None]:
    """What sqlglot says of a statement, as a refusal."""
    try:
        yield
    except (ParseError, TokenError) as error:
        raise _parse_refusal(error, sql, mark) from None
    except UnsupportedError as error:
        raise validation(f"Not supported by the gateway: {str(error).partition(chr(10))[0]}") from None
    except RecursionError:
        raise TooDeep from None


def _of_values(tree: exp.Expr) -> exp.Expr:
    """VALUES by itself is a query of all its columns."""
    return exp.select("*").from_(tree) if isinstance(tree, exp.Values) else tree


def _call_without_brackets(nodes: Sequence[exp.Expr]) -> bool:
    """Put calls in the places of functions without brackets, which were read as columns; whether there were any."""
    found = False
    for column in nodes:
        if not isinstance(column, exp.Column) or (name := column.name.upper()) not in _WITHOUT_BRACKETS:
            continue
        if column.args.get("table") or column.this.args.get("quoted"):
            continue
        call: exp.Expr = exp.Anonymous(this=name, expressions=[])
        if isinstance(column.parent, exp.Select) and column.arg_key == "expressions":
            call = exp.alias_(call, column.name, quoted=True)
        column.replace(call)
        found = True
    return found


# What the client wrote where a name of ours stands.
_STANDS_FOR = {"f": "TABLE", "a": "AT"}


def _parse_refusal(error: ParseError | TokenError, sql: str, mark: str) -> Refusal:
    details = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
    near = str(details.get("highlight") or "")
    if mark in near:
        near = _STANDS_FOR.get(near.partition(mark)[2][:1], near.replace(mark, ""))
    line, column = details.get("line"), details.get("col")
    start = None
    if isinstance(line, int) and isinstance(column, int):
        # sqlglot's column is the one of the token's last character.
        lines = sql.split("\n")
        start = sum(len(item) + 1 for item in lines[: line - 1]) + max(0, column - max(1, len(near)))
    what = f'encountered "{near}"' if near else "the statement breaks off"
    return Refusal(ErrorKind.PARSE, f"Failure parsing the query: {what}.", start, max(1, len(near)))


def _name_columns(select: exp.Select) -> None:
    """Columns without a name are EXPR$0, EXPR$1 …, by their place."""
    items: list[exp.Expr] = []
    for index, item in enumerate(select.expressions):
        named = item
        if not (isinstance(item, exp.Alias | exp.Column | exp.Star) or item.is_star):
            named = exp.alias_(item, f"EXPR${index}", quoted=True, copy=False)
            # Stars before it move its number on.
            named.set("unnamed", True)
        items.append(named)
    select.set("expressions", items)


_TYPE = re.compile(
    r"(INT|INTEGER|BIGINT|FLOAT|DOUBLE|BOOLEAN|DATE|TIME|TIMESTAMP|VARCHAR|CHAR|VARBINARY|DECIMAL|NUMERIC"
    r"|DOUBLE PRECISION|CHARACTER VARYING|INTERVAL (YEAR|MONTH|DAY|HOUR|MINUTE|SECOND))"
    r"( \( \d+ (, \d+ )?\))?"
)


def check_words(words: list[Word]) -> None:
    """Refuse what sqlglot reads and Dremio does not: types, LIMIT 1,2, LIMIT 1 %, INTERVAL 1 DAY."""
    casts: list[tuple[bool, int]] = []
    for index, word in enumerate(words):
        before = words[index - 1].upper if index else ""
        if word.text == "(":
            casts.append((before == "CAST" and words[index - 1].kind == "word", 0))
        elif word.text == ")" and casts:
            cast, named = casts.pop()
            if cast and named:
                kind = " ".join(item.upper for item in words[named + 1 : index])
                if not _TYPE.fullmatch(kind):
                    start = words[min(named + 1, index)].start
                    raise validation(f"Type {kind[:60]} is not supported", start, len(kind))
        elif word.upper == "AS" and word.kind == "word" and casts:
            casts[-1] = (casts[-1][0], index)
        elif word.upper == "ORDINALITY" and before == "WITH" and index > 1 and words[index - 2].text == ")":
            raise validation("The gateway does not answer UNNEST … WITH ORDINALITY yet", word.start, len(word.text))
        elif word.text == "[":
            check_bracket(words, index)
        elif (before == "INTERVAL" and words[index - 1].kind == "word" and word.kind == "number") or (
            index > 1 and words[index - 2].upper == "LIMIT" and word.upper in (",", "%", "PERCENT")
        ):
            raise encountered(word.text, word.start)


_NEVER_BRACKETS = frozenset({"CURRENT_SCHEMA", "SESSION_USER", "SYSTEM_USER", "USER"})

_SIZED = frozenset({"CHAR", "DECIMAL", "NUMERIC", "VARBINARY", "VARCHAR"})
"""Types that have a length."""


def check_functions(words: list[Word]) -> None:
    """Refuse functions that Dremio or the gateway does not have, by the name that is written, quoted or not."""
    for index, word in enumerate(words[:-1]):
        if word.kind not in ("word", "name") or words[index + 1].text != "(":
            continue
        name = word.plain.upper()
        dotted = index > 0 and words[index - 1].text == "."
        before = words[index - 1].upper if index else ""
        if word.kind == "word" and name in _NEVER_BRACKETS:
            raise validation(f"The gateway does not answer {name} with brackets yet", word.start, len(word.text))
        # sqlglot reads a type twice, as one and as a function: in each other they would take it hours.
        syntax = word.kind == "word" and name in SYNTAX and (name not in _SIZED or before == "AS")
        if not dotted and (name in DONE or syntax):
            continue
        if name == "NULLS" and before in ("INCLUDE", "EXCLUDE") and index > 1 and words[index - 2].upper == "UNPIVOT":
            continue
        # `FROM (…) alias (a, b)` and `WITH name (a, b) AS`
        if before in (")", "WITH", ",", "AS") and _is_column_list(words, index + 1):
            continue
        raise refusal(name, word.start, len(word.text))


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
