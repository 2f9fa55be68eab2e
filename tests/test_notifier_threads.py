"""One outage, one thread: what joins it, what its root says, when it ends, and how a storm is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from notifier.attempts import Waits
from notifier.channel import Broken, Dead, RootGone, Sent
from notifier.manner import TELLS, Manner
from notifier.model import DeliveryState, MessageKind, Muted
from notifier.planning.duties import Duties
from notifier.planning.storm import fold
from tests.test_notifier import NOON, Desk, Friend, an_alert
from tests.test_routes import router

EDITS = Manner(TELLS | {MessageKind.EDIT}, digest_every_ms=5_000)
ALL = "routes: [{name: all, to: [slack]}]"


def desk_of(path: Path, text: str = ALL, manner: Manner = EDITS, storm_after: int = 0) -> Desk:
    channel = Friend(manner=manner)
    opened = Desk(path, channel, router=router(text, {"slack": channel.destinations}))
    opened.ledger.storm_after = storm_after
    return opened


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = desk_of(tmp_path)
    yield opened
    opened.close()


def told(desk: Desk) -> list[tuple[MessageKind, str]]:
    """What was sent since the last look, edits of roots too."""
    posts = [(note.kind, note.title) for note in desk.channel.posts]
    desk.channel.posts.clear()
    return posts


def test_three_rules_on_one_service_are_one_thread(desk: Desk) -> None:
    desk.fatal("fatal")
    desk.publish()
    assert told(desk) == [(MessageKind.FIRST, "FATAL in payments")]
    desk.fatal("many", rule="many_errors", severity="ERROR")
    desk.fatal("odd", rule="unusual_errors", severity="ERROR")
    desk.publish()
    assert sorted(told(desk)) == [
        (MessageKind.JOINED, "Also ERROR in payments: many_errors"),
        (MessageKind.JOINED, "Also ERROR in payments: unusual_errors"),
    ]
    desk.run(timedelta(seconds=6))
    assert told(desk) == [(MessageKind.EDIT, "FATAL in payments · 3 incidents")]
    desk.resolved("many")
    desk.publish()
    desk.run(timedelta(seconds=6))
    assert told(desk) == [
        (MessageKind.CLEARED, "Resolved: FATAL in payments: fatal_error; 2 still open"),
        (MessageKind.EDIT, "FATAL in payments · 2 incidents"),
    ]
    desk.resolved("fatal")
    desk.resolved("odd")
    desk.publish()
    desk.run(timedelta(seconds=6))
    kinds = [kind for kind, _ in told(desk)]
    # The end of the last tells that of the others at the same moment.
    assert kinds == [MessageKind.RESOLVED, MessageKind.EDIT]
    (thread,) = {row.thread_id for row in desk.deliveries()}
    assert thread


def test_a_worse_one_that_joins_is_broadcast_and_a_lesser_one_is_not(desk: Desk) -> None:
    desk.fatal("error", rule="many_errors", severity="ERROR")
    desk.publish()
    desk.fatal("fatal")
    desk.publish()
    desk.fatal("again", rule="unusual_errors", severity="ERROR")
    desk.publish()
    assert [(note.kind, note.broadcast) for note in desk.channel.posts] == [
        (MessageKind.FIRST, False),
        (MessageKind.JOINED, True),
        (MessageKind.JOINED, False),
    ]


@pytest.mark.parametrize(("minutes", "same"), [(59, True), (61, False)])
def test_what_begins_again_within_an_hour_goes_on_in_its_thread(desk: Desk, minutes: int, same: bool) -> None:
    desk.fatal("first")
    desk.publish()
    desk.resolved("first")
    desk.publish()
    desk.run(timedelta(minutes=minutes))
    told(desk)
    desk.fatal("second")
    desk.publish()
    note = desk.channel.posts[0]
    assert (note.kind, note.broadcast, note.root is not None) == (
        (MessageKind.JOINED, True, True) if same else (MessageKind.FIRST, False, False)
    )


def test_another_rule_of_a_service_whose_thread_has_ended_begins_one(desk: Desk) -> None:
    desk.fatal("first")
    desk.publish()
    desk.resolved("first")
    desk.publish()
    desk.run(timedelta(minutes=5))
    told(desk)
    desk.fatal("second", rule="many_errors")
    desk.publish()
    assert [kind for kind, _ in told(desk)] == [MessageKind.FIRST]


def test_a_root_that_somebody_has_deleted_is_written_anew_once(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    desk.channel.answers = [RootGone("message_not_found"), Sent("new-root"), Sent("reply")]
    desk.fatal("inc-2", rule="many_errors")
    desk.publish()
    desk.resolved("inc-2")
    desk.publish()
    assert [(note.kind, note.root) for note in desk.channel.posts] == [
        (MessageKind.FIRST, None),
        (MessageKind.JOINED, None),
        (MessageKind.CLEARED, "new-root"),
    ]
    desk.channel.answers = [RootGone("message_not_found"), Sent("third-root")]
    desk.run(timedelta(seconds=6))
    last = desk.channel.posts[-1]
    assert (last.kind, last.edits, last.root) == (MessageKind.EDIT, False, None)


def test_without_edits_nothing_is_said_twice(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, manner=Manner())
    desk.fatal("inc-1")
    desk.publish()
    desk.fatal("inc-1")
    desk.publish()
    desk.run(timedelta(minutes=2))
    desk.resolved("inc-1")
    desk.publish()
    assert [kind for kind, _ in told(desk)] == [MessageKind.FIRST, MessageKind.MORE, MessageKind.RESOLVED]
    desk.close()


# ---- a storm


def storm(
    desk: Desk, services: int, alerts: int = 1, message: str = "card declined", rule: str = "fatal_error"
) -> None:
    for number in range(services):
        service = f"service-{number}"
        for _ in range(alerts):
            text = f"Fatal error in service: {service} - {message}"
            desk.fatal(f"{rule}-{number}", service=service, description=text, rule=rule)


def test_a_storm_is_ten_threads_and_one_digest_that_grows_by_edits(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, storm_after=10)
    storm(desk, 100, alerts=3)
    desk.publish()
    desk.run(timedelta(minutes=1))
    kinds = Counter(note.kind for note in desk.channel.posts)
    assert kinds[MessageKind.FIRST] == 11
    # An edit each five seconds, and what the ten threads have to say.
    assert kinds.total() <= 60
    (digest,) = [note for note in desk.channel.posts if note.kind is MessageKind.FIRST and "Storm" in note.title]
    assert digest.title == "Storm: 90 incidents open, FATAL in 90 services"
    assert "270 alerts so far" in digest.facts
    for number in range(100):
        desk.resolved(f"fatal_error-{number}")
    desk.publish()
    desk.run(timedelta(minutes=1))
    assert desk.channel.posts[-1].status == "RESOLVED"
    rows = desk.ledger.incidents(1000)
    assert len(rows) == 100
    assert all(incident.told_ms is not None and incident.resolved_ms is not None for incident in rows)
    desk.close()


def test_in_a_storm_the_first_of_another_kind_goes_by_itself_and_before_the_rest(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, storm_after=10)
    storm(desk, 50)
    desk.publish()
    told(desk)
    desk.now += timedelta(seconds=10)
    desk.fatal("disk", service="accounts", description="Fatal error in service: accounts - disk full")
    desk.publish()
    first = told(desk)[0]
    assert first == (MessageKind.FIRST, "FATAL in accounts")
    # One more of that kind is part of the storm.
    desk.fatal("disk-2", service="stock", description="Fatal error in service: stock - disk full")
    desk.publish()
    desk.run(timedelta(seconds=6))
    assert [kind for kind, _ in told(desk)] == [MessageKind.EDIT]
    desk.close()


def test_a_place_without_edits_gets_five_messages_of_a_storm_in_a_minute(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, manner=Manner(storm_after=3), storm_after=10)
    storm(desk, 200)
    desk.publish()
    desk.run(timedelta(minutes=1))
    assert [kind for kind, _ in told(desk)] == [MessageKind.FIRST] * 4
    storm(desk, 200, rule="other_rule")
    desk.publish()
    desk.run(timedelta(minutes=10))
    assert len(told(desk)) < 20
    desk.close()


def test_a_storm_that_nobody_takes_is_told_again_as_one_and_after_a_new_fatal(tmp_path: Path) -> None:
    text = "routes: [{name: all, to: [slack], escalate: [{after: 10 min, to: [slack]}]}]"
    desk = desk_of(tmp_path, text, storm_after=10)
    duties = Duties(desk.ledger, desk.planner._router, desk.planner.surroundings, desk.clock)

    def grows(services: int) -> None:
        storm(desk, services)
        desk.publish()

    def calls(span: timedelta) -> list[str]:
        """Titles of messages that somebody has to take it, of the storm's digest alone."""
        desk.run(span)
        desk.channel.posts.clear()
        duties.tick()
        desk.work()
        calling = [note for note in desk.channel.posts if note.kind is MessageKind.ESCALATED]
        return [note.title for note in calling if note.group == "storm"]

    grows(30)
    assert calls(timedelta(minutes=1)) == []
    grows(50)  # ten threads of their own, and ten join the digest
    assert calls(timedelta(minutes=8)) == []
    desk.run(timedelta(minutes=1))
    duties.tick()
    desk.fatal("new", service="accounts", description="disk full")
    desk.channel.posts.clear()
    desk.publish()
    assert desk.channel.posts[0].title == "FATAL in accounts"
    assert [note.kind for note in desk.channel.posts if note.group == "storm"] == [
        MessageKind.ESCALATED,
        MessageKind.EDIT,
    ]
    assert calls(timedelta(minutes=1, seconds=1)) == []  # those ten were told of with it
    late = desk.ledger.incident("fatal_error-49")
    assert late is not None
    assert late.level == 1
    grows(70)
    assert len(calls(timedelta(minutes=10))) == 1
    desk.close()


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("timeout after 300 ms", "timeout after 31 ms", True),
        ("no such key 'a-b'", "no such key 'c'", True),
        ("order 17a9ffb012 lost", "order deadbeef99 lost", True),
        ("disk full", "card declined", False),
    ],
)
def test_the_kind_of_an_alert_is_its_rule_and_message_without_what_varies(one: str, other: str, alike: bool) -> None:
    first = an_alert(service_name="cart", description=f"Fatal error in service: cart - {one}")
    second = an_alert(service_name="stock", description=f"Fatal error in service: stock - {other}")
    assert (fold(first) == fold(second)) is alike
    assert fold(first) != fold(an_alert(service_name="cart", description=first.description, rule="another"))


# ---- what somebody has to mend


def test_what_has_to_be_mended_is_parked_and_goes_out_late_once_it_is(desk: Desk) -> None:
    desk.sender = desk.a_sender(Waits(give_up=timedelta(minutes=10)))
    desk.channel.always = Broken("Slack refuses: not_in_channel.")
    desk.fatal("inc-1")
    desk.publish()
    assert [row.state for row in desk.deliveries()] == [DeliveryState.PARKED]
    assert [(place.destination, place.reason) for place in desk.ledger.outbox.parked()] == [
        ("C0OPS", "Slack refuses: not_in_channel.")
    ]
    # Longer than anything is tried: parked time is none.
    desk.run(timedelta(minutes=20))
    assert [row.state for row in desk.deliveries()] == [DeliveryState.PARKED]
    desk.channel.always = None
    desk.run(timedelta(seconds=31))
    assert next(title for _, title in told(desk)) == "FATAL in payments (late: 20 min)"
    assert desk.ledger.outbox.parked() == []


def test_only_the_destination_that_has_to_be_mended_waits(tmp_path: Path) -> None:
    class OneClosed(Friend):
        def send(self, destination, note):  # type: ignore[no-untyped-def]
            if destination == "C0CLOSED":
                return Broken("Slack refuses: not_in_channel.")
            return super().send(destination, note)

    channel = OneClosed(destinations=("C0OPS", "C0CLOSED"), manner=EDITS)
    desk = Desk(tmp_path, channel, router=router(ALL, {"slack": channel.destinations}))
    for number in range(5):
        desk.fatal(f"inc-{number}", service=f"service-{number}")
    desk.publish()
    states = Counter((row.destination, row.state) for row in desk.deliveries())
    assert states["C0OPS", DeliveryState.SENT] == 5
    assert states["C0CLOSED", DeliveryState.PARKED] == 1
    desk.close()


def test_with_its_first_message_a_thread_dies_and_the_next_alert_begins_another(desk: Desk) -> None:
    desk.channel.answers = [Dead("550 5.1.1 no such user")]
    desk.fatal("inc-1")
    desk.fatal("inc-1")
    desk.publish()
    assert {row.reason for row in desk.deliveries()} == {"refused", Muted.NOT_TOLD}
    desk.fatal("inc-1")
    desk.publish()
    assert told(desk) == [(MessageKind.FIRST, "FATAL in payments")]


def test_a_dead_first_message_that_is_tried_again_tells_what_is_open_and_later_its_end(desk: Desk) -> None:
    desk.channel.answers = [Dead("550 5.1.1 no such user")]
    desk.fatal("inc-1")
    desk.fatal("inc-2", rule="many_errors", severity="ERROR")
    desk.publish()
    dead = next(row for row in desk.deliveries() if row.state is DeliveryState.DEAD)
    desk.now += timedelta(minutes=10)
    assert desk.ledger.outbox.revive(dead.delivery_key, desk.clock())
    desk.work()
    [root] = desk.channel.posts
    assert (root.status, root.title, root.untaken) == ("FIRING", "FATAL in payments · 2 incidents (late: 10 min)", 2)
    told(desk)
    # The thread lives again: what is new goes on in it, and it ends with its last incident.
    desk.fatal("inc-1")
    for incident in ("inc-1", "inc-2"):
        desk.resolved(incident)
    desk.publish()
    desk.run(timedelta(minutes=2))
    assert {kind for kind, _ in told(desk)} == {MessageKind.RESOLVED, MessageKind.EDIT}


@pytest.mark.parametrize("meanwhile", ["over", "told"])
def test_a_dead_message_that_has_nothing_to_tell_any_more_is_not_tried_again(desk: Desk, meanwhile: str) -> None:
    desk.channel.answers = [Dead("550 5.1.1 no such user")]
    desk.fatal("inc-1")
    desk.publish()
    [dead] = desk.deliveries()
    desk.fatal("inc-1", status="RESOLVED" if meanwhile == "over" else "FIRING")
    desk.publish()
    told(desk)
    assert not desk.ledger.outbox.revive(dead.delivery_key, desk.clock())
    desk.run(timedelta(minutes=2))
    assert told(desk) == []


def test_what_says_that_something_is_open_is_not_sent_after_its_end(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    desk.channel.answers = [Dead("no form of it is taken")]
    desk.fatal("inc-2", rule="many_errors", severity="ERROR")
    desk.publish()
    dead = next(row for row in desk.deliveries() if row.state is DeliveryState.DEAD)
    for incident in ("inc-1", "inc-2"):
        desk.resolved(incident)
    desk.publish()
    assert not desk.ledger.outbox.revive(dead.delivery_key, desk.clock())


def test_times_of_the_desk() -> None:
    assert NOON.tzinfo is not None


def test_an_edit_leaves_a_token_for_what_wakes_somebody(tmp_path: Path) -> None:
    """A message each 5 s after a burst: the edit of the first root would take the next, and a FATAL wait for it."""
    desk = desk_of(tmp_path)
    desk.channel = Friend(manner=EDITS, per_s=0.2)
    desk.sender = desk.a_sender(Waits())
    for number in range(4):
        desk.fatal(f"inc-{number}", service=f"service-{number}")
    desk.publish()
    desk.fatal("inc-also", rule="many_errors", severity="ERROR", service="service-0")
    desk.publish()
    assert len(told(desk)) == 5
    desk.run(timedelta(seconds=6))
    desk.fatal("inc-new", service="service-new")
    desk.publish()
    assert told(desk) == [(MessageKind.FIRST, "FATAL in service-new")]
    desk.run(timedelta(seconds=20))
    assert MessageKind.EDIT in [kind for kind, _ in told(desk)]
    desk.close()
