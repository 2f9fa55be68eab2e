"""`tillwatch demo`: everything on this machine, one terminal, one data directory. `tillwatch stack` plays by it too.

The demo process itself only watches. supervisord, its child, starts and restarts the parts, in any order, for each
waits for what it needs. The past is filled in by shoppers that run beside them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
import xmlrpc.client
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.events import TOPICS
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir, profile_of
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import claim_port
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from tillwatch import fill, supervisor
from tillwatch.parts import BY_NAME, Part
from tillwatch.settings import DemoSettings

INCIDENT_AT_S = 60
INCIDENT_S = 90
READY_WITHIN_S = 60

# Everything that is started here carries its data directory in this variable, so that what a kill -9 left can be found.
# Without the prefix of a setting, for unknown settings are refused.
MARK = "_TILLWATCH_DEMO"

# What is not supervisord's to start again: the pause doubles from the first to the longest while it keeps failing.
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
WELL_AFTER_S = 60
FILLER_ENDS_WITHIN_S = 5

# Started once the screen is live: on two cores their imports would take time from what the screen needs.
LATER = ("sandbox", "notifier", "lite")


def say(text: str = "") -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone, which must not keep us from ending in order
        print(text, flush=True)


def note(text: str) -> None:
    say(f"  {datetime.now().astimezone():%H:%M:%S}  {text}")


@dataclass(frozen=True)
class Cast:
    """Who runs, and in what the profiles differ. `log_ends` counts the messages that each topic has had."""

    title: str
    ports: Sequence[str]
    programs: Sequence[supervisor.Program]
    environment: Mapping[str, str]
    log_ends: Callable[[], Mapping[str, int]]
    is_new: Callable[[], bool]
    clean_up: str
    status: str
    sink: str = "log"
    more: Sequence[str] = ()
    ready_within_s: float = READY_WITHIN_S
    later_at_s: float = 20
    end_within_s: float = 8
    fill_first: bool = True
    """Whether the last hour is filled in while the rest starts; else once the screen is live."""


READERS_PORTS = ("sandbox", "smtp", "notifier")


def run(settings: DemoSettings, shared: Shared) -> int:
    """Run until Ctrl-C, SIGTERM, the end of the terminal or settings.run_for; the exit code."""
    data_dir = open_data_dir(shared.data_dir, "embedded").resolve()
    parts = programs(settings, shared)
    cast = Cast(
        title="tillwatch demo",
        ports=("gateway", "console", "ingest", *READERS_PORTS, *(["lite"] if settings.lite else [])),
        programs=parts,
        environment=demo_environment(shared, data_dir, parts),
        log_ends=lambda: _event_log_ends(data_dir),
        is_new=lambda: not (data_dir / "events.db").exists() and not (data_dir / "catalog.db").exists(),
        clean_up="make clean-data",
        status="make status",
    )
    return play(cast, settings, shared, data_dir)


def play(cast: Cast, settings: DemoSettings, shared: Shared, data_dir: Path) -> int:
    """Run this cast on a data directory, alone there. Raises UserError where that cannot be."""
    with only_demo(data_dir) as lock:
        end_leftovers(data_dir)
        for name in cast.ports:
            claim_port(shared.port(name))
        return _Demo(cast, settings, shared, data_dir, lock).run()


@contextlib.contextmanager
def only_demo(data_dir: Path) -> Iterator[int]:
    """Hold the demo's lock on a data directory: its file descriptor. Raises UserError naming who else holds it."""
    try:
        (data_dir / "run").mkdir(exist_ok=True)
        (data_dir / "logs").mkdir(exist_ok=True)
        held = (data_dir / "run" / "demo.lock").open("a+")
    except OSError as error:
        raise UserError(
            f"The data directory {data_dir} cannot be used: {error.filename}: {error.strerror}. "
            "Free it or set TILLWATCH_DATA_DIR."
        ) from None
    with held as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"A {_called(data_dir)} already runs on {data_dir} (process {lock.read().strip() or 'unknown'}): "
                "end it with Ctrl-C in its terminal, or set TILLWATCH_DATA_DIR and TILLWATCH_PORT_OFFSET to run "
                "another beside it."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield lock.fileno()
        lock.truncate(0)


def _called(data_dir: Path) -> str:
    return "stack" if profile_of(data_dir) == "stack" else "demo"


def remove_data(shared: Shared) -> str:
    """Remove the data directory; the sentence to show. Raises UserError while a demo runs on it, or if it is none."""
    data_dir = shared.data_dir.resolve()
    if not data_dir.exists():
        return f"There is no data directory {data_dir}: nothing to remove."
    if not (data_dir / "profile").exists():
        raise UserError(f"{data_dir} is no data directory of tillwatch, so it stays; correct TILLWATCH_DATA_DIR.")
    with only_demo(data_dir):
        end_leftovers(data_dir)
        shutil.rmtree(data_dir)
    return f"Removed {data_dir}."


def end_leftovers(data_dir: Path) -> int:
    """Kill what an earlier demo on this data directory left behind; how many processes that were."""
    ended: set[psutil.Process] = set()
    # Again until nothing new is found: a process may have forked after it was listed and before it was killed.
    while left := _leftovers(data_dir) - ended:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=2)
        ended |= left
    return len(ended)


def _leftovers(data_dir: Path) -> set[psutil.Process]:
    left = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(data_dir):
                left.add(process)
    return left


def programs(settings: DemoSettings, shared: Shared) -> list[supervisor.Program]:
    """What supervisord runs."""
    return [
        supervisor.Program(name, part.argv(*words(part, settings)), wiring(name, shared), autostart=name not in LATER)
        for name, part in BY_NAME.items()
        if name != "lite" or settings.lite
    ]


def words(part: Part, settings: DemoSettings, sink: str = "log") -> list[str]:
    """What a part is told beside its command: the shoppers' rate and incident."""
    if part.name != "producers":
        return []
    shoppers = ["shoppers", "--rate", f"{settings.rate:g}", *(("--flat",) if settings.flat else ())]
    if settings.incident:
        shoppers += ["--incident", f"payments@{INCIDENT_AT_S}s"]
    return [*shoppers, "--sink", sink]


def wiring(name: str, shared: Shared) -> dict[str, str]:
    """Settings of one part. Sandbox and notifier are wired to each other here, for only the demo knows both.

    What the sandbox does not stand in for stays off, whatever the shell says: nobody real is written to.
    """
    if name != "notifier":
        return {}
    # Here, for it takes a while to load what channels send with.
    from notifier.channels import texts_given

    return {
        **{f"TILLWATCH_NOTIFIER_{name}".upper(): "" for name in texts_given()},
        "TILLWATCH_NOTIFIER_SLACK_BASE_URL": f"http://127.0.0.1:{shared.port('sandbox')}/api/",
        "TILLWATCH_NOTIFIER_SLACK_TOKEN": "xoxb-sandbox",
        "TILLWATCH_NOTIFIER_SLACK_CHANNEL": "C0ONCALL",
        "TILLWATCH_NOTIFIER_SMTP_HOST": "127.0.0.1",
        "TILLWATCH_NOTIFIER_SMTP_PORT": str(shared.port("smtp")),
        "TILLWATCH_NOTIFIER_SMTP_SECURITY": "none",
        "TILLWATCH_NOTIFIER_SMTP_USER": "",
        "TILLWATCH_NOTIFIER_SMTP_PASSWORD": "",
        "TILLWATCH_NOTIFIER_EMAIL_FROM": "tillwatch@shop.example",
        "TILLWATCH_NOTIFIER_EMAIL_TO": "oncall@shop.example",
    }


def demo_environment(
    shared: Shared, data_dir: Path, parts: Sequence[supervisor.Program], **more: str
) -> dict[str, str]:
    """What all parts get: this process's environment, but the demo's own data and gateway.

    A shell that is set up for production must not make the demo read there, nor write to real people.
    """
    ours = {
        "TILLWATCH_DATA_DIR": str(data_dir),
        "TILLWATCH_DREMIO_URI": f"grpc://localhost:{shared.port('gateway')}",
        "PYTHONUNBUFFERED": "1",
        MARK: str(data_dir),
        **more,
    }
    overridden = {*ours, *(name for part in parts for name in part.environment)}
    # A value from a file would win over ours.
    return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in overridden} | ours


def _event_log_ends(data_dir: Path) -> dict[str, int]:
    from embedded.log import EventLog

    with EventLog(data_dir / "events.db") as log:
        return {topic: log.bounds(topic)[1] for topic in TOPICS}


@dataclass
class _Demo:
    cast: Cast
    settings: DemoSettings
    shared: Shared
    data_dir: Path
    lock: int
    ending: Stop = field(default_factory=Stop)
    live: threading.Event = field(default_factory=threading.Event)

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # SIGHUP that is ignored at the start stays so: that is nohup's word.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: self.ending.set())
        started, now = time.monotonic(), datetime.now(UTC)
        is_new = self.cast.is_new()
        say(f"{self.cast.title}: data and logs in {_shown(self.data_dir)}, {self.settings.rate:g} events/s")
        say()
        child = supervisor.start(self.data_dir, self.cast.programs, self.cast.environment, self.lock)
        filler = threading.Thread(target=self._fill, args=(now, is_new), name="fill", daemon=True)
        try:
            if self.settings.fill:
                filler.start()
            self._watch(child, started)
        finally:
            self.ending.set()
            self._end(child)
            if filler.is_alive():
                # A question to the gateway that is under way when Python ends may keep the process from ending.
                filler.join(FILLER_ENDS_WITHIN_S)
        if self.live.is_set():
            return 0
        say(f"  It never became live: why is in {_shown(self.data_dir / 'logs')}.")
        return 1

    # ---- what is said

    def _url(self, name: str, path: str = "") -> str:
        return f"http://localhost:{self.shared.port(name)}{path}"

    def _welcome(self, seconds: float) -> None:
        note(f"live after {seconds:.0f} s")
        say()
        say(f"    {self._url('console'):<24} the live screen: orders, revenue, active users, errors")
        if self.settings.lite:
            say(f"    {self._url('lite'):<24} the same figures on one small page")
        say(f"    {self._url('sandbox'):<24} what the notifier sent: Slack and email, in a sandbox")
        for line in self.cast.more:
            say(f"    {line}")
        say(f"    {self.cast.status:<24} in another terminal: which parts are up, how old the data is")
        say()
        if self.settings.incident:
            say(f"  {INCIDENT_AT_S} s after the start the payments service fails for {INCIDENT_S} s.")
        say("  Ctrl-C ends everything; the data stays.")
        say()

    # ---- the watch

    def _watch(self, child: subprocess.Popen[bytes], started: float) -> None:
        due = [(self.cast.ready_within_s, self._warn_if_not_ready)]
        if self.settings.incident:
            due += [(INCIDENT_AT_S, self._tell_of_incident), (INCIDENT_AT_S + INCIDENT_S, self._tell_of_its_end)]
        due.sort(key=lambda item: item[0])
        audience = _Audience()
        control = supervisor.Control(self.data_dir)
        health = _Health(control, self.data_dir, self.cast.programs)
        later = [name for name in LATER if name != "lite" or self.settings.lite]
        pause = 0.25
        while not self.ending.wait(pause):
            seconds = time.monotonic() - started
            if audience.gone():
                return
            if child.poll() is not None:
                raise UserError(
                    f"The supervisor ended by itself (code {child.returncode}): "
                    f"see {_shown(self.data_dir / 'logs' / 'supervisor.out')}, then start again."
                )
            if not self.live.is_set() and _has_data(self._url("console", BY_NAME["console"].health or "/")):
                self.live.set()
                self._welcome(seconds)
            if later and (self.live.is_set() or seconds >= self.cast.later_at_s):
                with contextlib.suppress(OSError, xmlrpc.client.Error):  # not up yet: again in a moment
                    control.start(later[0])
                    later.pop(0)
            while due and seconds >= due[0][0]:
                due.pop(0)[1]()
            health.look()
            pause = 1.0 if self.live.is_set() and not later else 0.25
            if self.settings.run_for is not None and seconds >= self.settings.run_for.total_seconds():
                return

    def _warn_if_not_ready(self) -> None:
        if not self.live.is_set():
            logs = _shown(self.data_dir / "logs")
            note(f"the console is not live yet; `{self.cast.status}` says what is missing, logs are in {logs}")

    def _tell_of_incident(self) -> None:
        note(f"payments fails now, for {INCIDENT_S} s. Look at the Errors and Alerts tabs of {self._url('console')},")
        say(f"            and at the message that went out: {self._url('sandbox')}")

    def _tell_of_its_end(self) -> None:
        note("payments is well again. Its incident resolves itself after 5 minutes without a fatal error,")
        say("            and the same message thread says so.")

    # ---- the past

    def _fill(self, now: datetime, is_new: bool) -> None:
        def shop(span: fill.Span, in_background: bool) -> None:
            after_live = in_background or not self.cast.fill_first
            while after_live and not self.live.wait(0.2) and not self.ending.is_set():
                pass
            self._shop(span, in_background)

        try:
            fill_past(self.settings, now, None if is_new else self._hours_with_rows, shop, note, self.ending)
        except (UserError, DremioError) as error:
            if not self.ending.is_set():
                note(f"the past is not filled in: {error}")

    def _shop(self, span: fill.Span, in_background: bool) -> None:
        """Run shoppers over a span of the past. Raises UserError when they fail."""
        line = BY_NAME["producers"].argv(
            "shoppers",
            *("--rate", f"{self.settings.fill_rate or self.settings.rate:g}"),
            *("--from", span[0].isoformat()),
            *("--to", span[1].isoformat()),
            *("--sink", self.cast.sink),
            *(("--flat",) if self.settings.flat else ()),
            # So that the first incident on the screen is the announced one. Seed and rate as in the live shop: the
            # same people walk on, and events that are there already are known again by their ids.
            *(() if in_background else ("--no-outages",)),
        )
        log = self.data_dir / "logs" / "fill.log"
        with log.open("ab") as out:
            child = subprocess.Popen(
                [*_NICE, *line] if in_background else line,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(self.cast.environment),
                start_new_session=True,
            )
        while child.poll() is None:
            if self.ending.wait(0.05):
                child.kill()
        if child.returncode != 0 and not self.ending.is_set():
            raise UserError(f"the shoppers ended with code {child.returncode}, see {_shown(log)}.")

    def _hours_with_rows(self, start: datetime, end: datetime) -> set[datetime]:
        """Starts of the clock hours of [start, end) that have a row, in the tables or still on their way there."""
        ends = self._log_ends()
        deadline = time.monotonic() + READY_WITHIN_S
        settings = DremioSettings.load(uri=f"grpc://localhost:{self.shared.port('gateway')}")
        with Dremio(settings) as dremio:
            while True:
                try:
                    at = Counter[str]()
                    for row in dremio.ask("demo_positions").to_pylist():
                        at[row["topic"]] += row["next_offset"]
                    if all(at[topic] >= end_of for topic, end_of in ends.items()):
                        rows = dremio.ask("demo_hours_with_rows", start=start, end=end)
                        return set(rows.column("hour_start").to_pylist())
                except DremioError:
                    if time.monotonic() > deadline:
                        raise
                if time.monotonic() > deadline:
                    raise UserError("ingest did not catch up, so it is not known which hours are empty.")
                if self.ending.wait(0.5):
                    return set()

    def _log_ends(self) -> Mapping[str, int]:
        """Waits until the log can be asked. Raises UserError when it never can."""
        deadline = time.monotonic() + self.cast.ready_within_s
        while True:
            try:
                return self.cast.log_ends()
            except UserError:
                if time.monotonic() > deadline or self.ending.wait(0.5):
                    raise

    # ---- the end

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        say()
        say("  Ending all parts …")
        if child.stdin is not None:
            child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(self.cast.end_within_s)
        end_leftovers(self.data_dir)
        if child.poll() is None:
            child.kill()
        child.wait()
        say(f"  All ended. The data stays in {_shown(self.data_dir)}; `{self.cast.clean_up}` removes it.")


def fill_past(
    settings: DemoSettings,
    now: datetime,
    hours_with_rows: Callable[[datetime, datetime], set[datetime]] | None,
    shop: Callable[[fill.Span, bool], None],
    tell: Callable[[str], None],
    ending: Stop,
) -> None:
    """Fill the last hour at once, then the older past in the background, piece by piece; only hours without any row.

    `hours_with_rows` is None for a new data directory, where nothing needs to be asked. `shop(span, in_background)`
    writes one span.
    """
    for back in fill.LOOK_BACK:
        known: set[datetime] = set()
        if hours_with_rows is not None:
            known = hours_with_rows(now - back - fill.HOUR, now - back)
        for span in fill.to_fill(now, back, known):
            if ending.is_set():
                return
            if not back:
                began = time.monotonic()
                shop(span, False)
                minutes = (span[1] - span[0]) / timedelta(minutes=1)
                if not ending.is_set():
                    tell(f"the last {minutes:.0f} minutes are filled in ({time.monotonic() - began:.0f} s)")
                continue
            for piece in fill.pieces(span, settings.fill_piece):
                shop(piece, True)
                if ending.wait(settings.fill_pause.total_seconds()):
                    return


class _Audience:
    """Whether the terminal, or the pipe that is written to, is still there.

    When `make` itself leads the terminal's session it alone gets the SIGHUP of a closed window, and waits for us.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        for number in (0, 1):
            with contextlib.suppress(OSError):
                if number == 1 or os.isatty(number):
                    self._poll.register(number, 0)

    def gone(self) -> bool:
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in self._poll.poll(0))


class _Health:
    """Says when a part ended and came back, and starts again what the supervisor has given up.

    What the supervisor does not start again (Program.restarts) is started when it failed, after a pause that grows as
    long as it keeps failing; when it ended because that was right, it stays ended.
    """

    def __init__(
        self,
        control: supervisor.Control,
        data_dir: Path,
        programs: Sequence[supervisor.Program],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._clock = clock
        self._data_dir = data_dir
        self._ours = {program.name for program in programs if not program.restarts}
        self._groups = {program.name: program.group for program in programs}
        self._pauses: dict[str, float] = {}
        self._ended: dict[str, int] = {}
        self._started: dict[str, int] = {}
        self._again_at: dict[str, float] = {}
        self._next_look = 0.0

    def look(self) -> None:
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + 2
        try:
            for process in self._control.processes():
                self._one(process)
        except (OSError, xmlrpc.client.Error):
            return  # on its way up or down; _watch sees when it has ended

    def _one(self, process: supervisor.Process) -> None:
        log = _shown(self._data_dir / "logs" / f"{process.name}.log")
        if process.state == "FATAL":
            again_at = self._again_at.get(process.name)
            if again_at is None:
                note(f"{process.name} does not stay up; it is tried again every 30 s. {_last_line(log)} ({log})")
            if again_at is None or self._clock() >= again_at:
                self._again_at[process.name] = self._clock() + 30
                if again_at is not None:
                    self._start(process.name)
        elif process.state == "EXITED" and process.name in self._ours:
            self._one_of_ours(process, log)
        elif process.state == "RUNNING":
            before = self._started.get(process.name)
            if before is not None and before != process.started:
                note(f"{process.name} had ended and runs again ({log})")
            self._started[process.name] = process.started
            self._again_at.pop(process.name, None)

    def _one_of_ours(self, process: supervisor.Process, log: str) -> None:
        name = process.name
        if self._ended.get(name) != process.ended:
            self._ended[name] = process.ended
            if process.exit_code == 0:
                note(f"{name} has ended and stays ended. {_last_line(log)} ({log})")
                return
            ran_well = process.ended - process.started >= WELL_AFTER_S
            before = FIRST_PAUSE_S / 2 if ran_well else self._pauses.get(name, FIRST_PAUSE_S / 2)
            pause = min(2 * before, LONGEST_PAUSE_S)
            self._pauses[name] = pause
            self._again_at[name] = self._clock() + pause
            note(f"{name} failed and is started again in {pause:.0f} s. {_last_line(log)} ({log})")
        elif process.exit_code != 0 and self._clock() >= self._again_at.get(name, 0.0):
            self._start(name)

    def _start(self, name: str) -> None:
        self._control.start(name, self._groups[name])


_NICE: Sequence[str] = ("nice", "-n", "10")


def _has_data(url: str) -> bool:
    """Whether the console is ready, and has seen a publish."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return json.loads(answer.read()).get("as_of") is not None
    except (OSError, ValueError):
        return False


def _last_line(path: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:200] if lines else ""


def _shown(path: Path) -> str:
    """A path as people read it: from here, where it lies below."""
    with contextlib.suppress(ValueError, OSError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
