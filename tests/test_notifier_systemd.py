"""What systemd is told, and the unit that lets it: by a real datagram socket, of the real daemon."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lakehouse import ROOT
from lakehouse.settings.dremio import DremioSettings
from notifier.daemon import STOP_S
from notifier.health import EXIT_AFTER_S, HUNG_S
from notifier.settings import NotifierSettings
from notifier.systemd import Systemd
from tests.notifier_cast import cast_of, wait_for

UNIT = ROOT / "deploy" / "systemd" / "tillwatch-notifier.service"
WELL: dict[str, str | None] = {"data": None, "slack": None}


class Manager:
    """A socket as systemd listens on; `said` is every line that came, in order."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self.address = address
        self.said: list[str] = []

    def lines(self) -> list[str]:
        while True:
            try:
                self.said += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return self.said

    def names(self) -> list[str]:
        """What it is about, each once in the order in which it first came."""
        return list(dict.fromkeys(line.partition("=")[0] for line in self.lines()))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    opened = Manager(path if request.param == "path" else f"@tillwatch-test-{os.getpid()}")
    yield opened
    opened.close()


def test_the_daemon_says_ready_then_that_it_lives_then_that_it_ends(manager: Manager, tmp_path: Path) -> None:
    variables = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    with cast_of(tmp_path / "data") as cast, pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        cast.dremio.publish(datetime.now(UTC))
        cast.start("embedded.sandbox")
        cast.start("notifier")
        wait_for(lambda: manager.lines().count("WATCHDOG=1") >= 3)
        assert cast.get("notifier", "/-/healthy")[0] == 200
        wait_for(lambda: "STATUS=Ready" in manager.lines())
        cast.kill("embedded.sandbox")
        cast.dremio.alert(datetime.now(UTC), "inc-1", description="Fatal error in service: payments - inc-1")
        cast.dremio.publish(datetime.now(UTC))
        wait_for(lambda: any(line.startswith("STATUS=Degraded, ") for line in manager.lines()))
        before = manager.lines().count("WATCHDOG=1")
        wait_for(lambda: manager.lines().count("WATCHDOG=1") > before)
        assert cast.stop("notifier") == 0
        assert manager.names() == ["READY", "STATUS", "WATCHDOG", "STOPPING"]
        assert manager.said.count("READY=1") == 1
        assert manager.said[-2:] == ["STOPPING=1", "STATUS=Ending"]


def test_it_is_ready_once_and_tells_a_changed_status_once(manager: Manager) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": manager.address})
    systemd.watch(False, True, WELL)
    assert manager.lines() == []
    for parts in (WELL, WELL, {**WELL, "slack": "Slack refuses:\nnot_in_channel."}, WELL):
        systemd.watch(True, True, parts)
    assert manager.lines() == [
        "READY=1",
        "STATUS=Ready",
        "STATUS=Degraded, slack: Slack refuses: not_in_channel.",
        "STATUS=Ready",
    ]


def test_a_reload_begins_with_its_time_and_ends_with_ready(manager: Manager) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": manager.address})
    systemd.watch(True, True, WELL)
    manager.lines().clear()
    before_us = time.monotonic_ns() // 1000
    systemd.reloading()
    systemd.reloaded()
    systemd.watch(True, True, WELL)
    first, when, *rest = manager.lines()
    assert first == "RELOADING=1"
    found = re.fullmatch(r"MONOTONIC_USEC=(\d+)", when)
    assert found
    assert before_us <= int(found[1]) <= time.monotonic_ns() // 1000
    assert rest == ["STATUS=Reading settings and routes", "READY=1", "STATUS=Ready"]


@pytest.mark.parametrize(
    ("variables", "signs"),
    [
        ({"WATCHDOG_USEC": "10000000"}, 3),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 3),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "0"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({}, 0),
    ],
)
def test_a_sign_of_life_comes_at_half_the_time_that_systemd_waits(
    manager: Manager, variables: dict[str, str], signs: int
) -> None:
    now = 0.0
    systemd = Systemd({"NOTIFY_SOCKET": manager.address, **variables}, monotonic=lambda: now)
    for second in range(15):
        now = float(second)
        systemd.watch(True, True, WELL)
    assert manager.lines().count("WATCHDOG=1") == signs


def test_there_is_no_sign_of_life_while_looks_for_commits_hang(manager: Manager) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"})
    systemd.watch(True, False, WELL)
    assert manager.lines() == ["READY=1", "STATUS=Ready"]
    systemd.watch(True, True, WELL)
    assert manager.lines()[-1] == "WATCHDOG=1"


def test_a_socket_that_is_gone_is_told_again_and_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "notify")
    systemd = Systemd({"NOTIFY_SOCKET": path})
    systemd.watch(True, True, WELL)
    assert "systemd could not be told READY=1: No such file or directory" in caplog.text.replace("[Errno 2] ", "")
    there = Manager(path)
    systemd.watch(True, True, WELL)
    assert there.lines() == ["READY=1", "STATUS=Ready"]
    there.close()


def test_without_systemd_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    systemd = Systemd({})
    systemd.watch(True, True, WELL)
    systemd.stopping()
    assert caplog.text == ""


def unit() -> dict[str, list[str]]:
    """Every assignment of the unit, also those that are to be switched on, by name."""
    found: dict[str, list[str]] = {}
    for text in UNIT.read_text(encoding="utf-8").splitlines():
        given = re.fullmatch(r"#?([A-Z]\w+)=(.*)", text)
        if given:
            found.setdefault(given[1], []).append(given[2])
    return found


def test_the_unit_gives_settings_that_there_are_and_secrets_by_the_names_it_loads() -> None:
    values = unit()
    variables = dict(value.split("=", 1) for value in values["Environment"])
    loaded = {value.partition(":")[0] for value in values["LoadCredential"]}
    read = {value.removeprefix("%d/") for value in variables.values() if value.startswith("%d/")}
    assert loaded == read
    known = {f"TILLWATCH_NOTIFIER_{name}_FILE".upper() for name in NotifierSettings.model_fields}
    known |= {f"TILLWATCH_DREMIO_{name}_FILE".upper() for name in DremioSettings.model_fields}
    assert set(variables) - known == {"TILLWATCH_CONFIG", "TILLWATCH_DATA_DIR"}


def test_the_unit_waits_longer_than_the_daemon_needs_to_end_by_itself() -> None:
    values = unit()
    seconds = {
        name: int(re.sub(r"\D", "", given)) * (60 if given.endswith("min") else 1)
        for name in ("TimeoutStopSec", "WatchdogSec", "TimeoutStartSec")
        for given in values[name]
    }
    assert seconds["TimeoutStopSec"] > STOP_S
    # Signs of life end after HUNG_S without a step; EXIT_AFTER_S later it ends itself, with a sentence.
    assert seconds["WatchdogSec"] > EXIT_AFTER_S + STOP_S
    assert seconds["TimeoutStartSec"] > HUNG_S + EXIT_AFTER_S
    assert values["Restart"] == ["always"]
    assert values["CapabilityBoundingSet"] == [""]
