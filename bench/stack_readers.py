"""bench readers on the stack: a reader every 50 ms while the Spark driver publishes, is killed, merges and sweeps.

Promise: as there, and at most 2 working branches at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from bench import readers
from bench.pipelines import Stack
from bench.processes import free_offset
from bench.readers import EVERY_S, Read
from bench.report import Report
from bench.servers import Servers
from pipeline.settings import RetentionSettings
from pipeline.storage.nessie import Nessie, NessieError

# Publishes as fast as they can be made.
SETTINGS: Mapping[str, str] = {
    **readers.SETTINGS,
    "INGEST_PUBLISH_EVERY": "200 ms",
    "RETENTION_FIRST_OF_MINUTE": "10 min",
}


class Branches(threading.Thread):
    """Looks at Nessie's branches twice a second: the most working branches there were at a time."""

    def __init__(self, uri: str) -> None:
        super().__init__(name="branches", daemon=True)
        self._nessie = Nessie(uri)
        self._ended = threading.Event()
        self.most = 0

    def run(self) -> None:
        while not self._ended.wait(0.5):
            with contextlib.suppress(NessieError):
                self.most = max(self.most, sum(found.name.startswith("ingest-") for found in self._nessie.references()))

    def stop(self) -> None:
        self._ended.set()
        self.join()
        self._nessie.close()


class Publishes:
    """The history of main. Publishes that were counted are not asked for again."""

    def __init__(self, nessie_uri: str, retention: RetentionSettings) -> None:
        self._nessie = Nessie(nessie_uri)
        self._retention = retention
        self._newest = ""
        self._count = 0

    def count(self) -> int:
        new = []
        for logged in self._nessie.history():
            if logged.hash == self._newest:
                break
            new.append(logged.hash)
        self._count += len(new)
        self._newest = new[0] if new else self._newest
        return self._count

    def must_be_kept(self, ended: datetime) -> set[str]:
        """Those of the span in which each is kept, and the first of each minute; a little less, for the driver thinned
        before it ended."""
        every = self._retention.every_commit - timedelta(seconds=2)
        minutes = self._retention.first_of_minute - timedelta(minutes=1)
        first: dict[datetime, str] = {}
        kept = set()
        for logged in self._nessie.history():
            age = ended - logged.committed_at
            if age < every:
                kept.add(logged.hash)
            if age < minutes:
                first[logged.committed_at.replace(second=0, microsecond=0)] = logged.hash
        if first:
            first.pop(min(first))  # its minute may have begun before the span
        return kept | set(first.values())

    def close(self) -> None:
        self._nessie.close()


def run(pipeline: Stack, publishes: int, kills: int, rate: float) -> tuple[Read, int]:
    """readers.run of a driver; and the most working branches that there were at a time."""
    pipeline.start_engine()
    pipeline.wait_reading()
    retention = RetentionSettings.load(
        every_commit=pipeline.variables["TILLWATCH_RETENTION_EVERY_COMMIT"],
        first_of_minute=pipeline.variables["TILLWATCH_RETENTION_FIRST_OF_MINUTE"],
    )
    branches = Branches(pipeline.servers.nessie_uri)
    branches.start()
    with contextlib.closing(Publishes(pipeline.servers.nessie_uri, retention)) as history:
        try:
            return readers.run(pipeline, history, publishes, kills, rate), branches.most
        finally:
            branches.stop()


def main() -> None:
    """`python -m bench stack_readers`."""
    parser = argparse.ArgumentParser(prog="bench stack_readers", description=__doc__)
    parser.add_argument("--publishes", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rate", type=float, default=100, help="events/s (100)")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as folder,
        Servers(Path(folder) / "servers", free_offset()) as servers,
        Stack(servers, Path(folder) / "stack", SETTINGS) as pipeline,
    ):
        found, branches = run(pipeline, arguments.publishes, arguments.kills, arguments.rate)
    report = Report("stack_readers", f"{arguments.rate:g} events/s, a reader every {EVERY_S * 1000:g} ms")
    report.row("working branches at a time, at most", branches, "", at_most=2)
    found.write(report, arguments.publishes, arguments.kills)
    report.finish()


if __name__ == "__main__":
    main()
