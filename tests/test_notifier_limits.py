"""A side that asks for a pause: what waits for it, what goes on meanwhile, and how often it is asked."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from notifier.channel import Broken, Finding, Outcome, Retry, Sent, Sought, Unknown, Unreadable
from notifier.ledger.outbox import WHOLE
from notifier.manner import TELLS, Manner
from notifier.model import DeliveryState, MessageKind
from notifier.render import Notification
from tests.notifier_cast import cast_of, wait_for
from tests.test_notifier import NOON, Desk, Friend
from tests.test_notifier_process import fatal
from tests.test_routes import router

EDITS = Manner(TELLS | {MessageKind.EDIT}, digest_every_ms=5_000)
LIMITED = "Slack limits the rate: ratelimited."


@dataclass
class Workspace(Friend):
    """Conversations whose calls are limited as `limits` says: how long the pause is that it asks for."""

    clock: Callable[[], datetime] = lambda: NOON
    limits: Callable[[str, Notification, float], float | None] = lambda place, note, second: None
    asked: list[tuple[int, str, MessageKind]] = field(default_factory=list)
    """Second, conversation and kind of each call."""
    told: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each message was taken, by conversation and key."""

    def send(self, destination: str, note: Notification) -> Outcome:
        second = (self.clock() - NOON).total_seconds()
        self.asked.append((int(second), destination, note.kind))
        pause = self.limits(destination, note, second)
        if pause is not None:
            return Retry(LIMITED, pause)
        self.told[destination, note.delivery_key] += 1
        self.posts.append(note)
        return Sent(f"ts-{len(self.posts)}")


def desk_of(path: Path, places: int = 3, settle_s: float = 20.0) -> tuple[Desk, Workspace]:
    names = tuple(f"C0PLACE{number}" for number in range(places))
    workspace = Workspace(destinations=names, manner=EDITS, per_s=1.0, settle_s=settle_s)
    desk = Desk(path, workspace, router=router("routes: [{name: all, to: [slack]}]", {"slack": names}))
    workspace.clock = lambda: desk.now
    return desk, workspace


def parked(desk: Desk) -> dict[str, int]:
    """Seconds until which each place is left alone."""
    return {
        place.destination: (place.until_ms - int(NOON.timestamp() * 1000)) // 1000
        for place in desk.ledger.outbox.parked()
        if place.until_ms > desk.clock()
    }


def all_told_once(desk: Desk, workspace: Workspace) -> bool:
    sent = {row.state for row in desk.deliveries()} == {DeliveryState.SENT}
    return sent and set(workspace.told.values()) == {1}


def test_a_conversation_that_is_limited_waits_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "notifier")
    desk, workspace = desk_of(tmp_path)
    workspace.limits = lambda place, note, second: 30.0 if place == "C0PLACE0" and second < 30 else None
    for number in range(3):
        desk.fatal(f"inc-{number}", service=f"service-{number}")
    desk.publish()
    desk.run(timedelta(seconds=29))
    firsts = Counter(place for _, place, kind in workspace.asked if kind is MessageKind.FIRST)
    assert firsts == {"C0PLACE0": 1, "C0PLACE1": 3, "C0PLACE2": 3}
    assert parked(desk) == {"C0PLACE0": 30}
    assert desk.count("parked", channel="slack") == 1
    assert f"slack C0PLACE0: left alone (rate): {LIMITED}" in caplog.messages
    desk.run(timedelta(seconds=31))
    assert all_told_once(desk, workspace)
    assert desk.count("parked", channel="slack") == 0
    assert desk.count("attempts_total", channel="slack", outcome="retry") == 1
    desk.close()


def test_a_limit_of_the_whole_workspace_costs_two_calls_and_then_one_a_pause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "notifier")
    desk, workspace = desk_of(tmp_path, places=20)
    workspace.limits = lambda place, note, second: 30.0 if second < 90 else None
    desk.fatal("inc-1")
    desk.publish()
    desk.run(timedelta(seconds=89))
    assert [second for second, _, _ in workspace.asked] == [0, 0, 30, 60]
    assert f"slack (all): left alone (rate): {LIMITED}" in caplog.messages
    desk.run(timedelta(seconds=3))
    assert all_told_once(desk, workspace)
    assert len(workspace.told) == 20
    # What was is forgotten: the next limit is one conversation's again.
    workspace.limits = lambda place, note, second: 30.0 if place == "C0PLACE0" else None
    desk.fatal("inc-2", service="cart")
    desk.publish()
    assert parked(desk) == {"C0PLACE0": 122}
    desk.close()


def test_the_workspace_is_left_alone_until_the_latest_of_both(tmp_path: Path) -> None:
    desk, workspace = desk_of(tmp_path, places=4)
    pauses = iter([30.0, 5.0])
    workspace.limits = lambda place, note, second: next(pauses, None)
    desk.fatal("inc-1")
    desk.publish()
    assert parked(desk)[WHOLE] == 30
    desk.run(timedelta(seconds=29))
    assert len(workspace.asked) == 2
    desk.run(timedelta(seconds=2))
    assert all_told_once(desk, workspace)
    desk.close()


def test_where_one_was_taken_in_between_each_that_is_limited_waits_alone(tmp_path: Path) -> None:
    desk, workspace = desk_of(tmp_path, places=4)
    limited = ("C0PLACE0", "C0PLACE2")
    workspace.limits = lambda place, note, second: 30.0 if place in limited and second < 30 else None
    desk.fatal("inc-1")
    desk.publish()
    assert parked(desk) == dict.fromkeys(limited, 30)
    desk.run(timedelta(seconds=29))
    asked = Counter(place for _, place, _ in workspace.asked)
    assert [asked[place] for place in limited] == [1, 1]
    desk.run(timedelta(seconds=2))
    assert all_told_once(desk, workspace)
    desk.close()


def test_a_place_that_is_to_be_mended_is_not_tried_while_all_are_limited(tmp_path: Path) -> None:
    desk, workspace = desk_of(tmp_path)
    send = workspace.send

    def closed(destination: str, note: Notification) -> Outcome:
        if destination == "C0PLACE0" and desk.now < NOON + timedelta(minutes=3):
            workspace.asked.append((int((desk.now - NOON).total_seconds()), destination, note.kind))
            return Broken("Slack refuses: not_in_channel.")
        return send(destination, note)

    workspace.send = closed  # type: ignore[method-assign]
    desk.fatal("inc-1")
    desk.publish()
    workspace.limits = lambda place, note, second: 100.0 if second < 100 else None
    desk.now += timedelta(seconds=5)
    workspace.asked.clear()
    desk.fatal("inc-2", service="cart")
    desk.publish()
    desk.run(timedelta(seconds=99))
    # Its message waits with what was parked there before.
    assert {place for _, place, _ in workspace.asked} == {"C0PLACE1", "C0PLACE2"}
    assert len(workspace.asked) == 2
    desk.run(timedelta(minutes=3))
    assert all_told_once(desk, workspace)
    desk.close()


def test_a_limit_of_edits_holds_all_edits_and_no_message(tmp_path: Path) -> None:
    desk, workspace = desk_of(tmp_path)
    desk.fatal("inc-1")
    desk.publish()
    workspace.limits = lambda place, note, second: 30.0 if note.kind is MessageKind.EDIT and second < 40 else None
    desk.now += timedelta(seconds=10)
    workspace.asked.clear()
    desk.fatal("inc-2", rule="many_errors")
    desk.publish()
    desk.run(timedelta(seconds=10))
    desk.fatal("inc-3", service="cart")
    desk.publish()
    desk.run(timedelta(seconds=19))
    kinds = Counter(kind for _, _, kind in workspace.asked)
    assert kinds == {MessageKind.JOINED: 3, MessageKind.FIRST: 3, MessageKind.EDIT: 1}
    assert desk.count("parked", channel="slack") == 1
    assert parked(desk) == {}
    desk.run(timedelta(seconds=20))
    assert all_told_once(desk, workspace)
    desk.close()


def test_a_limit_of_the_history_holds_look_ups_and_no_message(tmp_path: Path) -> None:
    desk, workspace = desk_of(tmp_path, settle_s=5.0)
    looked: list[int] = []

    def find(destination: str, sought: Sought) -> Finding:
        looked.append(int((desk.now - NOON).total_seconds()))
        return Unreadable("Slack's history cannot be read: ratelimited.", 30.0) if len(looked) == 1 else Sent("found")

    lost = {"C0PLACE0", "C0PLACE1"}

    def send(destination: str, note: Notification) -> Outcome:
        if destination in lost:
            lost.discard(destination)
            return Unknown("lost after it was taken")
        return Workspace.send(workspace, destination, note)

    workspace.find, workspace.send = find, send  # type: ignore[method-assign]
    desk.fatal("inc-1")
    desk.publish()
    desk.run(timedelta(seconds=6))
    desk.fatal("inc-2", service="cart")
    desk.publish()
    assert looked == [5]
    assert Counter(place for _, place, _ in workspace.asked) == {"C0PLACE0": 1, "C0PLACE1": 1, "C0PLACE2": 2}
    desk.run(timedelta(seconds=35))
    assert looked == [5, 35, 35]
    assert all_told_once(desk, workspace)
    desk.close()


def test_what_failed_once_has_its_turn_where_more_comes_than_can_be_told(tmp_path: Path) -> None:
    """Found by bench notifier_chaos: 300 of 10,000 waited for nine minutes behind each new one."""
    desk, workspace = desk_of(tmp_path, places=1)
    failed: set[str] = set()

    def send(destination: str, note: Notification) -> Outcome:
        name = note.told[0].alert.incident_id
        if name in {"inc-0", "inc-7"} - failed:
            failed.add(name)
            return Retry("Slack answers 500.")
        return Workspace.send(workspace, destination, note)

    workspace.send = send  # type: ignore[method-assign]
    for second in range(40):
        for number in (0, 1):
            desk.fatal(f"inc-{2 * second + number}", service=f"service-{2 * second + number}")
        desk.publish()
        desk.run(timedelta(seconds=1))
    told = [note.told[0].alert.incident_id for note in workspace.posts if note.kind is MessageKind.FIRST]
    assert failed == {"inc-0", "inc-7"}
    assert 30 <= len(told) <= 45, "more came than could be told"
    assert told.index("inc-0") <= 5
    assert abs(told.index("inc-7") - 8) <= 5
    desk.close()


def test_as_processes_a_limited_conversation_holds_up_no_other(tmp_path: Path) -> None:
    with cast_of(tmp_path / "data", NOTIFIER_SLACK_CHANNEL="C0SHOP,C0DEPOT") as cast:
        cast.start("embedded.sandbox")
        cast.start("notifier")
        cast.fault("slack", "rate_limited", place="C0SHOP", retry_after="1", count=2)
        fatal(cast, "inc-1")
        wait_for(lambda: {row["channel"] for row in cast.slack()} == {"C0SHOP", "C0DEPOT"})
        assert [row["channel"] for row in cast.slack()] == ["C0DEPOT", "C0SHOP"]
        wait_for(lambda: {row["state"] for row in cast.messages()} == {"sent"})
        assert len(cast.slack()) == 2
        assert cast.metric('tillwatch_notifier_attempts_total{channel="slack",outcome="retry"}') == 2
        assert "slack C0SHOP: left alone (rate): Slack limits the rate: ratelimited." in cast.log()
        assert "slack (all): left alone" not in cast.log()
