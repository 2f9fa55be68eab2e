"""Branches, tags and the log of a Nessie at the gateway, with a stand-in for Nessie over tables of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from embedded.gateway.errors import ErrorKind
from embedded.gateway.files import LocalFiles
from embedded.gateway.nessie import NessieCommits
from embedded.gateway.statements import Statements
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from pipeline.storage.nessie import HistoryCommit, Nessie, NessieGone, Reference
from tests.gateway_cast import Desk

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"
START = datetime(2026, 3, 2, 12, 0, 0, 250_000, tzinfo=UTC)
COUNT = f"SELECT COUNT(*) AS n FROM {ORDERS}"


class Branched(Nessie):
    """A Nessie with the shop's publishes, one a minute. dev is at the second last of them, audit (a tag) too."""

    def __init__(self, desk: Desk) -> None:
        rows = desk.published.query("SELECT commit_id, tables FROM publications ORDER BY sequence")
        self.commits = {str(commit): json.loads(tables) for commit, tables in rows}
        self.hashes = list(self.commits)
        self.beside: dict[tuple[str, ...], dict[str, Any]] = {}
        """What stands in other folders, at every commit."""
        self.others = [Reference("dev", "BRANCH", self.hashes[-2]), Reference("audit", "TAG", self.hashes[-2])]

    def references(self) -> list[Reference]:
        return [Reference("main", "BRANCH", self.hashes[-1]), *self.others]

    def contents(self, commit: str, name: str = "main") -> dict[tuple[str, ...], dict[str, Any]]:
        if commit not in self.commits:
            raise NessieGone("Nessie answers 404")
        tables = self.commits[commit].items()
        return {
            (SCHEMA, table): {"type": "ICEBERG_TABLE", "metadataLocation": location} for table, location in tables
        } | self.beside

    def history(
        self,
        name: str = "main",
        *,
        commit: str | None = None,
        limit: int | None = None,
        where: str | None = None,
        page: int = 1000,
        changes: bool = False,
    ) -> Iterator[HistoryCommit]:
        branch, _, then = name.partition("*")
        until = datetime.fromisoformat(then) if then else datetime.max.replace(tzinfo=UTC)
        newest = commit or next((item.hash for item in self.references() if item.name == branch), None)
        if newest is None:
            raise NessieGone("Nessie answers 404")
        for number in reversed(range(self.hashes.index(newest) + 1)):
            at = START + timedelta(minutes=number)
            if at <= until:
                yield HistoryCommit(self.hashes[number], at, f"publish {number}", author="spark", authored_at=at)

    # S3

    def get(self, location: str) -> bytes:
        [content] = LocalFiles().read([location])
        return content

    def exists(self, location: str) -> bool:
        return True

    def folder(self, location: str) -> list[str]:
        return []


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Branched]]:
    desk = Desk(tmp_path_factory.mktemp("shop"))
    nessie = Branched(desk)
    desk.statements = Statements(NessieCommits(nessie, nessie), desk.engine)
    yield desk, nessie
    desk.close()


@pytest.fixture
def desk(shop: tuple[Desk, Branched]) -> Desk:
    return shop[0].fresh()


@pytest.fixture
def nessie(shop: tuple[Desk, Branched]) -> Branched:
    return shop[1]


def test_branches_tags_and_the_log_are_nessies(desk: Desk, nessie: Branched) -> None:
    *_, before, head = nessie.hashes
    assert desk.rows(f"SHOW BRANCHES IN {CATALOG}") == [
        {"type": "Branch", "refName": "main", "commitHash": head},
        {"type": "Branch", "refName": "dev", "commitHash": before},
    ]
    assert desk.rows(f"SHOW TAGS IN {CATALOG}") == [{"type": "Tag", "refName": "audit", "commitHash": before}]
    log = desk.rows(f"SHOW LOGS IN {CATALOG}")
    assert [row["commitHash"] for row in log] == nessie.hashes[::-1]
    last = len(nessie.hashes) - 1
    assert log[0] == {
        "commitHash": head,
        "authorName": "spark",
        "authorTimeStamp": (START + timedelta(minutes=last)).replace(tzinfo=None),
        "message": f"publish {last}",
    }
    for at in ("BRANCH dev", "TAG audit", "REF dev", f'COMMIT "{before}"'):
        assert desk.rows(f"SHOW LOGS AT {at} IN {CATALOG}") == log[1:]


def test_a_table_is_read_at_any_reference(desk: Desk, nessie: Branched) -> None:
    assert desk.column(COUNT) == [3]
    for at in ("BRANCH dev", "REF dev", "TAG audit", "REF audit", f'COMMIT "{nessie.hashes[-2]}"', "BRANCH main"):
        assert desk.column(f"{COUNT} AT {at} AS o") == [3 if at == "BRANCH main" else 1], at
    files = f"SELECT SUM(record_count) AS n FROM TABLE(table_files('{ORDERS}'))"
    assert desk.column(f"{files} AT TAG audit") == [1]
    assert desk.column(f"{files} AT BRANCH main") == [3]


def test_a_session_uses_a_branch_until_it_uses_another(desk: Desk) -> None:
    said = desk.summary(f"USE BRANCH dev IN {CATALOG}")
    assert said == f"Current version context set to branch dev in source {CATALOG}."
    assert desk.column(COUNT) == [1]
    assert desk.column(f"{COUNT} AT BRANCH main") == [3]
    assert len(desk.rows(f"SHOW TABLES IN {CATALOG}")) == len(TABLES)
    assert desk.rows(f"SHOW LOGS IN {CATALOG}") == desk.rows(f"SHOW LOGS AT BRANCH dev IN {CATALOG}")
    desk.summary(f"USE REF audit IN {CATALOG}")
    assert desk.column(COUNT) == [1]
    desk.summary(f"USE BRANCH main IN {CATALOG}")
    assert desk.column(COUNT) == [3]


def test_a_time_is_looked_for_in_the_history_of_the_reference(desk: Desk, nessie: Branched) -> None:
    last = len(nessie.hashes) - 1
    end, before = START + timedelta(minutes=last, seconds=1), START + timedelta(minutes=last - 1, seconds=1)
    assert desk.column(f"{COUNT} AT TIMESTAMP '{end:%F %T}'") == [3]
    assert desk.column(f"{COUNT} AT TIMESTAMP '{before:%F %T}'") == [1]
    assert desk.column(f"{COUNT} AT TIMESTAMP '{end:%F %T}' - INTERVAL '1' MINUTE") == [1]
    assert desk.column(f"{COUNT} AT BRANCH main AS OF '{before:%F %T}'") == [1]
    assert desk.column(f"{COUNT} AT BRANCH dev AS OF '{end:%F %T}'") == [1]
    assert desk.column(f"{COUNT} AT TAG audit AS OF '{end:%F %T}'") == [1]
    desk.summary(f"USE BRANCH dev IN {CATALOG}")
    assert desk.column(f"{COUNT} AT TIMESTAMP '{end:%F %T}'") == [1]
    desk.summary(f'USE COMMIT "{nessie.hashes[-2]}" IN {CATALOG}')
    assert "Not supported by the gateway yet" in str(desk.refused(f"{COUNT} AT TIMESTAMP '{end:%F %T}'"))


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        (f"{COUNT} AT BRANCH audit", "Branch 'audit' not found"),
        (f"{COUNT} AT TAG dev", "Tag 'dev' not found"),
        (f"{COUNT} AT BRANCH gone AS OF '2026-03-02 12:00:00'", "Branch 'gone' not found"),
        (
            f"{COUNT} AT BRANCH dev AS OF '1997-01-01'",
            "No commit of branch dev as of timestamp 1997-01-01 00:00:00.000",
        ),
        (f"USE BRANCH audit IN {CATALOG}", f"Requested branch audit in source {CATALOG} is not the requested type."),
        (f"SHOW LOGS AT BRANCH gone IN {CATALOG}", f"Requested branch gone not found in source {CATALOG}."),
    ],
)
def test_a_reference_that_is_not_there_is_refused(desk: Desk, sql: str, says: str) -> None:
    refusal = desk.refused(sql)
    assert (refusal.kind, says in str(refusal)) == (ErrorKind.VALIDATION, True), str(refusal)


def test_a_branch_that_is_deleted_under_a_session_is_told_so(desk: Desk, nessie: Branched) -> None:
    nessie.others.append(Reference("short", "BRANCH", nessie.hashes[-2]))
    desk.summary(f"USE BRANCH short IN {CATALOG}")
    assert desk.column(COUNT) == [1]
    nessie.others.pop()
    assert str(desk.refused(COUNT)) == f"Branch 'short' not found in source {CATALOG}"
    assert desk.summary(f"USE BRANCH main IN {CATALOG}")
