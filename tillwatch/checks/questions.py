"""Statements of rules that ask, planned where the data is: nothing runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.dremio.errors import DremioError, NotFound, QueryError
from lakehouse.rules.kinds.question import QuestionRule
from lakehouse.yaml_file import line_of, read_text
from notifier.questions.answer import CannotJudge, check_columns
from tillwatch.checks.planning import Planning, planning
from tillwatch.checks.shop import Shop

_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
"""In place of the data's: a plan hangs on the types of values, not on these."""


def unanswerable(shop: Shop) -> Iterator[str]:
    """Rules whose statement has no answer, or another than the rule can judge."""
    places = {rule.name: place for place, rule in enumerate(shop.rules.value or ())}
    rules = [rule for rule in shop.rules.value or () if isinstance(rule, QuestionRule)]
    if not rules:
        return
    with planning() as plans:
        if plans.note:
            shop.notes.append(plans.note)
        for rule in rules:
            yield from _wrong_of(shop, rule, ("rules", places[rule.name]), plans)


def _wrong_of(shop: Shop, rule: QuestionRule, place: tuple[str | int, ...], plans: Planning) -> Iterator[str]:
    try:
        schema = plans.schema(rule.statement(None, _MOMENT))
        check_columns(rule, schema)
    except NotFound as error:
        if plans.knows_all:
            yield _sentence(shop, rule, place, error, str(error))
        else:
            shop.notes.append(f"The rule {rule.name} was not planned: {error} Start Dremio or a gateway that has it.")
    except QueryError as error:
        yield _sentence(shop, rule, place, error, str(error))
    except CannotJudge as error:
        line = line_of(read_text(shop.rules_file), *place, error.key)
        said = str(error)
        yield f"{shop.rules_file}, line {line}: rule '{rule.name}': {said[:1].lower()}{said[1:]}"
    except DremioError as error:
        shop.notes.append(f"The rule {rule.name} was not planned: {error}")


def _sentence(shop: Shop, rule: QuestionRule, place: tuple[str | int, ...], error: QueryError, said: str) -> str:
    """Where in which file a statement is wrong."""
    path: Path = shop.rules_file
    if rule.question is not None:
        own = shop.folder / "questions" / f"{rule.question}.sql"
        if own.is_file():
            return f"{own}, line {_skipped(rule.template) + (error.line or 1)}: rule '{rule.name}': {said}"
        line = line_of(read_text(path), *place, "question")
    else:
        line = line_of(read_text(path), *place, "sql")
        if error.line and "\n" in rule.template:
            # A statement of several lines begins below its key.
            line += _skipped(rule.template) + error.line
    return f"{path}, line {line}: rule '{rule.name}', key '{'question' if rule.question else 'sql'}': {said}"


def _skipped(template: str) -> int:
    """Lines before the statement: they are dropped when it is asked."""
    lines = template.splitlines()
    return next((at for at, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("--")), 0)
