"""The console with 200 sessions at a commit a second, beside a page of plain Bokeh with the same four charts.

A publish is when a page's figures are there to be told: the plain page asks nothing, the console its questions before.
Promises: from a publish to its message p95 at most 1.2 times the plain page's and 250 ms, one message a commit and
session, the same statements for one session as for 200, 2.5 MB a session, and all of it let go once they are closed.
A browser that stalls for a minute costs 20 MB at most, and the others do not notice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.latency import percentile
from bench.page_server import PageServer
from bench.processes import MEMORY, environment, free_offset
from bench.report import Report
from lakehouse import ROOT
from lakehouse.settings.ports import PORTS

ROUNDS = 4
VIEWERS = (
    "import asyncio, sys; from bench.streamlit_viewers import watch; "
    "asyncio.run(watch(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))"
)
STALLED_S = 60.0
FEW = 20
ROUND_SESSIONS = 50
CLIENTS = (
    "import asyncio, sys; from bench.sessions import watch; "
    "asyncio.run(watch(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))"
)
CONSOLE = (
    "from pathlib import Path; from console.__main__ import serve; "
    "serve(Path('bench/console_setup.py'), ['bench.console_shop'])"
)


class OnStreamlit:
    """What viewers of a page of Streamlit saw for some seconds: statements a minute, and how old what stood on their
    screens was (s, each second)."""

    def __init__(self, server: PageServer, port: int, viewers: int, seconds: float) -> None:
        words = [sys.executable, "-c", VIEWERS, str(port), str(viewers), str(seconds)]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as clients:
            assert clients.stdout is not None
            if "open" not in clients.stdout.readline():
                raise SystemExit("bench: not all pages of Streamlit could be opened.")
            asked, began = server.state()["asked"], time.monotonic()
            seen = json.loads(clients.stdout.readline())
            state = server.state()
        self.statements_a_minute = (state["asked"] - asked) * 60 / (time.monotonic() - began)
        self.ages = [at - state["published"][commit] for at, commit in seen["shown"]]


class Looked:
    """What so many sessions saw of a server for some seconds, the first of them stalled."""

    def __init__(self, server: PageServer, sessions: int, seconds: float, stalled: int = 0) -> None:
        words = [sys.executable, "-c", CLIENTS, server.page, str(sessions), str(seconds), str(stalled)]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as clients:
            assert clients.stdout is not None
            if "open" not in clients.stdout.readline():
                raise SystemExit("bench: not all sessions could be opened.")
            self.memory_mb = server.memory_mb()
            before, began, asked = server.cpu_s(), time.monotonic(), server.state()["asked"]
            clients.stdout.readline()
            self.grown_mb = server.memory_mb() - self.memory_mb
            self.cpu_s = server.cpu_s() - before
            self.seconds = time.monotonic() - began
            state = server.state()
            line = clients.stdout.readline()
        self.statements_a_minute = (state["asked"] - asked) * 60 / self.seconds
        seen = json.loads(line)
        shown = {commit: at for commit, at in state["shown"].items() if seen["began"] <= at <= seen["ended"] - 2.0}
        self.expected = len(shown) * (sessions - stalled)
        self.caught_up: int = seen["caught_up"]
        heard = [(commit, at) for commit, times in seen["commits"].items() if commit in shown for at in times]
        self.heard = [at - shown[commit] for commit, at in heard]
        self.since_commit = [at - state["published"][commit] for commit, at in heard]
        self.sizes: list[int] = seen["sizes"]
        self.without_lists: list[int] = seen["without_lists"]
        told = sum(1 for at in state["shown"].values() if seen["began"] <= at <= seen["ended"])
        self.messages_a_commit = len(self.sizes) / max(1, (sessions - stalled) * told)

    @property
    def p50_ms(self) -> float:
        return 1000 * percentile(self.heard, 50)

    @property
    def p95_ms(self) -> float:
        return 1000 * percentile(self.heard, 95)


def servers(folder: Path) -> tuple[PageServer, PageServer]:
    """The console, and the plain page."""
    offset = free_offset()
    variables = environment(folder, offset) | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    }
    port = PORTS["console"] + offset
    console = PageServer("console", "app", [sys.executable, "-c", CONSOLE], port, variables)
    words = [
        *(sys.executable, "-m", "panel", "serve", "bench/raw.py", "--server", "fastapi", "--port", str(port + 1)),
        *("--address", "127.0.0.1", "--setup", "bench/raw_setup.py", "--plugins", "bench.console_shop"),
        *("--allow-websocket-origin", f"127.0.0.1:{port + 1}", "--log-level", "warning"),
        *("--unused-session-lifetime", "60000", "--check-unused-sessions", "5000"),
    ]
    return console, PageServer("raw", "raw", words, port + 1, variables)


def on_streamlit(folder: Path, viewers: int, seconds: float) -> OnStreamlit:
    offset = free_offset()
    port, state_port = (PORTS[name] + offset for name in ("lite", "console"))
    variables = environment(folder, offset) | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "bench.streamlit_serve", str(port), str(state_port)]
    server = PageServer("streamlit", "", words, port, variables, state_port)
    with server:
        return OnStreamlit(server, port, viewers, seconds)


def let_go(server: PageServer, base: int) -> int:
    """Documents that are alive once closed sessions may be gone."""
    end = time.monotonic() + 150
    while (documents := server.documents()) > base and time.monotonic() < end:
        time.sleep(2)
    return documents


def run(sessions: int, seconds: float, rounds: int) -> Report:
    report = Report(
        "console", f"{sessions} sessions on the Overview, each by its websocket, a commit a second for {seconds:g} s"
    )
    with tempfile.TemporaryDirectory() as folder:
        small = on_streamlit(Path(folder), FEW, STALLED_S)
        console, raw = servers(Path(folder))
        with raw:
            plain = Looked(raw, sessions, seconds)
        with console:
            base = console.documents()
            one = Looked(console, 1, min(30.0, seconds))
            before_mb = console.memory_mb()
            many = Looked(console, sessions, seconds)
            report.row("plain page: publish to message, p50", plain.p50_ms, "ms")
            report.row("plain page: publish to message, p95", plain.p95_ms, "ms")
            report.row("publish to message, p50", many.p50_ms, "ms")
            report.row("publish to message, p95", many.p95_ms, "ms", at_most=250)
            report.row("commit to message, its questions in it, p95", 1000 * percentile(many.since_commit, 95), "ms")
            report.row("p95 / the plain page's", many.p95_ms / plain.p95_ms, "x", at_most=1.2)
            report.row("commits heard, of those published", len(many.heard) / max(1, many.expected), "", at_least=0.999)
            report.row("messages a commit and session", many.messages_a_commit, "", at_most=1.02)
            report.row("bytes of a message, median", percentile(many.sizes, 50), "bytes", at_most=6 * 1024)
            report.row("the same without its lists, median", percentile(many.without_lists, 50), "bytes", at_most=2048)
            report.row("CPU, plain page", 100 * plain.cpu_s / plain.seconds, "% of a core")
            report.row("CPU", 100 * many.cpu_s / many.seconds, "% of a core")
            report.row("statements a minute, one session", one.statements_a_minute, "")
            report.row(
                "the same, all sessions / one", many.statements_a_minute / one.statements_a_minute, "x", at_most=1.05
            )
            report.row(f"memory a session ({MEMORY})", (many.memory_mb - before_mb) / sessions, "MB", at_most=2.5)
            beside = Looked(console, 1 + FEW, STALLED_S, stalled=1)
            alone = Looked(console, FEW, STALLED_S)
            report.row(f"memory that a browser stalled for {STALLED_S:g} s adds", beside.grown_mb, "MB", at_most=20)
            report.row("it catches up", beside.caught_up, "", exactly=1)
            report.row("the others: commits heard", len(beside.heard) / max(1, beside.expected), "", at_least=0.999)
            report.row("the others: p95 / without it", beside.p95_ms / alone.p95_ms, "x", at_most=1.2)
            words = f"{FEW} viewers of a page of Streamlit that looks every 5 s"
            report.row(f"{words}: statements a minute", small.statements_a_minute, "")
            report.row(f"{words}: what it shows is old by, p95", percentile(small.ages, 95), "s")
            report.row(f"{FEW} viewers: statements a minute", alone.statements_a_minute, "")
            report.row(f"{FEW} viewers: a commit is on the screen after, p95", percentile(alone.since_commit, 95), "s")
            grown = []
            for _ in range(rounds):
                Looked(console, ROUND_SESSIONS, 3.0)
                documents = let_go(console, base)
                grown.append(console.memory_mb())
            if rounds > 1:
                report.row("documents once all are closed, more than before", documents - base, "", exactly=0)
                added = grown[-1] - grown[-2]
                report.row(f"memory that the last of {rounds} rounds of 50 sessions added", added, "MB", at_most=5)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of 50 sessions that are opened and closed")
    arguments = parser.parse_args()
    run(arguments.sessions, arguments.seconds, arguments.rounds).finish()


if __name__ == "__main__":
    main()
