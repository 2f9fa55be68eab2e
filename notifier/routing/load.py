"""config/routes.yaml read and checked: one sentence with file, line and what would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel

from lakehouse.checked_file import CheckedFile, Place
from lakehouse.mistakes import noted
from lakehouse.roster import NOBODY, Roster
from lakehouse.texts import near
from notifier.routing.times import TimeSpan
from notifier.routing.tree import ALL, Inhibition, MaintenanceWindow, Route, Routing, Step

_OF_LIST: Mapping[str, type[BaseModel]] = {
    "routes": Route,
    "times": TimeSpan,
    "inhibit": Inhibition,
    "maintenance": MaintenanceWindow,
    "escalate": Step,
}
_WAS = {
    "severity": "write `when: [severity = FATAL]`",
    "channels": "write `to: [slack, email]`",
    "match": "write `when: [severity = FATAL]`",
    "matchers": "write `when: [severity = FATAL]`",
    "receiver": "write `to: [slack]`",
}


def load_routing(path: Path, destinations: Mapping[str, Sequence[str]], roster: Roster = NOBODY) -> Routing:
    """What the file says. destinations: of every channel there is, by its name; none where it is not set up.

    roster: the people that `@name` stands for. Raises UserError for whatever is wrong: keys, types, zones, matchers,
    names that stand twice or are not there.
    """
    file = CheckedFile(path, "notifier.routes", _OF_LIST, {"routes": _WAS})
    routing = file.read(Routing, "routes")
    times = [each.name for each in routing.times]
    file.once("times", times)
    file.once("inhibit", [each.name for each in routing.inhibit])
    file.once("maintenance", [each.name for each in routing.maintenance])
    names = _Names(file, destinations, roster)
    seen: set[str] = set()
    for place, route in _placed(routing.routes, ("routes",)):
        with noted(path):
            if route.name in seen:
                file.refuse((*place, "name"), f"'{route.name}' is the name of two routes; give one another name")
            seen.add(route.name)
        with noted(path):
            _check_times(file, place, route, times)
        with noted(path):
            names.check(place, route.to or ())
            for number, step in enumerate(route.escalate or ()):
                names.check((*place, "escalate", number), step.to)
    return routing


def _check_times(file: CheckedFile, place: Place, route: Route, times: Sequence[str]) -> None:
    for key in ("mute", "active"):
        for number, name in enumerate(getattr(route, key) or ()):
            if name not in times:
                hint = f"{near(name, times)}; times are {', '.join(times)}" if times else "; there are no times"
                file.refuse((*place, key, number), f"'{name}' is no name under `times:`{hint}")


class _Names:
    """What may stand in a `to:`."""

    def __init__(self, file: CheckedFile, destinations: Mapping[str, Sequence[str]], roster: Roster) -> None:
        self._file = file
        self._destinations = destinations
        self._roster = roster

    def check(self, place: Place, names: Sequence[str]) -> None:
        for number, name in enumerate(names):
            there = (*place, "to", number)
            with noted(self._file.path):
                if name.startswith("@"):
                    self._person(there, name[1:])
                elif name != ALL:
                    self._channel(there, name)

    def _person(self, place: Place, name: str) -> None:
        found = self._roster.named(name)
        if found is None:
            known = [person.person for person in self._roster.people]
            hint = f"{near(name, known)}; people are {', '.join(known)}" if known else ", which names nobody"
            self._file.refuse(place, f"'@{name}' is nobody in people.yaml{hint}")
        if found.email is None:
            self._file.refuse(place, f"'@{name}' has no email in people.yaml; add it, or name a channel")

    def _channel(self, place: Place, name: str) -> None:
        channel, _, destination = name.partition(":")
        if channel not in self._destinations:
            hint = near(channel, (*self._destinations, ALL))
            known_ones = ", ".join(self._destinations)
            self._file.refuse(place, f"'{channel}' is no channel{hint}; channels are {known_ones}, or `{ALL}`")
        known = self._destinations[channel]
        # A channel that is not set up has no destinations: its routes wait for it.
        if destination and known and destination not in known:
            self._file.refuse(
                place,
                f"'{destination}' is no destination of {channel}{near(destination, known)}; the settings have "
                f"{', '.join(known)}",
            )


def _placed(routes: Sequence[Route], place: Place) -> Iterator[tuple[Place, Route]]:
    """Every route with its place in the file."""
    for number, route in enumerate(routes):
        yield (*place, number), route
        yield from _placed(route.routes, (*place, number, "routes"))
