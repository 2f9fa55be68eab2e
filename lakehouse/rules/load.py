"""config/alerts.yaml read into rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lakehouse.checked_file import told_once
from lakehouse.rules.kinds import kinds
from lakehouse.rules.rule import Rule, Wrong
from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, line_of, read_text, read_yaml


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a YAML file, in its order.

    Raises UserError in a sentence for each mistake, that names file, line, rule, key and value.
    """
    try:
        content = read_yaml(path)
    except NotYaml as error:
        raise UserError(f"The alert rules {path} cannot be read: {error}; mend or restore the file.") from None
    if not isinstance(content, dict) or list(content) != ["rules"] or not isinstance(content["rules"], list):
        raise UserError(f"The alert rules {path} must hold one list under `rules:`; compare with config/alerts.yaml.")
    rules: list[Rule] = []
    wrong: list[str] = []
    for place, raw in enumerate(content["rules"]):
        try:
            rule = _rule(path, place, raw)
        except UserError as error:
            wrong += error.sentences
            continue
        if any(rule.name == other.name for other in rules):
            where = f"{path}, line {line_of(read_text(path), 'rules', place, 'name')}"
            wrong.append(f"{where}: key 'name' has the value '{rule.name}' in two rules; give one another name.")
        rules.append(rule)
    if wrong:
        raise UserError.of(wrong)
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
        raise UserError(f"{who('kind')}, key 'kind' has the value '{raw['kind']}'; expected one of {known_kinds}.")
    try:
        return kind.model_validate(raw, context={"folder": path.parent})
    except Wrong as wrong:
        where = f"{who(*wrong.key.split('.'))}, key '{wrong.key}'"
        raise UserError(f"{where} has the value '{wrong.value}'; expected {wrong.expected}.") from None
    except ValidationError as error:
        found = {each["loc"]: _sentence(who, kind, each) for each in reversed(told_once(error.errors()))}
        raise UserError.of(reversed(found.values())) from None


def _sentence(who: Callable[..., str], kind: type[Rule], first: ErrorDetails) -> str:
    """who: names a place of the rule."""
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{who()} lacks the key '{key}'; add it."
    if first["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in kind.model_fields.items()]
        given = f"the unknown key '{key}' with the value '{first['input']}'{near(key, known)}"
        return f"{who(*first['loc'])} has {given}; known are {', '.join(known)}."
    reason = first["msg"].removeprefix("Value error, ")
    where = f"{who(*first['loc'])}, key '{key}'"
    return f"{where} has the value '{first['input']}'; {reason[:1].lower()}{reason[1:]}."
