"""`select`: which messages, and which elements, become events."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from lakehouse.decode.careful import WrongValue
from lakehouse.decode.document import JsonNumber
from lakehouse.decode.values import parse_number
from lakehouse.sources.entry import Entry
from lakehouse.sources.path import ABSENT, Getter, Scope

type Condition = Callable[[Scope], bool]
type Test = Callable[[object], bool]
type Number = Callable[[object], Decimal | None]

_ORDERS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "above": Decimal.__gt__,
    "at_least": Decimal.__ge__,
    "below": Decimal.__lt__,
    "at_most": Decimal.__le__,
}
OPERATORS = ("not", *_ORDERS, "starts", "given", "differs")


def condition(
    get: Getter,
    wanted: Entry,
    get_path: Callable[[Entry], Getter],
    read: Callable[[object], Decimal | WrongValue] | None = None,
) -> Condition:
    """Whether what stands at a path is a value, one of several, or passes every test of `{above: 0, …}`.

    read: how the source writes numbers, where that is not as JSON does.
    """
    number = _number if read is None else _written(read)
    if not isinstance(wanted.value, dict):
        test = _one_of(wanted, number)
        return lambda scope: test(get(scope))
    tests: list[Condition] = []
    for name, entry in wanted.keys(OPERATORS).items():
        tests.append(
            _differs(get, get_path(entry)) if name == "differs" else _tested(get, _operator(name, entry, number))
        )
    if not tests:
        raise wanted.wrong("it is empty; write a value, [one, another], or {above: 0}")
    return tests[0] if len(tests) == 1 else lambda scope: all(test(scope) for test in tests)


def _tested(get: Getter, test: Test) -> Condition:
    return lambda scope: test(get(scope))


def _differs(get: Getter, other: Getter) -> Condition:
    return lambda scope: _comparable(get(scope)) != _comparable(other(scope))


def _operator(name: str, entry: Entry, number: Number) -> Test:
    match name:
        case "not":
            test = _one_of(entry, number)
            return lambda value: not test(value)
        case "given":
            wanted = entry.flag()
            return lambda value: (_comparable(value) not in (None, "")) is wanted
        case "starts":
            begins = tuple(entry.texts())
            return lambda value: isinstance(value, str | int) and str(value).startswith(begins)
        case _:
            limit, holds = entry.number(), _ORDERS[name]

            def compares(value: object) -> bool:
                found = number(value)
                return found is not None and holds(found, limit)

            return compares


def _one_of(entry: Entry, number: Number) -> Test:
    values = entry.value if isinstance(entry.value, list) else [entry.value]
    if not values or any(not isinstance(value, str | int | float | bool | None) for value in values):
        raise entry.wrong(f"'{entry.name}' is no value; write a value, [one, another], or {{above: 0}}")
    texts = frozenset(value for value in values if isinstance(value, str))
    if len(texts) == len(values):
        return lambda value: type(value) is str and value in texts
    numbers = {Decimal(str(value)) for value in values if type(value) in (int, float)}
    flags = [value for value in values if isinstance(value, bool)]
    nothing = None in values

    def test(value: object) -> bool:
        if value is None or value is ABSENT:
            return nothing
        if isinstance(value, bool):
            return value in flags
        return (type(value) is str and value in texts) or (bool(numbers) and number(value) in numbers)

    return test


def _number(value: object) -> Decimal | None:
    if type(value) is int:
        return Decimal(value)
    return parse_number(value) if isinstance(value, str) else None


def _written(read: Callable[[object], Decimal | WrongValue]) -> Number:
    def number(value: object) -> Decimal | None:
        found = read(value) if type(value) is int or isinstance(value, str) else None
        return None if isinstance(found, WrongValue) else found

    return number


def _comparable(value: object) -> object:
    """Numbers as numbers, and nothing as null."""
    if value is ABSENT:
        return None
    return _number(value) if type(value) is int or isinstance(value, JsonNumber) else value
