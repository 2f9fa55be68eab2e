"""The dead-man's switch: asked while everybody would be told of an alert, and not otherwise."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from lakehouse.user_error import UserError
from notifier.api import create_app
from notifier.channel import Broken, Dead, Outcome, Retry, Sent
from notifier.clock import to_ms
from notifier.daemon import Daemon
from notifier.freshness import Freshness
from notifier.heartbeat import Heartbeat, untold
from notifier.ledger.file import LedgerError
from notifier.ledger.look import look
from notifier.model import Target
from notifier.reconcile import OVERDUE_MS, Untold, overdue, reconcile
from notifier.redact import Redactor
from notifier.render import Notification
from notifier.routing.decide import Silence
from notifier.routing.matchers import parse_matcher
from notifier.settings import NotifierSettings
from notifier.tokens import Tokens
from tests.notifier_cast import cast_of, wait_for
from tests.test_notifier import NOON, SLACK, Desk, Friend, a_config, fatal_to
from tests.test_notifier_ledger import a_daemon
from tests.test_notifier_people import ADA
from tests.test_routes import router

LATE = timedelta(milliseconds=OVERDUE_MS, seconds=1)
MINUTE = timedelta(minutes=1)
WELL: dict[str, str | None] = {"data": None, "ledger": None, "slack": None}


class Switch:
    """A dead-man's switch. `asked`: the paths it was asked for; answers: statuses, 200 where there are no more."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[int] = []
        switch = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                switch.asked.append(self.path)
                status = switch.answers.pop(0) if switch.answers else 200
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                body = b"OK" if status == 200 else b"x" * 5_000_000
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):  # nobody reads so much
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/ping/otter"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def switch() -> Iterator[Switch]:
    opened = Switch()
    yield opened
    opened.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path, Friend())
    yield opened
    opened.close()


def of(switch: Switch, desk: Desk, why_not: Callable[[], str | None] = lambda: None) -> Heartbeat:
    return Heartbeat(switch.url, MINUTE, why_not, desk.metrics)


def counts(desk: Desk) -> dict[str, float]:
    return {result: desk.count("heartbeats_total", result=result) for result in ("sent", "failed", "withheld")}


def late(desk: Desk) -> list[Untold]:
    with desk.ledger.file.read() as db:
        return overdue(db, desk.planner._router, desk.ledger.manners, desk.clock())


def why_not(desk: Desk, parts: dict[str, str | None], judged: str | None) -> str | None:
    return untold(parts, judged, desk.ledger, lambda: late(desk))


# ---- the address


def test_it_is_asked_while_all_is_well_and_not_while_something_is_not(switch: Switch, desk: Desk) -> None:
    reasons: list[str | None] = [None, "slack: not_in_channel.", "slack: not_in_channel.", None]
    heartbeat = of(switch, desk, lambda: reasons.pop(0))
    heartbeat.turn()
    heartbeat.turn()
    heartbeat.turn()
    assert heartbeat.error == "slack: not_in_channel."
    heartbeat.turn()
    assert not heartbeat.error
    assert switch.asked == ["/ping/otter", "/ping/otter"]
    assert counts(desk) == {"sent": 2, "failed": 0, "withheld": 2}


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (204, None),
        (302, "The address answered 302."),
        (404, "The address answered 404."),
        (503, "The address answered 503."),
        (0, "The address does not answer: Remote end closed connection without response."),
    ],
)
def test_only_2xx_counts_and_nothing_is_asked_twice_in_a_turn(
    switch: Switch, desk: Desk, status: int, sentence: str | None
) -> None:
    switch.answers = [status]
    heartbeat = of(switch, desk)
    heartbeat.turn()
    assert heartbeat.error == sentence
    # No redirect is followed, nothing is tried again.
    assert switch.asked == ["/ping/otter"]
    assert counts(desk) == {"sent": float(sentence is None), "failed": float(sentence is not None), "withheld": 0}


def test_an_address_where_nobody_is_is_one_line_of_the_log_however_long(
    switch: Switch, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat = of(switch, desk)
    switch.close()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            heartbeat.turn()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("heartbeat: failed, The address does not answer: ")
    assert "otter" not in line
    assert counts(desk)["failed"] == 3


def test_a_fault_in_looking_withholds_it_and_is_counted(switch: Switch, desk: Desk) -> None:
    def damaged() -> str | None:
        raise LedgerError("The ledger x cannot be used: disk full.")

    def broken() -> str | None:
        raise ValueError("our own")

    heartbeat = of(switch, desk, damaged)
    heartbeat.turn()
    assert heartbeat.error == "The ledger x cannot be used: disk full."
    heartbeat = of(switch, desk, broken)
    heartbeat.turn()
    assert heartbeat.error == "Unexpected error: our own."
    assert (switch.asked, desk.count("errors_total")) == ([], 1)


def test_it_begins_with_its_first_turn_and_ends_at_once(switch: Switch, desk: Desk) -> None:
    heartbeat = Heartbeat(switch.url, timedelta(seconds=0.01), lambda: None, desk.metrics)
    heartbeat.start()
    wait_for(lambda: len(switch.asked) >= 3)
    [thread] = [each for each in threading.enumerate() if each.name == "heartbeat"]
    heartbeat.stop()
    thread.join(5)
    assert not thread.is_alive()
    # Without an address there is nothing to do.
    Heartbeat("", MINUTE, lambda: None, desk.metrics).start()
    assert not [each for each in threading.enumerate() if each.name == "heartbeat"]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("https://hc.example/ping/1", None),
        ("https://hc.example:8443/ping?token=a", None),
        ("http://localhost:8000/ping", None),
        ("http://127.0.0.2/ping", None),
        ("http://[::1]:8000/", None),
        ("", None),
        ("http://hc.example/ping", "expected https; http will do for this machine alone"),
        ("http://127.0.0.1.hc.example/", "expected https"),
        ("http://10.0.0.1/", "expected https"),
        ("hc.example/ping", "expected an address like https://HOST/PATH"),
        ("ftp://hc.example/", "expected an address like"),
        ("https://", "expected an address like"),
        ("https://ada:otter@hc.example/", "expected an address like"),
        ("https://hc.example:99999/", "expected an address like"),
        ("https://hc.example/pïng", "expected an address like"),
        ("https://[::1/", "expected an address like"),
    ],
)
def test_an_address_is_https_or_of_this_machine(url: str, sentence: str | None) -> None:
    if sentence is None:
        assert NotifierSettings.load(heartbeat_url=url).heartbeat_url.get_secret_value() == url
        return
    with pytest.raises(UserError, match=sentence) as error:
        NotifierSettings.load(heartbeat_url=url)
    assert "'notifier.heartbeat_url' has the value '(secret)'" in str(error.value)
    assert "otter" not in str(error.value)


def test_its_address_is_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = tmp_path / "url"
    held.write_text("https://hc.example/ping/otter\n", encoding="utf-8")
    monkeypatch.setenv("TILLWATCH_NOTIFIER_HEARTBEAT_URL_FILE", str(held))
    settings = NotifierSettings.load()
    assert "otter" not in repr(settings)
    assert Redactor(*settings.logins())("it was https://hc.example/ping/otter") == "it was (hidden)"


# ---- whether somebody would be told


@pytest.mark.parametrize("part", ["data", "ledger", "slack"])
def test_a_part_that_is_not_ready_withholds_it(desk: Desk, part: str) -> None:
    assert why_not(desk, WELL, None) is None
    assert why_not(desk, {**WELL, part: "no answer."}, None) == f"{part}: no answer."


def test_data_that_is_too_old_to_judge_withholds_it(desk: Desk) -> None:
    fresh = Freshness(desk.dremio, timedelta(seconds=75), desk.clock, desk.monotonic)
    desk.dremio.publish(desk.now)
    fresh.look(None)
    fresh.verdict()
    assert why_not(desk, WELL, fresh.error) is None
    desk.now += timedelta(seconds=80)
    fresh.look(None)
    fresh.verdict()
    assert why_not(desk, WELL, fresh.error) == ("alerts: Ingest is down, or cannot read: nothing new is published.")
    desk.dremio.publish(desk.now)
    desk.now += timedelta(seconds=5)
    fresh.look(None)
    fresh.verdict()
    assert why_not(desk, WELL, fresh.error) is None


def test_a_parked_place_withholds_it_until_it_is_mended(desk: Desk) -> None:
    desk.channel.always = Broken("Slack refuses: invalid_auth.", whole=True)
    desk.fatal("inc-1")
    desk.publish()
    assert why_not(desk, WELL, None) == "slack (all): Slack refuses: invalid_auth."
    desk.channel.always = None
    desk.run(timedelta(seconds=31))
    assert why_not(desk, WELL, None) is None


def test_a_pause_while_somebody_has_to_mend_something_keeps_nothing_from_going_out_after_it(desk: Desk) -> None:
    desk.channel.answers = [
        Broken("Slack refuses: invalid_auth.", whole=True),
        Retry("Slack limits the rate.", 5.0),
        Sent("ts-1"),
    ]
    desk.fatal("inc-1", service="payments")
    desk.fatal("inc-2", service="cart")
    desk.publish()
    desk.run(timedelta(minutes=2))
    assert len(desk.channel.posts) == 2
    assert desk.ledger.outbox.parked() == []


@pytest.mark.parametrize(
    ("case", "answer", "overdue"),
    [
        ("told", None, []),
        ("tried again and again", Retry("Slack does not answer."), [SLACK]),
        ("waits for somebody to mend something", Broken("Slack refuses: not_in_channel."), [SLACK]),
        ("given up, and told to nobody else", Dead("No such address."), [SLACK]),
    ],
)
def test_an_incident_that_somebody_was_not_told_of_for_five_minutes_is_overdue_until_it_ends(
    desk: Desk, case: str, answer: Outcome | None, overdue: list[Target]
) -> None:
    desk.channel.always = answer
    desk.fatal("inc-1")
    desk.publish()
    desk.run(LATE - timedelta(seconds=2))
    assert late(desk) == []
    desk.run(timedelta(seconds=2))
    found = late(desk)
    assert [(one.incident.incident_id, one.target, one.since_ms) for one in found] == [
        ("inc-1", target, to_ms(NOON)) for target in overdue
    ], case
    desk.resolved("inc-1")
    desk.publish()
    assert late(desk) == []


def test_it_says_which_incident_is_overdue_and_how_often(desk: Desk) -> None:
    desk.channel.always = Retry("Slack does not answer.")
    desk.fatal("inc-1")
    desk.publish()
    desk.fatal("inc-2")
    desk.publish()
    desk.run(LATE + MINUTE)
    said = why_not(desk, WELL, None)
    assert said == "2 times somebody was not told in time, first of the incident inc-1."


def test_what_died_at_one_place_withholds_it_though_another_was_told_as_long_as_reconcile_says_so(
    tmp_path: Path,
) -> None:
    class OneDead(Friend):
        def send(self, destination: str, note: Notification) -> Outcome:
            return Dead("No such address.") if destination == "C0GONE" else super().send(destination, note)

    places = ("C0OPS", "C0GONE")
    desk = Desk(tmp_path, OneDead(destinations=places), router=router(MUTED, {"slack": places}))
    for incident in ("inc-1", "inc-2"):
        desk.fatal(incident)
    desk.publish()
    desk.now += LATE

    def by_reconcile() -> list[tuple[str, Target]]:
        look_at = partial(look, desk.ledger.file._path)
        missing = reconcile(
            look_at, (), desk.planner._router, desk.ledger.manners, clock=desk.clock, sleep=lambda _: None
        )
        return [(one.incident.incident_id, one.target) for one in missing.untold]

    gone = [("inc-1", Target("slack", "C0GONE")), ("inc-2", Target("slack", "C0GONE"))]
    assert sorted(by_reconcile(), key=str) == gone
    assert why_not(desk, WELL, None) == "2 times somebody was not told in time, first of the incident inc-1."
    for incident in ("inc-1", "inc-2"):
        desk.resolved(incident)
    desk.publish()
    assert (by_reconcile(), why_not(desk, WELL, None)) == ([], None)
    desk.close()


def test_a_step_that_waits_is_overdue_though_its_thread_was_told(desk: Desk) -> None:
    desk.fatal("inc-1")
    desk.publish()
    [incident] = desk.ledger.incidents()
    alert = desk.ledger.alert(incident.newest_alert)
    desk.channel.always = Retry("Slack does not answer.")
    here = desk.planner._router.decide(alert, desk.planner.surroundings())
    desk.ledger.plan(
        (),
        (),
        lambda board: board.escalate(alert, board.incidents["inc-1"], 1, here, None),
        desk.clock(),
        incident_ids=["inc-1"],
    )
    desk.run(LATE)
    assert [one.target for one in late(desk)] == [SLACK]


MUTED = """
times: [{name: always, hours: ["00:00-24:00"]}]
routes:
  - {name: quiet, when: [service_name = nightly], to: [slack], mute: [always]}
  - {name: nowhere, when: [service_name = nowhere], to: []}
  - {name: slow, when: [service_name = slow], to: [slack], wait: 10 min}
  - {name: all, to: [slack]}
"""


@pytest.mark.parametrize("service", ["nightly", "nowhere", "slow", "silent", "old"])
def test_what_is_muted_or_not_due_is_not_overdue(tmp_path: Path, service: str) -> None:
    desk = Desk(tmp_path, Friend(), router=router(MUTED, {"slack": ("C0OPS",)}))
    desk.ledger.people.silence(_silence("service_name = silent"))
    desk.fatal("inc-1", service=service, at=NOON - timedelta(hours=2 if service == "old" else 0))
    desk.publish()
    desk.now += LATE
    assert late(desk) == []
    desk.close()


def _silence(matcher: str) -> Silence:
    return Silence("s1", (parse_matcher(matcher),), "known", ADA.name, NOON + timedelta(hours=1), NOON)


def test_one_that_its_mute_has_left_behind_is_overdue_when_its_message_died(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Friend(), router=router(MUTED, {"slack": ("C0OPS",)}))
    desk.ledger.people.silence(_silence("service_name = payments"))
    desk.fatal("inc-1")
    desk.publish()
    desk.channel.always = Dead("No such address.")
    desk.now += timedelta(hours=1, seconds=1)
    desk.planner.unmute()
    desk.work()
    assert [one.target for one in late(desk)] == [SLACK]
    desk.close()


# ---- in the daemon


def test_without_a_channel_or_a_look_it_is_withheld_and_the_state_says_so(
    desk: Desk, switch: Switch, tmp_path: Path
) -> None:
    routing = fatal_to({}).routing
    nobody = Daemon(a_config([], routing, heartbeat_url=switch.url), desk.dremio, desk.ledger)
    nobody.heartbeat.turn()
    assert nobody.heartbeat.error == "No channel is set up."
    daemon = Daemon(a_config([desk.channel], routing, heartbeat_url=switch.url), desk.dremio, desk.ledger)
    tokens = Tokens(tmp_path)
    bearer = {"Authorization": f"Bearer {tokens.secret_of('reader')}"}
    api = TestClient(create_app(daemon, tokens), base_url="http://localhost", headers=bearer)
    daemon.heartbeat.turn()
    assert api.get("/api/state").json()["heartbeat"] == "data: not asked yet"
    desk.dremio.publish(datetime.now(UTC))
    daemon.cycle()
    daemon.senders["slack"].access.check()
    assert switch.asked == []
    daemon.heartbeat.turn()
    assert api.get("/api/state").json()["heartbeat"] is None
    assert switch.asked == ["/ping/otter"]
    # Nor does it make the daemon unready.
    switch.answers = [500]
    daemon.heartbeat.turn()
    assert api.get("/api/state").json()["heartbeat"] == "The address answered 500."
    assert api.get("/-/ready").status_code == 200


def test_the_gauges_say_what_is_overdue_parked_and_open(desk: Desk) -> None:
    daemon = a_daemon(desk)
    desk.now = datetime.now(UTC) - LATE
    desk.channel.always = Broken("Slack refuses: not_in_channel.")
    desk.fatal("inc-1")
    desk.publish()
    daemon.refresh_metrics()
    value = daemon.metrics.registry.get_sample_value
    assert value("tillwatch_notifier_overdue") == 1
    for place, why, left in (("C0OPS", "broken", 1), ("C0OPS", "rate", 0), ("*", "broken", 0)):
        labels = {"channel": "slack", "destination": place, "why": why}
        assert value("tillwatch_notifier_parked_places", labels) == left
    assert value("tillwatch_notifier_incidents_open", {"severity": "FATAL"}) == 1
    assert value("tillwatch_notifier_threads_open", {"channel": "slack", "kind": "group"}) == 1
    assert value("tillwatch_notifier_deliveries", {"channel": "slack", "state": "parked"}) == 1
    assert value("tillwatch_notifier_open", {"channel": "slack"}) == 1


def test_a_running_notifier_falls_silent_while_slack_is_away_and_speaks_again_once_it_is_back(
    switch: Switch, tmp_path: Path
) -> None:
    with cast_of(tmp_path / "data", NOTIFIER_HEARTBEAT_URL=switch.url, NOTIFIER_HEARTBEAT_EVERY="1 s") as cast:
        cast.dremio.publish(datetime.now(UTC))
        cast.start("embedded.sandbox")
        cast.start("notifier")
        wait_for(lambda: len(switch.asked) >= 2)
        cast.kill("embedded.sandbox")
        cast.dremio.alert(datetime.now(UTC), "inc-1", description="Fatal error in service: payments - inc-1")
        cast.dremio.publish(datetime.now(UTC))
        withheld = 'tillwatch_notifier_heartbeats_total{result="withheld"}'
        first = wait_for(lambda: cast.metric(withheld))
        before = len(switch.asked)
        wait_for(lambda: cast.metric(withheld) >= first + 2)
        assert len(switch.asked) == before
        cast.start("embedded.sandbox")
        cast.dremio.publish(datetime.now(UTC))
        wait_for(lambda: len(switch.asked) > before)
        assert cast.log().count("heartbeat: withheld, ") >= 1
        assert switch.url not in cast.log()
