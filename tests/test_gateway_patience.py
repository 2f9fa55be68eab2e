"""What the gateway does itself for a statement ends at the statement's time, and when nobody waits for it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from embedded.gateway.errors import ErrorKind, Refusal, cancelled
from embedded.gateway.files import LocalFiles
from embedded.gateway.nessie import NessieCommits
from embedded.gateway.s3 import SIDE_BY_SIDE, S3Files
from embedded.gateway.statements import Statements
from embedded.gateway.waiting import LONGEST_S, MOST_OF_A_USER, Waiting
from lakehouse.tables import CATALOG, SCHEMA
from tests.gateway_cast import Desk
from tests.test_gateway_nessie_versions import Branched

MANY = 100
TABLES = ", ".join(f"{CATALOG}.others.t{number} AS t{number}" for number in range(6))
READS_ALL = {
    "INFORMATION_SCHEMA": "SELECT COUNT(*) AS n FROM INFORMATION_SCHEMA.COLUMNS",
    "a join": f"SELECT COUNT(*) AS n FROM {TABLES}",
    "table_files": f"SELECT COUNT(*) AS n FROM TABLE(table_files('{CATALOG}.{SCHEMA}.orders_processed'))",
    "table_partitions": f"SELECT COUNT(*) AS n FROM TABLE(table_partitions('{CATALOG}.{SCHEMA}.orders_processed'))",
    "a snapshot": f"DESCRIBE {CATALOG}.{SCHEMA}.orders_processed AT SNAPSHOT '1'",
    "a table's rows": f"SELECT COUNT(*) AS n FROM {CATALOG}.{SCHEMA}.orders_processed",
    "a table": f"DESCRIBE {CATALOG}.others.t1",
    "names": f"SHOW TABLES IN {CATALOG}",
    "schemas": "SHOW SCHEMAS",
    "the log": f"SHOW LOGS IN {CATALOG}",
}


class SlowFiles(LocalFiles):
    """Files of this machine, each of which takes `takes_s` of its own clock; what follows a `?` makes them others."""

    def __init__(self) -> None:
        self.now = 0.0
        self.takes_s = 15.0
        self.reads = 0

    def clock(self) -> float:
        return self.now

    def read(self, locations: Sequence[str]) -> list[bytes]:
        self.reads += len(locations)
        self.now += self.takes_s * len(locations)
        return super().read([location.partition("?")[0] for location in locations])


class Long(NessieCommits):
    """Nessie, with many kept commits of each table."""

    def metadata_locations(self, table: str) -> Iterable[str]:
        for location in list(super().metadata_locations(table)):
            yield from (f"{location}?{number}" for number in range(MANY))


class Foreign(Desk):
    """A shop whose Nessie has a hundred tables of others; statements have 20 s."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        nessie = Branched(self)
        clicks = nessie.commits[nessie.hashes[-1]]["clicks_processed"]
        nessie.beside = {
            ("others", f"t{number}"): {"type": "ICEBERG_TABLE", "metadataLocation": f"{clicks}?{number}"}
            for number in range(MANY)
        }
        self.nessie = nessie

    def opened(self) -> SlowFiles:
        """The files of a gateway that has read none of them yet."""
        files = SlowFiles()
        commits = Long(self.nessie, self.nessie)
        self.statements = Statements(commits, self.engine, files=files, ticket_key=b"k" * 32, clock=files.clock)
        return files


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    desk = Foreign(tmp_path_factory.mktemp("shop"))
    yield desk
    desk.close()


@pytest.mark.parametrize("name", list(READS_ALL)[:6])
def test_what_reads_many_files_ends_at_its_time(foreign: Foreign, name: str) -> None:
    files = foreign.opened()
    refusal = foreign.refused(READS_ALL[name])
    assert "limit of 20 s" in str(refusal) or "planning time exceeded 20 seconds" in str(refusal)
    assert files.reads < 12


@pytest.mark.parametrize("name", READS_ALL)
def test_a_statement_ends_when_nobody_waits_for_it(foreign: Foreign, name: str) -> None:
    """Planned by one gateway, and run by another of the same key, whose client leaves before it has begun."""
    files = foreign.opened()
    files.takes_s = 0
    sql = READS_ALL[name] if name != "a snapshot" else READS_ALL["a table"]
    ticket = foreign.statements.plan(sql).ticket
    files = foreign.opened()
    for ask in (
        lambda: list(foreign.statements.run(ticket, lambda: True).batches),
        lambda: foreign.statements.plan(sql, gone=lambda: True),
    ):
        with pytest.raises(Refusal) as caught:
            ask()
        assert caught.value.kind is ErrorKind.CANCELLED
    assert files.reads == 0


def test_what_is_read_of_other_tables_is_as_long_as_before_where_there_is_time(foreign: Foreign) -> None:
    foreign.opened().takes_s = 0
    assert foreign.column(READS_ALL["INFORMATION_SCHEMA"])[0] > 5 * MANY
    assert len(foreign.rows(READS_ALL["names"])) > MANY


class Gated:
    """An S3 that gives one file at once, and the others when it is told to."""

    def __init__(self, at_once: str) -> None:
        self.at_once = at_once
        self.asked: list[str] = []
        self.gate = threading.Event()

    def fetch(self, location: str, path: Path) -> int:
        self.asked.append(location)
        if location != self.at_once:
            self.gate.wait(60)
        return path.write_bytes(b"rows")


def test_files_that_nobody_waits_for_any_more_are_not_fetched(tmp_path: Path) -> None:
    names = [f"s3://shop/{number}" for number in range(MANY)]
    s3 = Gated(at_once=names[0])  # the one that the reader waits for first
    files = S3Files(s3, tmp_path / "files", most_mb=1)  # type: ignore[arg-type]  # it fetches, and that is all
    with pytest.raises(Refusal), files.holding(names, _once()):
        raise AssertionError("unreachable")
    s3.gate.set()
    files._pool.submit(lambda: None).result()  # behind all others
    assert len(s3.asked) <= 1 + SIDE_BY_SIDE
    with files.holding(names) as paths:
        assert all(Path(path).read_bytes() == b"rows" for path in paths)


def _once() -> Callable[[], None]:
    """A check that passes once."""
    looks = iter([None])

    def check() -> None:
        if next(looks, "over") is not None:
            raise cancelled("the client is gone")

    return check


def test_a_user_has_so_many_calls_waiting_for_the_next_publish() -> None:
    asked, head = threading.Semaphore(0), ["a"]

    def look() -> str:
        if threading.current_thread().name != "waiting":
            asked.release()
        return head[0]

    waiting = Waiting(look, every_s=0.01)
    with ThreadPoolExecutor(MOST_OF_A_USER) as pool:
        answers = [pool.submit(waiting.head, "a", LONGEST_S, "ada") for _ in range(MOST_OF_A_USER)]
        for _ in answers:
            asked.acquire()
        with pytest.raises(Refusal, match="user ada has 32 calls waiting for the next publish") as caught:
            waiting.head("a", LONGEST_S, "ada")
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        assert waiting.head("a", 0, "grace") == "a"
        head[0] = "b"
    assert [answer.result() for answer in answers] == ["b"] * MOST_OF_A_USER
    assert waiting.head("a", LONGEST_S, "ada") == "b"
