"""Statements of rules that ask, planned where the data is: nothing runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.dremio.errors import DremioError, NotFound, QueryError
from lakehouse.dremio.statement import named_in
from lakehouse.mistakes import is_wrong
from lakehouse.rules import Rule
from lakehouse.rules.kinds.question import QuestionRule, asking
from lakehouse.yaml_file import line_of, parse_yaml, read_text
from notifier.questions.answer import CannotJudge, check_columns
from tillwatch.checks.planning import StatementPlanner, with_near

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
"""In place of the data's: a plan hangs on the types of values, not on these."""


def unanswerable(path: Path, rules: Sequence[Rule], plans: StatementPlanner, notes: list[str]) -> Iterator[str]:
    """Rules whose statement has no answer, or another than the rule can judge.

    path: the file of the rules. notes: gets what could not be looked at, and why. A statement of a question's file that
    is wrong was told of that file.
    """
    found = asking(rules)
    if not found:
        return
    text = read_text(path)
    names = [each.get("name") if isinstance(each, dict) else None for each in parse_yaml(text)["rules"]]
    for rule in found:
        if rule.question is None or not is_wrong(rule.question):
            yield from _wrong_of(rule, path, text, names.index(rule.name), plans, notes)


def _wrong_of(
    rule: QuestionRule, path: Path, text: str, place: int, plans: StatementPlanner, notes: list[str]
) -> Iterator[str]:
    tables, _ = named_in(rule.template)
    try:
        check_columns(rule, plans.schema(rule.statement(None, MOMENT), tables))
    except CannotJudge as error:
        said = str(error)
        line = line_of(text, "rules", place, error.key)
        yield f"{path}, line {line}: rule '{rule.name}': {said[:1].lower()}{said[1:]}"
    except DremioError as error:
        if not plans.knows(error):
            said = f"The rule {rule.name} was not planned: {error}"
            notes.append(f"{said} Start Dremio or a gateway that has it." if isinstance(error, NotFound) else said)
            return
        key = "sql" if rule.question is None else "question"
        line = line_of(text, "rules", place, key)
        if rule.question is None and isinstance(error, QueryError) and error.line and "\n" in rule.template:
            # A statement of several lines begins below its key.
            line += skipped(rule.template) + error.line
        yield f"{path}, line {line}: rule '{rule.name}', key '{key}': {with_near(error, tables)}"


def skipped(template: str) -> int:
    """Lines before the statement: they are dropped when it is asked."""
    lines = template.splitlines()
    return next((at for at, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("--")), 0)
