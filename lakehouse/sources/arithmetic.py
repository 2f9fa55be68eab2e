"""Arithmetic over numbers of a message: `(total - shipping) / quantity`, exact; a division to 20 decimals."""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable
from decimal import Decimal

from lakehouse.decode.careful import WrongValue
from lakehouse.decode.document import shown
from lakehouse.decode.rejected import Reason
from lakehouse.decode.values import EXACT
from lakehouse.sources.convert import as_json, bounded
from lakehouse.sources.path import ABSENT, Getter, Path, Scope, parse_path

type Operand = Callable[[Scope], object]
"""Gives a Decimal, Wrong, or ABSENT where a number is not there."""

type Sign = Callable[[Decimal, Decimal], Decimal]

LONGEST = 300  # characters

# More than any number here has, so that a quotient is rounded once; our amounts have four decimals at most.
_DIVISION = decimal.Context(prec=200, rounding=decimal.ROUND_HALF_EVEN)
_SMALLEST = Decimal("1E-20")
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)|(?P<path>(?:'[^']+'|[^\W\d]|\[\])(?:'[^']*'|[\w.\[\]])*)|(?P<sign>[-+*/()]))"
)
_SIGNS: dict[str, Sign] = {
    "+": EXACT.add,
    "-": EXACT.subtract,
    "*": EXACT.multiply,
    "/": lambda a, b: _DIVISION.quantize(_DIVISION.divide(a, b), _SMALLEST),
}


class NoArithmetic(Exception):
    """The message is what is wrong, without a full stop."""


def calculation(
    text: str, get_path: Callable[[Path], Getter], read: Callable[[object], Decimal | WrongValue]
) -> tuple[Getter, list[Path]]:
    """What calculates it, as a number of JSON, and the paths it reads. Raises NoArithmetic."""
    if len(text) > LONGEST:
        raise NoArithmetic(f"is {len(text)} characters long; {LONGEST} are the most")
    parser = _Parser(_tokens(text), get_path, read)
    operand = parser.sum()
    if parser.rest:
        raise NoArithmetic(f"has '{parser.rest[0][1]}' where + - * / or its end is expected")
    if not parser.paths:
        raise NoArithmetic("reads no path; write `value:` for a constant")

    def get(scope: Scope) -> object:
        found = operand(scope)
        return as_json(found) if isinstance(found, Decimal) else found

    return get, parser.paths


def _tokens(text: str) -> list[tuple[str, str]]:
    found, end = [], 0
    text = text.rstrip()
    while end < len(text):
        token = _TOKEN.match(text, end)
        if token is None:
            raise NoArithmetic(f"has '{text[end:].strip()[:20]}', which is no path, number or one of + - * / ( )")
        found.append((str(token.lastgroup), token[str(token.lastgroup)]))
        end = token.end()
    return found


class _Parser:
    """By recursive descent: a sum of products of operands."""

    def __init__(
        self,
        tokens: list[tuple[str, str]],
        get_path: Callable[[Path], Getter],
        read: Callable[[object], Decimal | WrongValue],
    ) -> None:
        self.rest = tokens
        self.paths: list[Path] = []
        self._get_path = get_path
        self._read = read

    def sum(self) -> Operand:
        return self._chain("+-", self._product)

    def _product(self) -> Operand:
        return self._chain("*/", self._operand)

    def _chain(self, signs: str, part: Callable[[], Operand]) -> Operand:
        found = part()
        while self.rest and self.rest[0][0] == "sign" and self.rest[0][1] in signs:
            _, sign = self.rest.pop(0)
            found = _both(found, _SIGNS[sign], part())
        return found

    def _operand(self) -> Operand:
        if not self.rest:
            raise NoArithmetic("ends where a path or a number is expected")
        kind, text = self.rest.pop(0)
        if kind == "number":
            constant = Decimal(text)
            return lambda _: constant
        if kind == "path":
            return self._of_path(text)
        if text == "-":
            return _both(lambda _: Decimal(0), EXACT.subtract, self._operand())
        if text == "(":
            inner = self.sum()
            if not self.rest or self.rest.pop(0)[1] != ")":
                raise NoArithmetic("has a '(' without its ')'")
            return inner
        raise NoArithmetic(f"has '{text}' where a path or a number is expected")

    def _of_path(self, text: str) -> Operand:
        path = parse_path(text)
        if path is None:
            raise NoArithmetic(f"has '{text}', which is no path")
        get, read = self._get_path(path), self._read
        self.paths.append(path)

        def operand(scope: Scope) -> object:
            value = get(scope)
            if value is ABSENT or value is None or (type(value) is str and not value.strip()):
                return ABSENT
            number = read(value)
            number = bounded(number) if isinstance(number, Decimal) else number
            return (
                number if isinstance(number, Decimal) else WrongValue(number.reason, f"needs {text}, which {number[1]}")
            )

        return operand


def _both(left: Operand, sign: Sign, right: Operand) -> Operand:
    def operand(scope: Scope) -> object:
        a, b = left(scope), right(scope)
        if not isinstance(a, Decimal):
            return a
        if not isinstance(b, Decimal):
            return b
        try:
            return bounded(sign(a, b))
        except decimal.DecimalException:
            return WrongValue(Reason.BAD_VALUE, f"divides {shown(str(a))} by {shown(str(b))}")

    return operand
