"""One shape of a statement, from Dremio's SQL to DuckDB's."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from sqlglot import ErrorLevel, exp
from sqlglot.dialects.dremio import Dremio
from sqlglot.errors import ParseError, TokenError, UnsupportedError

from embedded.gateway import tree as trees
from embedded.gateway.errors import Kind, Refusal, TooDeep, no_function, validation
from embedded.gateway.names import Need, resolve
from embedded.gateway.relations import Relation
from embedded.gateway.rewrites import rewrite
from embedded.gateway.tokens import Word, encountered
from embedded.gateway.weight import is_heavy
from embedded.gateway.words import FUNCTIONS, SYNTAX


@dataclass(frozen=True, slots=True)
class Shape:
    """A statement in DuckDB's SQL, with marks for what differs each time.

    `needs` are the columns that its relations must have, `mark` is the character that marks begin with. What is
    `heavy` is planned and run apart.
    """

    sql: str
    relations: tuple[Relation, ...]
    needs: tuple[Need, ...]
    mark: str = field(repr=False)
    heavy: bool = False

    def filled(self, sources: list[str], times: tuple[str, ...]) -> str:
        """The statement with a source (a table expression in brackets) for each relation, and its times."""

        def replace(match: re.Match[str]) -> str:
            number = int(match[2])
            return sources[number] if match[1] == "r" else times[number]

        return re.sub(rf"[\"']{self.mark}([rt])(\d+)[\"']", replace, self.sql)


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


def translate(sql: str, text: str, mark: str) -> Shape:
    try:
        found = [tree for tree in _DREMIO.parse(text, error_level=ErrorLevel.IMMEDIATE) if tree is not None]
        if len(found) != 1 or not isinstance(found[0], exp.Query):
            raise encountered(sql.split(maxsplit=1)[0], 0)
        tree: exp.Expr = found[0]
        for select in tree.find_all(exp.Select):
            select.set("hint", None)
        trees.check(tree, sql)
        heavy = is_heavy(tree)
        for select in tree.find_all(exp.Select):
            _name_columns(select)
        names = resolve(tree, sql, mark)
        result = rewrite(tree).sql("duckdb", identify=True, comments=False, unsupported_level=ErrorLevel.RAISE)
    except (ParseError, TokenError) as error:
        raise _parse_refusal(error, sql, mark) from None
    except UnsupportedError as error:
        raise validation(f"Not supported by the gateway: {str(error).partition(chr(10))[0]}") from None
    except RecursionError:
        raise TooDeep from None
    # Each column once: long statements name the same ones again and again.
    needs: dict[tuple[str, frozenset[int]], Need] = {}
    for need in names.needs:
        needs.setdefault((need.column.lower(), need.relations), need)
    return Shape(result, names.relations, tuple(needs.values()), mark, heavy)


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


def _name_columns(select: exp.Select) -> None:
    """Columns without a name are EXPR$0, EXPR$1 …, by their place."""
    for index, item in enumerate(list(select.expressions)):
        if isinstance(item, exp.Alias | exp.Column | exp.Star) or item.is_star:
            continue
        item.replace(exp.alias_(item.copy(), f"EXPR${index}", quoted=True))


def check_functions(words: list[Word]) -> None:
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
