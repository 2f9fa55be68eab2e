"""Everything that settings, routes and people say, read and checked together: at the start, and at a reload."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from lakehouse.roster import Roster
from lakehouse.rules import Rule, load_rules
from lakehouse.rules.kinds.question import QuestionRule, asking
from lakehouse.settings.shop import AlertsSettings
from lakehouse.settings.sources import config_path
from notifier.channel import Channel
from notifier.channels import CHANNELS
from notifier.links import check_links
from notifier.manner import Manner
from notifier.model import Target
from notifier.routing.decide import Router
from notifier.routing.tree import Routing
from notifier.settings import NotifierSettings, destinations_of

MAIL = "email"
"""The channel that `@person` goes by."""


@dataclass(frozen=True)
class Config:
    """One state of the configuration. max_age: beyond it an alert is news of the past. rules: whose figures messages
    tell."""

    settings: NotifierSettings
    channels: tuple[Channel, ...]
    routing: Routing
    roster: Roster
    max_age: timedelta
    rules: tuple[Rule, ...] = ()

    @cached_property
    def question_rules(self) -> tuple[QuestionRule, ...]:
        """Those that are judged here."""
        return asking(self.rules)

    @cached_property
    def people(self) -> dict[str, Target]:
        """Where `@name` of a route goes: to nobody while email is not set up."""
        if all(channel.name != MAIL for channel in self.channels):
            return {}
        return {f"@{each.person}": Target(MAIL, each.email) for each in self.roster.people if each.email}

    @cached_property
    def manners(self) -> dict[Target, Manner]:
        """How each place is told: those of channels, and people's own."""
        found = {
            Target(channel.name, place): channel.manner for channel in self.channels for place in channel.destinations
        }
        mail = next((channel.manner for channel in self.channels if channel.name == MAIL), None)
        return found | {target: mail for target in self.people.values() if mail is not None}

    @cached_property
    def targets(self) -> list[Target]:
        """The places of channels."""
        return [Target(channel.name, place) for channel in self.channels for place in channel.destinations]

    @cached_property
    def everybody(self) -> list[Target]:
        """Whoever may be told of an alert: the places of channels, and the people that routes name."""
        names = [
            name
            for route in self.routing.walk()
            for to in (route.to or (), *(step.to for step in route.escalate or ()))
            for name in to
        ]
        return list(dict.fromkeys([*self.targets, *(self.people[name] for name in names if name in self.people)]))

    def router(self) -> Router:
        return Router(self.routing, destinations_of(self.channels), self.settings.gather, self.people)

    @cached_property
    def hash(self) -> str:
        """12 hex digits of all but secrets."""
        asked = [f"{rule!r} {rule.template}" for rule in self.question_rules]
        said = [self.settings.model_dump_json(), self.routing.model_dump_json(), repr(self.roster), str(self.max_age)]
        said += asked
        return hashlib.sha256("\0".join(said).encode()).hexdigest()[:12]


def load_config() -> Config:
    """Raises UserError for whatever is wrong, with what would do."""
    settings = NotifierSettings.load()
    settings.check()
    path = config_path().parent / "alerts.yaml"
    rules = load_rules(path) if path.exists() else ()
    real = [name for name, declared in CHANNELS.items() if declared.is_on(settings) and declared.real(settings)]
    check_links(settings.console_url, rules, real)
    channels = tuple(settings.open_channels())
    return Config(
        settings,
        channels,
        settings.load_routes(channels),
        settings.load_people(),
        AlertsSettings.load().max_age,
        rules,
    )
