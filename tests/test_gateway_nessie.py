"""The gateway on Nessie and S3, with small stand-ins for both: what is kept, what is cached, what is said when away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.files import Once
from embedded.gateway.nessie import POSITIONS, NessieCommits
from embedded.gateway.s3 import S3, S3Files
from lakehouse.dremio.client import NOTHING_PUBLISHED
from lakehouse.tables import SCHEMA
from pipeline.settings import S3Settings
from pipeline.storage.nessie import HistoryCommit, Nessie, NessieDown, NessieGone, Reference

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Publishes(Nessie):
    """A Nessie whose main has one publish a second, and an S3 that holds the metadata of those that are kept."""

    def __init__(self, count: int) -> None:
        self.hashes = [f"{number:064x}" for number in range(1, count + 1)]
        self.there = {self.location(number) for number in range(count)}
        self.references_: list[Reference] = []
        self.asked = 0
        self.away = False

    def location(self, number: int) -> str:
        return f"s3://shop/{POSITIONS}/metadata/{number:05d}-{number:x}.metadata.json"

    def _look(self) -> None:
        if self.away:
            raise NessieDown("Nessie at http://nessie:1/api/v2 cannot be reached: [Errno 111] Connection refused")
        self.asked += 1

    def references(self) -> list[Reference]:
        self._look()
        return [Reference("main", "BRANCH", (self.hashes or [NOTHING_PUBLISHED])[-1]), *self.references_]

    def contents(self, commit: str, name: str = "main") -> dict[tuple[str, ...], dict[str, Any]]:
        self._look()
        if commit == NOTHING_PUBLISHED:
            return {}
        if commit not in self.hashes:
            raise NessieGone("Nessie answers 404")
        location = self.location(self.hashes.index(commit))
        return {(SCHEMA, POSITIONS): {"type": "ICEBERG_TABLE", "metadataLocation": location}}

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
        self._look()
        _, _, then = name.partition("*")
        until = datetime.fromisoformat(then) if then else datetime.max.replace(tzinfo=UTC)
        newest = self.hashes.index(commit) if commit else len(self.hashes) - 1
        for number in reversed(range(newest + 1)):
            at = START + timedelta(seconds=number)
            if at <= until:
                yield HistoryCommit(self.hashes[number], at, "")

    # S3

    def get(self, location: str) -> bytes:
        raise AssertionError("no test reads one")

    def exists(self, location: str) -> bool:
        return location in self.there

    def folder(self, location: str) -> list[str]:
        return sorted(self.there)

    def thin(self, *numbers: int) -> None:
        self.there -= {self.location(number) for number in numbers}


def moment(second: float) -> int:
    return int((START + timedelta(seconds=second)).timestamp() * 1e6)


def test_before_the_first_publish_there_is_no_head() -> None:
    nessie = Publishes(0)
    assert NessieCommits(nessie, nessie).head() is None


def test_a_commit_is_kept_as_long_as_its_positions_are_there() -> None:
    now = 0.0
    nessie = Publishes(3)
    commits = NessieCommits(nessie, nessie, clock=lambda: now)
    first, second, third = nessie.hashes
    assert [commits.by_id(commit) is not None for commit in (first, second, third)] == [True, True, True]
    nessie.thin(0)
    now = 11.0
    assert commits.by_id(first) is None
    assert commits.by_id(second) is not None
    assert commits.by_id("f" * 64) is None
    assert commits.by_id("main") is None


def test_a_commit_that_a_new_nessie_does_not_know_is_refused() -> None:
    now = 0.0
    nessie = Publishes(3)
    commits = NessieCommits(nessie, nessie, clock=lambda: now)
    last = nessie.hashes[-1]
    assert commits.by_id(last) is not None
    nessie.hashes.pop()
    now = 11.0
    assert commits.by_id(last) is None


def test_questions_at_one_commit_ask_nessie_once() -> None:
    nessie = Publishes(2)
    commits = NessieCommits(nessie, nessie)
    head = commits.head()
    assert head is not None
    asked = nessie.asked
    assert all(commits.by_id(head.id) == head for _ in range(20))
    assert nessie.asked == asked


@pytest.mark.parametrize(
    ("thinned", "second", "found"),
    [
        ([], 50.5, 50),
        ([], 0, 0),
        ([], -1, None),
        (range(40, 60), 50.5, 39),
        (range(1, 200), 150, 0),
        ([number for number in range(200) if number % 60], 150, 120),
        (range(150), 100, None),
    ],
)
def test_at_a_time_is_the_publish_in_force_or_the_kept_one_before(
    thinned: list[int], second: float, found: int | None
) -> None:
    nessie = Publishes(200)
    nessie.thin(*thinned)
    commit = NessieCommits(nessie, nessie).at(moment(second))
    assert (None if commit is None else nessie.hashes.index(commit.id)) == found
    assert nessie.asked < 20


def test_files_of_publishes_that_never_were_do_not_hide_the_kept_one() -> None:
    nessie = Publishes(200)
    nessie.thin(*range(100, 150))
    nessie.there |= {f"s3://shop/{POSITIONS}/metadata/{number:05d}-dead.metadata.json" for number in (120, 110)}
    commit = NessieCommits(nessie, nessie).at(moment(140))
    assert commit is not None
    assert nessie.hashes.index(commit.id) == 99


def test_tags_and_other_branches_are_found_by_name() -> None:
    nessie = Publishes(3)
    first, second, _ = nessie.hashes
    nessie.references_ = [
        Reference("audit", "TAG", first),
        Reference("dev", "BRANCH", second),
    ]
    commits = NessieCommits(nessie, nessie)
    commits.head()
    assert commits.tags() == [("audit", first)]
    assert commits.branches() == [("dev", second)]
    found = (commits.by_tag("audit"), commits.by_branch("dev"), commits.by_tag("dev"), commits.by_branch("audit"))
    assert [commit and commit.id for commit in found] == [first, second, None, None]


def test_while_nessie_is_away_a_statement_is_refused_with_a_sentence_and_afterwards_answered() -> None:
    nessie = Publishes(1)
    commits = NessieCommits(nessie, nessie)
    nessie.away = True
    with pytest.raises(Refusal) as caught:
        commits.head()
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert str(caught.value) == (
        "CONNECTION ERROR: source nessie_minio_catalog is not available now: "
        "Nessie at http://nessie:1/api/v2 does not answer: connection refused"
    )
    nessie.away = False
    assert commits.head() is not None


def test_a_value_is_made_once_and_a_failure_is_tried_again() -> None:
    once = Once[str, int](2)
    made: list[int] = []
    gate = threading.Event()

    def make() -> int:
        gate.wait(10)
        made.append(1)
        if len(made) == 1:
            raise ValueError("not yet")
        return 7

    found: list[object] = []

    def ask() -> None:
        try:
            found.append(once.get("a", make))
        except ValueError:
            found.append("failed")

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    gate.set()
    for thread in threads:
        thread.join()
    assert "failed" in found
    assert once.get("a", make) == 7
    assert len(made) == 2


# ---- S3 -------------------------------------------------------------------------------------------------------------


class Bucket:
    """An S3 server over a dictionary; `trouble` answers the next request instead."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.trouble: list[int] = []
        bucket = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                bucket.requests.append(self.path)
                if bucket.trouble:
                    status = bucket.trouble.pop(0)
                    if not status:  # half of it
                        self.send_response(200)
                        self.send_header("Content-Length", "1000")
                        self.end_headers()
                        self.wfile.write(b"half")
                        self.close_connection = True
                        return
                    content = b"<Error><Code>SlowDown</Code></Error>"
                else:
                    content = bucket.objects.get(self.path, b"<Error><Code>NoSuchKey</Code></Error>")
                    status = 200 if self.path in bucket.objects else 404
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def opened() -> Iterator[Bucket]:
    bucket = Bucket()
    thread = threading.Thread(target=bucket.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield bucket
    bucket.server.shutdown()
    thread.join()
    bucket.server.server_close()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with opened() as server:
        yield server


@pytest.fixture
def s3(bucket: Bucket) -> S3:
    return S3(S3Settings.load(endpoint=bucket.endpoint))


def test_a_location_is_asked_for_as_s3_writes_it(bucket: Bucket, s3: S3) -> None:
    bucket.objects["/shop/wh/hour%3D2026-03-02-12/a%20b.parquet"] = b"rows"
    assert s3.get("s3://shop/wh/hour=2026-03-02-12/a b.parquet") == b"rows"
    assert s3.get("s3a://shop/wh/hour=2026-03-02-12/a b.parquet") == b"rows"
    assert s3.exists("s3://shop/wh/hour=2026-03-02-12/a b.parquet")
    assert not s3.exists("s3://shop/other")


@pytest.mark.parametrize("trouble", [[503, 503], [0]], ids=["busy", "half an answer"])
def test_an_answer_that_is_none_is_unavailable_and_leaves_no_file(
    bucket: Bucket, s3: S3, tmp_path: Path, trouble: list[int]
) -> None:
    bucket.objects["/shop/a"] = b"rows"
    bucket.trouble = trouble.copy()
    files = S3Files(s3, tmp_path / "files", most_mb=1)
    with pytest.raises(Refusal) as caught, files.holding(["s3://shop/a"]):
        raise AssertionError("unreachable")
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert list((tmp_path / "files").iterdir()) == []
    with files.holding(["s3://shop/a"]) as [path]:
        assert Path(path).read_bytes() == b"rows"


def test_where_nobody_listens_the_sentence_names_the_address() -> None:
    with opened() as server:
        endpoint = server.endpoint
    with pytest.raises(Refusal, match=f"S3 at {endpoint} does not answer: connection refused"):
        S3(S3Settings.load(endpoint=endpoint)).get("s3://shop/a")


def test_data_files_are_fetched_once_and_what_is_kept_of_them_is_bounded(
    bucket: Bucket, s3: S3, tmp_path: Path
) -> None:
    names = [f"s3://shop/{number}" for number in range(12)]
    bucket.objects = {f"/shop/{number}": bytes([number]) * 200_000 for number in range(12)}
    files = S3Files(s3, tmp_path / "files", most_mb=1)
    with files.holding(names[:2]) as first:
        for start in range(2, 12, 2):
            with files.holding(names[start : start + 2]) as paths:
                assert [Path(path).read_bytes()[0] for path in paths] == [start, start + 1]
        # In use all the time.
        assert [Path(path).stat().st_size for path in first] == [200_000, 200_000]
    assert sum(path.stat().st_size for path in (tmp_path / "files").iterdir()) <= 1 << 20
    before = len(bucket.requests)
    with files.holding(names[10:]):
        assert len(bucket.requests) == before
    with files.holding(names[2:3]) as [path]:
        assert Path(path).read_bytes() == bucket.objects["/shop/2"]


def test_statements_side_by_side_fetch_a_file_once(bucket: Bucket, s3: S3, tmp_path: Path) -> None:
    bucket.objects = {f"/shop/{number}": b"rows" for number in range(6)}
    files = S3Files(s3, tmp_path / "files", most_mb=1)
    wrong: list[object] = []

    def ask() -> None:
        try:
            with files.holding([f"s3://shop/{number}" for number in range(6)]) as paths:
                time.sleep(0.01)
                wrong.extend(path for path in paths if Path(path).read_bytes() != b"rows")
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(bucket.requests) == 6
