"""What runs once a process: the hub, its poller and the asker. Built by console/setup.py, before the first page."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from console.boards.feed import AsksSql
from console.boards.running import Boards
from console.feed.asker import Asker
from console.feed.hub import Hub
from console.feed.past import Past
from console.feed.pins import Pins
from console.feed.poller import Poller
from console.feed.rate import Rate
from console.feed.snapshot import AsksDremio
from console.gate import Gate, gate_of
from console.metrics import statements
from console.on_call.acts import Acts
from console.on_call.asked import any_asks
from console.on_call.figure import figures_of
from console.on_call.histories import Histories
from console.on_call.watch import DutyWatch
from console.settings import ConsoleSettings
from console.tabs import questions
from lakehouse.kpis import Counting
from lakehouse.oncall import OnCall
from lakehouse.rules.figure import AlertFigure
from lakehouse.settings.base import Shared
from lakehouse.settings.on_call import OnCallSettings
from lakehouse.settings.shop import AlertsSettings, OrdersSettings
from lakehouse.settings.sources import config_path
from lakehouse.tokens import secret_in


@dataclass(frozen=True)
class Running:
    """The shared parts that sessions and endpoints use."""

    settings: ConsoleSettings
    counting: Counting
    alerts_max_age: timedelta
    hub: Hub
    poller: Poller
    asker: Asker
    pins: Pins
    watch: DutyWatch
    acts: Acts
    histories: Histories
    gate: Gate
    figures: Mapping[str, AlertFigure]
    """What each rule's alerts are about, by its name."""
    dremio: AsksDremio
    statements: Rate
    """Statements to Dremio."""
    past: Past
    boards: Boards
    asks: bool = False
    """Whether a rule asks, so that the notifier may know of incidents that have no row in the table."""


class AsksBoth(AsksDremio, AsksSql, Protocol):
    """The client: the console's own questions, and those of boards."""


_running: Running | None = None


def start(dremio: AsksBoth) -> Running:
    """Build the shared parts on a client, and start the poller."""
    global _running
    settings = ConsoleSettings.load()
    counting = OrdersSettings.load().counting
    hub = Hub()
    poller = Poller(
        dremio,
        hub,
        tabs=questions(),
        refresh_s=settings.refresh_s,
        idle_refresh_s=settings.idle_refresh_s,
        counting=counting,
    )
    acts = Acts(on_call)
    _running = Running(
        settings,
        counting,
        AlertsSettings.load().max_age,
        hub,
        poller,
        Asker(dremio),
        Pins(),
        DutyWatch(on_call, hub.wake),
        acts,
        Histories(acts.detail),
        gate_of(settings),
        figures_of(config_path().parent / "alerts.yaml"),
        dremio,
        Rate(statements),
        Past(dremio, tabs=questions(), counting=counting),
        Boards(config_path().parent, dremio, settings.currency),
        any_asks(config_path().parent / "alerts.yaml"),
    )
    _running.boards.start(hub.wake)
    # What was imported is never garbage: collections pass it over from now on, and take no longer than what came since.
    gc.enable()
    gc.freeze()
    poller.start()
    _running.watch.start()
    return _running


def on_call(person: str | None = None) -> OnCall:
    """A client of the notifier, on behalf of a person. Raises UserError while there is no token."""
    settings = OnCallSettings.load()
    token = settings.token.get_secret_value() or secret_in(Shared.load().data_dir, "console")
    return OnCall(settings.address, token, person)


def running() -> Running:
    """The shared parts. Raises RuntimeError before `start`."""
    if _running is None:
        raise RuntimeError("the console's poller was not started: serve it with --setup console/setup.py")
    return _running
