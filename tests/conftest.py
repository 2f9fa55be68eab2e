"""The cast: a shop whose clock the test turns, and the pipeline that reads it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cachetools import TTLCache

from embedded import ingest
from embedded.ingest import Ingest
from embedded.log import EventLog
from lakehouse import ROOT
from lakehouse.proxies import keep_own_traffic_off
from lakehouse.rules import load_rules
from lakehouse.settings.shop import AlertsSettings, OrdersSettings
from lakehouse.sinks import EventLogSink
from lakehouse.sources import sources_of
from pipeline.batch import kept, keys, minutes
from pipeline.batch.pace import Pace
from pipeline.batch.terms import Terms
from pipeline.settings import IngestSettings, KpisSettings, RetentionSettings, RulesSettings

keep_own_traffic_off()  # for clients that tests make without settings

NOON = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)


_SKIPPED_AS_ONE = {"browser": "Browser tests", "stack": "Tests of the stack"}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One closing sentence, where tests were left out for something that is not installed."""
    reasons = {}
    for report in terminalreporter.stats.get("skipped", ()):
        for marker in _SKIPPED_AS_ONE.keys() & report.keywords.keys():
            reasons[marker] = report.longrepr[2].removeprefix("Skipped: ")
    for marker, reason in sorted(reasons.items()):
        terminalreporter.write_line(f"{_SKIPPED_AS_ONE[marker]} were skipped: {reason}")


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A test sees the defaults, whatever the environment of the person who runs it says."""
    for name in list(os.environ):
        if name.startswith("TILLWATCH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TILLWATCH_DATA_DIR", str(tmp_path / "data"))


class Shop:
    """An event log, an ingest and a clock. Events are sent with `order`, `click`, `error` or `message`."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir = data_dir
        self.now = NOON
        self._number = 0
        self.max_event_age: timedelta | None = timedelta(days=15)
        self.alerts = ROOT / "config" / "alerts.yaml"
        self.sources = sources_of("", "config/sources.yaml")
        self.retention = RetentionSettings.load(**settings.pop("retention", {}))
        self.kpis_settings = KpisSettings.load(**settings.pop("kpis", {}))
        self.ingest_settings = IngestSettings.load(**settings)
        self.sink = EventLogSink(data_dir / "events.db", now=lambda: self.now.timestamp())
        self.log = EventLog(data_dir / "events.db")
        self._ingest: Ingest | None = None

    @property
    def ingest(self) -> Ingest:
        if self._ingest is None:
            terms = Terms(
                self.ingest_settings,
                self.retention,
                OrdersSettings.load(),
                AlertsSettings.load(),
                self.kpis_settings,
                RulesSettings.load(),
                load_rules(self.alerts),
                self.max_event_age,
                self.sources,
            )
            self._ingest = Ingest(self.data_dir, self.log, terms, clock=lambda: self.now)
        return self._ingest

    def restart(self) -> None:
        """Throw away all that ingest holds in memory."""
        if self._ingest is not None:
            self._ingest.close()
        self._ingest = None

    def close(self) -> None:
        self.restart()
        self.sink.close()
        self.log.close()

    def message(self, topic: str, value: bytes | None) -> None:
        self.sink.send(topic, None, value)
        self.sink.flush()

    def send(self, topic: str, fields: dict[str, Any]) -> None:
        self.message(topic, json.dumps(fields).encode())

    def order(self, at: datetime | None = None, **fields: Any) -> None:
        self._number += 1
        when = (at or self.now).isoformat()
        self.send(
            "orders_topic",
            {
                "order_id": f"o-{self._number}",
                "user_id": "ada",
                "product_id": "book",
                "quantity": 2,
                "price": 10.5,
                "status": "CREATED",
                "order_time": when,
                "produced_at": when,
                **fields,
            },
        )

    def click(self, at: datetime | None = None, **fields: Any) -> None:
        self._number += 1
        when = (at or self.now).isoformat()
        self.send(
            "clicks_topic",
            {
                "click_id": f"c-{self._number}",
                "user_id": "ada",
                "url": "/page/cart?step=1",
                "device_type": "mobile",
                "click_time": when,
                "produced_at": when,
                **fields,
            },
        )

    def error(self, at: datetime | None = None, **fields: Any) -> None:
        self._number += 1
        when = (at or self.now).isoformat()
        self.send(
            "errors_topic",
            {
                "error_id": f"e-{self._number}",
                "service_name": "payments",
                "error_message": "card service timed out",
                "severity": "ERROR",
                "error_time": when,
                "produced_at": when,
                **fields,
            },
        )

    def refund(self, at: datetime | None = None, **fields: Any) -> None:
        self._number += 1
        when = (at or self.now).isoformat()
        self.send(
            "refunds_topic",
            {
                "refund_id": f"r-{self._number}",
                "order_id": "o-1",
                "amount": 10.5,
                "refund_time": when,
                "produced_at": when,
                **fields,
            },
        )

    def pass_time(self, span: timedelta) -> None:
        self.now += span

    def publish(self) -> None:
        """Ingest all that is in the log."""
        while self.ingest.publish():
            pass
        self.ingest.core.workshop.wait()

    def maintain(self) -> None:
        """One run of maintenance to its end: what it made is published."""
        self.ingest.core.maintain()
        self.ingest.core.workshop.wait()
        self.ingest.publish(heartbeat=True)

    def alert_is_due(self) -> bool:
        """Whether time alone makes an alert now."""
        self.ingest.log.look()
        return self.ingest.core.alert_is_due()

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Rows of a table as published, by the columns' names."""
        found: list[dict[str, Any]] = self.ingest.catalog.rows(table).to_pylist()
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop(tmp_path / "shop")
    yield opened
    opened.close()


class Monotonic:
    """The clock by which ingest waits: `now` is what the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    """For an ingest that is opened after it: how long it waits, and how long it remembers."""
    clock = Monotonic()
    monkeypatch.setattr(time, "monotonic", clock)
    # What takes its clock as an argument has the real one by default.
    monkeypatch.setattr(ingest, "Pace", partial(Pace, clock=clock))
    for module in (kept, keys, minutes):
        monkeypatch.setattr(module, "TTLCache", partial(TTLCache, timer=clock))
    return clock
