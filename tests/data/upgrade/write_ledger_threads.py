"""Writes ledger-ecfeb79.db, run by the code of commit ecfeb79, in a worktree of it: see README.md.

PYTHONPATH=. python write_ledger_threads.py OUT.db
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from notifier.clock import to_ms
from notifier.model import Ack
from notifier.routing.decide import Silence
from notifier.routing.matchers import make_matcher
from tests import test_notifier as cast


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        desk = cast.Desk(Path(folder), cast.Friend())
        write(desk)
        desk.close()
        file = Path(folder) / "ledger.db"
        with closing(sqlite3.connect(file)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("PRAGMA journal_mode=DELETE")
            db.execute("VACUUM")
        shutil.copyfile(file, out)


def write(desk: Any) -> None:
    """An incident that is told, one that somebody has, one that is over, and one that a silence mutes."""
    for incident in ("told", "taken", "over"):
        alert(desk, incident)
        step(desk)
    alert(desk, "over", status="RESOLVED")
    step(desk)
    ack = Ack("ada", "console", to_ms(desk.now), to_ms(desk.now + timedelta(hours=4)), "on it", "FATAL")
    newest = desk.ledger.alert(desk.ledger.incident("taken").newest_alert)
    desk.ledger.plan(
        (),
        (),
        lambda board: board.take(newest, board.incidents["taken"], ack),
        desk.clock(),
        incident_ids=["taken"],
    )
    until = desk.now + timedelta(days=1)
    matchers = (make_matcher("service_name", "=", "muted"),)
    desk.ledger.people.silence(Silence("quiet", matchers, "a sale", "ada", until, desk.now))
    alert(desk, "muted")
    step(desk)


def step(desk: Any) -> None:
    """Publish, plan and send, a second later."""
    desk.publish()
    desk.now += timedelta(seconds=1)


def alert(desk: Any, incident: str, **values: Any) -> None:
    number = desk.dremio._connection.execute("SELECT count(*) FROM alerts").fetchone()[0] + 1
    desk.fatal(incident, alert_id=f"alert-{number:02}", service=incident, **values)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
