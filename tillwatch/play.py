"""Plays a cast: starts it, watches it, says what there is to see, and ends it.

This process itself only watches. supervisord, its child, starts and restarts the parts, in any order, for each waits
for what it needs. The past is filled in by shoppers that run beside them.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
import urllib.request
import xmlrpc.client
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.settings.base import Shared
from lakehouse.settings.ports import claim_port
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from tillwatch import supervisor
from tillwatch.caretaker import Caretaker
from tillwatch.cast import Cast
from tillwatch.filling import Filler
from tillwatch.leftovers import end_leftovers, only_demo
from tillwatch.parts import BY_NAME
from tillwatch.settings import DemoSettings
from tillwatch.terminal import Audience, note, say, shown

INCIDENT_AT_S = 60
INCIDENT_S = 90
FILLER_ENDS_WITHIN_S = 5
# Started a moment after the screen is live, as the filling of the past is: on two cores their imports would take time
# from what the screen needs, and from the first page that a browser draws of it.
LATER = ("sandbox", "notifier", "lite")
FIRST_PAGE_S = 1.5


def play(cast: Cast, settings: DemoSettings, shared: Shared, data_dir: Path) -> int:
    """Run this cast on a data directory, alone there. Raises UserError where that cannot be."""
    with only_demo(data_dir) as lock:
        end_leftovers(data_dir)
        for name in cast.ports:
            claim_port(shared.port(name))
        return Play(cast, settings, shared, data_dir, lock).run()


@dataclass
class Play:
    """One run of a cast, from the first start to the last end."""

    cast: Cast
    settings: DemoSettings
    shared: Shared
    data_dir: Path
    lock: int
    ending: Stop = field(default_factory=Stop)
    live_s: float | None = None
    """How long after the start the screen was live."""
    seen: threading.Event = field(default_factory=threading.Event)
    """The screen has been live for FIRST_PAGE_S, or that takes too long: the rest may start."""

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # SIGHUP that is ignored at the start stays so: that is nohup's word.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: self.ending.set())
        started, now = time.monotonic(), datetime.now(UTC)
        is_new = self.cast.is_new()
        rate = f"{self.settings.rate:g} events/s" if self.settings.shoppers else "without simulated shoppers"
        say(f"{self.cast.title}: data and logs in {shown(self.data_dir)}, {rate}")
        if self.cast.laid_over:
            say(f"  {self.cast.laid_over}")
        say()
        child = supervisor.start(self.data_dir, self.cast.programs, self.cast.environment, self.lock)
        past = Filler(self.cast, self.settings, self.shared, self.data_dir, self.ending, self.seen)
        filler = threading.Thread(target=past.run, args=(now, is_new), name="fill", daemon=True)
        try:
            if self.settings.fills:
                filler.start()
            self._watch(child, started)
        finally:
            self.ending.set()
            self._end(child)
            if filler.is_alive():
                # A question to the gateway that is under way when Python ends may keep the process from ending.
                filler.join(FILLER_ENDS_WITHIN_S)
        if self.live_s is not None:
            return 0
        say(f"  It never became live: why is in {shown(self.data_dir / 'logs')}.")
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
        if self.settings.breaks:
            say(f"  {INCIDENT_AT_S} s after the start the payments service fails for {INCIDENT_S} s.")
        say("  Ctrl-C ends everything; the data stays.")
        say()

    # ---- the watch

    def _watch(self, child: subprocess.Popen[bytes], started: float) -> None:
        due = [(self.cast.ready_within_s, self._warn_if_not_ready)]
        if self.settings.breaks:
            due += [(INCIDENT_AT_S, self._tell_of_incident), (INCIDENT_AT_S + INCIDENT_S, self._tell_of_its_end)]
        due.sort(key=lambda item: item[0])
        audience = Audience()
        control = supervisor.Control(self.data_dir)
        health = Caretaker(control, self.data_dir, self.cast.programs)
        later = [name for name in LATER if name != "lite" or self.settings.lite]
        pause = 0.25
        while not self.ending.wait(pause):
            seconds = time.monotonic() - started
            if audience.gone():
                return
            if child.poll() is not None:
                raise UserError(
                    f"The supervisor ended by itself (code {child.returncode}): "
                    f"see {shown(self.data_dir / 'logs' / 'supervisor.out')}, then start again."
                )
            if self.live_s is None and _has_data(self._url("console", BY_NAME["console"].health or "/")):
                self.live_s = seconds
                self._welcome(seconds)
            settled_s = self.cast.later_at_s if self.live_s is None else self.live_s + FIRST_PAGE_S
            if seconds >= min(settled_s, self.cast.later_at_s):
                self.seen.set()
            if later and self.seen.is_set():
                with contextlib.suppress(OSError, xmlrpc.client.Error):  # not up yet: again in a moment
                    control.start(later[0])
                    later.pop(0)
            while due and seconds >= due[0][0]:
                due.pop(0)[1]()
            health.look()
            pause = 1.0 if self.live_s is not None and not later else 0.25
            if self.settings.run_for is not None and seconds >= self.settings.run_for.total_seconds():
                return

    def _warn_if_not_ready(self) -> None:
        if self.live_s is None:
            logs = shown(self.data_dir / "logs")
            note(f"the console is not live yet; `{self.cast.status}` says what is missing, logs are in {logs}")

    def _tell_of_incident(self) -> None:
        note(f"payments fails now, for {INCIDENT_S} s. Look at the Errors and Alerts tabs of {self._url('console')},")
        say(f"            and at the message that went out: {self._url('sandbox')}")

    def _tell_of_its_end(self) -> None:
        note("payments is well again. Its incident resolves itself after 5 minutes without a fatal error,")
        say("            and the same message thread says so.")

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
        say(f"  All ended. The data stays in {shown(self.data_dir)}; `{self.cast.clean_up}` removes it.")


def _has_data(url: str) -> bool:
    """Whether the console is ready, and has seen a publish."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return json.loads(answer.read()).get("as_of") is not None
    except (OSError, ValueError):
        return False
