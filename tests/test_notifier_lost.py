"""A ledger that is deleted, lost or begun anew: nothing is forgotten that is open still, nothing told twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from notifier.channel import Absent, Finding, Sent, Sought
from notifier.model import DeliveryState
from tests.test_notifier import Desk, Friend


class Historian(Friend):
    """A Slack that was told of inc-1 before."""

    def find(self, destination: str, sought: Sought) -> Finding:
        return Sent("ts-old") if sought.incident_id == "inc-1" else Absent()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path, Friend())
    yield opened
    opened.close()


@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_ledger_that_is_taken_away_while_it_runs_is_written_anew(desk: Desk, tmp_path: Path, how: str) -> None:
    desk.fatal("inc-1")
    desk.publish()
    assert not desk.ledger.file.is_gone()
    path = tmp_path / "ledger.db"
    if how == "moved":
        path.rename(tmp_path / "elsewhere.db")
    else:
        path.unlink()
    if how == "replaced":
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE other (x)")
    assert desk.ledger.file.is_gone()
    desk.ledger.file.restore()
    assert not desk.ledger.file.is_gone()
    desk.fatal("inc-1")
    desk.fatal("inc-2", service="checkout")
    desk.publish()
    desk.run(timedelta(minutes=2))
    assert [note.kind for note in desk.channel.posts] == ["first", "first", "more"]
    with closing(sqlite3.connect(path)) as kept:
        assert kept.execute("SELECT count(*) FROM incidents").fetchone() == (2,)


def test_a_new_ledger_looks_in_the_history_before_it_tells_of_what_was_published_before_it(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old = Desk(tmp_path / "old", Friend())
    old.fatal("inc-1")
    old.publish()
    now, dremio = old.now + timedelta(minutes=5), old.dremio
    old.ledger.close()
    desk = Desk(tmp_path, Historian(), now=now)
    desk.planner._reader = dremio
    desk.dremio = dremio
    earlier = now - timedelta(minutes=2)
    desk.fatal("inc-2", service="checkout", at=earlier, ingested_at=earlier)
    desk.fatal("inc-3", service="search")
    desk.publish()
    desk.run(timedelta(seconds=30))
    # The first was found there, the second was not, and the third is too young for another ledger to have told.
    assert sorted(note.title for note in desk.channel.posts) == ["FATAL in checkout (late: 2 min)", "FATAL in search"]
    first = next(row for row in desk.deliveries() if row.incident_id == "inc-1")
    assert (first.state, first.receipt, first.attempts) == (DeliveryState.SENT, "ts-old", 0)
    # What comes now goes on in the thread that was found.
    desk.fatal("inc-1")
    desk.publish()
    desk.run(timedelta(minutes=2))
    assert desk.channel.posts[-1].root == "ts-old"
    desk.close()
