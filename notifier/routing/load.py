"""config/routes.yaml read and checked: one sentence with file, line and what would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, line_of, parse_yaml, read_text
from notifier.routing.times import TimeSpan
from notifier.routing.tree import Inhibition, Maintenance, Route, Routing

type Place = tuple[str | int, ...]

_OF_LIST: Mapping[str, type[BaseModel]] = {
    "routes": Route,
    "times": TimeSpan,
    "inhibit": Inhibition,
    "maintenance": Maintenance,
}
_WAS = {
    "severity": "write `when: [severity = FATAL]`",
    "channels": "write `to: [slack, email]`",
    "match": "write `when: [severity = FATAL]`",
    "matchers": "write `when: [severity = FATAL]`",
    "receiver": "write `to: [slack]`",
}


def load_routing(path: Path, destinations: Mapping[str, Sequence[str]]) -> Routing:
    """What the file says. destinations: of every channel there is, by its name; none where it is not set up.

    Raises UserError for whatever is wrong: keys, types, zones, matchers, names that stand twice or are not there.
    """
    try:
        text = read_text(path)
        content = parse_yaml(text)
    except NotYaml as error:
        raise UserError(f"The routes file {path} cannot be read: {error}; mend it or set notifier.routes.") from None
    return _File(path, text).read(content, destinations)


class _File:
    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text
        self._content: Any = None

    def read(self, content: Any, destinations: Mapping[str, Sequence[str]]) -> Routing:
        if not isinstance(content, dict) or "routes" not in content:
            self._refuse((), "it holds no list `routes:`; compare with config/routes.yaml as it is shipped")
        self._content = content
        try:
            routing = Routing.model_validate(content)
        except ValidationError as error:
            self._invalid(error.errors()[0])
        times = [each.name for each in routing.times]
        self._once("times", times)
        self._once("inhibit", [each.name for each in routing.inhibit])
        self._once("maintenance", [each.name for each in routing.maintenance])
        seen: set[str] = set()
        for place, route in _placed(routing.routes, ("routes",)):
            if route.name in seen:
                self._refuse((*place, "name"), f"'{route.name}' is the name of two routes; give one another name")
            seen.add(route.name)
            for key in ("mute", "active"):
                for number, name in enumerate(getattr(route, key) or ()):
                    if name not in times:
                        hint = f"{near(name, times)}; times are {', '.join(times)}" if times else "; there are no times"
                        self._refuse((*place, key, number), f"'{name}' is no name under `times:`{hint}")
            self._check_names(place, route.to or (), destinations)
        return routing

    def _check_names(self, place: Place, names: Sequence[str], destinations: Mapping[str, Sequence[str]]) -> None:
        for number, name in enumerate(names):
            channel, _, destination = name.partition(":")
            there = (*place, "to", number)
            if channel not in destinations:
                names_of_all = ", ".join(destinations)
                hint = near(channel, destinations)
                self._refuse(there, f"'{channel}' is no channel{hint}; channels are {names_of_all}")
            known = destinations[channel]
            # A channel that is not set up has no destinations: its routes wait for it.
            if destination and known and destination not in known:
                self._refuse(
                    there,
                    f"'{destination}' is no destination of {channel}{near(destination, known)}; the settings have "
                    f"{', '.join(known)}",
                )

    def _once(self, key: str, names: Sequence[str]) -> None:
        for number, name in enumerate(names):
            if name in names[:number]:
                self._refuse((key, number, "name"), f"'{name}' stands twice under `{key}:`; give one another name")

    def _invalid(self, error: ErrorDetails) -> NoReturn:
        # What pydantic adds to tell how it came there is no part of the file.
        place: Place = tuple(part for part in error["loc"] if isinstance(part, int) or _is_key(part))
        key = next((str(part) for part in reversed(place) if isinstance(part, str)), "routes")
        match error["type"]:
            case "missing":
                self._refuse(place[:-1], f"the key '{place[-1]}' is missing; add it")
            case "extra_forbidden":
                self._refuse(place, self._unknown(place))
            case "too_short" | "string_too_short":
                self._refuse(place, f"'{key}' is empty; fill it or leave it out")
            case "tuple_type" | "list_type":
                self._refuse(place, f"'{key}' is no list; write it as [one, two]")
            case "model_type" | "model_attributes_type":
                self._refuse(place, f"an entry of '{key}' is no mapping; write `name: …` and its other keys")
        what = error["msg"].removeprefix("Value error, ").rstrip(".")
        self._refuse(place, f"'{key}': {what[:1].lower()}{what[1:]}")

    def _unknown(self, place: Place) -> str:
        key = str(place[-1])
        owner = next((part for part in reversed(place[:-1]) if isinstance(part, str)), "")
        model = _OF_LIST.get(owner, Routing)
        known = [field.alias or name for name, field in model.model_fields.items()]
        if model is Route and key in _WAS:
            return f"the key '{key}' is unknown; {_WAS[key]} in its place"
        return f"the key '{key}' is unknown{near(key, known)}; keys here are {', '.join(known)}"

    def _refuse(self, place: Place, what: str) -> NoReturn:
        line = line_of(self._text, *place)
        raise UserError(f"{self._path}, line {line}{self._named(place)}: {what}.") from None

    def _named(self, place: Place) -> str:
        """The entry that a place lies in, by its name."""
        found, name = self._content, ""
        for part in place:
            try:
                found = found[part]
            except (LookupError, TypeError):
                break
            if isinstance(found, dict) and isinstance(found.get("name"), str):
                name = found["name"]
        return f", '{name}'" if name else ""


def _is_key(part: str) -> bool:
    return "[" not in part and "(" not in part


def _placed(routes: Sequence[Route], place: Place) -> Iterator[tuple[Place, Route]]:
    """Every route with its place in the file."""
    for number, route in enumerate(routes):
        yield (*place, number), route
        yield from _placed(route.routes, (*place, number, "routes"))
