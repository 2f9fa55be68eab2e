"""What would have been sent for past alerts: as the daemon would have, and what other routes would change."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lakehouse.dremio.client import NOTHING_PUBLISHED
from notifier import cursor
from notifier.channel import Outcome
from notifier.clock import to_ms
from notifier.manner import TELLS, Manner
from notifier.model import AlertRow, MessageKind, Target
from notifier.past import read_alerts
from notifier.planning.duties import Duties
from notifier.render import Notification
from notifier.replay.simulation import Rules, SimulatedMessage, Simulation
from notifier.replay.tally import MessageTally, tally
from notifier.routing.decide import Silence
from notifier.routing.matchers import parse_matcher
from tests.fake_dremio import FakeDremio
from tests.test_notifier import NOON, STYLE, Desk, Friend, an_alert
from tests.test_notifier_threads import EDITS
from tests.test_routes import router

HOUR = timedelta(hours=1)
PLACES = {"slack": ("C0OPS", "C0LEADS")}
MAIL = Manner(TELLS - {MessageKind.CLEARED}, digest_every_ms=60_000, storm_after=2)
ROUTES = """
times: [{name: lunch, hours: ["12:02-12:05"]}]
inhibit: [{name: cause, source: [service_name = search], target: [service_name = cart], equal: []}]
maintenance:
  - {name: move, when: [severity = ERROR, "rule =~ many|move"], from: 2026-03-02T12:01:10Z, until: 2026-03-02T12:04:20Z}
routes:
  - {name: pay, when: [service_name = payments], to: ["slack:C0OPS"], mute: [lunch]}
  - name: fatal
    when: [severity = FATAL]
    to: ["slack:C0OPS"]
    repeat: 2 min
    interval: 30 s
    escalate: [{after: 90 s, to: ["slack:C0LEADS"]}, {after: 4 min, to: [slack]}]
  - {name: errors, when: [severity = ERROR], to: [slack], wait: 20 s, interval: 1 min, group_by: [rule]}
"""


@dataclass
class Noting(Friend):
    """A channel that notes when each message came, and where."""

    desk: Desk | None = None

    def send(self, destination: str, note: Notification) -> Outcome:
        assert self.desk is not None
        told.append((self.desk.now, destination, note.kind, note.title))
        return super().send(destination, note)


told: list[tuple[datetime, str, MessageKind, str]] = []


def a_bad_time(seed: int, minutes: int = 6) -> list[AlertRow]:
    """Incidents of five services, some at once, that fire, get worse, end and come back; each row at a whole second."""
    chance = random.Random(seed)
    rows: list[AlertRow] = []
    for number in range(40):
        second = chance.randrange(minutes * 60 - 90)
        service = chance.choice(["payments", "search", "cart", "mail", f"shelf-{number}"])
        severity = chance.choice(["FATAL", "FATAL", "ERROR", "WARN"])
        began = NOON + timedelta(seconds=second)
        same = {"incident_id": f"inc-{number}", "service_name": service, "rule": chance.choice(["fatal", "many"])}
        for _ in range(chance.randrange(1, 6)):
            at = NOON + timedelta(seconds=second)
            rows.append(row(at, len(rows), severity=severity, starts_at=began, **same))
            second += chance.choice([0, 0, 1, 7, 25])
        if chance.random() < 0.7:
            at = NOON + timedelta(seconds=second + 1)
            rows.append(row(at, len(rows), severity=severity, status="RESOLVED", starts_at=began, **same))
    # Planned work begins while it waits.
    waits = {"severity": "ERROR", "rule": "move", "incident_id": "inc-waits", "service_name": "van"}
    rows.append(row(NOON + timedelta(seconds=55), len(rows), **waits))
    return sorted(rows, key=lambda each: (each.ingested_at, each.status, each.alert_timestamp, each.alert_id))


def row(at: datetime, number: int, **values: object) -> AlertRow:
    times = dict.fromkeys(("alert_timestamp", "received_at", "ingested_at", "starts_at"), at)
    return an_alert(**{"alert_id": f"{number:04d} {values.get('incident_id')}", **times, **values})


def as_the_daemon(path: Path, rows: list[AlertRow], manner: Manner, storm_after: int, until: datetime) -> None:
    """Planner, ledger, duties and sender of the daemon, second by second."""
    channel = Noting(destinations=PLACES["slack"], manner=manner)
    desk = Desk(path, channel, router=router(ROUTES, PLACES))
    channel.desk = desk
    desk.ledger.storm_after = storm_after
    duties = Duties(desk.ledger, desk.planner._router, desk.planner.surroundings, desk.clock)
    waiting = list(rows)
    while desk.now <= until:
        desk.work()
        duties.tick()
        desk.planner.unmute()
        desk.work()
        here = [each for each in waiting if each.ingested_at == desk.now]
        if here:
            waiting = waiting[len(here) :]
            for each in here:
                values = {name: value for name, value in vars(each).items() if name not in ("commit", "source")}
                desk.dremio.insert("alerts", **values)
            desk.dremio.publish(desk.now)
            desk.planner.poll()
            desk.planner.unmute()
            desk.work()
        desk.now += timedelta(seconds=1)
    desk.close()


def simulated(
    rows: list[AlertRow],
    text: str = ROUTES,
    manner: Manner = EDITS,
    storm_after: int = 0,
    until: datetime = NOON + HOUR,
    silences: tuple[Silence, ...] = (),
) -> Simulation:
    targets = {Target(name, place): manner for name, places in PLACES.items() for place in places}
    simulation = Simulation(Rules(router(text, PLACES), targets, storm_after, HOUR, silences), STYLE)
    simulation.run(rows, until)
    return simulation


def shown(message: SimulatedMessage) -> tuple[datetime, str, MessageKind, str]:
    return message.at, message.target.destination, message.kind, message.title


@pytest.mark.parametrize(("seed", "manner", "storm_after"), [(1, EDITS, 0), (2, EDITS, 3), (3, MAIL, 4)])
def test_it_tells_what_the_daemon_would_have_told_to_the_second(
    tmp_path: Path, seed: int, manner: Manner, storm_after: int
) -> None:
    rows = a_bad_time(seed)
    until = NOON + timedelta(minutes=8)
    told.clear()
    as_the_daemon(tmp_path, rows, manner, storm_after, until)
    simulation = simulated(rows, manner=manner, storm_after=storm_after, until=until)
    kinds = {message.kind for message in simulation.messages}
    assert {MessageKind.FIRST, MessageKind.MORE, MessageKind.REMINDER, MessageKind.ESCALATED} <= kinds
    assert sorted(map(shown, simulation.messages)) == sorted(told)


def test_a_night_is_told_by_time_place_kind_and_title() -> None:
    rows = [
        row(NOON, 1, incident_id="one"),
        row(NOON + timedelta(seconds=10), 2, incident_id="one"),
        row(NOON + timedelta(minutes=5), 3, incident_id="one", status="RESOLVED"),
    ]
    text = "routes: [{name: all, to: ['slack:C0OPS'], interval: 1 min}]"
    assert [(message.at - NOON, message.kind, message.title) for message in simulated(rows, text).messages] == [
        (timedelta(), MessageKind.FIRST, "FATAL in payments"),
        (timedelta(seconds=10), MessageKind.EDIT, "FATAL in payments"),
        (timedelta(minutes=1), MessageKind.MORE, "1 more FATAL in payments"),
        (timedelta(minutes=5), MessageKind.RESOLVED, "Resolved: FATAL in payments"),
        (timedelta(minutes=5), MessageKind.EDIT, "Resolved: FATAL in payments"),
    ]


# ---- what is read


def test_alerts_of_a_span_are_read_in_pages_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    dremio = FakeDremio()
    monkeypatch.setattr(cursor, "PAGE", 3)
    for minute in (9, 0, 5, 10, 2, 7, 2):
        dremio.alert(NOON + timedelta(minutes=minute), f"inc-{minute}", alert_id=f"alert-{minute}")
    dremio.alert(NOON + timedelta(minutes=5), "inc-5", "RESOLVED")
    assert read_alerts(dremio, NOTHING_PUBLISHED, NOON) == []
    commit = dremio.publish(NOON)
    found = read_alerts(dremio, commit, NOON + timedelta(minutes=2), NOON + timedelta(minutes=10))
    assert [(each.incident_id, each.status) for each in found] == [
        ("inc-2", "FIRING"),
        ("inc-5", "FIRING"),
        ("inc-5", "RESOLVED"),
        ("inc-7", "FIRING"),
        ("inc-9", "FIRING"),
    ]
    assert {each.commit for each in found} == {commit}
    dremio.close()


# ---- what others would have done

OTHERS = """
times: [{name: night, hours: ["22:00-06:00"]}]
routes:
  - {name: mail, when: [service_name = mail], to: []}
  - {name: night, when: [service_name = cart], to: ["slack:C0OPS"], mute: [night]}
  - {name: all, to: ["slack:C0OPS"]}
"""
OPS = Target("slack", "C0OPS")


def outages(count: int, at: datetime = NOON, **values: object) -> list[AlertRow]:
    """So many services fail at once, and are well ten minutes later."""
    rows = []
    for number in range(count):
        same = {"incident_id": f"inc-{number}", "service_name": f"shelf-{number}", "starts_at": at, **values}
        rows.append(row(at, number, **same))
        rows.append(row(at + timedelta(minutes=10), 5000 + number, status="RESOLVED", **same))
    return sorted(rows, key=lambda each: (each.ingested_at, each.alert_id))


def tallied(rows: list[AlertRow], **asked: object) -> MessageTally:
    return tally(simulated(rows, OTHERS, until=rows[-1].ingested_at + HOUR, **asked))  # type: ignore[arg-type]


def reasons(found: MessageTally) -> dict[str, tuple[str, ...]]:
    return {missed.incident.incident_id: missed.reasons for missed in found.missed}


def test_messages_are_counted_by_place_and_hour_and_edits_apart() -> None:
    late = NOON + timedelta(minutes=55)
    found = tallied([*outages(2), *outages(1, late, incident_id="late", service_name="late")])
    assert found.messages == {OPS: 6}
    assert found.hours == {(NOON, OPS): 5, (NOON + HOUR, OPS): 1}
    assert found.edits == {OPS: 3}
    assert (found.incidents, found.missed) == (3, ())


def test_a_limit_of_storms_makes_fewer_messages_and_misses_nothing() -> None:
    rows = outages(100)
    everything, digest = tallied(rows), tallied(rows, storm_after=5)
    assert everything.messages[OPS] == 200
    assert digest.messages[OPS] < 40
    assert digest.missed == everything.missed == ()


def test_what_nobody_would_have_been_told_of_stands_with_what_muted_it() -> None:
    night = NOON + timedelta(hours=11)
    rows = [
        *outages(1, night, incident_id="mail", service_name="mail"),
        *outages(1, night, incident_id="cart", service_name="cart"),
        *outages(1, night, incident_id="shelf"),
        *outages(1, night, incident_id="error", service_name="mail", severity="ERROR"),
        row(night, 99, incident_id="old", service_name="mail", alert_timestamp=NOON),
    ]
    rows.sort(key=lambda each: (each.ingested_at, each.alert_id))
    silence = Silence("shelves", (parse_matcher("service_name =~ shelf.*"),), "", "ada", night + 9 * HOUR, NOON)
    assert reasons(tallied(rows)) == {"mail": ("mail: no_route",), "cart": ("night: mute_time(night)",)}
    assert reasons(tallied(rows, silences=(silence,))) == {
        "mail": ("mail: no_route",),
        "cart": ("night: mute_time(night)",),
        "shelf": ("all: silenced(shelves, by ada until 2026-03-03 08:00:00 UTC)",),
    }


def test_what_is_open_when_a_silence_ends_is_told_then_and_not_missed() -> None:
    end = NOON + timedelta(minutes=3, seconds=20)
    silence = Silence("short", (parse_matcher("severity = FATAL"),), "", "ada", end, NOON)
    simulation = simulated(outages(1), OTHERS, silences=(silence,))
    assert (simulation.messages[0].at, simulation.messages[0].kind) == (end, MessageKind.FIRST)
    assert tally(simulation).missed == ()


def test_what_is_shown_of_a_tally_is_json() -> None:
    [place] = tallied(outages(1)).shown([OPS])["destinations"]
    assert place == {
        "channel": "slack",
        "destination": "C0OPS",
        "messages": 2,
        "edits": 1,
        "by_hour": {NOON.isoformat(): 2},
    }
    assert to_ms(NOON) % 3_600_000 == 0
