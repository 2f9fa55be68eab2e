"""What runs once a process: the hub, its poller and the asker. Built by console/setup.py, before the first page."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from datetime import timedelta

from console.feed.asker import Asker
from console.feed.hub import Hub
from console.feed.pins import Pins
from console.feed.poller import Poller
from console.feed.snapshot import AsksDremio
from console.settings import ConsoleSettings
from console.tabs import questions
from lakehouse.settings.shop import AlertsSettings, OrdersSettings


@dataclass(frozen=True)
class Running:
    """The shared parts that sessions and endpoints use."""

    settings: ConsoleSettings
    counted_statuses: tuple[str, ...]
    alerts_max_age: timedelta
    hub: Hub
    poller: Poller
    asker: Asker
    pins: Pins


_running: Running | None = None


def start(dremio: AsksDremio) -> Running:
    """Build the shared parts on a client, and start the poller."""
    global _running
    settings = ConsoleSettings.load()
    counted = OrdersSettings.load().counted_statuses
    hub = Hub()
    poller = Poller(
        dremio,
        hub,
        tabs=questions(),
        refresh_s=settings.refresh_s,
        idle_refresh_s=settings.idle_refresh_s,
        counted_statuses=counted,
    )
    _running = Running(settings, counted, AlertsSettings.load().max_age, hub, poller, Asker(dremio), Pins())
    # What was imported is never garbage: collections pass it over from now on, and take no longer than what came since.
    gc.enable()
    gc.freeze()
    poller.start()
    return _running


def running() -> Running:
    """The shared parts. Raises RuntimeError before `start`."""
    if _running is None:
        raise RuntimeError("the console's poller was not started: serve it with --setup console/setup.py")
    return _running
