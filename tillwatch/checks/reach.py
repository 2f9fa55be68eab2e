"""Rules beside routes: a condition that no rule meets, and a route that no alert reaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lakehouse.rules import Rule
from lakehouse.rules.rule import names_in
from lakehouse.texts import near
from lakehouse.yaml_file import line_of, read_text
from notifier.routing.matchers import Matcher
from notifier.routing.tree import Route, Routing

NAMED = ("rule", "alert_type", "owner")
"""Columns whose values stand in the rules and nowhere else."""

type Place = tuple[str | int, ...]


class _Values:
    """What the alerts of a rule may hold in a column; a column that is not in it may hold anything."""

    def __init__(self, rule: Rule) -> None:
        self.name = rule.name
        self.known: Mapping[str, Sequence[str]] = {
            "rule": (rule.name,),
            "alert_type": (rule.alert_type,),
            "severity": rule.severities,
            "owner": (rule.owner,),
            # What ends an incident goes to whoever was told of it, by no route.
            "status": ("FIRING",),
            "runbook_url": (rule.runbook_url or "",),
        }
        if not names_in("summary", rule.summary) or not rule.asks:
            self.known = {**self.known, "summary": (rule.summary,)}

    def may_meet(self, matcher: Matcher) -> bool:
        return matcher.column not in self.known or any(self._meeting(matcher))

    def surely_meets(self, matcher: Matcher) -> bool:
        return matcher.column in self.known and all(self._meeting(matcher))

    def _meeting(self, matcher: Matcher) -> Iterator[bool]:
        return (matcher.matches(_One(matcher.column, value)) for value in self.known[matcher.column])


class _One:
    """An alert of which one column is known."""

    def __init__(self, column: str, value: str) -> None:
        setattr(self, column, value)


def unreached(path: Path, routing: Routing, rules: Sequence[Rule]) -> Iterator[str]:
    """Conditions of routes, inhibitions and planned work that no rule meets, and routes that no alert comes to.

    path: the file of the routes.
    """
    if not rules:
        return
    text = read_text(path)
    values = [_Values(rule) for rule in rules]

    def sentence(place: Place, name: str, what: str) -> str:
        return f"{path}, line {line_of(text, *place)}, '{name}': {what}."

    names = [route.name for route in _all(routing.routes)]
    for place, name, what in _routes(routing.routes, ("routes",), values, values):
        # Of one that is there twice that is what is told.
        if names.count(name) == 1:
            yield sentence(place, name, what)
    for number, inhibition in enumerate(routing.inhibit):
        for key, matchers in (("source", inhibition.source), ("target", inhibition.target)):
            at, what = _why_none(("inhibit", number, key), matchers, values)
            if what:
                yield sentence(at, inhibition.name, what)
    for number, work in enumerate(routing.maintenance):
        at, what = _why_none(("maintenance", number, "when"), work.when, values)
        if what:
            yield sentence(at, work.name, what)


def _all(routes: Sequence[Route]) -> Iterator[Route]:
    for route in routes:
        yield route
        yield from _all(route.routes)


def _routes(
    routes: Sequence[Route], at: Place, coming: Sequence[_Values], all_rules: Sequence[_Values]
) -> Iterator[tuple[Place, str, str]]:
    """Place, name and reason of each route that nothing reaches. coming: rules whose alerts may come to the first."""
    entering = coming
    for number, route in enumerate(routes):
        place = (*at, number)
        taken = [rule for rule in coming if all(map(rule.may_meet, route.when))]
        if not taken:
            there, what = _why_none((*place, "when"), route.when, all_rules)
            if not what:
                there = place
                what = "routes before it take all that it asks for; mend its `when`, or let it stand before them"
                if not any(all(map(rule.may_meet, route.when)) for rule in entering):
                    what = "no alert that comes to the route around it meets its conditions; mend its `when`"
            yield there, route.name, what
        else:
            yield from _routes(route.routes, (*place, "routes"), taken, all_rules)
        if not route.continue_:
            coming = [rule for rule in coming if not all(map(rule.surely_meets, route.when))]


def _why_none(place: Place, matchers: Sequence[Matcher], rules: Sequence[_Values]) -> tuple[Place, str]:
    """Why no rule meets all of these, and where that stands; empty where one may."""
    if any(all(map(rule.may_meet, matchers)) for rule in rules):
        return place, ""
    for number, matcher in enumerate(matchers):
        if any(rule.may_meet(matcher) for rule in rules):
            continue
        known = sorted({value for rule in rules for value in rule.known.get(matcher.column, ())} - {""})
        hint = f"{near(matcher.value, known)}; there are {', '.join(known)}" if matcher.column in NAMED else ""
        return (*place, number), f"no rule of alerts.yaml meets the condition '{matcher}'{hint}"
    said = ", ".join(f"'{matcher}'" for matcher in matchers)
    return place, f"no rule of alerts.yaml meets all of its conditions: {said}"
