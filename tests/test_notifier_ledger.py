"""A ledger that cannot be used: one sentence at the start, and no alert lost while the notifier runs."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from lakehouse.user_error import UserError
from notifier.api import create_app
from notifier.daemon import Daemon
from notifier.ledger import file as ledger_file
from notifier.ledger.ledger import Ledger
from notifier.tokens import Tokens
from tests.notifier_cast import cast_of
from tests.test_notifier import Desk, Friend, a_config, fatal_to


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path, Friend())
    yield opened
    opened.close()


def a_ledger(path: Path) -> Path:
    """A ledger with some alerts, all of it in its one file."""
    desk = Desk(path, Friend())
    for number in range(200):
        desk.fatal(f"inc-{number}", description="x" * 500)
    desk.dremio.publish(desk.now)
    desk.planner.poll()
    desk.close()
    file = path / "ledger.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file


def damage(file: Path) -> None:
    """Overwrite all pages but the first three."""
    with file.open("r+b") as content:
        content.seek(3 * 4096)
        content.write(b"\xa5" * (file.stat().st_size - 3 * 4096))


def no_database(file: Path) -> None:
    file.write_text("this is no database, but it is long enough to be looked at\n" * 20, encoding="utf-8")


def a_directory(file: Path) -> None:
    file.mkdir()


def cut(file: Path) -> None:
    a_ledger(file.parent)
    os.truncate(file, file.stat().st_size // 2 // 4096 * 4096)


def damaged(file: Path) -> None:
    damage(a_ledger(file.parent))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (no_database, "is damaged: file is not a database; restore a copy"),
        (a_directory, "cannot be used: unable to open database file; free it"),
        (damaged, "is damaged: .*; restore a copy that --save-ledger made, or move it away"),
        (cut, "is damaged: .*; restore a copy that --save-ledger made, or move it away"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    make(tmp_path / "ledger.db")
    with pytest.raises(UserError, match=sentence) as error:
        Ledger(tmp_path / "ledger.db")
    assert "\n" not in str(error.value)
    assert str(tmp_path / "ledger.db") in str(error.value)


@pytest.mark.parametrize(
    ("pragma", "reason"),
    [("query_only = ON", "attempt to write a readonly database"), ("max_page_count = 1", "database or disk is full")],
)
def test_a_ledger_that_cannot_be_written_is_one_sentence_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pragma: str, reason: str
) -> None:
    monkeypatch.setattr(ledger_file, "_on_connect", _connecting(pragma))
    with pytest.raises(UserError, match=f"cannot be used: {reason}; free it, make room, or let it be written"):
        Ledger(tmp_path / "ledger.db")


def test_a_ledger_that_another_program_has_locked_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_file, "BUSY_S", 0.05)
    with closing(sqlite3.connect(a_ledger(tmp_path))) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match="cannot be used: database is locked; free it"):
            Ledger(tmp_path / "ledger.db")


def test_a_full_disk_is_told_once_and_loses_no_alert(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.fatal("inc-1")
    desk.publish()
    daemon = a_daemon(desk)
    lift = fill_up(desk.ledger)
    for number in range(300):
        desk.fatal("inc-late", alert_id=f"a{number}", description="x" * 500)
    desk.dremio.publish(desk.now)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            daemon.cycle()
    told = [record for record in caplog.records if "database or disk is full" in record.getMessage()]
    assert len(told) == 1
    assert not any(record.exc_info for record in caplog.records)
    assert "database or disk is full" in str(daemon.readiness()["ledger"])
    assert daemon.readiness()["data"] is None
    assert daemon.watch()
    lift()
    daemon.cycle()
    desk.work()
    assert len(desk.channel.posts) == 2
    assert {incident.incident_id: incident.alerts for incident in desk.ledger.incidents()}["inc-late"] == 300
    assert daemon.readiness()["ledger"] is None


def test_a_full_disk_loses_no_row_without_a_time_of_publishing(desk: Desk) -> None:
    desk.fatal("inc-1", alert_id="x" * 200_000, ingested_at=None)
    desk.dremio.publish(desk.now)
    daemon = a_daemon(desk)
    lift = fill_up(desk.ledger)
    daemon.cycle()
    assert "database or disk is full" in str(daemon.readiness()["ledger"])
    lift()
    daemon.cycle()
    desk.work()
    assert len(desk.channel.posts) == 1


def test_readiness_tells_of_a_question_that_fails_until_a_sweep_is_answered(desk: Desk) -> None:
    desk.dremio.broken.add("alerts_unstamped")
    desk.dremio.publish(desk.now)
    daemon = a_daemon(desk)
    daemon.cycle()
    assert "Alerts without an ingested_at cannot be asked for" in str(daemon.readiness()["data"])
    desk.dremio.broken.clear()
    desk.now += timedelta(minutes=10)
    daemon.cycle()
    assert daemon.readiness()["data"] is None


def test_a_ledger_that_is_damaged_while_it_is_used_ends_the_daemon_with_a_sentence(
    desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(200):
        desk.fatal("inc-1", alert_id=f"a{number}", description="x" * 500)
    desk.publish()
    daemon = a_daemon(desk)
    assert daemon.watch()
    with desk.ledger._read() as db:
        db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    damage(tmp_path / "ledger.db")
    desk.ledger.file._engine.dispose()
    desk.now += timedelta(seconds=5)
    desk.fatal("inc-late")
    desk.dremio.publish(desk.now)
    with caplog.at_level(logging.INFO):
        daemon.cycle()
    assert not daemon.watch()
    assert "is damaged: database disk image is malformed" in caplog.text
    assert "Traceback" not in caplog.text
    tokens = Tokens(tmp_path)
    bearer = {"Authorization": f"Bearer {tokens.secret_of('reader')}"}
    api = TestClient(create_app(daemon, tokens), base_url="http://localhost", headers=bearer)
    assert api.get("/-/ready").status_code == 503
    assert "tillwatch_notifier_ledger_up 0.0" in api.get("/metrics").text
    answer = api.get("/api/incidents")
    assert answer.status_code == 503
    assert "is damaged" in answer.json()["detail"]
    daemon.stop()


def test_the_notifier_ends_with_two_and_one_sentence_over_a_damaged_ledger(tmp_path: Path) -> None:
    with cast_of(tmp_path / "data") as cast:
        cast.data_dir.mkdir()
        damage(a_ledger(cast.data_dir))
        ended = subprocess.run(
            [sys.executable, "-m", "notifier"], env=cast.environment(), capture_output=True, text=True, timeout=60
        )
        assert ended.returncode == 2
        assert "is damaged" in ended.stderr
        assert "Traceback" not in ended.stderr


def a_daemon(desk: Desk) -> Daemon:
    daemon = Daemon(a_config([desk.channel], fatal_to({}).routing), desk.dremio, desk.ledger)
    daemon._crew.planner = desk.planner
    return daemon


def fill_up(ledger: Ledger) -> Callable[[], None]:
    """No room for another page; gives what makes room again."""
    limit = {"pages": 1}

    def on_connect(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit['pages']}")

    engine = ledger.file._engine
    sa.event.listen(engine, "connect", on_connect)
    engine.dispose()

    def lift() -> None:
        limit["pages"] = 1_000_000
        engine.dispose()

    return lift


def _connecting(pragma: str) -> Callable[[Any, Any], None]:
    usual = ledger_file._on_connect

    def on_connect(connection: Any, record: Any) -> None:
        usual(connection, record)
        connection.execute(f"PRAGMA {pragma}")

    return on_connect
