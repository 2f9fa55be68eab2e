"""The files of config/ as far as they can be read: each is read once, and what is wrong in one hides no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lakehouse.roster import Roster, load_roster
from lakehouse.rules import Rule, load_rules
from lakehouse.settings.base import Section
from lakehouse.settings.sources import config_path
from lakehouse.user_error import UserError
from notifier.channel import Channel
from notifier.routing.load import load_routing
from notifier.routing.tree import Routing
from notifier.settings import NotifierSettings, destinations_of
from tillwatch.settings_page import every_section


@dataclass(frozen=True)
class Read[T]:
    """What a file holds, or what is wrong with it, in sentences; neither where another has to be right first."""

    value: T | None = None
    wrong: tuple[str, ...] = ()


@dataclass
class Shop:
    """Each is read at its first use. notes: what could not be looked at, and why; no mistakes."""

    notes: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return config_path().parent

    @property
    def rules_file(self) -> Path:
        return self.folder / "alerts.yaml"

    @property
    def routes_file(self) -> Path | None:
        settings = self.notifier.value
        return self.folder / settings.routes if settings else None

    @cached_property
    def settings(self) -> Read[tuple[Section, ...]]:
        """Of all parts."""
        found: list[Section] = []
        wrong: list[str] = []
        for section in every_section().values():
            read = _read(section.load)
            found += [read.value] if read.value is not None else []
            wrong += read.wrong
        return Read(tuple(found), tuple(dict.fromkeys(wrong)))

    @cached_property
    def notifier(self) -> Read[NotifierSettings]:
        return _read(NotifierSettings.load)

    @cached_property
    def channels(self) -> Read[tuple[Channel, ...]]:
        settings = self.notifier.value
        if settings is None:
            return Read()

        def open_channels() -> tuple[Channel, ...]:
            settings.check()
            return tuple(settings.open_channels())

        return _read(open_channels)

    @cached_property
    def people(self) -> Read[Roster]:
        settings = self.notifier.value
        return Read() if settings is None else _read(lambda: load_roster(self.folder / settings.people))

    @cached_property
    def rules(self) -> Read[tuple[Rule, ...]]:
        return _read(lambda: load_rules(self.rules_file) if self.rules_file.exists() else ())

    @cached_property
    def routing(self) -> Read[Routing]:
        path, people, channels = self.routes_file, self.people.value, self.channels.value
        if path is None or people is None or channels is None:
            return Read()
        return _read(lambda: load_routing(path, destinations_of(channels), people))


def _read[T](load: Callable[[], T]) -> Read[T]:
    try:
        return Read(load())
    except UserError as error:
        return Read(wrong=error.sentences)
