"""config/alerts.yaml read into rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lakehouse.checked_file import told_once
from lakehouse.mistakes import AlreadyTold, is_wrong, noted
from lakehouse.rules.kinds import kinds
from lakehouse.rules.rule import Rule, WrongKey
from lakehouse.settings.reason import reason
from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, line_of, read_text, read_yaml


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a YAML file, in its order.

    Raises UserError in one sentence that names file, line, rule, key and value.
    """
    try:
        content = read_yaml(path)
    except NotYaml as error:
        raise UserError(f"The alert rules {path} cannot be read: {error}; mend or restore the file.") from None
    if not isinstance(content, dict) or list(content) != ["rules"] or not isinstance(content["rules"], list):
        more = [key for key in content if key != "rules"] if isinstance(content, dict) else []
        line = line_of(read_text(path), *more[:1])
        hint = f", not `{more[0]}:`" if more else ""
        raise UserError(
            f"{path}, line {line}: it must hold one list under `rules:`{hint}; compare with config/alerts.yaml."
        )
    rules: list[Rule] = []
    for place, raw in enumerate(content["rules"]):
        with noted(path):
            rule = _rule(path, place, raw)
            if any(rule.name == other.name for other in rules):
                where = f"{path}, line {line_of(read_text(path), 'rules', place, 'name')}"
                raise UserError(f"{where}: key 'name' has the value '{rule.name}' in two rules; give one another name.")
            rules.append(rule)
    return tuple(rules)


def _rule(path: Path, place: int, raw: object) -> Rule:
    def who(*keys: str | int) -> str:
        name = f"'{raw['name']}'" if isinstance(raw, dict) and "name" in raw else str(place + 1)
        return f"{path}, line {line_of(read_text(path), 'rules', place, *keys)}: rule {name}"

    if not isinstance(raw, dict):
        raise UserError(f"{who()} has the value '{raw}'; expected `key: value` lines.")
    known_kinds = ", ".join(kinds())
    if "kind" not in raw:
        raise UserError(f"{who()} lacks the key 'kind'; add it with one of {known_kinds}.")
    kind = kinds().get(raw["kind"]) if isinstance(raw["kind"], str) else None
    if kind is None:
        given = f"{raw['kind']}'{near(str(raw['kind']), kinds())}"
        raise UserError(f"{who('kind')}, key 'kind' has the value '{given}; expected one of {known_kinds}.")
    try:
        return kind.model_validate(raw, context={"folder": path.parent})
    except WrongKey as wrong:
        _pass_over(wrong.value)
        _pass_over(raw.get("question"))
        where = f"{who(*wrong.key.split('.'))}, key '{wrong.key}'"
        hint = near(str(wrong.value), wrong.known)
        raise UserError(f"{where} has the value '{wrong.value}'{hint}; expected {wrong.expected}.") from None
    except ValidationError as error:
        for each in told_once(error.errors()):
            with noted(path):
                _pass_over(each["input"])
                raise UserError(_sentence(who, kind, each)) from None
        raise AlreadyTold(f"{path} is wrong") from None


def _sentence(who: Callable[..., str], kind: type[Rule], error: ErrorDetails) -> str:
    """who: names a place of the rule."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{who()} lacks the key '{key}'; add it."
    if error["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in kind.model_fields.items()]
        given = f"the unknown key '{key}' with the value '{error['input']}'{near(key, known)}"
        return f"{who(*error['loc'])} has {given}; known are {', '.join(known)}."
    given = "nothing" if error["input"] is None else error["input"]
    return f"{who(*error['loc'])}, key '{key}' has the value '{given}'; {reason(error)}."


def _pass_over(value: object) -> None:
    """Raise Told where a rule names a topic, table or question whose own file is wrong: that was said there."""
    if isinstance(value, str) and is_wrong(value.strip("{}")):
        raise AlreadyTold(f"{value} is left out") from None
