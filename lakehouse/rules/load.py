"""config/alerts.yaml read into rules.

A new kind is a subclass of MinuteRule, listed in KINDS: it says what it reads, and what it finds of a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import ValidationError

from lakehouse.events import ErrorEvent
from lakehouse.rules.limits import DeadLettersRule, NoDataRule, ThresholdRule
from lakehouse.rules.rule import EventRule, Rule, Wrong
from lakehouse.rules.usual import AnomalyRule, ZeroRule
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, read_yaml

KINDS: dict[str, type[Rule]] = {
    "event": EventRule,
    "threshold": ThresholdRule,
    "zero": ZeroRule,
    "anomaly": AnomalyRule,
    "no_data": NoDataRule,
    "dead_letters": DeadLettersRule,
}


def alerting_events(rules: Sequence[Rule]) -> Callable[[ErrorEvent], bool]:
    """A test for events that some rule alerts on (of which evaluate must hear, and which ask for a publish at once)."""
    matchers = [rule.matches for rule in rules if isinstance(rule, EventRule)]
    return lambda event: any(matches(event) for matches in matchers)


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a YAML file, in its order.

    Raises UserError in one sentence that names file, rule, key and value.
    """
    try:
        content = read_yaml(path)
    except NotYaml as error:
        raise UserError(f"The alert rules {path} cannot be read: {error}; mend or restore the file.") from None
    if not isinstance(content, dict) or list(content) != ["rules"] or not isinstance(content["rules"], list):
        raise UserError(f"The alert rules {path} must hold one list under `rules:`; compare with config/alerts.yaml.")
    rules: list[Rule] = []
    for place, raw in enumerate(content["rules"], start=1):
        rule = _rule(path, place, raw)
        if any(rule.name == other.name for other in rules):
            raise UserError(f"{path}: key 'name' has the value '{rule.name}' in two rules; give one another name.")
        rules.append(rule)
    return tuple(rules)


def _rule(path: Path, place: int, raw: object) -> Rule:
    if not isinstance(raw, dict):
        raise UserError(f"{path}: rule {place} has the value '{raw}'; expected `key: value` lines.")
    who = f"{path}: rule '{raw['name']}'" if "name" in raw else f"{path}: rule {place}"
    if "kind" not in raw:
        raise UserError(f"{who} lacks the key 'kind'; add it with one of {', '.join(KINDS)}.")
    kind = KINDS.get(raw["kind"]) if isinstance(raw["kind"], str) else None
    if kind is None:
        raise UserError(f"{who}, key 'kind' has the value '{raw['kind']}'; expected one of {', '.join(KINDS)}.")
    try:
        return kind.model_validate(raw)
    except Wrong as wrong:
        raise UserError(f"{who}, key '{wrong.key}' has the value '{wrong.value}'; expected {wrong.expected}.") from None
    except ValidationError as error:
        first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        raise UserError(f"{who} lacks the key '{key}'; add it.")
    if first["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in kind.model_fields.items()]
        raise UserError(
            f"{who} has the unknown key '{key}' with the value '{first['input']}'; known are {', '.join(known)}."
        )
    reason = first["msg"].removeprefix("Value error, ")
    raise UserError(f"{who}, key '{key}' has the value '{first['input']}'; {reason[:1].lower()}{reason[1:]}.")
