"""What the gateway adds to a question: beside a bare Flight server, and beside DuckDB in this process, in one run.

All are asked in turn over the same files of a made day: SELECT 1, questions of the console, an aggregate, a million
rows; then 50 clients at once, then questions without end. What an answer says is compared before it is timed.
DuckDB has the gateway's number of threads, and for questions about the newest minutes only the files that hold them.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import cycle
from pathlib import Path

import psutil
import pyarrow as pa
from pyarrow import flight

from bench.door_clients import Client, crowds
from bench.door_flight import ROWS
from bench.door_shop import AGGREGATE, ONE, QUESTIONS, SCAN, Made, Plain, in_memory, make
from bench.in_turn import Way, counted, in_turn, same
from bench.latency import percentile
from bench.processes import MEMORY, environment, free_offset, memory_mb
from bench.report import Report
from embedded.gateway.engine import MAX_BATCH_ROWS
from lakehouse import ROOT
from lakehouse.settings.ports import PORTS

FULL = {"orders": 1_000_000, "calls": 5_000, "asks": 200, "scans": 9, "seconds": 30.0, "few": 1_000, "most": 100_000}
QUICK = {"orders": 100_000, "calls": 300, "asks": 30, "scans": 3, "seconds": 2.0, "few": 200, "most": 1_000}
CLIENTS = 50
SHARE = 0.6
BARE = "import sys; from bench.door_flight import serve; serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))"
DEFAULT_BATCH_ROWS = 1_000_000
"""Of DuckDB, where nobody says how many."""


@contextmanager
def served(name: str, words: list[str], folder: Path, offset: int, port: int) -> Iterator[psutil.Process]:
    """A Flight server in a process of its own, which can be signed in to."""
    path = folder / f"{name}.log"
    with path.open("wb") as log:
        command = [sys.executable, *words]
        variables = environment(folder / "data", offset)
        process = psutil.Popen(
            command, cwd=ROOT, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        until = time.monotonic() + 30
        while True:
            try:
                Client(port).close()
                break
            except flight.FlightError:
                if time.monotonic() > until or process.poll() is not None:
                    raise SystemExit(f"bench: {name} did not start: {path.read_text()[-500:]}") from None
                time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


class Door:
    """The gateway on a day's data, the bare server beside it with batches as small as the gateway's, and clients."""

    def __init__(self, made: Made, gateway: int, bare: int, wide: int, report: Report) -> None:
        self.made = made
        self.gateway_port, self.bare_port = gateway, bare
        self.gateway, self.gateway_sql = Client(gateway), Client(gateway, flight_sql=True)
        self.bare, self.bare_sql, self.wide = Client(bare), Client(bare, flight_sql=True), Client(wide)
        self.report = report

    def one(self, calls: int) -> None:
        """SELECT 1: what a call costs."""
        ways: dict[str, Way] = {
            "Flight, bare server": lambda _: self.bare.ask(ONE),
            "Flight": lambda _: self.gateway.ask(ONE),
            "Flight SQL, bare server": lambda _: self.bare_sql.ask(ONE),
            "Flight SQL": lambda _: self.gateway_sql.ask(ONE),
        }
        same(ways)
        found = in_turn(ways, calls, block=50)
        for name, median in found.items():
            self.report.row(f"SELECT 1, {name}, median", median, "ms")
        for name in ("Flight", "Flight SQL"):
            ratio = found[name] / found[f"{name}, bare server"]
            self.report.row(f"SELECT 1, {name}: gateway / bare server", ratio, "x", at_most=1.5)

    def questions(self, asks: int) -> None:
        """What the console asks, in shapes that were seen and in new ones, over the newest minutes."""
        views = self.made.views(self.made.ended - timedelta(minutes=15))
        sides = {"DuckDB": Plain(views), "DuckDB with the rows in its memory": Plain(in_memory(views))}
        for name in ("tiles", "latest_orders"):
            for shapes, more in (("seen", 6), ("new", 12)):
                sql = partial(self._question, name, shapes == "new")
                ways: dict[str, Way] = {side: partial(self._plainly, plain, sql) for side, plain in sides.items()}
                ways["gateway"] = partial(self._asked, sql)
                self._more(f"{name}, its shape {shapes}", ways, asks, more)

    def _question(self, name: str, is_new: bool, number: int) -> str:
        return self.made.question(name, number, number if is_new else None)

    def _asked(self, sql: Callable[[int], str], number: int) -> pa.Table:
        return self.gateway.ask(sql(number))

    def _plainly(self, plain: Plain, sql: Callable[[int], str], number: int) -> pa.Table:
        return plain.ask(self.made.plain(sql(number)))

    def aggregate(self, asks: int) -> None:
        """A sum over a whole table."""
        sql, views = self.made.sql(AGGREGATE), self.made.views()
        plain, wide = Plain(views), Plain(views, psutil.cpu_count())
        rows = self.gateway.ask(self.made.sql("SELECT COUNT(*) AS n FROM {clicks_processed}"))["n"][0].as_py()
        ways: dict[str, Way] = {
            "DuckDB": lambda _: plain.ask(self.made.plain(sql)),
            "DuckDB on all cores": lambda _: wide.ask(self.made.plain(sql)),
            "gateway": lambda _: self.gateway.ask(sql),
        }
        self._more(f"aggregate of {rows:,} rows", ways, asks, 8)

    def _more(self, what: str, ways: dict[str, Way], asks: int, at_most: float) -> None:
        same(ways)
        found = in_turn(ways, asks)
        for name, median in found.items():
            self.report.row(f"{what}: {name}, median", median, "ms")
        self.report.row(f"{what}: more than DuckDB", found["gateway"] - found["DuckDB"], "ms", at_most=at_most)

    def scan(self, scans: int) -> None:
        """All orders, to the last row."""
        sql = self.made.sql(SCAN)
        plain = ROWS + self.made.plain(sql).encode()
        batches = {"bare server": MAX_BATCH_ROWS, "bare server, DuckDB's own batches": DEFAULT_BATCH_ROWS}
        narrow, wide = batches
        ways: dict[str, Way] = {
            narrow: lambda _: self.bare.asked(plain),
            wide: lambda _: self.wide.asked(plain),
            "gateway": lambda _: self.gateway.ask(sql),
        }
        rows = self.gateway.ask(sql).num_rows
        same({name: partial(counted, way) for name, way in ways.items()})
        found = in_turn(ways, scans)
        for name, median in found.items():
            words = f", of {batches[name]:,} rows each" if name in batches else ""
            self.report.row(f"{rows:,} rows: {name}{words}, median", median, "ms")
        self.report.row(f"{rows:,} rows: gateway / bare server", found["gateway"] / found[narrow], "x", at_most=1.3)

    def crowd(self, seconds: float) -> None:
        """Many clients, each in its own time, beside one that asks as fast as it is answered."""
        latest = self.made.question("latest_orders", 0)
        for what, port, sql in (
            ("SELECT 1, bare server", self.bare_port, ONE),
            ("SELECT 1", self.gateway_port, ONE),
            ("latest_orders", self.gateway_port, latest),
        ):
            alone = crowds(port, sql, 1, math.inf, seconds)
            rate = SHARE * len(alone.taken) / sum(alone.taken)
            many = crowds(port, sql, CLIENTS, rate, seconds)
            median, p95 = statistics.median(alone.taken), percentile(many.taken, 95)
            promised = port == self.gateway_port
            words = f"{CLIENTS} clients, {what}"
            self.report.row(f"{words}: one client, median", 1000 * median, "ms")
            self.report.row(f"{words}: asked together", len(many.taken) / seconds, "a second")
            self.report.row(f"{words}: p95", 1000 * p95, "ms")
            self.report.row(f"{words}: p95 / one client's median", p95 / median, "x", at_most=10 if promised else None)
            problems = alone.problems + many.problems
            self.report.row(f"{words}: errors", len(problems), "", exactly=0 if promised else None)
            for sentence in problems[:5]:
                print(sentence)


def memory(report: Report, made: Made, port: int, process: psutil.Process, few: int, most: int) -> None:
    """A new gateway and questions without end, by both protocols: five shapes again and again, a new one in 49."""
    names, clients = cycle(QUESTIONS), cycle([Client(port), Client(port, flight_sql=True)])
    held: list[float] = []
    for number in range(most):
        shape = number if number % 49 == 48 else None
        next(clients).ask(made.question(next(names), number, shape))
        if number + 1 in (few, most):
            time.sleep(1)
            held.append(memory_mb(process) or 0.0)
    before, after = held
    report.row(f"memory after {few:,} questions ({MEMORY})", before, "MB")
    report.row(f"memory after {most:,} questions ({MEMORY})", after, "MB")
    report.row("memory: the latter / the former", after / before, "x", at_most=1.1)


def run(arguments: argparse.Namespace) -> Report:
    report = Report(
        "door",
        f"{arguments.orders:,} orders of a day, a fifth as many clicks; gateway, bare server and DuckDB asked in turn",
    )
    offset = free_offset()
    gateway, bare, wide = (PORTS[name] + offset for name in ("gateway", "console", "lite"))
    with tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as name:
        folder = Path(name)
        made = make(folder / "data", arguments.orders)
        words, views = ["-m", "embedded.gateway"], made.views()
        with (
            served("gateway", words, folder, offset, gateway),
            served("bare", ["-c", BARE, str(bare), views, str(MAX_BATCH_ROWS)], folder, offset, bare),
            served("wide", ["-c", BARE, str(wide), views, str(DEFAULT_BATCH_ROWS)], folder, offset, wide),
        ):
            door = Door(made, gateway, bare, wide, report)
            door.one(arguments.calls)
            door.questions(arguments.asks)
            door.aggregate(arguments.asks)
            door.scan(arguments.scans)
            door.crowd(arguments.seconds)
        with served("gateway", words, folder, offset, gateway) as process:
            memory(report, made, gateway, process, arguments.few, arguments.most)
    return report


def main() -> None:
    """`python -m bench door`."""
    parser = argparse.ArgumentParser(prog="bench door", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="all of it in a minute: to see that it works")
    parser.add_argument("--orders", type=int, help="rows of the scan; the aggregate has a fifth of them")
    parser.add_argument("--calls", type=int, help="of SELECT 1, each way")
    parser.add_argument("--asks", type=int, help="of a question and of the aggregate, each way")
    parser.add_argument("--scans", type=int, help="of all orders, each way")
    parser.add_argument("--seconds", type=float, help="of each crowd of clients")
    parser.add_argument("--few", type=int, help="questions before memory is looked at first")
    parser.add_argument("--most", type=int, help="questions before it is looked at again")
    parser.set_defaults(**(QUICK if "--quick" in sys.argv else FULL))
    run(parser.parse_args()).finish()


if __name__ == "__main__":
    main()
