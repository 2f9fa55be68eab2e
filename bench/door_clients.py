"""Those who ask in bench door: one client and its calls, and crowds of them in processes of their own."""

from __future__ import annotations

import contextlib
import json
import math
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pyarrow import flight

from lakehouse import ROOT
from lakehouse.dremio.flight_sql import statement_query

PROCESSES = 5
_CROWD = (
    "import sys; from bench.door_clients import crowd; "
    "crowd(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))"
)


class Client:
    """Signed in once, with the cookie that its first call was given, and a connection of its own."""

    def __init__(self, port: int, flight_sql: bool = False) -> None:
        noted = _Cookie()
        uri, own = f"grpc://127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]
        with flight.FlightClient(uri, middleware=[noted], generic_options=own) as first:
            token = first.authenticate_basic_token("dremio", "dremio123")
            options = flight.FlightCallOptions(headers=[token])
            first.get_flight_info(flight.FlightDescriptor.for_command("SELECT 1"), options)
        cookie = [(b"cookie", noted.cookie.encode())] if noted.cookie else []
        self._options = flight.FlightCallOptions(headers=[token, *cookie], timeout=120)
        self._flight = flight.FlightClient(uri, generic_options=own)
        self._command = statement_query if flight_sql else str.encode

    def ask(self, sql: str) -> pa.Table:
        return self.asked(self._command(sql))

    def asked(self, command: bytes) -> pa.Table:
        """GetFlightInfo, DoGet, and all rows."""
        info = self._flight.get_flight_info(flight.FlightDescriptor.for_command(command), self._options)
        return self._flight.do_get(info.endpoints[0].ticket, self._options).read_all()

    def close(self) -> None:
        self._flight.close()


class _Cookie(flight.ClientMiddlewareFactory):  # type: ignore[misc]  # pyarrow.flight has no types
    """Keeps the cookie of a session, name and value."""

    cookie = ""

    def start_call(self, info: flight.CallInfo) -> flight.ClientMiddleware:
        return _Heard(self)


class _Heard(flight.ClientMiddleware):  # type: ignore[misc]  # pyarrow.flight has no types
    def __init__(self, noted: _Cookie) -> None:
        self._noted = noted

    def received_headers(self, headers: dict[str, list[str]]) -> None:
        for line in headers.get("set-cookie", ()):
            self._noted.cookie = line.partition(";")[0]


# ---- many -----------------------------------------------------------------------------------------------------------


@dataclass
class Heard:
    """What a crowd was answered: seconds from when a question was due to its last row, and what went wrong."""

    taken: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def crowds(port: int, sql: str, clients: int, rate: float, seconds: float) -> Heard:
    """So many clients that ask `rate` times a second together; infinite: each as soon as it was answered."""
    processes = min(PROCESSES, clients)
    shares = [clients // processes + (number < clients % processes) for number in range(processes)]
    heard = Heard()
    with contextlib.ExitStack() as running:
        started = []
        for number, share in enumerate(shares):
            numbers = (port, share, rate * share / clients, seconds, number)
            words = [sys.executable, "-c", _CROWD, *map(str, numbers)]
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            started.append(running.enter_context(subprocess.Popen(words, cwd=ROOT, **pipes)))
        for process in started:
            _told(process, f"{sql.encode().hex()}\n")
        for process in started:
            assert process.stdout is not None
            if "open" not in process.stdout.readline():
                raise SystemExit("bench: not all clients could sign in.")
        for process in started:
            _told(process, "go\n")
        for process in started:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            heard.taken += told["taken"]
            heard.problems += told["problems"]
    return heard


def _told(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def crowd(port: int, clients: int, rate: float, seconds: float, seed: int) -> None:
    """Clients in threads of this process: hears what they ask, says "open", hears when to begin, says what it was."""
    sql = bytes.fromhex(sys.stdin.readline()).decode()
    heard, draw = Heard(), random.Random(seed)
    asking = [Client(port) for _ in range(clients)]
    for client in asking:
        client.ask(sql)
    print("open", flush=True)
    sys.stdin.readline()
    every_s = clients / rate if math.isfinite(rate) else 0.0
    began = time.monotonic()
    threads = [
        threading.Thread(target=_ask, args=(client, sql, began + draw.random() * every_s, every_s, seconds, heard))
        for client in asking
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"taken": heard.taken, "problems": heard.problems}), flush=True)


def _ask(client: Client, sql: str, first_at: float, every_s: float, seconds: float, heard: Heard) -> None:
    due, ends = first_at, time.monotonic() + seconds
    while due < ends:
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            client.ask(sql)
        except (flight.FlightError, pa.ArrowException) as error:
            heard.problems.append(f"{type(error).__name__}: {error}")
        # From when it was due: who is kept waiting asks late, and that is part of it.
        heard.taken.append(time.monotonic() - due)
        due = due + every_s if every_s else time.monotonic()
