"""Statements of rules that ask, planned where the data is: nothing runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.dremio.errors import DremioError, NotFound, QueryError
from lakehouse.rules import Rule
from lakehouse.rules.kinds.question import QuestionRule
from lakehouse.yaml_file import line_of, parse_yaml, read_text
from notifier.questions.answer import CannotJudge, check_columns
from tillwatch.checks.planning import Planning, planning

_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
"""In place of the data's: a plan hangs on the types of values, not on these."""


def unanswerable(path: Path, rules: Sequence[Rule], notes: list[str]) -> Iterator[str]:
    """Rules whose statement has no answer, or another than the rule can judge.

    path: the file of the rules. notes: gets what could not be looked at, and why.
    """
    asking = [rule for rule in rules if isinstance(rule, QuestionRule)]
    if not asking:
        return
    text = read_text(path)
    names = [each.get("name") if isinstance(each, dict) else None for each in parse_yaml(text)["rules"]]
    with planning() as plans:
        if plans.note:
            notes.append(plans.note)
        for rule in asking:
            yield from _wrong_of(rule, path, text, names.index(rule.name), plans, notes)


def _wrong_of(
    rule: QuestionRule, path: Path, text: str, place: int, plans: Planning, notes: list[str]
) -> Iterator[str]:
    try:
        check_columns(rule, plans.schema(rule.statement(None, _MOMENT)))
    except NotFound as error:
        if plans.knows_all:
            yield _sentence(rule, path, text, place, error)
        else:
            notes.append(f"The rule {rule.name} was not planned: {error} Start Dremio or a gateway that has it.")
    except QueryError as error:
        yield _sentence(rule, path, text, place, error)
    except CannotJudge as error:
        said = str(error)
        line = line_of(text, "rules", place, error.key)
        yield f"{path}, line {line}: rule '{rule.name}': {said[:1].lower()}{said[1:]}"
    except DremioError as error:
        notes.append(f"The rule {rule.name} was not planned: {error}")


def _sentence(rule: QuestionRule, path: Path, text: str, place: int, error: QueryError) -> str:
    """Where in which file a statement is wrong."""
    if rule.question is not None:
        own = path.parent / "questions" / f"{rule.question}.sql"
        if own.is_file():
            return f"{own}, line {_skipped(rule.template) + (error.line or 1)}: rule '{rule.name}': {error}"
    key = "sql" if rule.question is None else "question"
    line = line_of(text, "rules", place, key)
    if rule.question is None and error.line and "\n" in rule.template:
        # A statement of several lines begins below its key.
        line += _skipped(rule.template) + error.line
    return f"{path}, line {line}: rule '{rule.name}', key '{key}': {error}"


def _skipped(template: str) -> int:
    """Lines before the statement: they are dropped when it is asked."""
    lines = template.splitlines()
    return next((at for at, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("--")), 0)
