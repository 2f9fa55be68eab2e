"""config/routes.yaml: which route takes an alert, where it goes, what mutes it; and every way in which it is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from pydantic import BaseModel

from lakehouse import ROOT
from lakehouse.user_error import UserError
from notifier.api import create_app
from notifier.channel import Dead
from notifier.model import NOBODY, DeliveryState, MessageKind, Muted, Target
from notifier.routing.decide import Decision, OpenAlert, Router, Silence, Surroundings
from notifier.routing.load import load_routing
from notifier.routing.matchers import Matcher, parse_matcher
from notifier.routing.times import TimeSpan
from notifier.routing.tree import Inhibition, MaintenanceWindow, Route, Routing
from notifier.tokens import Tokens
from tests.test_notifier import NOON, Desk, Friend, an_alert
from tests.test_notifier_ledger import a_daemon

PLACES = {"slack": ("C0OPS", "C0SHOP"), "email": ("oncall@shop.example",), "pager": ()}


def router(text: str, places: Mapping[str, tuple[str, ...]] = PLACES) -> Router:
    return Router(Routing.model_validate(yaml.safe_load(text)), places)


def decided(text: str, at: datetime = NOON, around: Mapping[str, Any] | None = None, **alert: Any) -> list[Decision]:
    return router(text).decide(an_alert(**alert), Surroundings(at, lambda _: False, **(around or {})))


def where(decisions: list[Decision]) -> dict[str, str | None]:
    """Destination -> what mutes it there."""
    return {each.target.destination: str(each.muted) if each.muted else None for each in decisions}


TREE = """
routes:
  - name: payments
    when: [service_name =~ pay.*]
    to: ["slack:C0SHOP"]
    wait: 10 s
    routes:
      - name: loud
        when: [severity = FATAL]
        to: [email]
        continue: true
      - name: rest
        when: [rule != noise]
  - name: all
    to: [slack]
    interval: 2 min
"""


def test_an_alert_goes_to_the_first_route_that_takes_it_and_as_deep_as_it_fits() -> None:
    found = decided(TREE, service_name="payments")
    assert [(each.route, each.target.destination, each.policy.wait) for each in found] == [
        (("payments", "loud"), "oncall@shop.example", timedelta(seconds=10)),
        (("payments", "rest"), "C0SHOP", timedelta(seconds=10)),
    ]
    # Not the rest's, so that of the route around it.
    assert [each.route for each in decided(TREE, service_name="pay", severity="WARN", rule="noise")] == [("payments",)]
    cart = decided(TREE, service_name="cart")
    assert [(each.target, each.policy.interval) for each in cart] == [
        (Target("slack", "C0OPS"), timedelta(minutes=2)),
        (Target("slack", "C0SHOP"), timedelta(minutes=2)),
    ]
    # A pattern has to match all of the value.
    assert decided(TREE, service_name="repay")[0].route == ("all",)


def test_one_place_is_told_once_and_what_one_route_mutes_another_tells() -> None:
    text = """
    times: [{name: noon, hours: ["11:00-13:00"]}]
    routes:
      - {name: first, to: [slack], mute: [noon], continue: true}
      - {name: second, to: ["slack:C0OPS", email], continue: true}
      - {name: third, to: [email]}
    """
    assert where(decided(text)) == {"C0OPS": None, "C0SHOP": "mute_time(noon)", "oncall@shop.example": None}
    assert [each.route for each in decided(text)] == [("second",), ("first",), ("second",)]


def test_all_is_every_channel_that_is_set_up_and_as_shipped_a_fatal_goes_there() -> None:
    everywhere = {"C0OPS": None, "C0SHOP": None, "oncall@shop.example": None}
    assert where(decided("routes: [{name: a, to: [all, slack]}]")) == everywhere
    assert where(decided((ROOT / "config" / "routes.yaml").read_text(), severity="FATAL")) == everywhere


def test_the_file_as_shipped_explains_every_key_and_its_example_of_steps_is_one() -> None:
    lines = [line for line in (ROOT / "config" / "routes.yaml").read_text().splitlines() if line.startswith("#")]
    for name, field in Route.model_fields.items():
        assert any(line.startswith(f"#   {field.alias or name} ") for line in lines), name
    said = " ".join(line.removeprefix("#").strip() for line in lines)
    models: dict[str, type[BaseModel]] = {"times": TimeSpan, "inhibit": Inhibition, "maintenance": MaintenanceWindow}
    for part, model in models.items():
        explained = said[said.index(f" {part}: ") :]
        for name, field in model.model_fields.items():
            assert (field.alias or name) in explained, f"{part}: {name}"
    example = next(line for line in lines if "[{after:" in line).removeprefix("#")
    steps = router(f"routes: [{{name: a, escalate: {example}}}]").routing.routes[0].escalate
    assert [step.to for step in steps or ()] == [("slack:C0123456789",), ("pagerduty", "@ada")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("routes: [{name: a, when: [severity = WARN], to: [slack]}]", Muted.NO_ROUTE),
        ("routes: [{name: a, to: []}]", Muted.NO_ROUTE),
        ("routes: [{name: a}]", Muted.NO_ROUTE),
        ("routes: [{name: a, to: [pager]}]", Muted.NO_CHANNEL),
    ],
)
def test_where_nobody_is_told_a_reason_stands(text: str, reason: Muted) -> None:
    (found,) = decided(text)
    assert found.target == NOBODY
    assert found.muted is not None
    assert found.muted.why is reason
    assert str(reason) in found.said


@pytest.mark.parametrize(
    ("written", "matches"),
    [
        ("severity = FATAL", True),
        ("severity=FATAL", True),
        ("severity != FATAL", False),
        ("owner = ''", True),
        ("owner =~ .+", False),
        ("owner !~ .+", True),
        ("metric_value = 1", True),
        ("description =~ '.*declined.*'", True),
        ("rule =~ fatal", False),
        ("service_name = pay ments", False),
        ("threshold = 1234567", True),
        ("threshold = 1234568", False),
        ("status = FIRING", True),
    ],
)
def test_matchers(written: str, matches: bool) -> None:
    alert = an_alert(
        metric_value=1.0,
        threshold=1234567.0,
        owner=None,
        description="Fatal error in service: payments -\ncard declined",
    )
    assert parse_matcher(written).matches(alert) is matches


def test_no_pattern_takes_for_ever() -> None:
    """With Python's own patterns this one does not end."""
    assert not parse_matcher("description =~ (a|a)*b").matches(an_alert(description="a" * 5000))


@pytest.mark.parametrize(
    ("span", "at", "holds"),
    [
        ({"hours": ["09:00-17:30"]}, "2026-03-02T09:00+00:00", True),
        ({"hours": ["09:00-17:30"]}, "2026-03-02T17:30+00:00", False),
        ({"hours": ["22:00-06:00"], "weekdays": "friday"}, "2026-03-06T23:00+00:00", True),
        # The night that Friday began.
        ({"hours": ["22:00-06:00"], "weekdays": "friday"}, "2026-03-07T05:59+00:00", True),
        ({"hours": ["22:00-06:00"], "weekdays": "friday"}, "2026-03-07T22:00+00:00", False),
        ({"hours": ["18:00-24:00"]}, "2026-03-07T23:59:59+00:00", True),
        ({"weekdays": ["saturday:monday"]}, "2026-03-08T12:00+00:00", True),
        ({"weekdays": ["sat:mon"]}, "2026-03-10T12:00+00:00", False),
        ({"days_of_month": [1, "-1"]}, "2026-02-28T12:00+00:00", True),
        ({"days_of_month": ["-3:-1"]}, "2028-02-26T12:00+00:00", False),
        ({"days_of_month": ["-3:-1"]}, "2028-02-27T12:00+00:00", True),
        ({"months": ["november:february"]}, "2026-01-15T12:00+00:00", True),
        ({"months": "june"}, "2026-01-15T12:00+00:00", False),
        # Berlin is an hour ahead in winter and two in summer.
        ({"zone": "Europe/Berlin", "hours": ["09:00-10:00"]}, "2026-03-28T08:30+00:00", True),
        ({"zone": "Europe/Berlin", "hours": ["09:00-10:00"]}, "2026-03-29T08:30+00:00", False),
        ({"zone": "Europe/Berlin", "hours": ["09:00-10:00"]}, "2026-03-29T07:30+00:00", True),
        # The hour that stands twice, and the one that is left out.
        ({"zone": "Europe/Berlin", "hours": ["02:00-03:00"]}, "2026-10-25T00:30+00:00", True),
        ({"zone": "Europe/Berlin", "hours": ["02:00-03:00"]}, "2026-10-25T01:30+00:00", True),
        ({"zone": "Europe/Berlin", "hours": ["02:00-03:00"]}, "2026-03-29T01:00+00:00", False),
        # Half an hour off the hour, and a day ahead.
        ({"zone": "Asia/Kolkata", "weekdays": "tuesday"}, "2026-03-02T18:30+00:00", True),
    ],
)
def test_times(span: dict[str, Any], at: str, holds: bool) -> None:
    assert TimeSpan.model_validate({"name": "a", **span}).holds(datetime.fromisoformat(at)) is holds


def test_active_times_are_the_only_ones() -> None:
    text = """
    times: [{name: days, hours: ["08:00-18:00"]}, {name: sundays, weekdays: sunday}]
    routes: [{name: a, to: [email], active: [days, sundays]}]
    """
    assert where(decided(text, NOON)) == {"oncall@shop.example": None}
    night = NOON.replace(hour=3)
    assert where(decided(text, night)) == {"oncall@shop.example": "mute_time(outside days, sundays)"}
    assert where(decided(text, night.replace(day=1))) == {"oncall@shop.example": None}


def test_planned_work_and_silences_mute_what_they_match_until_their_end() -> None:
    text = """
    routes: [{name: a, to: [email]}]
    maintenance:
      - {name: move, when: [service_name = payments], from: 2026-03-02T12:00:00+01:00, until: 2026-03-02T13:30:00+01:00}
    """
    mail = "oncall@shop.example"
    assert where(decided(text, NOON)) == {mail: "maintenance(move)"}
    assert where(decided(text, NOON, service_name="cart")) == {mail: None}
    assert where(decided(text, NOON + timedelta(minutes=30))) == {mail: None}
    matchers = (Matcher("rule", "=", "fatal_error"),)
    silence = Silence("s1", matchers, "known", "ada", NOON + timedelta(hours=3), NOON)
    around = {"silences": [silence]}
    silenced = {mail: "silenced(s1, by ada until 2026-03-02 15:00:00 UTC)"}
    assert where(decided(text, NOON + timedelta(hours=2), around)) == silenced
    assert where(decided(text, NOON + timedelta(hours=3), around)) == {mail: None}
    # Of two, the one that others have planned.
    assert where(decided(text, NOON, around)) == {mail: "maintenance(move)"}


INHIBIT = """
routes: [{name: a, to: [email]}]
inhibit:
  - {name: cause, source: [severity = FATAL], target: ["severity =~ ERROR|WARN"], equal: [service_name]}
"""


@pytest.mark.parametrize(
    ("other", "alert", "by"),
    [
        ({}, {"severity": "ERROR"}, "i2"),
        ({}, {"severity": "FATAL"}, None),
        ({"service_name": "cart"}, {"severity": "ERROR"}, None),
        ({"severity": "ERROR"}, {"severity": "ERROR"}, None),
        ({"incident_id": "i1"}, {"severity": "ERROR"}, None),
        ({"service_name": None}, {"severity": "WARN", "service_name": None}, "i2"),
    ],
)
def test_an_open_incident_mutes_what_it_causes(other: dict[str, Any], alert: dict[str, Any], by: str | None) -> None:
    open_alerts = [an_alert(**{"incident_id": "i2", "severity": "FATAL", **other})]
    found = decided(INHIBIT, NOON, {"open_alerts": open_alerts}, **{"incident_id": "i1", **alert})
    assert where(found) == {"oncall@shop.example": f"inhibited(cause, by {by})" if by else None}


# ---- from the table to the ledger

NIGHTS = """
times: [{name: lunch, hours: ["12:00-12:10"]}]
routes:
  - {name: errors, when: [severity = ERROR], to: [friend], wait: 30 s, interval: 5 min}
  - {name: fatal, when: [severity = FATAL], to: [friend], mute: [lunch]}
"""


def desk_of(path: Path, text: str) -> Desk:
    return Desk(path, Friend(), router=router(text.replace("friend", "slack"), {"slack": Friend().destinations}))


def test_an_error_waits_with_those_that_follow_it_and_a_route_says_how_long(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, NIGHTS)
    for _ in range(3):
        desk.fatal("inc-1", severity="ERROR")
        desk.publish()
        desk.now += timedelta(seconds=5)
    assert desk.channel.posts == []
    desk.run(timedelta(seconds=20))
    assert [row.kind for row in desk.deliveries() if row.state is DeliveryState.SENT] == [MessageKind.FIRST]
    assert [row.alert_count for row in desk.deliveries()] == [3]
    desk.fatal("inc-1", severity="ERROR")
    desk.publish()
    desk.run(timedelta(minutes=4))
    assert len(desk.channel.posts) == 1
    desk.run(timedelta(minutes=2))
    assert [note.kind for note in desk.channel.posts] == [MessageKind.FIRST, MessageKind.MORE]
    assert {row.route for row in desk.deliveries()} == {"errors"}
    desk.close()


def test_when_muting_ends_an_open_incident_is_told_and_one_that_is_over_is_not(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, NIGHTS)
    desk.fatal("stays")
    desk.fatal("ends")
    desk.publish()
    desk.resolved("ends")
    desk.publish()
    assert {(row.incident_id, row.state, row.reason, row.detail) for row in desk.deliveries()} == {
        (name, DeliveryState.MUTED, Muted.MUTE_TIME, "lunch") for name in ("stays", "ends")
    }
    tokens = Tokens(tmp_path)
    bearer = {"Authorization": f"Bearer {tokens.secret_of('reader')}"}
    api = TestClient(create_app(a_daemon(desk), tokens), base_url="http://localhost", headers=bearer)
    told = api.get("/api/deliveries").json()["deliveries"]
    assert {(row["route"], row["reason"], row["detail"]) for row in told} == {("fatal", "mute_time", "lunch")}
    assert desk.planner.unmute() == 0
    desk.now = NOON + timedelta(minutes=10)
    assert desk.planner.unmute() == 1
    assert desk.planner.unmute() == 0
    desk.run(timedelta(seconds=5))
    assert [note.kind for note in desk.channel.posts] == [MessageKind.FIRST]
    (told,) = [row for row in desk.deliveries() if row.state is DeliveryState.SENT]
    assert told.incident_id == "stays"
    desk.close()


def test_what_is_told_after_muting_and_fails_for_good_is_not_planned_again(tmp_path: Path) -> None:
    desk = desk_of(tmp_path, NIGHTS)
    desk.fatal("inc-1")
    desk.publish()
    desk.now = NOON + timedelta(minutes=10)
    desk.channel.answers = [Dead("550 5.1.1 no such user")]
    assert desk.planner.unmute() == 1
    desk.work()
    assert [row.state for row in desk.deliveries()] == [DeliveryState.MUTED, DeliveryState.DEAD]
    assert desk.planner.unmute() == 0
    desk.close()


def test_of_very_many_that_were_muted_each_has_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = desk_of(tmp_path, NIGHTS)
    for number in range(10):
        desk.fatal(f"inc-{number}")
    desk.publish()
    desk.now = NOON + timedelta(minutes=10)
    some = desk.ledger.muted_alerts
    monkeypatch.setattr(desk.ledger, "muted_alerts", lambda: some(4))
    assert [desk.planner.unmute() for _ in range(4)] == [4, 4, 2, 0]
    desk.close()


def test_what_is_open_is_gone_through_only_for_an_alert_that_it_may_mute(tmp_path: Path) -> None:
    text = INHIBIT.replace("email", "slack")
    desk = Desk(tmp_path, Friend(), router=router(text, {"slack": Friend().destinations}))
    asked: list[str] = []
    open_alerts = desk.ledger.open_alerts

    def counted() -> Sequence[OpenAlert]:
        asked.append("")
        return open_alerts()

    desk.ledger.open_alerts = counted  # type: ignore[method-assign]
    for number in range(3):
        desk.fatal(f"cause-{number}")
        desk.publish()
    assert len(asked) == 0
    desk.fatal("effect", severity="ERROR")
    desk.publish()
    assert len(asked) == 1
    assert [row.state for row in desk.deliveries() if row.incident_id == "effect"] == [DeliveryState.MUTED]
    desk.close()


def test_what_a_cause_in_the_same_publish_mutes_is_told_when_the_cause_is_over(tmp_path: Path) -> None:
    text = INHIBIT.replace("email", "slack")
    desk = Desk(tmp_path, Friend(), router=router(text, {"slack": Friend().destinations}))
    desk.fatal("effect", severity="ERROR")
    desk.fatal("cause", at=NOON + timedelta(seconds=1))
    desk.publish()
    assert {row.incident_id: row.state for row in desk.deliveries()} == {
        "effect": DeliveryState.MUTED,
        "cause": DeliveryState.SENT,
    }
    assert desk.planner.unmute() == 0
    desk.resolved("cause")
    desk.publish()
    assert desk.planner.unmute() == 1
    desk.close()


def test_the_log_says_of_each_alert_where_it_goes_and_what_mutes_it_and_little_of_a_storm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "notifier")
    text = """
    times: [{name: always}]
    routes:
      - {name: nightly, when: [service_name = nightly], to: [slack], mute: [always]}
      - {name: shop, to: [], routes: [{name: loud, when: [severity = FATAL], to: [slack]}]}
    """
    desk = desk_of(tmp_path, text)
    desk.fatal("inc-n", service="nightly")
    desk.fatal("inc-w", service="mail", severity="WARN")
    for number in range(50):
        desk.fatal(f"inc-{number}", service=f"service-{number}")
    desk.publish()
    said = [record.getMessage() for record in caplog.records]
    assert "nightly: slack C0OPS, muted mute_time(always): inc-n" in said
    assert "shop: nobody is told, no_route: inc-w" in said
    [loud] = [sentence for sentence in said if sentence.startswith("shop > loud: slack C0OPS, told: ")]
    assert loud.endswith(" and 47 more")
    desk.close()


# ---- what a person may get wrong

WRONG = [
    ("", "line 1: it holds no list `routes:`"),
    ("routes: []", "line 1: 'routes' is empty"),
    ("routes: [", "cannot be read: it is not YAML"),
    ("routes: 3", "'routes' is no list"),
    ("routes: [3]", "an entry of 'routes' is no mapping"),
    ("routes:\n- {to: [slack]}", "line 2: the key 'name' is missing; add it"),
    ("routes:\n- name: a\n  too: [slack]", "line 3, 'a': the key 'too' is unknown (did you mean 'to'?); keys here are"),
    ("routes:\n- name: a\n  severity: [FATAL]", "line 3, 'a': the key 'severity' is unknown; write `when: [severity"),
    ("routes:\n- name: a\n  channels: [slack]", "the key 'channels' is unknown; write `to: [slack, email]`"),
    ("routes:\n- {name: a, name: b}", "key 'name' stands twice"),
    ("routes:\n- {name: a}\n- {name: a}", "line 3, 'a': 'a' is the name of two routes"),
    ("routes:\n- name: a\n  routes:\n  - name: a", "line 4, 'a': 'a' is the name of two routes"),
    ("routes:\n- name: a\n  to: slack", "line 3, 'a': 'to' is no list; write it as [one, two]"),
    ("routes:\n- name: a\n  to: [slak]", "line 3, 'a': 'slak' is no channel (did you mean 'slack'?); channels are"),
    ("routes:\n- name: a\n  to: ['slack:C0OPPS']", "'C0OPPS' is no destination of slack (did you mean 'C0OPS'?)"),
    ("routes:\n- name: a\n  when: [severty = FATAL]", "line 3, 'a': 'when': 'severty' is no column of alerts (did"),
    (
        "routes:\n- name: a\n  when: [severity FATAL]",
        "'when' has the value 'severity FATAL': expected a column, one of = != =~ !~, and a value",
    ),
    ("routes:\n- name: a\n  when: [severity == FATAL]", "'when': '==' is none of = != =~ !~; one = is enough"),
    (
        "routes:\n- name: a\n  when: [severity = fatal]",
        "'fatal' is no severity (did you mean 'FATAL'?); there are DEBUG",
    ),
    ("routes:\n- name: a\n  when: [status = OPEN]", "'OPEN' is no status; there are FIRING, RESOLVED"),
    (
        "routes: [{name: a}]\nmaintenance: [{name: x, when: [rule = a], from: 2027-01-01, "
        "until: '9999-12-31T23:59:59-05:00'}]",
        "'until' has the value '9999-12-31T23:59:59-05:00': it is no time that can be counted",
    ),
    ("routes:\n- name: a\n  when: ['rule =~ (']", "'when': '(' is no pattern: missing )"),
    (
        "routes:\n- name: a\n  wait: 30",
        "line 3, 'a': 'wait' has the value '30': expected a number with a unit, like '30 s'",
    ),
    ("routes:\n- name: a\n  wait: 1 h", "'wait' has the value '1 h': it is from 0 ms to 10 min"),
    ("routes:\n- name: a\n  continue: maybe", "line 3, 'a': 'continue' has the value 'maybe': input should be"),
    (
        "routes:\n- name: a\n  mute: [night]\ntimes: [{name: nights}]",
        "'night' is no name under `times:` (did you",
    ),
    ("routes:\n- name: a\n  active: [night]", "line 3, 'a': 'night' is no name under `times:`; there are no times"),
    ("routes: [{name: a}]\ntimes: [{name: x}, {name: x}]", "line 2, 'x': 'x' stands twice under `times:`"),
    (
        "routes: [{name: a}]\ntimes: [{name: x, zone: Europe/Berln}]",
        "'Europe/Berln' is no zone (did you mean",
    ),
    ("routes: [{name: a}]\ntimes: [{name: x, hours: ['9-17']}]", "'9-17' is no span of a day; expected one like"),
    ("routes: [{name: a}]\ntimes: [{name: x, hours: ['09:00-25:00']}]", "hours go to 24:00 and minutes to 59"),
    ("routes: [{name: a}]\ntimes: [{name: x, hours: ['09:00-09:00']}]", "'09:00-09:00' is empty"),
    ("routes: [{name: a}]\ntimes: [{name: x, weekdays: [mondey]}]", "'mondey' is none of monday, tuesday, wednesday"),
    ("routes: [{name: a}]\ntimes: [{name: x, days_of_month: [32]}]", "'32' is no day of a month; expected 1 to 31"),
    ("routes: [{name: a}]\ntimes: [{name: x, months: [ju]}]", "'ju' is none of january"),
    ("routes: [{name: a}]\ninhibit: [{name: x, source: [rule = a]}]", "line 2, 'x': the key 'target' is missing"),
    ("routes: [{name: a}]\ninhibit: [{name: x, source: [], target: [rule = a]}]", "'source' is empty"),
    (
        "routes: [{name: a}]\ninhibit:\n- {name: x, source: [rule = a], target: [rule = b], equal: [servce_name]}",
        "'equal': 'servce_name' is no column of alerts (did you mean 'service_name'?)",
    ),
    (
        "routes: [{name: a}]\nmaintenance:\n- name: x\n  when: [rule = a]\n  from: 2027-01-01T10:00:00Z\n  "
        "until: 2027-01-01T09:00:00Z",
        "line 3, 'x': 'maintenance': 'until' is not after 'from'",
    ),
    (
        "routes: [{name: a}]\nmaintenance: [{name: x, when: [rule = a], from: soon, until: later}]",
        "'from' has the value 'soon': input should be",
    ),
    ("routes: [{name: a}]\nmaintenance: [{name: x, when: [], from: 2027-01-01, until: 2027-01-02}]", "'when' is empty"),
    (
        "routes:\n- name: a\n  escalate: [{after: 30 min, to: [slack]}, {after: 10 min, to: [email]}]",
        "line 2, 'a': 'routes': the steps of 'escalate' come one after the other; give each a longer 'after'",
    ),
    (
        "routes:\n- name: a\n  escalate: [{after: 10 min, to: [slack]}, {after: 10 min, to: [email]}]",
        "the steps of 'escalate' come one after the other",
    ),
    ("routes:\n- name: a\n  escalate: [{after: 10 min, to: ['@ada']}]", "'@ada' is nobody in people.yaml"),
    ("routes: [{name: a}]\nmutes: []", "the key 'mutes' is unknown"),
    ("routes: [{name: a}]\non: true", "the key 'on' at line 2 is no text to YAML; quote it"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG, ids=[str(number) for number in range(len(WRONG))])
def test_wrong_routes_are_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_routing(path, PLACES)
    said = str(error.value)
    assert sentence in said
    assert str(path) in said
    assert "\n" not in said


# ---- commands


def asked(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": "/usr/bin:/bin",
        "TILLWATCH_NOTIFIER_SLACK_TOKEN": "x",
        "TILLWATCH_NOTIFIER_SLACK_CHANNEL": "C0A,C0B",
        "TILLWATCH_NOTIFIER_SLACK_BASE_URL": "http://127.0.0.1:1/api/",
    }
    command = [sys.executable, "-m", "notifier", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_the_command_says_where_an_alert_would_go_and_why() -> None:
    told = asked("routes", "test", "severity=ERROR", "service_name=cart", "--json")
    assert told.returncode == 0, told.stderr
    assert [(each["route"], each["destination"], each["wait_s"]) for each in json.loads(told.stdout)] == [
        (["errors"], "C0A", 30.0),
        (["errors"], "C0B", 30.0),
    ]
    nobody = asked("routes", "test", "severity=WARN")
    assert (nobody.returncode, nobody.stdout) == (1, "no route: nobody is told, no_route\n")
    for words, sentence in {
        ("sevrity=WARN",): "'sevrity=WARN' is no COLUMN=VALUE of an alert (did you mean 'severity'?)",
        ("metric_value=many",): "'many' is no number for metric_value",
        ("severity=WARN", "--at", "noon"): "'noon' is no time for --at",
    }.items():
        wrong = asked("routes", "test", *words)
        assert wrong.returncode == 2
        assert sentence in wrong.stderr


def test_the_command_checks_settings_and_routes_as_a_start_would() -> None:
    checked = asked("check-config", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout) == {
        "routes": ["fatal", "errors"],
        "destinations": {"slack": ["C0A", "C0B"]},
        "questions": {},
    }


def test_a_moment_without_a_zone_is_utc() -> None:
    text = (
        "routes: [{name: a}]\nmaintenance: [{name: x, when: [rule = a], from: 2027-01-01, until: 2027-01-02 06:00:00}]"
    )
    (planned,) = router(text).routing.maintenance
    assert (planned.from_, planned.until) == (datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 2, 6, tzinfo=UTC))
