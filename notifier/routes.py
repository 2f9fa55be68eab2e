"""Who is told what: config/routes.yaml, and the destinations that its routes reach."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, read_yaml
from notifier.channel import Channel
from notifier.channels import CHANNELS
from notifier.model import Target


def _known(name: str) -> str:
    if name not in CHANNELS:
        raise ValueError("no such channel")
    return name


class Route(BaseModel):
    """Alerts of these severities go to these channels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    severity: tuple[Literal["FATAL"], ...] = Field(min_length=1)
    channels: tuple[Annotated[str, AfterValidator(_known)], ...] = Field(min_length=1)


def read_routes(path: Path) -> tuple[Route, ...]:
    """Routes from a YAML file: `routes:`, each with name, severity and channels."""
    try:
        content = read_yaml(path)
    except NotYaml as error:
        raise UserError(f"The routes file {path} cannot be read: {error}; mend it or set notifier.routes.") from None
    entries = content.get("routes") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries or set(content) != {"routes"}:
        raise UserError(f"The routes file {path} must hold one list, `routes:`, with at least one route.")
    routes = []
    for number, entry in enumerate(entries, 1):
        name = entry.get("name", f"number {number}") if isinstance(entry, dict) else f"number {number}"
        try:
            routes.append(Route.model_validate(entry))
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0]) if first["loc"] else "route"
            what = {
                "severity": "severity is a list of FATAL",
                "channels": f"channels is a list of {', '.join(CHANNELS)}",
                "name": "name is a text",
            }.get(key, f"'{key}' is none of name, severity, channels")
            raise UserError(f"Route {name} in {path} has a wrong or missing value at '{key}': {what}.") from None
    names = [route.name for route in routes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"The routes file {path} has two routes named '{twice}'; rename one.")
    return tuple(routes)


def targets(routes: Sequence[Route], channels: Sequence[Channel]) -> dict[str, list[Target]]:
    """Where alerts of each severity go: every destination of every routed channel that is set up, once."""
    found: dict[str, list[Target]] = {}
    for route in routes:
        for severity in route.severity:
            held = found.setdefault(severity, [])
            for channel in channels:
                if channel.name in route.channels:
                    new = (Target(channel.name, destination) for destination in channel.destinations)
                    held.extend(target for target in new if target not in held)
    return found
