"""`tillwatch demo` and `tillwatch status`: what is filled in, who runs, how it ends."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from lakehouse.settings.base import Shared
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from tillwatch import demo, fill, filling, leftovers, status, supervisor
from tillwatch.parts import PARTS
from tillwatch.settings import DemoSettings

NOON = datetime(2026, 3, 4, 12, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def quiet(_: str) -> None:
    pass


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared.load(data_dir=tmp_path / "data", port_offset=15000 + os.getpid() % 1000)


# ---- the past that is filled in


def test_a_new_screen_gets_the_last_hour_first_then_yesterday_and_a_week_ago() -> None:
    shopped: list[tuple[fill.Span, bool]] = []
    settings = DemoSettings.load(fill_pause=timedelta(0), fill_piece=timedelta(minutes=40))

    filling.fill_past(settings, NOON, None, lambda span, back: shopped.append((span, back)), quiet, Stop())

    assert shopped[0] == ((NOON - fill.HOUR, NOON), False)
    assert all(in_background for _, in_background in shopped[1:])
    # And the minutes to come, of then: the first incident is compared with the same minutes, and some around them.
    assert fill.joined(span for span, _ in shopped[1:3]) == [(NOON - DAY - fill.HOUR, NOON - DAY + fill.AHEAD)]
    assert fill.joined(span for span, _ in shopped[3:]) == [(NOON - 7 * DAY - fill.HOUR, NOON - 7 * DAY + fill.AHEAD)]


def test_a_second_start_fills_only_hours_without_any_row() -> None:
    shopped: list[fill.Span] = []
    eleven = datetime(2026, 3, 4, 11, tzinfo=UTC)
    has_rows = {eleven, eleven - DAY, eleven - DAY + fill.HOUR}

    filling.fill_past(
        DemoSettings.load(fill_pause=timedelta(0), fill_piece=timedelta(hours=2)),
        NOON,
        lambda start, end: {hour for hour in has_rows if start - fill.HOUR < hour < end},
        lambda span, _: shopped.append(span),
        quiet,
        Stop(),
    )

    assert shopped == [
        (datetime(2026, 3, 4, 12, tzinfo=UTC), NOON),
        (NOON - 7 * DAY - fill.HOUR, NOON - 7 * DAY + fill.AHEAD),
    ]


def test_filling_stops_when_the_demo_ends() -> None:
    ending = Stop()
    shopped: list[fill.Span] = []

    def shop(span: fill.Span, _: bool) -> None:
        shopped.append(span)
        ending.set()

    filling.fill_past(DemoSettings.load(), NOON, None, shop, quiet, ending)
    assert len(shopped) == 1


def test_pieces_of_a_span_leave_no_gap() -> None:
    span = (NOON, NOON + timedelta(minutes=47))
    pieces = fill.pieces(span, timedelta(minutes=10))
    assert len(pieces) == 5
    assert fill.joined(pieces) == [span]


# ---- who runs


def test_the_supervisor_runs_every_part(shared: Shared) -> None:
    text = supervisor.configuration(demo.programs(DemoSettings.load(), shared))
    config = configparser.RawConfigParser(comment_prefixes=(";",))
    config.read_string(text)
    named = {part.name for part in PARTS}
    assert set(config["group:tillwatch"]["programs"].split(",")) == named
    for name in named:
        program = config[f"program:{name}"]
        assert program["autorestart"] == "true"
        assert program["killasgroup"] == "true"
        assert shlex.split(program["command"])[0] == sys.executable
        assert program["stdout_logfile_maxbytes"] == "2MB"


def test_a_deep_data_directory_keeps_its_socket_short() -> None:
    for deep in ("deep/" * 40, "tief-ä/" * 9):
        path = supervisor.socket_path(Path("/" + deep))
        # Linux takes 107 bytes, macOS 103, and supervisord binds PATH.PID first.
        assert len(os.fsencode(path)) + len(".4194304") <= 103


def test_without_lite_the_small_page_is_not_started(shared: Shared) -> None:
    assert "lite" not in {program.name for program in demo.programs(DemoSettings.load(lite=False), shared)}


def test_a_shop_of_its_own_has_no_simulated_shoppers_past_or_incident(shared: Shared) -> None:
    settings = DemoSettings.load(shoppers=False)
    assert {part.name for part in PARTS} - {each.name for each in demo.programs(settings, shared)} == {"producers"}
    assert (settings.fills, settings.breaks) == (False, False)


def test_the_notifier_is_wired_to_the_sandbox(shared: Shared) -> None:
    notifier = next(program for program in demo.programs(DemoSettings.load(), shared) if program.name == "notifier")
    assert notifier.environment["TILLWATCH_NOTIFIER_SLACK_BASE_URL"].endswith(f":{shared.port('sandbox')}/api/")
    assert notifier.environment["TILLWATCH_NOTIFIER_SMTP_PORT"] == str(shared.port("smtp"))


def test_a_shell_set_up_for_production_stays_out_of_the_demo(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_DREMIO_URI", "grpc+tls://dremio.example:32010")
    monkeypatch.setenv("TILLWATCH_NOTIFIER_SLACK_TOKEN_FILE", "/run/secrets/slack")
    parts = demo.programs(DemoSettings.load(), shared)
    environment = demo.demo_environment(shared, shared.data_dir, parts)
    assert environment["TILLWATCH_DREMIO_URI"] == f"grpc://localhost:{shared.port('gateway')}"
    assert "TILLWATCH_NOTIFIER_SLACK_TOKEN_FILE" not in environment


# ---- one demo a data directory


def test_a_second_demo_on_the_same_data_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with leftovers.only_demo(tmp_path), pytest.raises(UserError) as refused, leftovers.only_demo(tmp_path):
        pass
    assert f"A demo already runs on {tmp_path} (process {os.getpid()}): end it with Ctrl-C" in str(refused.value)
    with leftovers.only_demo(tmp_path):
        pass


def test_data_is_not_removed_while_the_demo_runs(shared: Shared) -> None:
    shared.data_dir.mkdir()
    (shared.data_dir / "profile").write_text("embedded\n")
    with leftovers.only_demo(shared.data_dir), pytest.raises(UserError, match="A demo already runs"):
        leftovers.remove_data(shared)
    assert leftovers.remove_data(shared).startswith("Removed ")
    assert not shared.data_dir.exists()
    assert "nothing to remove" in leftovers.remove_data(shared)


def test_a_folder_that_is_no_data_directory_is_never_removed(shared: Shared) -> None:
    shared.data_dir.mkdir()
    (shared.data_dir / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is no data directory of tillwatch"):
        leftovers.remove_data(shared)
    assert (shared.data_dir / "thesis.txt").exists()


def test_a_busy_port_is_refused_before_anything_starts(shared: Shared) -> None:
    busy = shared.port("notifier")
    with socket.create_server(("127.0.0.1", busy)), pytest.raises(UserError, match=f"Port {busy} is held by"):
        demo.run(DemoSettings.load(), shared)
    assert not (shared.data_dir / "run" / "supervisord.conf").exists()


# ---- the supervisor, for real, with small programs in the place of parts


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """supervisord with one program that stays, one that ends at once, and one with a child of its own."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    quitter = [sys.executable, "-c", "raise SystemExit('the key is missing')"]
    parent = ["sh", "-c", "sleep 600 & sleep 600; true"]
    programs = [
        supervisor.Program("sleeper", sleeper),
        supervisor.Program("quitter", quitter),
        supervisor.Program("parent", parent),
    ]
    with leftovers.only_demo(tmp_path) as lock:
        environment = {**os.environ, leftovers.MARK: str(tmp_path)}
        child = supervisor.start(tmp_path, programs, environment, lock)
        yield child, tmp_path
        if child.stdin is not None:
            child.stdin.close()
        child.kill()
        child.wait()
        leftovers.end_leftovers(tmp_path)


def states(data_dir: Path) -> dict[str, supervisor.Process]:
    try:
        with closing(supervisor.Control(data_dir)) as control:
            return {process.name: process for process in control.processes()}
    except OSError:
        return {}


def until(what: object, seconds: float = 15) -> None:
    assert callable(what)
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.05)


def running(data_dir: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(leftovers.MARK) == str(data_dir) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def test_a_part_that_is_killed_is_started_again(supervised: tuple[subprocess.Popen[bytes], Path]) -> None:
    _, data_dir = supervised
    until(lambda: states(data_dir).get("sleeper", supervisor.Process("", "", 0, 0)).state == "RUNNING")
    first = states(data_dir)["sleeper"].pid

    os.kill(first, signal.SIGKILL)

    until(lambda: states(data_dir)["sleeper"].pid not in (0, first))
    assert states(data_dir)["quitter"].state in ("BACKOFF", "STARTING", "FATAL")


ODD = "100% \"o'brien's\" #1 ;2 ?3 $HOME {ä}"


@pytest.mark.parametrize("name", [ODD, "50%25", "x" * 120], ids=["odd", "encoded", "too long for a socket"])
def test_a_data_directory_and_a_command_may_have_any_name(tmp_path: Path, name: str) -> None:
    odd = tmp_path / name
    odd.mkdir()
    program = supervisor.Program(
        "lister", ["sh", "-c", 'echo "$0"; pwd; echo "$WHERE $SET"; sleep 600', str(odd)], {"WHERE": "100%"}
    )
    environment = {**os.environ, leftovers.MARK: str(odd), "SET": "5 % #of %(it)s"}
    with leftovers.only_demo(odd) as lock:
        child = supervisor.start(odd, [program], environment, lock)
        try:
            log = odd / "logs" / "lister.log"
            said = [str(odd), str(Path.cwd()), "100% 5 % #of %(it)s"]
            until(lambda: log.exists() and log.read_text().splitlines() == said)
            until(lambda: "lister" in states(odd))
        finally:
            assert child.stdin is not None
            child.stdin.close()
            child.wait()
            leftovers.end_leftovers(odd)


def test_nothing_is_left_when_the_demo_is_killed(supervised: tuple[subprocess.Popen[bytes], Path]) -> None:
    child, data_dir = supervised
    until(lambda: len(running(data_dir)) >= 4)
    assert child.stdin is not None

    child.stdin.close()  # all that a kill -9 of the demo, or the end of its terminal, does here

    until(lambda: not running(data_dir), 10)


def test_nothing_is_left_when_the_supervisor_is_killed(supervised: tuple[subprocess.Popen[bytes], Path]) -> None:
    child, data_dir = supervised
    until(lambda: len(running(data_dir)) >= 4)

    child.kill()
    child.wait()

    assert leftovers.end_leftovers(data_dir) >= 3
    until(lambda: not running(data_dir), 5)


# ---- status


def test_status_is_one_screen_when_nothing_runs(shared: Shared) -> None:
    environment = {
        **os.environ,
        "TILLWATCH_DATA_DIR": str(shared.data_dir),
        "TILLWATCH_PORT_OFFSET": str(shared.port_offset),
    }
    line = [sys.executable, "-m", "tillwatch", "status"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=30, env=environment)
    assert done.returncode == 1, done.stderr
    for part in PARTS:
        assert re.search(rf"^{part.name} +(down|unknown)", done.stdout, re.MULTILINE), done.stdout
    assert f"nobody answers at grpc://localhost:{shared.port('gateway')}" in done.stdout
    assert len(done.stdout.splitlines()) <= 24


def test_a_part_that_hangs_does_not_hold_status_up(shared: Shared) -> None:
    with socket.create_server(("127.0.0.1", shared.port("console"))):
        screen = Console(record=True, width=100, file=open(os.devnull, "w"))  # noqa: SIM115
        assert not status.show(shared, screen)
    assert re.search(r"^console +hangs", screen.export_text(), re.MULTILINE)


@pytest.mark.parametrize(
    ("data", "log_ends", "told"),
    [
        (None, {}, "not known: no answer in time"),
        (TimeoutError("Dremio gave no answer"), {}, "not known: Dremio gave no answer"),
        (status.Data("c0ffee" * 6, None, {}, {}), {}, "nothing is published yet"),
        (status.Data("c0ffee" * 6, NOON, {}, {"orders": 1234}), {}, "1.5 s old · all up to 12:20:00 UTC is in"),
        (status.Data("c0ffee" * 6, NOON, {"a": 90, "b": 5}, {}), {"a": 100, "b": 5}, "10 events of the log"),
        (status.Data("c0ffee" * 6, NOON, {}, {"orders": 1234}), {}, "orders 1,234"),
        (status.Data("c0ffee" * 6, NOON + timedelta(hours=26), {}, {}), {}, "26.0 h ahead of this machine's clock ·"),
        (status.Data("c0ffee" * 6, NOON + timedelta(seconds=5), {}, {}), {}, "0.0 s old ·"),
        (status.Data("c0ffee" * 6, NOON, {}, {}, "a clock was ahead"), {}, "clock     a clock was ahead"),
    ],
)
def test_status_says_how_old_the_data_is(data: object, log_ends: dict[str, int], told: str) -> None:
    assert data is None or isinstance(data, status.Data | TimeoutError)
    lines = status.data_lines(data, log_ends, NOON + timedelta(seconds=1.5))
    assert told in re.sub(r"\[/?\w*\]", "", "\n".join(lines))
