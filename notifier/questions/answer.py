"""From an answer's rows to what a rule finds of each entity. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from lakehouse.rules.kinds.question import OWN_WORDS, QuestionRule
from lakehouse.rules.reading import Entity
from lakehouse.rules.rule import as_text, duration, names_in, number
from lakehouse.texts import near
from notifier.model import SEVERITIES, rank

TEXT_LETTERS = 500
"""Of one value in an entity or a sentence."""


class CannotJudge(Exception):
    """An answer is none that the rule can judge; the message is one sentence. key: of the rule, that names what is
    wrong."""

    def __init__(self, sentence: str, key: str = "sql") -> None:
        super().__init__(sentence)
        self.key = key


@dataclass(frozen=True)
class Finding:
    """What an answer says of an entity. value: None where it says nothing: what is open stays as it is. rows: how many
    it has. words: what its texts may name."""

    entity: Entity
    value: float | None
    outside: bool
    severity: str
    words: Mapping[str, str]
    rows: int = 1


def findings(rule: QuestionRule, answer: pa.Table) -> dict[Entity, Finding]:
    """By entity, in the answer's order; of several rows of one the worst. Raises CannotJudge."""
    check_columns(rule, answer.schema)
    found: dict[Entity, Finding] = {}
    named = [name for text in (rule.description, rule.summary) for name in names_in("", text)]
    wanted = dict.fromkeys([*rule.by, *named, *filter(None, (rule.value, rule.severity_from))])
    columns = [name for name in wanted if name in answer.schema.names]
    # Of a question that answers that it is there, no column need be read.
    rows = answer.select(columns).to_pylist() if columns else [{}] * answer.num_rows
    for row in rows:
        one = _finding(rule, row)
        before = found.get(one.entity)
        found[one.entity] = one if before is None else _worse(rule, before, one)
    return found


def check_columns(rule: QuestionRule, schema: pa.Schema) -> None:
    """Raises CannotJudge naming the first column that is not there, there twice, or of a type that says nothing."""
    names = schema.names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CannotJudge(f"Its answer has two columns '{twice}'; give one another name with AS.")
    _has(schema, "value", [rule.value] if rule.value else [], _is_number, "a number")
    _has(schema, "by", rule.by, _is_plain, "a text, a number or a time")
    _has(schema, "severity_from", [rule.severity_from] if rule.severity_from else [], pa.types.is_string, "a text")
    for key, text in (("description", rule.description), ("summary", rule.summary)):
        _has(schema, key, [name for name in names_in(key, text) if name not in OWN_WORDS], _is_plain, "a text")


def _has(schema: pa.Schema, key: str, names: Iterable[str], fits: Callable[[pa.DataType], bool], expected: str) -> None:
    for name in names:
        if name not in schema.names:
            there = ", ".join(schema.names)[:300]
            raise CannotJudge(
                f"Its key '{key}' names the column '{name}', which its answer does not have{near(name, schema.names)}; "
                f"there are {there}.",
                key,
            )
        if not fits(schema.field(name).type):
            kind = schema.field(name).type
            raise CannotJudge(
                f"Its key '{key}' names the column '{name}' of the type {kind}; expected {expected}.", key
            )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_plain(kind: pa.DataType) -> bool:
    return bool(_is_number(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind))


def _finding(rule: QuestionRule, row: Mapping[str, Any]) -> Finding:
    value: float | None = 1.0
    outside = True
    if rule.value is not None:
        value = None if row[rule.value] is None else float(row[rule.value])
        if value is not None and not math.isfinite(value):
            value = None
        outside = value is not None and _is_outside(rule, value)
    said = str(row[rule.severity_from] or "").strip().upper() if rule.severity_from else ""
    words = {name: as_text(each)[:TEXT_LETTERS] for name, each in row.items()}
    return Finding(
        tuple(as_text(row[name])[:TEXT_LETTERS] for name in rule.by),
        value,
        outside,
        said if said in SEVERITIES else rule.severity,
        words | _own_words(rule, value),
    )


def _is_outside(rule: QuestionRule, value: float) -> bool:
    if rule.above is not None:
        return value > rule.above
    assert rule.below is not None  # the rule has one of the two
    return value < rule.below


def _worse(rule: QuestionRule, one: Finding, other: Finding) -> Finding:
    """Of two rows of an entity that which is further out; where a row alone counts, the worst, and how many."""
    if rule.rows is not None:
        count = one.rows + other.rows
        worse = other if rank(other.severity) > rank(one.severity) else one
        return replace(worse, value=float(count), rows=count, words={**worse.words, **_own_words(rule, float(count))})
    if one.value is None or other.value is None:
        return one if other.value is None else other
    further = other.value > one.value if rule.above is not None else other.value < one.value
    return other if further else one


def _own_words(rule: QuestionRule, value: float | None) -> dict[str, str]:
    limit = rule.threshold
    figures = {"value": value, "threshold": limit}
    words = {name: "" if figure is None else number(figure) for name, figure in figures.items()}
    return words | {"for": duration(rule.for_)}
