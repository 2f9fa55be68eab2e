"""Types of parameters, from what each stands beside.

What stands beside is taken from the statement's text, and planned by itself over the same tables: so types are those
that the planner gives, and nothing is asked of it that a client could not ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from embedded.gateway.errors import Refusal, validation
from embedded.gateway.tokens import Word, words_of

type Plan = Callable[[str], pa.Schema]
"""The schema of a statement's answer. Raises Refusal."""

_COMPARED = frozenset(("=", "<>", "!=", "<", "<=", ">", ">="))
_COMPUTED = frozenset("+-*/%")
_LIKE = ("LIKE", "ILIKE", "ESCAPE", "||")
# Where an operand begins or ends, outside of brackets.
_EDGES = (
    _COMPARED
    | _COMPUTED
    | frozenset(
        """AND OR NOT WHERE ON HAVING QUALIFY WHEN THEN ELSE SELECT DISTINCT ALL BY BETWEEN IN IS LIKE ILIKE ESCAPE
        LIMIT OFFSET FROM AS GROUP ORDER UNION EXCEPT INTERSECT CASE END , ( ) ||""".split()  # noqa: SIM905  # a list of words
    )
)
_CONDITIONS = frozenset(("NOT", "WHERE", "AND", "OR", "ON", "HAVING", "QUALIFY", "WHEN"))
_AFTER_CONDITION = frozenset(("AND", "OR", ")", "THEN", "GROUP", "ORDER", "LIMIT", "QUALIFY", "UNION", "HAVING"))
_AFTER_FROM = frozenset(
    "WHERE GROUP HAVING QUALIFY ORDER LIMIT OFFSET FETCH WINDOW UNION EXCEPT INTERSECT MINUS".split()  # noqa: SIM905
)
# Functions whose arguments are of one type, of texts and whole numbers, and of whole numbers.
_ALIKE = frozenset(("COALESCE", "NULLIF", "GREATEST", "LEAST", "IFNULL", "NVL"))
_OF_TEXTS = frozenset(
    """ASCII BTRIM CHARACTER_LENGTH CHAR_LENGTH CONCAT ENDS_WITH INITCAP LEFT LENGTH LOCATE LOWER LPAD LTRIM MD5
    POSITION REGEXP_LIKE REGEXP_REPLACE REPEAT REPLACE REVERSE RIGHT RPAD RTRIM SPLIT_PART STARTS_WITH STRPOS SUBSTR
    SUBSTRING TRANSLATE TRIM UPPER""".split()  # noqa: SIM905
)
_MOST_PROBES = 200
_OF_COUNTS = frozenset(("TIMESTAMPADD", "ROUND", "TRUNC", "TRUNCATE", "DATE_ADD", "DATE_SUB"))


def types_of(sql: str, counts: Sequence[bool], plan: Plan) -> list[str | None]:
    """The SQL types of a statement's parameters; None where nothing tells. `counts`: after LIMIT or OFFSET.

    Raises Refusal for a statement that would take too many questions.
    """
    return _Statement(sql, counts, plan).types()


class _Statement:
    def __init__(self, sql: str, counts: Sequence[bool], plan: Plan) -> None:
        self._sql = sql
        self._plan = plan
        self._words = words_of(sql, parameters=True)
        self._places = [index for index, word in enumerate(self._words) if word.text == "?"]
        self._known: list[str | None] = ["BIGINT" if count else None for count in counts]
        self._partner, self._inside = _brackets(self._words)
        self._probed: dict[str, str | None] = {}
        self._asked_by: dict[int, list[str]] = {}

    def types(self) -> list[str | None]:
        # What one is tells what the next is: `? + n`, then `(? + n) * ?`.
        for _ in range(3):
            before = list(self._known)
            for number, index in enumerate(self._places):
                if self._known[number] is None:
                    self._known[number] = self._type(index)
            if self._known == before:
                break
        return self._known

    def _type(self, index: int) -> str | None:
        before, after = self._upper(index - 1), self._upper(index + 1)
        if before in _LIKE or after in (*_LIKE, "IS"):
            return "VARCHAR"
        compared = before in _COMPARED and after not in _COMPUTED
        if (before in _COMPUTED or compared) and (found := self._of(index, self._left(index - 2))):
            return found
        compared = after in _COMPARED | {"BETWEEN"} and before not in _COMPUTED
        if (after in _COMPUTED or compared) and (found := self._of(index, self._right(index + 2))):
            return found
        if before == "BETWEEN" or before == "AND":
            start = self._between(index - 1)
            if start is not None:
                return self._of(index, self._left(start - 1))
        if before in ("THEN", "ELSE"):
            return next(filter(None, (self._of(index, found) for found in self._branches(index))), None)
        if before in _CONDITIONS and after in _AFTER_CONDITION | {""}:
            return "BOOLEAN"
        return self._argument(index) if before in ("(", ",") else None

    def _argument(self, index: int) -> str | None:
        """The type of an item in brackets."""
        opening = self._opening(index)
        if opening is None:
            return None
        name = self._words[opening - 1].plain.upper() if opening else ""
        closing = self._partner[opening]
        if name == "CAST" and self._upper(index + 1) == "AS":
            return self._text(index + 2, closing)
        if name == "IN":
            return self._of(index, self._left(opening - 2))
        if name in _ALIKE:
            return next(filter(None, (self._of(index, found) for found in self._items(opening))), None)
        tried = ("VARCHAR", "INTEGER") if name in _OF_TEXTS else ("INTEGER",) if name in _OF_COUNTS else ()
        for kind in tried:
            if self._probe(index, self._text(opening - 1, closing + 1, {index: kind})) is not None:
                return kind
        return None

    # ---- ranges of words --------------------------------------------------------------------------------------------

    def _upper(self, index: int) -> str:
        return self._words[index].upper if 0 <= index < len(self._words) else ""

    def _left(self, last: int) -> range:
        """The operand that ends with this word."""
        first = last + 1
        while first > 0:
            word = self._upper(first - 1)
            if word in (")", "END") and first - 1 in self._partner:
                first = self._partner[first - 1]
            elif word in _EDGES:
                break
            else:
                first -= 1
        # `x NOT IN (…)`, `x NOT BETWEEN …`
        return (
            range(first, last + 1)
            if first <= last
            else self._left(last - 1)
            if self._upper(last) == "NOT"
            else range(0)
        )

    def _right(self, first: int) -> range:
        """The operand that begins with this word."""
        end = first
        while end < len(self._words):
            word = self._upper(end)
            if word in ("(", "CASE") and end in self._partner:
                end = self._partner[end] + 1
            elif word in _EDGES:
                break
            else:
                end += 1
        return range(first, end)

    def _between(self, index: int) -> int | None:
        """The BETWEEN that this word is of, itself or by its AND."""
        if self._upper(index) == "BETWEEN":
            return index
        before = self._left(index - 1)
        return before.start - 1 if before and self._upper(before.start - 1) == "BETWEEN" else None

    def _opening(self, index: int) -> int | None:
        """The bracket that this word stands in."""
        place = self._inside[index]
        while place >= 0 and self._words[place].text != "(":
            place = self._inside[place]
        return place if place >= 0 and place in self._partner else None

    def _items(self, opening: int) -> Iterator[range]:
        first = opening + 1
        while first < self._partner[opening]:
            item = self._right(first)
            yield item
            first = max(item.stop, first) + 1

    def _branches(self, index: int) -> Iterator[range]:
        """What the other branches of the CASE give."""
        case = self._inside[index]
        if self._upper(case) != "CASE" or case not in self._partner:
            return
        place = case + 1
        while place < self._partner[case]:
            if self._upper(place) in ("THEN", "ELSE"):
                yield self._right(place + 1)
            place = self._partner[place] + 1 if self._partner.get(place, 0) > place else place + 1

    # ---- what the planner says --------------------------------------------------------------------------------------

    def _of(self, index: int, operand: range) -> str | None:
        """The type of an operand, where the parameter at `index` stands."""
        return self._probe(index, self._text(operand.start, operand.stop)) if operand else None

    def _probe(self, index: int, expression: str | None) -> str | None:
        if not expression:
            return None
        opening = self._opening(index)
        level = -1 if opening is None else opening
        if level not in self._asked_by:
            self._asked_by[level] = list(self._sources(index))
        for source in self._asked_by[level]:
            probe = source.format(expression)
            if probe not in self._probed:
                if len(self._probed) >= _MOST_PROBES:
                    raise validation("The parameters stand beside too many different things", self._words[index].start)
                self._probed[probe] = self._planned(probe)
            if self._probed[probe] is not None:
                return self._probed[probe]
        return None

    def _planned(self, probe: str) -> str | None:
        try:
            return sql_type(self._plan(probe).field(0).type)
        except Refusal:
            return None

    def _sources(self, index: int) -> Iterator[str]:
        """Statements to ask a type by, with `{}` for the expression: the innermost SELECT first, then those around."""
        with_, prefix = self._upper(0) == "WITH", ""
        main = next((place for place in self._at_level(0, len(self._words)) if self._upper(place) == "SELECT"), None)
        if with_ and main is not None:
            upto = main
            if index < main:
                # Inside one of the WITH queries: those before it.
                own = max(place for place in self._at_level(0, index) if self._upper(place) == "(")
                upto = next((place for place in range(own, 0, -1) if self._upper(place) == ","), 0)
            prefix = (self._text(0, upto, {}, "NULL") or "") + " " if upto else ""
        around: list[tuple[int, int]] = []
        opening = self._opening(index)
        while opening is not None:
            around.append((opening, self._partner[opening]))
            opening = self._opening(opening)
        for first, end in [*around, (-1, len(self._words))]:
            level = [place for place in self._at_level(first + 1, end) if place < index]
            selects = [place for place in level if self._upper(place) == "SELECT"]
            if not selects:
                continue
            rest = list(self._at_level(selects[-1] + 1, end))
            start = next((place for place in rest if self._upper(place) == "FROM"), None)
            if start is None:
                yield _braced(prefix) + "SELECT {} AS v"
                continue
            stop = next((place for place in rest if place > start and self._upper(place) in _AFTER_FROM), end)
            yield f"{_braced(prefix)}SELECT {{}} AS v {_braced(self._text(start, stop, {}, 'NULL') or '')}"

    def _at_level(self, first: int, end: int) -> Iterator[int]:
        """The words of a range that are in no brackets of it, their opening ones too."""
        place = first
        while place < end:
            yield place
            jump = self._words[place].text == "(" and self._partner.get(place)
            place = jump + 1 if jump else place + 1

    def _text(
        self, first: int, end: int, given: dict[int, str] | None = None, unknown: str | None = None
    ) -> str | None:
        """The text of a range of words, NULLs of their types for parameters; None where one has no type yet."""
        if first >= end:
            return None
        pieces: list[str] = []
        done = self._words[first].start
        for number, place in enumerate(self._places):
            if first <= place < end:
                kind = (given or {}).get(place) or self._known[number]
                null = f"CAST(NULL AS {kind})" if kind else unknown
                if null is None:
                    return None
                pieces += [self._sql[done : self._words[place].start], f" {null} "]
                done = self._words[place].start + 1
        last = self._words[end - 1]
        return "".join([*pieces, self._sql[done : last.start + len(last.text)]])


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _brackets(words: Sequence[Word]) -> tuple[dict[int, int], list[int]]:
    """For each bracket, CASE and END the place of its other half; for each word what it stands in, -1 for nothing."""
    found: dict[int, int] = {}
    inside: list[int] = []
    opened: list[int] = []
    closes = {")": "(", "END": "CASE"}
    for place, word in enumerate(words):
        if word.upper in closes and opened and words[opened[-1]].upper == closes[word.upper]:
            other = opened.pop()
            found[other], found[place] = place, other
        inside.append(opened[-1] if opened else -1)
        if word.upper in ("(", "CASE"):
            opened.append(place)
    return found, inside


def sql_type(kind: pa.DataType) -> str | None:
    """The name of a type on the wire in a CAST; None for one that no parameter has."""
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    return _SQL_TYPES.get(kind)


_SQL_TYPES: dict[pa.DataType, str] = {
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.date64(): "DATE",
    pa.time32("ms"): "TIME",
    pa.timestamp("ms"): "TIMESTAMP",
}
