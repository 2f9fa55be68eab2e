"""A shop's database, captured: what is in the tables against what the database itself remembers, over kills of all.

PostgreSQL, Kafka Connect and the driver are each killed while a shop makes, moves on, cancels, amends and removes
orders; the database's own history is kept by a trigger. Some orders are there before the connector: a snapshot sends
them. At the end a second snapshot is taken, and must add nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.browser import PageChange, browser_page, changes
from bench.browser import watch as look_at
from bench.latency import first_changes, percentile
from bench.pipelines import Stack
from bench.processes import free_offset
from bench.report import Report
from bench.servers import Servers
from lakehouse import ROOT
from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.statement import fill
from lakehouse.kafka import KafkaLog
from lakehouse.settings.database import DatabaseSettings
from producers.database import connected
from tillwatch import capture

NAMES = ("postgres", "connect", "driver")
TOPIC = "shop.public.orders"
_WITHIN_S = 180
_SETTLES_S = 3
_HISTORY = (
    "CREATE TABLE history (id bigint GENERATED ALWAYS AS IDENTITY, what text, total numeric)",
    """CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO history (what, total) VALUES ('made', new.total);
    ELSIF TG_OP = 'UPDATE' AND new.status = 'cancelled' AND old.status <> 'cancelled' THEN
        INSERT INTO history (what, total) VALUES ('cancelled', new.total);
    ELSIF TG_OP = 'DELETE' AND old.status NOT IN ('delivered', 'cancelled') THEN
        INSERT INTO history (what, total) VALUES ('cancelled', old.total);
    END IF;
    RETURN NULL;
END $$""",
    "CREATE TRIGGER remember AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION remember()",
)
_STORED = """
SELECT status, COUNT(*) AS n, SUM(order_total) AS total FROM {orders_processed}
WHERE status IN ('CREATED', 'CANCELLED') GROUP BY status
"""
_COUNTED = """
SELECT SUM(orders_count) AS made, SUM(total_revenue) AS made_total, SUM(cancelled_count) AS cancelled,
  SUM(cancelled_revenue) AS cancelled_total FROM {orders_revenue_per_minute}
"""
_NEW = "SELECT order_id FROM {orders_processed} WHERE status = 'CREATED' AND order_ts >= :since"
_PRODUCED = "SELECT order_id, produced_at FROM {orders_processed} WHERE status = 'CREATED' AND order_ts >= :since"


@dataclass(frozen=True)
class Totals:
    """Orders made and cancelled: how many, and the sum of their totals."""

    made: int
    made_total: Decimal
    cancelled: int
    cancelled_total: Decimal


@dataclass
class CaptureSeen:
    """What was found. `delays_s`: from an order's transaction to a Flight answer that has it, while nothing was killed,
    and `pixels_s` to the console's figure that has it; `recovered_s`: from a kill to a Flight answer with an order that
    was made after it."""

    totals: Totals | None = None
    delays_s: list[float] = field(default_factory=list)
    pixels_s: list[float] = field(default_factory=list)
    recovered_s: dict[str, float] = field(default_factory=dict)
    sent_again: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Captured:
    """A shop's database, and what sends its changes, beside a pipeline."""

    pipeline: Stack
    database: Servers

    def __post_init__(self) -> None:
        self.settings = DatabaseSettings.load(port=self.database.shared.port("postgres"))
        self.connect = f"http://127.0.0.1:{self.database.shared.port('connect')}/connectors/shop"

    def ask(self, statement: str) -> list[list[Any]]:
        """Of the database; asked again while it is away."""
        end = time.monotonic() + _WITHIN_S
        while True:
            try:
                with connected(self.settings) as connection:
                    rows: list[list[Any]] = connection.run(statement)
                    return rows
            except Exception:  # whatever the driver says of a server that was killed a moment ago
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def expected(self, before: int) -> Totals:
        """By the history after its first `before` lines: what was made until then was sent by a snapshot."""
        rows = self.ask(
            f"SELECT what, COUNT(*), SUM(total) FROM history WHERE what = 'made' OR id > {before} GROUP BY what"
        )
        found = {what: (count, total) for what, count, total in rows}
        return Totals(*found.get("made", (0, Decimal(0))), *found.get("cancelled", (0, Decimal(0))))

    @contextlib.contextmanager
    def shop(self, rate: float, seed: int, orders: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """A shop that writes into the database, until so many orders were made or the block ends."""
        words = ["database", "--rate", f"{rate:g}", "--seed", str(seed)]
        words += [] if orders is None else ["--orders", str(orders)]
        with self.pipeline.log_of("shop").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "producers", *words],
                cwd=ROOT,
                env=self.pipeline.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield child
        finally:
            child.terminate()
            child.wait(30)
        if child.returncode:
            raise RuntimeError(
                f"the shop ended with {child.returncode}: {self.pipeline.log_of('shop').read_text()[-500:]}"
            )

    def keep_connector(self) -> None:
        file = capture.EXAMPLE / "connector.json"
        self.pipeline.start("connector", [sys.executable, "-m", "producers", "connector", str(file)])

    def take_a_snapshot(self) -> None:
        """Another one, as docs/operations.md says."""
        self._tell("PUT", "/stop")
        _until(lambda: self._tell("GET", "/status")["connector"]["state"] == "STOPPED", "the connector stops")
        self._tell("DELETE", "/offsets")
        self._tell("PUT", "/resume")

    def _tell(self, method: str, path: str) -> Any:
        with urllib.request.urlopen(urllib.request.Request(self.connect + path, method=method), timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def sent(self) -> int:
        """Messages in the topic."""
        with KafkaLog(self.pipeline.brokers) as log:
            return sum(ends.end for ends in log.ends([TOPIC]).values())

    def stored(self) -> Totals | None:
        """What is in the raw table."""
        try:
            rows = self.pipeline.dremio.sql(fill(_STORED, self.pipeline.dremio.head(), {})).to_pylist()
        except DremioError:
            return None
        found = {row["status"]: (row["n"], row["total"]) for row in rows}
        return Totals(*found.get("CREATED", (0, Decimal(0))), *found.get("CANCELLED", (0, Decimal(0))))

    def counted(self) -> Totals:
        """What the KPI table says."""
        [row] = self.pipeline.dremio.sql(fill(_COUNTED, self.pipeline.dremio.head(), {})).to_pylist()
        return Totals(int(row["made"]), row["made_total"], int(row["cancelled"]), row["cancelled_total"])

    def last_words(self) -> str:
        """The end of what each process said."""
        logs = [self.pipeline.log_of(name) for name in ("connector", "shop")]
        logs += [self.database.log(name) for name in self.database.names]
        return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-2000:]}" for log in logs if log.exists())

    def kill(self, name: str) -> None:
        """kill -9, and what a supervisor does then."""
        if name == "driver":
            os.killpg(self.pipeline.engine.pid, signal.SIGKILL)  # kept running by its pipeline
            return
        self.database.kill(name)
        time.sleep(1)  # children of PostgreSQL end by themselves once they see it gone
        self.database.start(name)


class OrderWatch(threading.Thread):
    """When each order was first in an answer: asks ten times a second, until `stop`."""

    def __init__(self, pipeline: Stack) -> None:
        super().__init__(name="watch", daemon=True)
        self._pipeline = pipeline
        self.since = datetime.now(UTC)
        self._ended = threading.Event()
        self.seen: dict[str, float] = {}

    def run(self) -> None:
        head = ""
        while not self._ended.wait(0.1):
            with contextlib.suppress(DremioError):
                now = self._pipeline.dremio.head()
                if now == head:
                    continue
                head = now
                rows = self._pipeline.dremio.sql(fill(_NEW, head, {"since": self.since})).to_pylist()
                at = time.time()
                for row in rows:
                    self.seen.setdefault(row["order_id"], at)

    def stop(self) -> None:
        self._ended.set()
        self.join()


@contextlib.contextmanager
def database(servers: Servers, folder: Path) -> Iterator[Servers]:
    """PostgreSQL and Kafka Connect beside other servers, at their ports."""
    with Servers(folder, servers.offset, servers.settings, ("postgres", "connect")) as running:
        yield running


def settings(folder: Path) -> dict[str, str]:
    """What a pipeline needs to read the database's changes."""
    return {name.removeprefix("TILLWATCH_"): value for name, value in capture.environment(folder).items()}


def run(captured: Captured, orders: int, rate: float, quiet: int = 0) -> CaptureSeen:
    """So many orders at least, `rate` changes a second, a tenth before the connector; then `quiet` without kills.

    Raises TimeoutError, with what the processes said, where something does not come.
    """
    try:
        return _run(captured, orders, rate, quiet)
    except TimeoutError as error:
        error.add_note(captured.last_words())
        raise


def _run(captured: Captured, orders: int, rate: float, quiet: int) -> CaptureSeen:
    found, pipeline = CaptureSeen(), captured.pipeline
    for statement in _HISTORY:
        captured.ask(statement)
    with captured.shop(500, seed=1, orders=max(1, orders // 10)) as shop:
        shop.wait(_WITHIN_S)
    # Those that were removed before no snapshot ever sees.
    captured.ask("DELETE FROM history")
    captured.ask("INSERT INTO history (what, total) SELECT 'made', total FROM orders")
    [[before]] = captured.ask("SELECT MAX(id) FROM history")
    captured.keep_connector()
    with pipeline.kept_running():
        pipeline.wait_reading()
        _until(lambda: captured.stored() == captured.expected(before), "the snapshot is in")
        with captured.shop(rate, seed=2):
            for number, name in enumerate(NAMES, 1):
                _until_made(captured, orders * number // 4, orders / rate)
                found.recovered_s[name] = _killed(captured, name)
            _until_made(captured, orders, orders / rate)
        found.totals = captured.expected(before)
        found.problems += _compare(captured, found.totals)
        if quiet:
            found.delays_s, found.pixels_s = _delays(captured, rate, quiet)
            found.totals = captured.expected(before)
            found.problems += _compare(captured, found.totals)
        sent = captured.sent()
        [[rows]] = captured.ask("SELECT COUNT(*) FROM orders")
        captured.take_a_snapshot()
        _until(lambda: captured.sent() >= sent + rows, "the second snapshot is sent")
        found.sent_again = captured.sent() - sent
        found.problems += _compare(captured, found.totals)
    if code := pipeline.stop_engine():
        found.problems.append(f"the driver ended with {code} on SIGTERM")
    return found


def _until_made(captured: Captured, orders: int, seconds: float) -> None:
    made = "SELECT COUNT(*) FROM history WHERE what = 'made'"
    _until(lambda: captured.ask(made)[0][0] >= orders, f"{orders} orders are made", 4 * seconds + _WITHIN_S)


def _killed(captured: Captured, name: str) -> float:
    """Until an order that was made after the kill is in an answer (s)."""
    begun = time.monotonic()
    captured.kill(name)
    [[newest]] = captured.ask("SELECT COALESCE(MAX(order_id), 0) FROM orders")
    _until(lambda: _newest(captured) > newest, f"orders come again after a kill of {name}")
    return time.monotonic() - begun


def _newest(captured: Captured) -> int:
    text = "SELECT MAX(CAST(order_id AS INTEGER)) AS newest FROM {orders_processed}"
    try:
        [row] = captured.pipeline.dremio.sql(fill(text, captured.pipeline.dremio.head(), {})).to_pylist()
    except DremioError:
        return 0
    return int(row["newest"] or 0)


def _delays(captured: Captured, rate: float, orders: int) -> tuple[list[float], list[float]]:
    """To a Flight answer, and to a screen."""
    pipeline = captured.pipeline
    pipeline.start("console", [sys.executable, "-m", "console"])
    with browser_page() as page:
        where = pipeline.url("console", "/app")
        _until(lambda: _answers(where), "the console answers")
        look_at(page, where)
        watch = OrderWatch(pipeline)
        [[last]] = captured.ask("SELECT MAX(order_id) FROM orders")
        watch.start()
        try:
            with captured.shop(rate, seed=3, orders=orders) as shop:
                _until(lambda: shop.poll() is not None, "the shop ends", orders / rate * 4 + _WITHIN_S)
            page.wait_for_timeout(_SETTLES_S * 1000)
        finally:
            watch.stop()
        seen = changes(page)
    pipeline.stop("console")
    made = captured.ask(f"SELECT order_id, created_at FROM orders WHERE order_id > {last}")
    produced = pipeline.dremio.sql(fill(_PRODUCED, pipeline.dremio.head(), {"since": watch.since})).to_pylist()
    shown = shown_at({row["order_id"]: row["produced_at"].timestamp() * 1000 for row in produced}, seen)
    return (
        [watch.seen.get(str(order), math.inf) - at.timestamp() for order, at in made],
        [shown.get(str(order), math.inf) / 1000 - at.timestamp() for order, at in made],
    )


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=30).close()
    except OSError:
        return False
    return True


def shown_at(produced_ms: Mapping[str, float], seen: Sequence[PageChange]) -> dict[str, float]:
    """When the tile of orders first included each order (ms since the epoch); those that it never did are left out."""
    reached, at = first_changes(seen).get("tile orders", ((), ()))
    places = {order: bisect_left(reached, produced) for order, produced in produced_ms.items()}
    return {order: at[place] for order, place in places.items() if place < len(at)}


def _compare(captured: Captured, wanted: Totals) -> list[str]:
    """What differs once all is in, and stays so."""
    with contextlib.suppress(TimeoutError):
        _until(lambda: captured.stored() == wanted, "all is in", _WITHIN_S / 2)
    time.sleep(_SETTLES_S)
    found = [("the raw table has", captured.stored()), ("the KPI table has", captured.counted())]
    return [f"the database's history says {wanted}, {words} {totals}" for words, totals in found if totals != wanted]


def _until(what: Callable[[], object], words: str, within_s: float = _WITHIN_S) -> None:
    end = time.monotonic() + within_s
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within_s:g} s: {words}")
        time.sleep(0.2)


def main() -> None:
    """`python -m bench cdc`."""
    parser = argparse.ArgumentParser(prog="bench cdc", description=__doc__)
    parser.add_argument("--orders", type=int, default=2000, help="made while all is killed (2000)")
    parser.add_argument("--rate", type=float, default=50, help="changes/s (50)")
    parser.add_argument(
        "--quiet", type=int, default=400, help="orders made after that, of which the delay is told (400)"
    )
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as folder,
        Servers(Path(folder) / "servers", free_offset()) as servers,
        database(servers, Path(folder) / "database") as of_shop,
        Stack(servers, Path(folder) / "stack", settings(Path(folder))) as pipeline,
    ):
        found = run(Captured(pipeline, of_shop), arguments.orders, arguments.rate, arguments.quiet)
    report = Report(
        "cdc", f"{arguments.orders:,} orders, {arguments.rate:g} changes/s; each of {', '.join(NAMES)} killed"
    )
    assert found.totals is not None
    report.row("orders made", found.totals.made, "")
    report.row("orders cancelled", found.totals.cancelled, "")
    report.row("transaction to Flight answer, p50", percentile(found.delays_s, 50), "s")
    report.row("transaction to Flight answer, p95", percentile(found.delays_s, 95), "s")
    report.row("transaction to pixel, p50", percentile(found.pixels_s, 50), "s")
    report.row("transaction to pixel, p95", percentile(found.pixels_s, 95), "s", at_most=3)
    for name, seconds in found.recovered_s.items():
        report.row(f"kill of {name}: until new orders are in", seconds, "s")
    report.row("messages of the second snapshot", found.sent_again, "")
    report.row("violations found", len(found.problems), "", exactly=0)
    for sentence in found.problems[:20]:
        print(sentence)
    report.finish()


if __name__ == "__main__":
    main()
