"""Ledgers of older commits go on: nothing is sent twice, what waited goes out, what was stays; rules that ask begin."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from lakehouse import ROOT
from notifier.channel import Absent, Finding, Outcome, Sent, Sought
from notifier.clock import from_ms, to_ms
from notifier.ledger.rows import ALERTS, Delivery, to_alert
from notifier.model import DeliveryState, MessageKind, Target, delivery_key
from notifier.render import Notification
from tests.asking_cast import LIMIT, Asking, rule_text
from tests.test_notifier import NOON, Desk, Friend

OLD = ROOT / "tests" / "data" / "upgrade" / "ledger-8e2ce12.db"
THREADS = OLD.with_name("ledger-ecfeb79.db")
ENDED = NOON + timedelta(seconds=34)
"""When the old notifier ended."""
SETTLED = {
    "sent": DeliveryState.SENT,
    "told": DeliveryState.SENT,
    "dead": DeliveryState.DEAD,
    "dead-unexplained": DeliveryState.DEAD,
    "muted-old": DeliveryState.MUTED,
    "muted-no-channel": DeliveryState.MUTED,
}


@dataclass
class Historian(Friend):
    """A Slack that has what the old notifier posted: the history shows `unknown`, and nothing of `sending`."""

    keys: list[str] = field(default_factory=list)

    def send(self, destination: str, note: Notification) -> Outcome:
        self.keys.append(note.delivery_key)
        self.posts.append(note)
        return Sent(f"new-{len(self.posts)}")

    def find(self, destination: str, sought: Sought) -> Finding:
        return Sent("ts-of-unknown") if sought.delivery_key == key_of("unknown") else Absent()


def key_of(incident: str, kind: MessageKind = MessageKind.FIRST, sequence: int = 1) -> str:
    return delivery_key(Target("slack", "C0OPS"), incident, kind, sequence)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Ten minutes later: the new code over the old file, and a table with the alerts that it saw."""
    shutil.copyfile(OLD, tmp_path / "ledger.db")
    os.utime(tmp_path / "ledger.db", (ENDED.timestamp(), ENDED.timestamp()))
    opened = Desk(tmp_path, Historian(), now=ENDED + timedelta(minutes=10))
    with opened.ledger.file.read() as db:
        alerts = [to_alert(row) for row in db.execute(ALERTS.select())]
    for alert in alerts:
        opened.dremio.alert(
            alert.alert_timestamp,
            alert.incident_id,
            alert.status,
            alert_id=alert.alert_id,
            ingested_at=alert.ingested_at,
            received_at=alert.received_at,
        )
    yield opened
    opened.close()


def go_on(desk: Desk) -> None:
    """What a daemon does at its start, and the next half hour."""
    desk.ledger.outbox.interrupt("The notifier ended before the answer.", desk.clock(), 20_000)
    desk.publish()
    desk.run(timedelta(minutes=30))


def of(desk: Desk, incident: str) -> list[Delivery]:
    return [row for row in desk.deliveries() if row.incident_id == incident]


def test_what_waited_goes_out_once_and_nothing_else(desk: Desk) -> None:
    """Planned, to be tried again, limited, gathering, and in hand without a trace of it; not what had been taken."""
    go_on(desk)
    assert isinstance(desk.channel, Historian)
    assert sorted(desk.channel.keys) == sorted(
        [key_of(name) for name in ("planned", "retrying", "limited", "sending")] + [key_of("sent", MessageKind.MORE, 2)]
    )
    assert [row.receipt for row in of(desk, "unknown")] == ["ts-of-unknown"]
    assert {row.state for row in desk.deliveries()} == {DeliveryState.SENT, DeliveryState.DEAD, DeliveryState.MUTED}


def test_the_history_stays_as_it_was(desk: Desk) -> None:
    before = {row.delivery_key: row for row in desk.deliveries() if row.state in SETTLED.values()}
    alerts = {row.incident_id: row.alerts for row in desk.ledger.incidents()}
    go_on(desk)
    after = {row.delivery_key: row for row in desk.deliveries()}
    assert len(before) == 9
    assert {key: after[key] for key in before} == before
    assert {name: of(desk, name)[0].state for name in SETTLED} == SETTLED
    assert {row.incident_id: row.alerts for row in desk.ledger.incidents()} == alerts
    assert [(row.reason, row.error) for row in of(desk, "dead-unexplained")] == [("unexplained", "Slack refuses: odd.")]
    assert [row.reason for row in of(desk, "muted-not-told")] == ["refused", "not_told"]


def test_an_old_thread_goes_on_and_a_new_one_begins(desk: Desk) -> None:
    go_on(desk)
    desk.resolved("sent")
    desk.resolved("told")
    desk.fatal("new")
    desk.publish()
    [new] = of(desk, "new")
    assert [(note.kind, note.root) for note in desk.channel.posts if note.delivery_key == new.delivery_key] == [
        (MessageKind.FIRST, None)
    ]
    (more, resolved) = of(desk, "sent")[1:]
    assert [more.kind, resolved.kind] == [MessageKind.MORE, MessageKind.RESOLVED]
    roots = {note.delivery_key: note.root for note in desk.channel.posts}
    assert (roots[more.delivery_key], roots[resolved.delivery_key]) == ("ts-1", "ts-1")
    # It had been told of that already.
    assert len(of(desk, "told")) == 2


def test_the_cursor_goes_on_where_it_was(desk: Desk) -> None:
    held = desk.ledger.cursor()
    assert held.ingested_ms is not None
    assert (from_ms(held.ingested_ms), held.born_ms) == (ENDED - timedelta(seconds=1), to_ms(ENDED))
    missed = ENDED + timedelta(minutes=5)
    desk.fatal("while-it-was-down", at=missed, ingested_at=missed, received_at=missed)
    go_on(desk)
    assert [row.state for row in of(desk, "while-it-was-down")] == [DeliveryState.SENT]
    assert desk.count("alerts_total", status="FIRING") == 1


def test_rules_that_ask_begin_in_a_ledger_that_knew_none(tmp_path: Path) -> None:
    shutil.copyfile(THREADS, tmp_path / "ledger.db")
    asking = Asking(tmp_path, rule_text(**LIMIT))
    before = {each.incident_id: each for each in asking.incidents()}
    assert {name: each.resolved_ms is None for name, each in before.items()} == {
        "told": True,
        "taken": True,
        "over": False,
        "muted": True,
    }
    assert before["taken"].ack is not None
    asking.sold("tea", 3)
    assert asking.turns(3) == ["Much of tea: 3, over 2 for 20 s"]
    after = {each.incident_id: each for each in asking.incidents()}
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1
    asking.close()
