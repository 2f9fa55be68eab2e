"""Is anything missing: alerts that the ledger does not know, or open incidents that nobody was told of."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from lakehouse.user_error import UserError
from notifier.channel import Broken, Dead
from notifier.ledger.look import look
from notifier.ledger.rows import ALERTS
from notifier.manner import TELLS, Manner
from notifier.model import MessageKind, Target
from notifier.past import read_alerts
from notifier.people import Doer
from notifier.reconcile import GRACE_MS, WAIT_S, Missing, reconcile, to_be_told
from notifier.routing.matchers import parse_matcher
from tests.test_notifier import NOON, Desk
from tests.test_notifier_people import Office
from tests.test_notifier_threads import desk_of

GRACE = timedelta(milliseconds=GRACE_MS)
ADA = Doer("ada", "console")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = desk_of(tmp_path, storm_after=3)
    yield opened
    opened.close()


def missing(desk: Desk, sleep: Callable[[float], None] = lambda seconds: None) -> Missing:
    """What is, while the desk's ledger is open and locked."""
    router = desk.planner._router
    alerts = to_be_told(router, read_alerts(desk.dremio, desk.dremio.head(), NOON - timedelta(days=1)))
    path = desk.ledger.file._path
    return reconcile(partial(look, path), alerts, router, desk.ledger.manners, clock=desk.clock, sleep=sleep)


def untold(desk: Desk) -> list[tuple[str, str, str]]:
    return [(each.incident.incident_id, each.target.destination, each.why) for each in missing(desk).untold]


def test_nothing_is_missing_where_everything_was_told(desk: Desk) -> None:
    desk.fatal("one")
    desk.fatal("joins", rule="many_errors", severity="ERROR")
    for number in range(20):
        desk.fatal(f"storm-{number}", service=f"shelf-{number}")
    desk.publish()
    desk.run(timedelta(minutes=2))
    found = missing(desk)
    assert not found
    assert found.incidents == 22


def test_a_row_that_the_ledger_never_saw_is_found_if_somebody_had_to_be_told_of_it(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, "routes: [{name: all, when: [severity != WARN], to: [slack]}, {name: rest, to: []}]")
    for severity in ("FATAL", "ERROR", "WARN"):
        desk.fatal(severity, severity=severity)
    desk.fatal("ERROR", severity="ERROR", status="RESOLVED")
    desk.dremio.publish(desk.now)
    found = missing(desk)
    assert {(row.incident_id, row.status) for row in found.unseen} == {
        ("ERROR", "FIRING"),
        ("ERROR", "RESOLVED"),
        ("FATAL", "FIRING"),
    }
    assert found.untold == ()
    desk.close()


def test_what_the_notifier_is_at_just_now_is_not_missing(desk: Desk) -> None:
    desk.fatal("new")
    desk.dremio.publish(desk.now)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            desk.planner.poll()
            desk.work()

    assert not missing(desk, sleep)
    assert len(slept) == 3
    desk.fatal("never")
    desk.dremio.publish(desk.now)
    slept.clear()
    assert [row.incident_id for row in missing(desk, slept.append).unseen] == ["never"]
    assert sum(slept) == WAIT_S


def test_what_waits_for_a_place_to_be_mended_is_missing_until_it_is(desk: Desk) -> None:
    desk.channel.always = Broken("Slack refuses: invalid_auth.", whole=True)
    desk.fatal("one")
    desk.publish()
    assert untold(desk) == [("one", "C0OPS", "parked: Slack refuses: invalid_auth.")]
    desk.channel.always = None
    desk.run(timedelta(minutes=1))
    assert untold(desk) == []


def test_what_is_not_sent_in_its_time_is_missing_and_before_that_on_its_way(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, "routes: [{name: all, to: [slack], wait: 5 min}]")
    desk.fatal("one")
    desk.publish()
    for wait, found in ((timedelta(minutes=5), []), (GRACE, [("one", "C0OPS", "planned")])):
        desk.now += wait
        assert untold(desk) == found
    desk.close()


def test_of_a_thread_that_was_told_one_that_joined_it_and_was_not_is_missing(desk: Desk) -> None:
    desk.fatal("one")
    desk.publish()
    desk.now += timedelta(seconds=1)
    desk.fatal("joins", rule="many_errors")
    desk.dremio.publish(desk.now)
    desk.planner.poll()
    desk.now += GRACE
    assert untold(desk) == [("joins", "C0OPS", "planned")]


def test_a_channel_that_is_told_of_threads_alone_misses_none_that_joins(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, manner=Manner(TELLS - {MessageKind.JOINED}))
    desk.fatal("one")
    desk.publish()
    desk.now += timedelta(seconds=1)
    desk.fatal("joins", rule="many_errors")
    desk.publish()
    desk.now += 2 * GRACE
    assert untold(desk) == []
    desk.close()


def test_what_is_given_up_stays_missing_as_long_as_it_is_open(desk: Desk) -> None:
    desk.channel.answers = [Dead("550 5.1.1 no such user")]
    desk.fatal("one")
    desk.publish()
    assert untold(desk) == [("one", "C0OPS", "dead: 550 5.1.1 no such user")]
    desk.resolved("one")
    desk.publish()
    assert untold(desk) == []


def test_what_is_muted_is_not_missing_until_its_silence_is_over(tmp_path: Path) -> None:
    office = Office(tmp_path)
    silence = office.people.silence([parse_matcher("severity = FATAL")], "known", NOON + timedelta(hours=1), ADA)
    office.fatal("one")
    office.publish()
    assert untold(office) == []
    # By a notifier that does nothing more.
    office.people.end_silence(silence.silence_id, ADA)
    assert untold(office) == [("one", "C0OPS", "muted: silenced")]
    office.planner.unmute()
    office.work()
    assert untold(office) == []
    office.close()


def test_where_a_place_is_set_up_no_more_nobody_is_missed_there(desk: Desk) -> None:
    desk.channel.always = Broken("Slack refuses: channel_not_found.")
    desk.fatal("one")
    desk.publish()
    desk.ledger.manners = {Target("slack", "C0OTHER"): desk.channel.manner}
    assert untold(desk) == []


# ---- a look


def test_a_look_sees_one_moment_and_changes_nothing(desk: Desk) -> None:
    desk.fatal("one")
    desk.publish()
    count = sa.select(sa.func.count()).select_from(ALERTS)
    with look(desk.ledger.file._path) as db:
        assert db.scalar(count) == 1
        desk.fatal("two")
        desk.publish()
        assert db.scalar(count) == 1
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            db.execute(sa.delete(ALERTS))
        assert db.scalar(count) == 1


def nothing(path: Path) -> None:
    pass


def no_ledger(path: Path) -> None:
    path.write_bytes(b"this is no ledger" * 1000)


def of_later(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE alembic_version AS SELECT '0099' AS version_num")
        db.commit()


def of_another(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE shopping (what TEXT)")
        db.commit()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (nothing, "There is no ledger .*; set TILLWATCH_DATA_DIR"),
        (no_ledger, "cannot be read: file is not a database; it has to be the notifier's own"),
        (of_later, r"was written by another version of tillwatch \(revision 0099\)"),
        (of_another, "cannot be read: no such table: alembic_version; it has to be the notifier's own"),
    ],
)
def test_a_ledger_that_cannot_be_looked_into_is_one_sentence(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    make(tmp_path / "ledger.db")
    with pytest.raises(UserError, match=sentence), look(tmp_path / "ledger.db"):
        pass
