"""What becomes of an alert: the routes that take it, where it goes, what mutes it. Pure, with a reason for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Protocol

from notifier.model import NOBODY, PASSING, AlertRow, Muted, Target
from notifier.routing.matchers import Columned, Matcher, all_match, text_of
from notifier.routing.tree import ALL, Inhibition, Route, Routing, Step
from notifier.text import line

AT_ONCE = timedelta(0)
INTERVAL = timedelta(minutes=1)
"""Between two messages of one thread."""


@dataclass(frozen=True)
class Policy:
    """How a route tells: what it and those around it say."""

    group_by: tuple[str, ...] = ("service_name",)
    wait: timedelta = AT_ONCE
    interval: timedelta = INTERVAL
    repeat: timedelta | None = None
    escalate: tuple[Step, ...] = ()
    mute: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    to: tuple[str, ...] = ()

    def within(self, route: Route) -> Policy:
        """That of a route under one with this policy."""
        given = {
            name: value
            for name in ("group_by", "wait", "interval", "repeat", "escalate", "mute", "active", "to")
            if (value := getattr(route, name)) is not None
        }
        return Policy(**{**vars(self), **given})


@dataclass(frozen=True)
class Silence:
    """Alerts that meet all matchers wake nobody until a time; somebody said so, and why."""

    silence_id: str
    matchers: tuple[Matcher, ...]
    reason: str
    by: str
    until: datetime
    created: datetime
    via: str = ""
    ended: datetime | None = None

    def holds(self, moment: datetime) -> bool:
        return moment < self.until and self.ended is None

    @property
    def said(self) -> str:
        """Its id, and who said so until when, where somebody did."""
        until = f"{self.until:%Y-%m-%d %H:%M:%S} UTC"
        return f"{self.silence_id}, by {line(self.by, 60)} until {until}" if self.by else self.silence_id


@dataclass(frozen=True)
class MuteReason:
    """Why something is not sent. `detail`: the name of what mutes it, and what it says."""

    why: Muted
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.why}({self.detail})" if self.detail else str(self.why)


@dataclass(frozen=True)
class Decision:
    """What becomes of an alert at one place. `route`: the names from the outermost in; `policy` is that of the last.

    group: the key of the thread that it belongs to there. calls_after: how long after it was first told the first step
    of escalation is due, of whichever of the alert's routes; None: no route has steps.
    """

    target: Target
    route: tuple[str, ...]
    policy: Policy
    group: str
    muted: MuteReason | None = None
    calls_after: timedelta | None = None

    @property
    def said(self) -> str:
        """In a sentence, for log and people."""
        way = " > ".join(self.route) or "no route"
        if self.target == NOBODY:
            return f"{way}: nobody is told, {self.muted}"
        where = f"{self.target.channel} {self.target.destination}"
        return f"{way}: {where}, {'muted ' + str(self.muted) if self.muted else 'told'}"


@dataclass(frozen=True)
class Stage:
    """A step of escalation: so long after an incident was first told, these are told too, or again."""

    after: timedelta
    decisions: tuple[Decision, ...]


class OpenAlert(Columned, Protocol):
    """The newest alert of an open incident, as far as conditions look at it."""

    @property
    def incident_id(self) -> str: ...


class Surroundings:
    """What stands at the moment of a decision. `open_alerts`: of each open incident; gone through at the first
    question for them, for there may be thousands."""

    def __init__(
        self,
        now: datetime,
        old: Callable[[AlertRow], bool],
        silences: Sequence[Silence] = (),
        open_alerts: Iterable[OpenAlert] = (),
    ) -> None:
        self.now = now
        self.old = old
        self.silences = [silence for silence in silences if silence.holds(now)]
        self._open_alerts = open_alerts
        # By rule: the columns that have to be the same -> incidents that inhibit.
        self._sources: dict[str, dict[tuple[str, ...], list[str]]] = {}

    @cached_property
    def _open(self) -> dict[str, OpenAlert]:
        return {alert.incident_id: alert for alert in self._open_alerts}

    def inhibitor(self, rule: Inhibition, alert: AlertRow) -> str | None:
        """The open incident that mutes this alert by the rule: never its own; and none one that is a source too."""
        if not all_match(rule.target, alert) or all_match(rule.source, alert):
            return None
        found = self._sources_of(rule).get(tuple(text_of(alert, column) for column in rule.equal), ())
        return next((incident for incident in found if incident != alert.incident_id), None)

    def _sources_of(self, rule: Inhibition) -> dict[tuple[str, ...], list[str]]:
        found = self._sources.get(rule.name)
        if found is None:
            found = self._sources[rule.name] = {}
            for incident, alert in self._open.items():
                if all_match(rule.source, alert):
                    found.setdefault(tuple(text_of(alert, column) for column in rule.equal), []).append(incident)
        return found


class Router:
    """Decides by one routing file.

    destinations: of every channel, by its name. interval: where no route says one. people: where `@name` goes; of those
    that are not in it, nowhere, as to a channel that is not set up.
    """

    def __init__(
        self,
        routing: Routing,
        destinations: Mapping[str, Sequence[str]],
        interval: timedelta = INTERVAL,
        people: Mapping[str, Target] | None = None,
    ) -> None:
        self.routing = routing
        self._policy = Policy(interval=interval)
        self._destinations = destinations
        self._people = people or {}

    def decide(self, alert: AlertRow, around: Surroundings) -> list[Decision]:
        """A decision for each place that a route names, once each; one for NOBODY where none does."""
        found: dict[Target, Decision] = {}
        routed = False
        taken = list(self.taking(alert))
        calls_after = min((policy.escalate[0].after for _, policy in taken if policy.escalate), default=None)
        for names, policy in taken:
            muted = self._muted(alert, policy, around)
            group = group_of(alert, policy.group_by)
            targets = self._targets(policy.to)
            routed = routed or bool(policy.to)
            for target in targets:
                # What one route mutes another may tell.
                if target not in found or (found[target].muted and not muted):
                    found[target] = Decision(target, names, policy, group, muted, calls_after)
        if found:
            return list(found.values())
        old = MuteReason(Muted.OLD) if around.old(alert) else None
        why = old or MuteReason(Muted.NO_CHANNEL if routed else Muted.NO_ROUTE)
        names, policy = taken[0] if taken else ((), self._policy)
        return [Decision(NOBODY, names, policy, group_of(alert, policy.group_by), why)]

    def taking(self, alert: AlertRow) -> Iterator[tuple[tuple[str, ...], Policy]]:
        """The routes that take it, each with the names around it and its policy."""
        yield from _taking(self.routing.routes, alert, (), self._policy)

    def stages(self, alert: AlertRow, around: Surroundings) -> list[Stage]:
        """The steps of all routes that take it, one after the other: those that are due at the same time are one."""
        found: dict[timedelta, dict[Target, Decision]] = {}
        for names, policy in self.taking(alert):
            muted, group = self._muted(alert, policy, around), group_of(alert, policy.group_by)
            for step in policy.escalate:
                told = found.setdefault(step.after, {})
                for target in self._targets(step.to):
                    # What one route mutes another may tell.
                    if target not in told or (told[target].muted and not muted):
                        told[target] = Decision(target, names, policy, group, muted)
        return [
            Stage(after, tuple(replace(each, route=(*each.route, f"step {number}")) for each in told.values()))
            for number, (after, told) in enumerate(sorted(found.items()), 1)
        ]

    def may_pass(self, around: Surroundings) -> bool:
        """Whether there is anything at all that mutes for a while."""
        tree = self.routing
        return bool(around.silences or tree.maintenance or tree.inhibit or tree.times)

    def hushed(self, alert: AlertRow, target: Target, around: Surroundings, *, step: bool) -> MuteReason | None:
        """What comes to an end and mutes an alert at a place that was to be told of it; None: something tells it there.

        step: by a step of escalation. A place that no route names any more is as quiet as the others are.
        """
        if step:
            decisions = [each for stage in self.stages(alert, around) for each in stage.decisions]
        else:
            decisions = self.decide(alert, around)
        here = [each.muted for each in decisions if each.target == target] or [each.muted for each in decisions]
        passing = [muted for muted in here if muted is not None and muted.why in PASSING]
        return passing[0] if passing and all(here) else None

    def _targets(self, names: Sequence[str]) -> Iterator[Target]:
        for name in names:
            if name in self._people:
                yield self._people[name]
            channel, _, destination = name.partition(":")
            for each in self._destinations if name == ALL else (channel,):
                for place in self._destinations.get(each, ()):
                    if not destination or place == destination:
                        yield Target(each, place)

    def _muted(self, alert: AlertRow, policy: Policy, around: Surroundings) -> MuteReason | None:
        """The first thing that mutes it: that it is old, planned work, a silence, an inhibition, the time of day."""
        if around.old(alert):
            return MuteReason(Muted.OLD)
        for work in self.routing.maintenance:
            if work.holds(around.now) and all_match(work.when, alert):
                return MuteReason(Muted.MAINTENANCE, work.name)
        for silence in around.silences:
            if all_match(silence.matchers, alert):
                return MuteReason(Muted.SILENCED, silence.said)
        for rule in self.routing.inhibit:
            source = around.inhibitor(rule, alert)
            if source is not None:
                return MuteReason(Muted.INHIBITED, f"{rule.name}, by {source}")
        for name in policy.mute:
            if self.routing.time(name).holds(around.now):
                return MuteReason(Muted.MUTE_TIME, name)
        if policy.active and not any(self.routing.time(name).holds(around.now) for name in policy.active):
            return MuteReason(Muted.MUTE_TIME, f"outside {', '.join(policy.active)}")
        return None


def group_of(alert: AlertRow, columns: Sequence[str]) -> str:
    """The key of the thread an alert belongs to: the values of these columns; its incident, where all are empty."""
    values = [(column, text_of(alert, column)) for column in columns]
    if not any(value for _, value in values):
        return f"incident_id={alert.incident_id}"
    return ",".join(f"{column}={value}" for column, value in values)


def _taking(
    routes: Sequence[Route], alert: AlertRow, names: tuple[str, ...], policy: Policy
) -> Iterator[tuple[tuple[str, ...], Policy]]:
    for route in routes:
        if not all_match(route.when, alert):
            continue
        own, inner = (*names, route.name), policy.within(route)
        deeper = list(_taking(route.routes, alert, own, inner))
        # Routes within take it from the one around them; where none does, it is that one's.
        yield from deeper or [(own, inner)]
        if not route.continue_:
            return
