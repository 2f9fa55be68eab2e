"""Writes ledger-8e2ce12.db, run by the code of commit 8e2ce12, in a worktree of it: see README.md.

PYTHONPATH=. python write_ledger.py OUT.db
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

from notifier import channels
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
    """One incident for each way in which a delivery can stand, named for it."""
    alert(desk, "sent")
    alert(desk, "told")
    work(desk)
    resolved(desk, "told")
    work(desk)
    alert(desk, "muted-old", at=cast.NOON - timedelta(hours=2))
    work(desk)
    targets, desk.planner._targets = desk.planner._targets, {"FATAL": []}
    alert(desk, "muted-no-channel")
    work(desk)
    desk.planner._targets = targets
    work(desk, "dead", channels.Dead("Slack takes the message neither with blocks nor without: invalid_blocks."))
    alert(desk, "muted-not-told")
    look(desk)
    resolved(desk, "muted-not-told")
    look(desk)
    desk.channel.answers = [channels.Dead("Slack refuses: a_code.")]
    desk.work()
    alert(desk, "dead-unexplained")
    look(desk)
    desk.channel.answers = [channels.Retry("Slack refuses: odd.", unexplained=True)] * 3
    desk.run(timedelta(seconds=20))
    # A second alert of an incident that was told waits to be gathered.
    alert(desk, "sent")
    work(desk)
    work(desk, "unknown", channels.Unknown("Slack's answer was lost: timed out."))
    refused = channels.Retry("Slack cannot be reached: connection refused.")
    work(desk, "retrying", refused)
    alert(desk, "sending")
    look(desk)
    (in_hand,) = [row for row in desk.deliveries() if row.incident_id == "sending"]
    desk.ledger.begin(in_hand.delivery_key, desk.clock())
    # What failed comes first again.
    work(desk, "limited", refused, channels.Retry("Slack limits the rate: ratelimited.", after_s=30.0))
    alert(desk, "planned")
    look(desk)


def work(desk: Any, incident: str = "", *answers: Any) -> None:
    """Look and send, a second later; with an alert before it where an incident is named."""
    if incident:
        alert(desk, incident)
    desk.channel.answers = [*answers]
    look(desk)
    desk.work()
    assert not desk.channel.answers, incident


def look(desk: Any) -> None:
    """Publish and plan, a second later."""
    desk.dremio.publish(desk.now)
    desk.planner.poll()
    desk.now += timedelta(seconds=1)


def alert(desk: Any, incident: str, **values: Any) -> None:
    number = desk.dremio._connection.execute("SELECT count(*) FROM alerts").fetchone()[0] + 1
    desk.fatal(incident, alert_id=f"alert-{number:02}", service=incident, **values)


def resolved(desk: Any, incident: str) -> None:
    alert(desk, incident, status="RESOLVED")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
