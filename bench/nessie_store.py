"""How much Nessie's own store grows by publishing, by each way to publish, and what a new repository saves.

Promise: a new repository from the current metadata files takes at most a tenth of the old one's disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.latency import percentile
from bench.processes import free_offset
from bench.report import Report
from bench.servers import Servers
from lakehouse.tables import SCHEMA
from pipeline.storage.nessie import MAIN, Nessie, TableAt
from pipeline.storage.repository import copy_repository
from tillwatch import jars

# Tables that a batch with all three topics changes.
CHANGED = (
    "orders_processed",
    "clicks_processed",
    "errors_processed",
    "orders_revenue_per_minute",
    "active_users_per_window",
    "errors_per_minute",
    "clicks_per_minute",
    "ingest_positions",
    "rule_state",
)
PUBLISHES_A_DAY = 86_400  # one a second

State = dict[str, TableAt]


def moved(known: State, number: int) -> State:
    """The same tables after one more publish: addresses as a driver makes them."""
    return {
        name: TableAt(
            known[name].id if name in known else "",
            f"s3://warehouse/wh/{SCHEMA}/{name}/metadata/{number:05d}-0c4e16d2-7d1b-4b1c-9d7e-{number:012d}.metadata.json",
            7_000_000_000_000_000_000 + number,
            0,
            0,
            0,
        )
        for name in CHANGED
    }


def table_by_table(nessie: Nessie, branch: str, head: str, put: State) -> str:
    """A commit a table on the working branch, then the merge: what Iceberg's own catalog for Nessie does."""
    at = nessie.head(branch)
    for name, table in put.items():
        at = nessie.commit(branch, at, {name: table}, "publish")
    return nessie.merge(branch, at, head, "publish")


def together(nessie: Nessie, branch: str, head: str, put: State) -> str:
    """One commit of all tables on the working branch, then the merge: what the driver does."""
    return nessie.merge(branch, nessie.commit(branch, nessie.head(branch), put, "publish"), head, "publish")


def straight(nessie: Nessie, branch: str, head: str, put: State) -> str:
    """One commit of all tables on main, without a working branch: what it would cost without the fence."""
    return nessie.commit(MAIN, head, put, "publish")


Way = Callable[[Nessie, str, str, State], str]
WAYS: dict[str, Way] = {
    "a commit a table, then a merge": table_by_table,
    "one commit, then a merge": together,
    "one commit on main": straight,
}


def grow(servers: Servers, way: Way, publishes: int) -> tuple[float, list[float]]:
    """Publish that often into an empty store: by how many MB it has grown, and seconds a publish."""
    servers.start("nessie")
    nessie = Nessie(servers.nessie_uri)
    head = nessie.commit(MAIN, nessie.head(), moved({}, 0), "first", (SCHEMA,))
    known = nessie.tables(head)
    nessie.create("ingest-1", head)
    empty, taken = size_mb(servers), []
    for number in range(1, publishes + 1):
        begun = time.perf_counter()
        head = way(nessie, "ingest-1", head, moved(known, number))
        taken.append(time.perf_counter() - begun)
    nessie.close()
    return size_mb(servers) - empty, taken


def size_mb(servers: Servers) -> float:
    """What RocksDB has written, log and tables (MB). The disk holds more: it sets 145 MB aside for the log."""
    files = (servers.data_dir / "nessie").rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file() and path.name.partition(".")[0] != "LOG") / 1e6


def _servers(data_dir: Path) -> Servers:
    data_dir.mkdir(exist_ok=True)
    return Servers(data_dir, free_offset())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--publishes", type=int, default=2000, help="by each way (count)")
    arguments = parser.parse_args()
    report = Report(
        "nessie_store",
        f"{len(CHANGED)} tables a publish, {arguments.publishes} publishes a way, RocksDB, size of what it has written",
    )
    with tempfile.TemporaryDirectory(prefix="nessie-store-") as folder:
        jars.fetch(["nessie"], say=print)
        for number, (name, way) in enumerate(WAYS.items()):
            servers = _servers(Path(folder) / str(number))
            try:
                grown, taken = grow(servers, way, arguments.publishes)
            finally:
                servers.__exit__(None, None, None)
            per_thousand = grown / arguments.publishes * 1000
            report.row(f"{name}: 1,000 publishes", per_thousand, "MB")
            report.row(f"{name}: a day of one a second", per_thousand * PUBLISHES_A_DAY / 1e6, "GB")
            report.row(f"{name}: a publish, p50", percentile(taken, 50) * 1000, "ms")
            report.row(f"{name}: a publish, p95", percentile(taken, 95) * 1000, "ms")
        old, new = _servers(Path(folder) / "1"), _servers(Path(folder) / "new")
        try:
            old.start("nessie")
            new.start("nessie")
            begun = time.perf_counter()
            copy_repository(Nessie(old.nessie_uri), Nessie(new.nessie_uri))
            report.row("new repository: to make it", time.perf_counter() - begun, "s")
            size, before = size_mb(new), size_mb(old)
        finally:
            old.__exit__(None, None, None)
            new.__exit__(None, None, None)
        report.row("new repository", size, "MB")
        report.row("new repository / old", size / before, "x", at_most=0.1)
    report.finish()


if __name__ == "__main__":
    main()
