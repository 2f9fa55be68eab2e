"""Statements made to take the gateway down: each ends within its limits, the others go on, and the memory comes back.

    python -m bench gateway_bombs [--rows 20000] [--timeout 10] [--only REPEAT]

A gateway of its own with a statement timeout of a few seconds gets one bomb after the other, each for a few seconds,
while another client asks SELECT 1 on and on. Some go by Flight SQL, and as prepared statements; most by legacy Flight.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from pyarrow import flight

from bench.processes import cpu_seconds, environment, free_offset, memory_mb
from bench.report import Report
from embedded.gateway.flight_sql.messages import make, packed, unpacked
from lakehouse.settings.ports import PORTS
from lakehouse.tables import CATALOG, SCHEMA
from tests.conftest import Shop

MEMORY_LIMIT_MB = 128
"""The gateway's own default."""
BACK_WITHIN_S = 60
IDLE_S = 5.0
SETTLE_S = 1.0
ASKED_S = 3.0
TABLE = f"{CATALOG}.{SCHEMA}.orders_processed"
DREMIOS = (
    "ArrowInvalid",  # PARSE, VALIDATION
    "FlightUnavailableError",  # RESOURCE
    "FlightCancelledError",  # its time is over
    "FlightInternalError",  # PLAN: so it is while it is planned
)
ANSWERED = "answered"
WARM = "SELECT REPEAT('ab', 2) AS t"


LEGACY, FLIGHT_SQL, PREPARED = "legacy", "Flight SQL", "prepared"


@dataclass(frozen=True)
class Bomb:
    """A statement, whether it may be answered too (some are only large), and the way that it goes."""

    name: str
    sql: str
    may_answer: bool = False
    way: str = LEGACY


HEAVY = f"SELECT COUNT(REPEAT(a.event_key, 2)) AS n FROM {TABLE} a, {TABLE} b, {TABLE} c"
LIGHT = f"SELECT COUNT(*) AS n FROM {TABLE} a, {TABLE} b, {TABLE} c WHERE a.order_total < b.quantity + c.quantity"


def bombs() -> list[Bomb]:
    """All kinds, each with its worst member."""
    cross = f"{TABLE} a, {TABLE} b"
    doubled = ", ".join(
        [
            f"c0 AS (SELECT event_key AS s FROM {TABLE})",
            *(f"c{n} AS (SELECT s || s AS s FROM c{n - 1})" for n in range(1, 30)),
        ]
    )
    chain = ", ".join(
        ["c0 AS (SELECT 1 AS n)", *(f"c{n} AS (SELECT a.n FROM c{n - 1} a, c{n - 1} b)" for n in range(1, 25))]
    )
    nested = "SELECT 1 AS n"
    for level in range(150):
        nested = f"SELECT n FROM ({nested}) t{level}"
    keys = ", ".join(f"'key-{n}' AS k{n}" for n in range(200))
    columns = ", ".join(f"INFORMATION_SCHEMA.COLUMNS {letter}" for letter in "abcde")
    return [
        # texts
        Bomb("REPEAT of every row", f"SELECT SUM(LENGTH(REPEAT(event_key, 100000))) AS n FROM {TABLE}"),
        Bomb("REPEAT of 4 GB", "SELECT LENGTH(REPEAT('x', 2000000000)) + LENGTH(REPEAT('y', 2000000000)) AS n"),
        Bomb("REPEAT in REPEAT", f"SELECT MAX(REPEAT(REPEAT(event_key, 1000), 1000)) AS n FROM {TABLE}"),
        Bomb("LPAD and RPAD", f"SELECT SUM(LENGTH(LPAD(RPAD(event_key, 100000, 'x'), 200000, 'y'))) AS n FROM {TABLE}"),
        Bomb(
            "REPLACE", f"SELECT SUM(LENGTH(REPLACE(REPEAT('a', 5000), 'a', REPEAT(event_key, 30)))) AS n FROM {TABLE}"
        ),
        Bomb(
            "REGEXP_REPLACE",
            f"SELECT MAX(REGEXP_REPLACE(REPEAT(event_key, 99), '.', REPEAT('ab', 999))) AS n FROM {TABLE}",
        ),
        Bomb("texts doubled thirty times", f"WITH {doubled} SELECT MAX(LENGTH(s)) AS n FROM c29"),
        Bomb(
            "LISTAGG of a cross join",
            f"SELECT LENGTH(LISTAGG(a.event_key, ',')) AS n FROM {cross}",
            way=FLIGHT_SQL,
        ),
        Bomb("one huge row", f"SELECT LISTAGG(REPEAT(event_key, 2000), ',') AS n FROM {TABLE}"),
        # rows
        Bomb(
            "cross join of four",
            f"SELECT COUNT(*) AS n FROM {cross}, {TABLE} c, {TABLE} d WHERE a.order_total < b.quantity + d.quantity",
        ),
        Bomb(
            "sort of a cross join",
            f"SELECT a.event_key FROM {cross} ORDER BY b.event_key, a.event_key LIMIT 1 OFFSET 300000000",
        ),
        Bomb(
            "groups of a cross join",
            f"SELECT COUNT(*) AS n FROM (SELECT DISTINCT a.event_key, b.event_key AS k FROM {cross}) x",
        ),
        Bomb(
            "window over a cross join",
            "SELECT MAX(r) AS r FROM "
            f"(SELECT ROW_NUMBER() OVER (ORDER BY a.event_key, b.event_key) AS r FROM {cross}) x",
        ),
        Bomb("median of a cross join", f"SELECT MEDIAN(a.order_total + b.quantity) AS n FROM {cross}", way=PREPARED),
        Bomb("rows of a cross join", f"SELECT a.*, b.event_key AS k FROM {cross}", way=FLIGHT_SQL),
        Bomb(
            "PIVOT of a cross join",
            f"SELECT * FROM (SELECT a.event_key AS k, b.quantity AS q FROM {cross}, {TABLE} c) "
            f"PIVOT (SUM(q) FOR k IN ({keys}))",
            way=FLIGHT_SQL,
        ),
        Bomb(
            "INFORMATION_SCHEMA five times",
            f"SELECT COUNT(*) AS n FROM {columns} WHERE a.ORDINAL_POSITION + b.ORDINAL_POSITION < c.ORDINAL_POSITION "
            "AND d.ORDINAL_POSITION < e.ORDINAL_POSITION",
            way=PREPARED,
        ),
        Bomb(
            "table_files of a cross join",
            f"SELECT MAX(REPEAT(f.file_path, a.quantity)) AS n FROM TABLE(table_files('{TABLE}')) f, {cross}, "
            f"{TABLE} c",
            way=FLIGHT_SQL,
        ),
        Bomb("DESCRIBE of a long path", "DESCRIBE " + ".".join(["a"] * 200_000), way=PREPARED),
        Bomb("SHOW of a long pattern", f"SHOW TABLES IN {CATALOG} LIKE '{'%_' * 400_000}x'", True, FLIGHT_SQL),
        Bomb("a comment that nobody closes", "SELECT " + "/* " * 300_000),
        Bomb("doubled CTEs", f"WITH {chain} SELECT COUNT(*) AS n FROM c24", may_answer=True),
        # texts of statements
        Bomb("49 brackets", "SELECT " + "(" * 49 + "1" + ")" * 49 + " AS n", may_answer=True),
        Bomb("43 COALESCEs", "SELECT " + "COALESCE(" * 43 + "1" + ", 2)" * 43 + " AS n", may_answer=True),
        Bomb("2,000 brackets", "SELECT " + "(" * 2000 + "1" + ")" * 2000 + " AS n", way=PREPARED),
        Bomb("400,000 brackets", "SELECT " + "(" * 400_000 + "1" + ")" * 400_000 + " AS n"),
        Bomb("900 terms", "SELECT " + "+".join(["1"] * 900) + " AS n", may_answer=True),
        Bomb("20,000 terms", "SELECT " + "+".join(["1"] * 20_000) + " AS n", may_answer=True),
        Bomb(
            "20,000 conditions",
            f"SELECT 1 AS n FROM {TABLE} WHERE " + " OR ".join(["quantity = 1"] * 20_000),
            may_answer=True,
        ),
        Bomb(
            "a list of 100,000",
            f"SELECT COUNT(*) AS n FROM {TABLE} WHERE quantity IN ({','.join(map(str, range(100_000)))})",
            may_answer=True,
            way=PREPARED,
        ),
        Bomb("5,000 columns", "SELECT " + ", ".join(f"{n} AS c{n}" for n in range(5_000)), may_answer=True),
        Bomb(
            "a row for each of 50,000",
            f"SELECT * FROM (VALUES {','.join(f'({n})' for n in range(50_000))}) AS t (a)",
            may_answer=True,
        ),
        Bomb("2,000 in UNION", " UNION ALL ".join(["SELECT 1 AS n"] * 2_000), may_answer=True),
        Bomb("nested 150 times", nested, may_answer=True),
        Bomb("CASE in CASE", "SELECT " + "CASE WHEN TRUE THEN " * 300 + "1" + " END" * 300 + " AS n", may_answer=True),
        Bomb("a text of 900,000", f"SELECT MAX(event_key || '{'x' * 900_000}') AS n FROM {TABLE}"),
        Bomb("NOT a hundred times", "SELECT " + "NOT " * 100 + "TRUE AS n", may_answer=True),
        Bomb(
            "joins of fifty",
            "SELECT COUNT(*) AS n FROM "
            + ", ".join(f"{TABLE} t{n}" for n in range(50))
            + " WHERE "
            + " AND ".join(f"t{n}.quantity = t{n + 1}.quantity" for n in range(49)),
            may_answer=True,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gateway_bombs", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=20_000, help="rows of the table that bombs multiply")
    parser.add_argument("--timeout", type=float, default=10, help="the gateway's statement timeout, in seconds")
    parser.add_argument("--only", default="", help="part of the name of the bombs to run; parts are set apart by |")
    arguments = parser.parse_args()
    chosen = [bomb for bomb in bombs() if any(part in bomb.name for part in arguments.only.split("|"))]
    report = Report(
        "gateway_bombs",
        f"{len(chosen)} bombs one after the other over {arguments.rows:,} rows, memory_limit {MEMORY_LIMIT_MB} MB, "
        f"statement_timeout {arguments.timeout:g} s, SELECT 1 of another client meanwhile",
    )
    with gateway(arguments.rows, arguments.timeout) as (process, port):
        run(report, process, port, arguments.timeout, chosen)
    report.finish()


def run(report: Report, process: psutil.Process, port: int, timeout_s: float, chosen: list[Bomb]) -> None:
    """Measure all, add the figures."""
    # What a gateway loads once at its first answers, and the rows that it keeps in memory, are no bomb's.
    for sql in ("SHOW SCHEMAS", *[f"SELECT event_key FROM {TABLE} WHERE quantity < 0"] * 20):
        ask(port, sql)
    with Watched(process, port) as idle:
        time.sleep(IDLE_S)
    at_start = memory_of(process)
    wrong = 0
    phases, memories, backs, p95s = [0.0], [0.0], [0.0], [0.0]
    waiting = 0.0
    for bomb in chosen:
        # What starts the process for heavy statements is not the bomb's.
        ask(port, WARM)
        time.sleep(SETTLE_S)
        base = memory_of(process)
        waiting = waiting or base - at_start
        with Watched(process, port) as watched:
            said, phase_s = again_and_again(port, bomb)
        backs.append(back_within(process, base))
        phases.append(phase_s)
        memories.append(watched.most_mb - base)
        p95s.append(watched.p95_ms)
        fine = said in DREMIOS or (bomb.may_answer and said == ANSWERED)
        wrong += not fine
        print(
            f"{bomb.name:<30}{bomb.way:<11}{said:<24}{phase_s:6.2f} s {memories[-1]:5.0f} MB, "
            f"back in {backs[-1]:4.1f} s, SELECT 1 p95 {watched.p95_ms:5.1f} ms {'' if fine else 'WRONG'}",
            flush=True,
        )
    report.row("bombs that ended otherwise than with Dremio's class", wrong, "", exactly=0)
    report.row("slowest to end, planning or running / statement_timeout", max(phases) / timeout_s, "x", at_most=1.1)
    report.row("most memory of one", max(memories), "MB", at_most=1.1 * MEMORY_LIMIT_MB)
    report.row("longest until it was back", max(backs), "s", at_most=BACK_WITHIN_S)
    report.row("SELECT 1 of others, p95, idle", idle.p95_ms, "ms")
    report.row("SELECT 1 of others, p95, worst bomb / idle", max(p95s) / idle.p95_ms, "x", at_most=10)
    for name, sql in (("heavy", HEAVY), ("light", LIGHT)):
        report.row(f"a {name} statement stops after its client left", stops_within(process, port, sql), "s", at_most=1)
    report.row("process for heavy statements, waiting", waiting, "MB")
    time.sleep(BACK_WITHIN_S)
    report.row("memory after all / at the start", memory_of(process) / at_start, "x")


@contextlib.contextmanager
def gateway(rows: int, timeout_s: float) -> Iterator[tuple[psutil.Process, int]]:
    with tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as folder:
        shop = Shop(Path(folder) / "data")
        for _ in range(rows):
            shop.order()
        shop.publish()
        shop.close()
        offset = free_offset()
        variables = environment(Path(folder) / "data", offset) | {
            "TILLWATCH_GATEWAY_STATEMENT_TIMEOUT": f"{timeout_s:g} s"
        }
        with (Path(folder) / "gateway.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "embedded.gateway"], env=variables, stdout=log, stderr=log
            )
        try:
            port = PORTS["gateway"] + offset
            until = time.monotonic() + 30
            while time.monotonic() < until:
                with contextlib.suppress(pa.ArrowException, OSError):
                    ask(port, "SELECT 1 AS n")
                    break
                time.sleep(0.1)
            yield psutil.Process(process.pid), port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


class Watched:
    """SELECT 1 of another client, and the gateway's memory, while it lasts."""

    def __init__(self, process: psutil.Process, port: int) -> None:
        self._process, self._port = process, port
        self._over = threading.Event()
        self.took: list[float] = []
        self.most_mb = 0.0

    def __enter__(self) -> Watched:
        self._threads = [threading.Thread(target=work) for work in (self._ask, self._look)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.3)
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def p95_ms(self) -> float:
        ordered = sorted(self.took)
        return 1000 * ordered[int(len(ordered) * 0.95)]

    @property
    def max_ms(self) -> float:
        return 1000 * max(self.took)

    def _ask(self) -> None:
        with client(self._port) as asking:
            while not self._over.is_set():
                started = time.monotonic()
                asking("SELECT 1 AS n")
                self.took.append(time.monotonic() - started)
                time.sleep(0.02)

    def _look(self) -> None:
        while not self._over.is_set():
            self.most_mb = max(self.most_mb, memory_of(self._process))
            time.sleep(0.05)


def memory_of(process: psutil.Process) -> float:
    """Of the gateway and its processes, in MB."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return sum(memory_mb(one) or 0.0 for one in [process, *process.children(recursive=True)])
    return 0.0


def back_within(process: psutil.Process, base: float) -> float:
    """Seconds until the memory is that of before, but for a tenth."""
    started = time.monotonic()
    while memory_of(process) > base * 1.1 and time.monotonic() - started < 2 * BACK_WITHIN_S:
        time.sleep(0.2)
    return time.monotonic() - started


def stops_within(process: psutil.Process, port: int, sql: str) -> float:
    """Seconds from the moment that a client goes away until the gateway works no more."""
    with contextlib.suppress(flight.FlightTimedOutError, flight.FlightCancelledError):
        ask(port, sql, timeout_s=2)
    left = time.monotonic()
    while True:
        used, at = cpu_of(process), time.monotonic()
        time.sleep(0.1)
        if cpu_of(process) - used < 0.02 or at - left > BACK_WITHIN_S:
            return at - left


def cpu_of(process: psutil.Process) -> float:
    return sum(cpu_seconds(one) or 0.0 for one in [process, *process.children(recursive=True)])


def again_and_again(port: int, bomb: Bomb) -> tuple[str, float]:
    """The same for as long as the others take to be asked often enough; how the last ended, and the longest call."""
    until, longest = time.monotonic() + ASKED_S, 0.0
    while True:
        said, phase_s = blast(port, bomb)
        longest = max(longest, phase_s)
        if time.monotonic() > until:
            return said, longest


@contextlib.contextmanager
def client(port: int, timeout_s: float = 300) -> Iterator[Callable[..., list[float]]]:
    """Asks a statement, reads it to its end, and says how long each of its two or three calls took."""
    with flight.FlightClient(f"grpc://localhost:{port}") as one:
        token = one.authenticate_basic_token("dremio", "dremio123")
        options = flight.FlightCallOptions(headers=[token], timeout=timeout_s)

        def prepared(sql: str) -> bytes:
            request = packed(make("ActionCreatePreparedStatementRequest", query=sql))
            [result] = one.do_action(flight.Action("CreatePreparedStatement", request), options)
            created: Any = unpacked(result.body.to_pybytes())
            handle = created.prepared_statement_handle
            return packed(make("CommandPreparedStatementQuery", prepared_statement_handle=handle))

        def asking(sql: str, phases: list[float] | None = None, way: str = LEGACY) -> list[float]:
            phases = [] if phases is None else phases
            began = time.monotonic()
            try:
                command: str | bytes = sql
                if way == FLIGHT_SQL:
                    command = packed(make("CommandStatementQuery", query=sql))
                elif way == PREPARED:
                    command = prepared(sql)
                    phases.append(time.monotonic() - began)
                    began = time.monotonic()
                info = one.get_flight_info(flight.FlightDescriptor.for_command(command), options)
                phases.append(time.monotonic() - began)
                began = time.monotonic()
                for _ in one.do_get(info.endpoints[0].ticket, options):
                    pass
            finally:
                phases.append(time.monotonic() - began)
            return phases

        yield asking


def ask(port: int, sql: str, timeout_s: float = 300, phases: list[float] | None = None, way: str = LEGACY) -> None:
    with client(port, timeout_s) as asking:
        asking(sql, phases, way)


def blast(port: int, bomb: Bomb) -> tuple[str, float]:
    """How it ended, and the seconds of its longest call."""
    phases: list[float] = []
    try:
        ask(port, bomb.sql, phases=phases, way=bomb.way)
    except KeyboardInterrupt:
        # What pyarrow makes of a cancel in the middle of an answer.
        return "FlightCancelledError", max(phases)
    except (pa.ArrowException, OSError) as error:
        # The one is a fault of the gateway's, the other what clients see of an error that is too long.
        faults = [text for text in ("SYSTEM ERROR", "metadata size") if text in str(error)]
        return (faults or [type(error).__name__])[0], max(phases)
    return ANSWERED, max(phases)


if __name__ == "__main__":
    main()
