"""What PagerDuty and a webhook are told of an outage, from its first alert to its end."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from notifier.channels.pagerduty import SUMMARY_LIMIT, PagerDuty, event_of
from notifier.channels.webhook import ENDLESS, Webhook
from notifier.clock import to_ms
from notifier.ledger.ledger import Ledger
from notifier.model import Ack, AlertRow, DeadReason, DeliveryState, MessageKind, Muted
from notifier.planning.board import Worksheet
from tests.channel_cast import KEY, NOON, NOTE, Script, Teller, reply
from tests.test_notifier import an_alert

ALERT = an_alert(summary="no answer for 1 min", runbook_url="https://wiki.example/payments", owner="checkout")
LESSER = an_alert(alert_id="b1", incident_id="inc-2", rule="many_errors", severity="ERROR", description="40 errors")
NEW, OLD = "kettle-otter-52-new", "kettle-otter-51-old"


@pytest.fixture
def script() -> Iterator[Script]:
    opened = Script()
    opened.usual = reply(202)
    yield opened
    opened.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


def ended(alert: AlertRow, at: datetime) -> AlertRow:
    return replace(alert, alert_id=f"{alert.alert_id} end", status="RESOLVED", alert_timestamp=at)


def an_outage(teller: Teller) -> None:
    """It begins, grows, goes on, is told again, is taken, ends bit by bit, and begins anew within the hour."""
    ack = Ack("ada", "console", teller.now_ms, None, "on it", "FATAL")
    here = teller.decisions(ALERT)
    less_over, over = ended(LESSER, NOON + timedelta(minutes=9)), ended(ALERT, NOON + timedelta(minutes=10))
    steps: list[Callable[[], None]] = [
        lambda: teller.fires(ALERT),
        lambda: teller.fires(LESSER),
        lambda: teller.fires(replace(LESSER, alert_id="b2")),
        lambda: teller.plan(ALERT, lambda board: board.escalate(ALERT, board.incidents["inc-1"], 1, here, None)),
        lambda: teller.plan(ALERT, lambda board: board.take(ALERT, board.incidents["inc-1"], ack)),
        lambda: teller.plan(less_over, lambda board: board.resolve(less_over)),
        lambda: teller.plan(over, lambda board: board.resolve(over)),
        lambda: teller.fires(replace(ALERT, alert_id="a9", incident_id="inc-9")),
    ]
    for step in steps:
        step()
        teller.now_ms += 120_000
        teller.tell()


def test_one_outage_is_one_alert_of_pagerduty(script: Script, ledger: Ledger) -> None:
    an_outage(Teller(ledger, script.pagerduty()))
    assert [event["event_action"] for event in script.said] == [
        *("trigger", "trigger", "trigger", "acknowledge", "resolve"),
        "trigger",  # within the hour it is the same thread, and PagerDuty opens another incident
    ]
    [key] = {event["dedup_key"] for event in script.said}
    assert len(key) == 64
    assert script.said[4] == {"routing_key": KEY, "event_action": "resolve", "dedup_key": key}
    assert {str(row.kind) for row in ledger.deliveries()} == {"first", "joined", "escalated", "taken", "resolved"}


def test_an_outage_whose_trigger_died_and_was_tried_again_is_resolved_there_at_its_end(
    script: Script, ledger: Ledger
) -> None:
    teller = Teller(ledger, script.pagerduty())
    teller.fires(ALERT)
    [first] = ledger.deliveries()
    ledger.outbox.dead(first, DeadReason.GAVE_UP, "PagerDuty answered 500.", teller.now_ms)
    assert ledger.outbox.revive(first.delivery_key, teller.now_ms)
    teller.tell()
    over = ended(ALERT, NOON + timedelta(minutes=10))
    teller.plan(over, lambda board: board.resolve(over))
    teller.tell()
    assert [event["event_action"] for event in script.said] == ["trigger", "resolve"]
    assert len({event["dedup_key"] for event in script.said}) == 1


def test_pagerduty_is_acknowledged_once_somebody_has_all_that_is_open(script: Script, ledger: Ledger) -> None:
    def said_after(change: Callable[[Worksheet], None], alert: AlertRow = ALERT) -> list[str]:
        before = len(script.said)
        teller.plan(alert, change)
        teller.tell()
        teller.now_ms += 60_000
        return [event["event_action"] for event in script.said[before:]]

    ack = Ack("ada", "console", to_ms(NOON), None, "on it", "FATAL")
    over = ended(LESSER, NOON + timedelta(minutes=9))
    for last in ("taken", "over"):
        teller = Teller(ledger, script.pagerduty())
        teller.fires(ALERT)
        teller.fires(LESSER)
        teller.tell()
        assert said_after(lambda board: board.take(ALERT, board.incidents["inc-1"], ack)) == []
        [muted] = ledger.deliveries(DeliveryState.MUTED)
        assert (muted.kind, muted.reason) == (MessageKind.TAKEN, Muted.UNTAKEN)
        if last == "taken":
            taken = said_after(lambda board: board.take(LESSER, board.incidents["inc-2"], ack), LESSER)
            assert taken == ["acknowledge"]
        else:
            assert said_after(lambda board: board.resolve(over), over) == ["acknowledge"]


@pytest.mark.parametrize("apart", [False, True])
def test_who_takes_all_of_a_thread_is_told_of_once(script: Script, ledger: Ledger, apart: bool) -> None:
    teller = Teller(ledger, script.webhook())
    teller.fires(ALERT)
    teller.fires(LESSER)
    teller.tell()
    ack = Ack("ada", "console", teller.now_ms, None, "on it", "FATAL")

    def take(board: Worksheet) -> None:
        for alert in (ALERT, LESSER):
            if alert.incident_id in board.incidents:
                board.take(alert, board.incidents[alert.incident_id], ack)

    # One press of a button, or two requests while the receiver is away.
    script.usual = reply(503)
    for together in (["inc-1"], ["inc-2"]) if apart else (["inc-1", "inc-2"],):
        ledger.plan((), (), take, teller.now_ms, incident_ids=together)
        teller.tell()
    script.usual = reply(202)
    before = len(script.said)
    teller.now_ms += 120_000
    teller.tell()
    [taken] = [body["tillwatch"] for body in script.said[before:]]
    assert (taken["kind"], taken["taken_by"]) == ("taken", ["ada"])


def test_a_trigger_says_what_where_since_when_and_how_much(script: Script, ledger: Ledger) -> None:
    teller = Teller(ledger, script.pagerduty())
    teller.fires(ALERT)
    teller.tell()
    [event] = script.said
    [asked] = script.asked
    assert asked.headers["Content-Type"] == "application/json"
    assert event["routing_key"] == KEY
    assert event["client"] == "tillwatch"
    assert event["client_url"].startswith("http://localhost:5006/app?tab=alerts&incident=inc-1")
    assert event["links"] == [
        {"href": event["client_url"], "text": "Open in the console"},
        {"href": "https://wiki.example/payments", "text": "Runbook"},
    ]
    details = event["payload"].pop("custom_details")
    assert event["payload"] == {
        "summary": "FATAL in payments: Fatal error in service: payments - no answer no answer for 1 min",
        "source": "payments",
        "severity": "critical",
        "timestamp": "2026-03-02T12:00:00.000+00:00",
        "component": "payments",
        "group": "service_name=payments",
        "class": "fatal_error",
    }
    assert details["alert"] == "Fatal error in service: payments - no answer\nno answer for 1 min"
    assert "since 2026-03-02 12:00:00 UTC · 1 alert so far · owner checkout" in details["facts"]
    assert details["incidents"] == "fatal_error: 1 alert"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("FATAL", "critical"),
        ("ERROR", "error"),
        ("WARN", "warning"),
        ("INFO", "info"),
        ("DEBUG", "info"),
        ("of next year", "critical"),
    ],
)
def test_pagerduty_has_a_name_of_its_own_for_each_severity(ours: str, theirs: str) -> None:
    assert event_of(replace(NOTE, severity=ours))["payload"]["severity"] == theirs


def test_a_message_of_any_length_is_a_summary_that_pagerduty_takes() -> None:
    event = event_of(replace(NOTE, title="t" * 500, body="b\n" * 5000))
    assert len(event["payload"]["summary"]) == SUMMARY_LIMIT
    assert "\n" not in event["payload"]["summary"]
    assert event["payload"]["source"] == "tillwatch"


def test_each_service_of_pagerduty_gets_its_own_key_and_is_asked_for_it(script: Script, ledger: Ledger) -> None:
    keys = {"shop": "s" * 32, "depot": "d" * 32}
    channel = PagerDuty(keys, url=script.url, timeout_s=1.0)
    teller = Teller(ledger, channel)
    teller.fires(ALERT)
    teller.tell()
    told = {event["routing_key"]: event["dedup_key"] for event in script.said}
    assert told == {keys[row.destination]: row.thread_id for row in ledger.deliveries()}
    script.asked.clear()
    # A resolve of what nobody opened: nobody is called by it.
    assert channel.check() is None
    assert [(event["routing_key"], event["event_action"]) for event in script.said] == [
        *((key, "resolve") for key in keys.values())
    ]
    script.answers = [reply(202), reply(400, '{"errors": ["Invalid routing key"]}')]
    assert channel.check() == 'depot: PagerDuty answered 400: {"errors": ["Invalid routing key"]}.'


def test_a_webhook_gets_what_alertmanager_would_post(script: Script, ledger: Ledger) -> None:
    teller = Teller(ledger, script.webhook())
    for alert in (ALERT, LESSER):
        teller.fires(alert)
        teller.tell()
    over = ended(LESSER, NOON + timedelta(minutes=9))
    teller.plan(over, lambda board: board.resolve(over))
    teller.tell()
    cleared = script.said[-1]
    [url, _] = [alert.pop("generatorURL") for alert in cleared["alerts"]]
    assert url.startswith("http://localhost:5006/app?tab=alerts&incident=inc-1&from=")
    row = max(ledger.deliveries(), key=lambda row: row.sequence)
    firing = {
        "status": "firing",
        "labels": {
            "alertname": "fatal_error",
            "severity": "FATAL",
            "service": "payments",
            "incident_id": "inc-1",
            "owner": "checkout",
        },
        "annotations": {
            "description": "Fatal error in service: payments - no answer",
            "summary": "no answer for 1 min",
            "runbook_url": "https://wiki.example/payments",
        },
        "startsAt": "2026-03-02T12:00:00.000Z",
        "endsAt": ENDLESS,
        "fingerprint": hashlib.sha256(b"inc-1").hexdigest()[:16],
    }
    resolved = {
        "status": "resolved",
        "labels": {
            "alertname": "many_errors",
            "severity": "ERROR",
            "service": "payments",
            "incident_id": "inc-2",
        },
        "annotations": {"description": "40 errors"},
        "startsAt": "2026-03-02T12:00:00.000Z",
        "endsAt": "2026-03-02T12:09:00.000Z",
        "fingerprint": hashlib.sha256(b"inc-2").hexdigest()[:16],
    }
    assert cleared == {
        "version": "4",
        "groupKey": "service_name=payments",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "ops",
        "groupLabels": {"service": "payments"},
        "commonLabels": {"service": "payments"},
        "commonAnnotations": {},
        "externalURL": "http://localhost:5006/app",
        "alerts": [firing, resolved],
        "tillwatch": {
            "delivery": row.delivery_key,
            "thread": row.thread_id,
            "kind": "cleared",
            "title": "Resolved: ERROR in payments: many_errors; 1 still open",
            "taken_by": [],
            "usual": "",
            "bars": "",
            "changes": [],
            "failing": [],
        },
    }


def test_a_webhook_hears_every_kind_of_news(script: Script, ledger: Ledger) -> None:
    an_outage(Teller(ledger, script.webhook()))
    told = [(body["tillwatch"]["kind"], body["status"]) for body in script.said]
    assert told == [
        ("first", "firing"),
        ("joined", "firing"),
        ("more", "firing"),
        ("escalated", "firing"),
        ("taken", "firing"),
        ("cleared", "firing"),
        ("resolved", "resolved"),
        ("joined", "firing"),
    ]
    assert script.said[4]["tillwatch"]["taken_by"] == ["ada"]
    assert len({asked.headers["Tillwatch-Delivery"] for asked in script.asked}) == len(told)
    for body in script.said:
        for alert in body["alerts"]:
            assert all(isinstance(text, str) for text in (*alert["labels"].values(), *alert["annotations"].values()))
            assert datetime.fromisoformat(alert["startsAt"]).tzinfo
            assert datetime.fromisoformat(alert["endsAt"]).tzinfo


def test_what_somebody_else_wrote_is_text_to_a_webhook_and_no_more_than_is_needed(
    script: Script, ledger: Ledger
) -> None:
    teller = Teller(ledger, script.webhook())
    odd = an_alert(
        service_name="pay\nments" * 100,
        rule="r\u202e\x00x",
        description="x\u202e\x00" * 9000,
        runbook_url="javascript:alert(1)",
    )
    teller.fires(odd)
    teller.tell()
    [alert] = script.said[0]["alerts"]
    assert alert["labels"]["service"] == ("pay ments" * 100)[:199] + "…"
    assert alert["labels"]["alertname"] == "r x"
    assert "runbook_url" not in alert["annotations"]
    assert len(script.asked[0].body) < 20_000


def is_from_tillwatch(header: str, body: bytes, secret: str, now_s: float, tolerance_s: float = 300) -> bool:
    """What the docs show for a receiver."""
    pairs = [part.partition("=")[::2] for part in header.split(",")]
    at = next((value for name, value in pairs if name == "t"), "")
    mine = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    fresh = at.isdigit() and abs(now_s - int(at)) <= tolerance_s
    return fresh and any(name == "v1" and hmac.compare_digest(value.encode(), mine.encode()) for name, value in pairs)


def test_a_receiver_knows_us_by_the_signature_of_what_was_sent(script: Script) -> None:
    script.webhook(NEW).send("ops", NOTE)
    [asked] = script.asked
    header, now_s = asked.headers["Tillwatch-Signature"], NOON.timestamp()
    known = partial(is_from_tillwatch, header)
    assert known(asked.body, NEW, now_s)
    assert not known(asked.body, OLD, now_s)
    assert not known(asked.body + b" ", NEW, now_s)
    assert not known(asked.body, NEW, now_s + 301)
    later = header.replace(f"t={int(now_s)}", f"t={int(now_s) + 301}")
    assert not is_from_tillwatch(later, asked.body, NEW, now_s + 301)


def test_while_a_secret_is_replaced_receivers_with_either_know_us(script: Script) -> None:
    script.webhook(NEW, OLD).send("ops", NOTE)
    [asked] = script.asked
    header, now_s = asked.headers["Tillwatch-Signature"], NOON.timestamp()
    assert is_from_tillwatch(header, asked.body, NEW, now_s)
    assert is_from_tillwatch(header, asked.body, OLD, now_s)
    of_new = hmac.new(NEW.encode(), f"{int(now_s)}.".encode() + asked.body, hashlib.sha256).hexdigest()
    assert header.startswith(f"t={int(now_s)},v1={of_new},v1=")


def test_without_a_secret_nothing_is_signed_and_a_login_in_the_address_is_sent(script: Script) -> None:
    url = script.url.replace("http://", "http://ada:p%40ss@")
    Webhook({"ops": url}, timeout_s=1.0).send("ops", NOTE)
    [asked] = script.asked
    assert "Tillwatch-Signature" not in asked.headers
    assert asked.headers["Authorization"] == f"Basic {b64encode(b'ada:p@ss').decode()}"


@pytest.mark.parametrize("status", [200, 401, 404, 405, 501])
def test_a_webhook_is_ready_whatever_it_says_to_a_question(script: Script, status: int) -> None:
    script.answers = [reply(status)]
    assert script.webhook().check() is None
    assert script.asked[0].body == b""


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_webhook_behind_a_proxy_that_finds_nobody_is_not_ready(script: Script, status: int) -> None:
    script.answers = [reply(status)]
    assert script.webhook().check() == f"Webhook ops does not answer: {status}."
