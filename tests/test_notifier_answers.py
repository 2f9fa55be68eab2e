"""What the other side may answer: the state that a delivery ends in, what was asked of the other side, and how many
seconds later it is tried again. One table a channel, over a real server on this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from notifier.attempts import PROBE_S
from notifier.channel import Broken, Channel
from notifier.channels.pagerduty import LIMITED_S
from notifier.channels.webhook import Webhook
from notifier.http import RETRY_AFTER_CAP_S
from notifier.ledger.ledger import Ledger
from notifier.model import MessageKind
from tests.channel_cast import NOTE, OK, Answer, MailServer, Script, Teller, no, reply
from tests.test_notifier import an_alert

SETTLE_S = 20.0
"""Of the Slack of these tests; what it may have taken is looked up after it."""
BACKOFF_S = 1.0
"""Before the second attempt, by the dice of these tests."""
CAP_S = RETRY_AFTER_CAP_S
CUT: Answer = None


@pytest.fixture(scope="module")
def running() -> Iterator[Script]:
    opened = Script()
    yield opened
    opened.close()


@pytest.fixture
def script(running: Script) -> Script:
    running.clear()
    return running


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Channel], Teller]]:
    """One ledger for all of them: what takes time is to make one."""
    ledger = Ledger(tmp_path_factory.mktemp("answers") / "ledger.db")
    yield partial(Teller, ledger)
    ledger.close()


def limited(retry_after: str | None = None) -> Answer:
    return no("ratelimited", 429, **({} if retry_after is None else {"Retry_After": retry_after}))


IN_A_MINUTE = "Mon, 02 Mar 2026 12:01:00 GMT"

SLACK: list[tuple[list[Answer], str, int, float | None]] = [
    # Taken.
    ([OK], "sent", 1, None),
    ([no("invalid_blocks"), OK], "sent", 2, None),
    ([no("invalid_blocks_format"), OK], "sent", 2, None),
    ([no("msg_too_long"), OK], "sent", 2, None),
    ([no("msg_blocks_too_long"), OK], "sent", 2, None),
    # Perhaps taken.
    ([CUT], "unknown", 1, SETTLE_S),
    ([(200, {}, '{"ok": true}')], "unknown", 1, SETTLE_S),
    ([(200, {}, '{"ok": tr')], "unknown", 1, SETTLE_S),
    ([(200, {}, "")], "unknown", 1, SETTLE_S),
    ([(200, {}, "<html>a proxy</html>")], "unknown", 1, SETTLE_S),
    ([(500, {}, "oops")], "unknown", 1, SETTLE_S),
    ([(502, {}, "<html>")], "unknown", 1, SETTLE_S),
    ([no("service_unavailable", 503)], "unknown", 1, SETTLE_S),
    ([(504, {}, "")], "unknown", 1, SETTLE_S),
    ([no("internal_error")], "unknown", 1, SETTLE_S),
    ([no("fatal_error")], "unknown", 1, SETTLE_S),
    ([no("request_timeout")], "unknown", 1, SETTLE_S),
    ([no("invalid_blocks"), CUT], "unknown", 2, SETTLE_S),
    # Later.
    ([limited("30")], "retry", 1, 30.0),
    ([limited("1.5")], "retry", 1, 1.5),
    ([limited(IN_A_MINUTE)], "retry", 1, 60.0),
    ([limited("Mon, 02 Mar 2026 11:00:00 GMT")], "retry", 1, 0.2),
    ([limited("86400")], "retry", 1, CAP_S),
    ([limited("inf")], "retry", 1, CAP_S),
    ([limited("0")], "retry", 1, 0.2),
    ([limited("0.4")], "retry", 1, 0.4),
    ([limited("-5")], "retry", 1, 0.2),
    ([limited("soon")], "retry", 1, 1.0),
    ([limited("")], "retry", 1, 1.0),
    ([limited()], "retry", 1, 1.0),
    ([(429, {"Retry-After": "7"}, "<html>")], "retry", 1, 7.0),
    ([no("rate_limited")], "retry", 1, 1.0),
    ([no("message_limit_exceeded")], "retry", 1, 1.0),
    ([no("invalid_blocks"), limited("9")], "retry", 2, 9.0),
    ([(308, {}, "")], "retry", 1, BACKOFF_S),
    ([(400, {}, "<html>")], "retry", 1, BACKOFF_S),
    ([(403, {}, "<html>")], "retry", 1, BACKOFF_S),
    ([(404, {}, "not here")], "retry", 1, BACKOFF_S),
    ([(407, {}, "<html>")], "retry", 1, BACKOFF_S),
    ([(413, {}, "<html>")], "retry", 1, BACKOFF_S),
    # Somebody has to mend it.
    ([no("invalid_auth")], "parked", 1, PROBE_S),
    ([no("token_revoked")], "parked", 1, PROBE_S),
    ([no("account_inactive")], "parked", 1, PROBE_S),
    ([no("missing_scope")], "parked", 1, PROBE_S),
    ([no("channel_not_found")], "parked", 1, PROBE_S),
    ([no("not_in_channel")], "parked", 1, PROBE_S),
    ([no("is_archived")], "parked", 1, PROBE_S),
    ([no("restricted_action")], "parked", 1, PROBE_S),
    ([no("a_code_of_next_year")], "parked", 1, PROBE_S),
    ([no("invalid_auth", 401)], "parked", 1, PROBE_S),
    # Never: it is refused however plain it is.
    ([no("invalid_blocks"), no("invalid_blocks")], "dead", 2, None),
    ([no("msg_too_long"), no("msg_too_long")], "dead", 2, None),
]


@pytest.mark.parametrize(("answers", "state", "requests", "wait_s"), SLACK)
def test_what_slack_answers(
    script: Script,
    telling: Callable[[Channel], Teller],
    answers: list[Answer],
    state: str,
    requests: int,
    wait_s: float | None,
) -> None:
    teller = telling(script.slack())
    teller.fires(an_alert())
    script.answers = list(answers)
    assert (*teller.tell(), len(script.asked)) == (state, wait_s, requests)
    if len(answers) == 2:
        assert ["blocks" in message for message in script.said] == [True, False]


@pytest.mark.parametrize(
    ("answers", "state", "methods", "wait_s"),
    [
        ([OK], "sent", ["update"], None),
        # Nothing is looked up: an edit that comes twice is the same edit.
        ([CUT], "retry", ["update"], BACKOFF_S),
        ([no("internal_error")], "retry", ["update"], BACKOFF_S),
        ([limited("30")], "retry", ["update"], 30.0),
        ([no("invalid_blocks"), OK], "sent", ["update", "update"], None),
        # The root is gone: a new one at once.
        ([no("message_not_found"), OK], "sent", ["update", "postMessage"], None),
        # This edit alone is refused, and what else there is to tell is told.
        ([no("edit_window_closed")], "dead", ["update"], None),
        ([no("cant_update_message")], "dead", ["update"], None),
        ([no("not_in_channel")], "parked", ["update"], PROBE_S),
    ],
)
def test_what_slack_answers_to_an_edit(
    script: Script,
    telling: Callable[[Channel], Teller],
    answers: list[Answer],
    state: str,
    methods: list[str],
    wait_s: float | None,
) -> None:
    teller, alert = telling(script.slack()), an_alert()
    teller.fires(alert)
    teller.tell()
    teller.plan(alert, lambda board: board.said(alert, board.incidents[alert.incident_id]))
    teller.now_ms += 5_000
    script.clear()
    script.answers = list(answers)
    assert teller.tell() == (state, wait_s)
    assert [asked.path.rpartition(".")[2] for asked in script.asked] == methods
    if state == "dead":
        teller.fires(replace(alert, alert_id="a2", incident_id="inc-2"))
        teller.tell()
        assert [row.state for row in teller.ledger.deliveries() if row.kind is MessageKind.JOINED] == ["sent"]


@pytest.mark.parametrize("code", ["thread_not_found", "message_not_found", "cannot_reply_to_message"])
def test_of_a_thread_that_is_gone_the_next_message_begins_another(
    script: Script, telling: Callable[[Channel], Teller], code: str
) -> None:
    teller, alert = telling(script.slack()), an_alert()
    teller.fires(alert)
    teller.tell()
    over = replace(alert, alert_id="a2", status="RESOLVED")
    teller.plan(over, lambda board: board.resolve(over))
    script.clear()
    script.answers = [no(code), OK]
    teller.tell()
    assert [row.state for row in teller.ledger.deliveries() if row.kind is MessageKind.RESOLVED] == ["sent"]
    assert [message.get("thread_ts") for message in script.said] == ["1.000001", None]


LOGIN: dict[str, Any] = {"user": "u", "password": "p"}

SMTP: list[tuple[dict[str, str | None], str, str, float | None]] = [
    # Taken.
    ({}, "sent", "EHLO MAIL RCPT DATA QUIT", None),
    ({"RCPT": "251 will forward"}, "sent", "EHLO MAIL RCPT DATA QUIT", None),
    ({"EHLO": "502 what is that", "HELO": "250 mail"}, "sent", "EHLO HELO MAIL RCPT DATA QUIT", None),
    ({"QUIT": None}, "sent", "EHLO MAIL RCPT DATA QUIT", None),
    ({".": "252 perhaps"}, "sent", "EHLO MAIL RCPT DATA QUIT", None),
    # Perhaps taken; there is nowhere to look, so it goes again soon.
    ({".": None}, "unknown", "EHLO MAIL RCPT DATA", 1.0),
    ({".": "what?"}, "unknown", "EHLO MAIL RCPT DATA", 1.0),
    ({"DATA": None}, "unknown", "EHLO MAIL RCPT DATA", 1.0),
    # Later.
    ({"connect": None}, "retry", "", BACKOFF_S),
    ({"connect": "421 4.3.2 shutting down"}, "retry", "", BACKOFF_S),
    ({"EHLO": None}, "retry", "EHLO", BACKOFF_S),
    ({"HELO": "421 4.3.2 busy", "EHLO": "421 4.3.2 busy"}, "retry", "EHLO HELO", BACKOFF_S),
    ({"MAIL": None}, "retry", "EHLO MAIL", BACKOFF_S),
    ({"MAIL": "451 4.3.0 later"}, "retry", "EHLO MAIL", BACKOFF_S),
    ({"MAIL": "452 4.3.1 full"}, "retry", "EHLO MAIL", BACKOFF_S),
    ({"RCPT": None}, "retry", "EHLO MAIL RCPT", BACKOFF_S),
    ({"RCPT": "450 4.2.1 mailbox busy"}, "retry", "EHLO MAIL RCPT", BACKOFF_S),
    ({"RCPT": "451 4.7.1 greylisted"}, "retry", "EHLO MAIL RCPT", BACKOFF_S),
    ({"RCPT": "421 4.7.0 too many"}, "retry", "EHLO MAIL RCPT", BACKOFF_S),
    ({"DATA": "451 4.3.0 later"}, "retry", "EHLO MAIL RCPT DATA", BACKOFF_S),
    ({".": "452 4.3.1 full"}, "retry", "EHLO MAIL RCPT DATA", BACKOFF_S),
    # Somebody has to mend it.
    ({"connect": "554 5.7.1 blocked"}, "parked", "", PROBE_S),
    ({"EHLO": "550 5.7.1 go away", "HELO": "550 5.7.1 go away"}, "parked", "EHLO HELO", PROBE_S),
    ({"MAIL": "530 5.7.0 must issue STARTTLS first"}, "parked", "EHLO MAIL", PROBE_S),
    ({"MAIL": "550 5.1.8 sender unknown"}, "parked", "EHLO MAIL", PROBE_S),
    ({"RCPT": "550 5.7.1 relay denied"}, "parked", "EHLO MAIL RCPT", PROBE_S),
    ({"RCPT": "550 relaying denied"}, "parked", "EHLO MAIL RCPT", PROBE_S),
    ({"RCPT": "552 5.2.2 mailbox full"}, "parked", "EHLO MAIL RCPT", PROBE_S),
    ({"DATA": "554 5.6.0 not today"}, "parked", "EHLO MAIL RCPT DATA", PROBE_S),
    ({".": "554 5.7.1 looks like spam"}, "parked", "EHLO MAIL RCPT DATA", PROBE_S),
    # Never: there is no such address.
    ({"RCPT": "550 5.1.1 no such mailbox"}, "dead", "EHLO MAIL RCPT", None),
    ({"RCPT": "550 5.1.2 no such host"}, "dead", "EHLO MAIL RCPT", None),
    ({"RCPT": "553 5.1.3 no address"}, "dead", "EHLO MAIL RCPT", None),
    ({"RCPT": "551 5.1.6 moved"}, "dead", "EHLO MAIL RCPT", None),
    ({"RCPT": "556 5.1.10 null MX"}, "dead", "EHLO MAIL RCPT", None),
]
LOGINS: list[tuple[dict[str, str | None], dict[str, Any], str, str, float | None]] = [
    ({"AUTH": "235 in"}, LOGIN, "sent", "EHLO AUTH MAIL RCPT DATA QUIT", None),
    ({"AUTH": "454 4.7.0 later"}, LOGIN, "retry", "EHLO AUTH", BACKOFF_S),
    ({"AUTH": None}, LOGIN, "retry", "EHLO AUTH", BACKOFF_S),
    ({"AUTH": "535 5.7.8 wrong"}, LOGIN, "parked", "EHLO AUTH", PROBE_S),
    ({"AUTH": "534 5.7.9 too weak"}, LOGIN, "parked", "EHLO AUTH", PROBE_S),
    ({"AUTH": "538 5.7.11 encrypt"}, LOGIN, "parked", "EHLO AUTH", PROBE_S),
    ({"STARTTLS": "454 4.7.0 no TLS now"}, {"security": "starttls"}, "retry", "EHLO STARTTLS", BACKOFF_S),
    ({"STARTTLS": None}, {"security": "starttls"}, "retry", "EHLO STARTTLS", BACKOFF_S),
    ({"STARTTLS": "554 5.7.3 no TLS"}, {"security": "starttls"}, "parked", "EHLO STARTTLS", PROBE_S),
    # It says yes, and then speaks no TLS.
    ({"STARTTLS": "220 go on\r\n220 and on"}, {"security": "starttls"}, "retry", "EHLO STARTTLS", BACKOFF_S),
]


@pytest.mark.parametrize(
    ("answers", "values", "state", "steps", "wait_s"),
    [*((answers, {}, state, steps, wait_s) for answers, state, steps, wait_s in SMTP), *LOGINS],
)
def test_what_a_mail_server_answers(
    telling: Callable[[Channel], Teller],
    answers: dict[str, str | None],
    values: dict[str, Any],
    state: str,
    steps: str,
    wait_s: float | None,
) -> None:
    features = ("STARTTLS",) if "security" in values else ("AUTH PLAIN",)
    server = MailServer(features, answers)
    teller = telling(server.email(**values))
    teller.fires(an_alert())
    try:
        assert teller.tell() == (state, wait_s)
    finally:
        server.close()
    assert server.steps.startswith(steps)
    assert state == "sent" or "QUIT" not in server.steps
    (row,) = teller.ledger.deliveries()
    refusal = next(iter(answers.values()), None)
    if state in ("retry", "parked", "dead") and refusal and not refusal.startswith("220"):
        assert refusal.split(" ", 1)[1] in str(row.error)


WRONG_KEY = '{"status": "invalid event", "message": "Event object is invalid", "errors": ["Invalid routing key"]}'

PAGERDUTY: list[tuple[Answer, str, float | None, str | None]] = [
    (reply(202, '{"status": "success"}'), "sent", None, None),
    (reply(202, "<html>"), "sent", None, None),
    # Not PagerDuty, whoever it is.
    (reply(200, "<html>Sign in</html>"), "unknown", 1.0, "PagerDuty answered 200: <html>Sign in</html>."),
    (reply(204), "unknown", 1.0, "PagerDuty answered 204."),
    (CUT, "unknown", 1.0, "PagerDuty's answer was lost: Remote end closed connection without response."),
    (reply(400, WRONG_KEY), "parked", PROBE_S, f"PagerDuty answered 400: {WRONG_KEY}."),
    (reply(401), "parked", PROBE_S, "PagerDuty answered 401."),
    (reply(403, "Forbidden."), "parked", PROBE_S, "PagerDuty answered 403: Forbidden."),
    (reply(404), "parked", PROBE_S, "PagerDuty answered 404."),
    (reply(413), "parked", PROBE_S, "PagerDuty answered 413."),
    (reply(408), "retry", BACKOFF_S, "PagerDuty answered 408."),
    (reply(429, "slow down"), "retry", LIMITED_S, "PagerDuty answered 429: slow down."),
    (reply(429, Retry_After="7"), "retry", 7.0, "PagerDuty answered 429."),
    (reply(429, Retry_After="2.5"), "retry", 2.5, "PagerDuty answered 429."),
    (reply(429, Retry_After=IN_A_MINUTE), "retry", 60.0, "PagerDuty answered 429."),
    (reply(429, Retry_After="99999"), "retry", CAP_S, "PagerDuty answered 429."),
    (reply(500, "oops"), "retry", BACKOFF_S, "PagerDuty answered 500: oops."),
    (reply(502), "retry", BACKOFF_S, "PagerDuty answered 502."),
    (reply(503, Retry_After="11"), "retry", 11.0, "PagerDuty answered 503."),
    (reply(301, Location="/api/"), "parked", PROBE_S, "PagerDuty answered 301, a redirect, which is not followed"),
]

WEBHOOK: list[tuple[Answer, str, float | None, str | None]] = [
    (reply(200, "ok"), "sent", None, None),
    (reply(201), "sent", None, None),
    (reply(202), "sent", None, None),
    (reply(204), "sent", None, None),
    (CUT, "unknown", 1.0, "Webhook ops's answer was lost: Remote end closed connection without response."),
    (reply(400, "bad\nbody"), "parked", PROBE_S, "Webhook ops answered 400: bad body."),
    (reply(401), "parked", PROBE_S, "Webhook ops answered 401."),
    (reply(403), "parked", PROBE_S, "Webhook ops answered 403."),
    (reply(404), "parked", PROBE_S, "Webhook ops answered 404."),
    (reply(405), "parked", PROBE_S, "Webhook ops answered 405."),
    (reply(410), "parked", PROBE_S, "Webhook ops answered 410."),
    (reply(413), "parked", PROBE_S, "Webhook ops answered 413."),
    (reply(422), "parked", PROBE_S, "Webhook ops answered 422."),
    (reply(408), "retry", BACKOFF_S, "Webhook ops answered 408."),
    (reply(429), "retry", 1.0, "Webhook ops answered 429."),
    (reply(429, Retry_After="30"), "retry", 30.0, "Webhook ops answered 429."),
    (reply(429, Retry_After=IN_A_MINUTE), "retry", 60.0, "Webhook ops answered 429."),
    (reply(500), "retry", BACKOFF_S, "Webhook ops answered 500."),
    (reply(503), "retry", BACKOFF_S, "Webhook ops answered 503."),
    (reply(503, Retry_After="5"), "retry", 5.0, "Webhook ops answered 503."),
    *(
        (reply(status, Location="/api/"), "parked", PROBE_S, f"Webhook ops answered {status}, a redirect")
        for status in (301, 302, 303, 307, 308)
    ),
]


@pytest.mark.parametrize(
    ("channel", "answer", "state", "wait_s", "error"),
    [*(("pagerduty", *row) for row in PAGERDUTY), *(("webhook", *row) for row in WEBHOOK)],
)
def test_what_pagerduty_and_a_webhook_answer(
    script: Script,
    telling: Callable[[Channel], Teller],
    channel: str,
    answer: Answer,
    state: str,
    wait_s: float | None,
    error: str | None,
) -> None:
    teller = telling(getattr(script, channel)())
    teller.fires(an_alert())
    script.answers = [answer]
    assert teller.tell() == (state, wait_s)
    # One request, whatever was answered: no redirect is followed, and nothing is tried at once.
    assert [asked.path for asked in script.asked] == [{"pagerduty": "/api/v2/enqueue", "webhook": "/api/hook"}[channel]]
    (row,) = teller.ledger.deliveries()
    assert (row.error or "").startswith(error or "")
    assert bool(row.error) == bool(error)


@pytest.mark.parametrize(("channel", "taken"), [("pagerduty", 202), ("webhook", 200)])
def test_what_may_have_been_taken_goes_again_as_the_same(
    script: Script, telling: Callable[[Channel], Teller], channel: str, taken: int
) -> None:
    teller = telling(getattr(script, channel)())
    teller.fires(an_alert())
    script.answers = [CUT, reply(taken)]
    assert teller.tell() == ("unknown", 1.0)
    teller.now_ms += 1_000
    assert teller.tell() == ("sent", None)
    first, second = script.asked
    (row,) = teller.ledger.deliveries()
    if channel == "pagerduty":
        assert [event["dedup_key"] for event in script.said] == [row.thread_id] * 2
        assert row.receipt == row.thread_id
    else:
        assert first.headers["Tillwatch-Delivery"] == second.headers["Tillwatch-Delivery"] == row.receipt


@pytest.mark.parametrize(
    ("answer", "state"), [(reply(429, Retry_After="60"), "retry"), (reply(400, WRONG_KEY), "parked")]
)
def test_a_service_that_is_limited_or_refused_holds_up_no_other(
    script: Script, telling: Callable[[Channel], Teller], answer: Answer, state: str
) -> None:
    teller = telling(script.pagerduty("shop", "depot"))
    teller.fires(an_alert())
    script.usual = reply(202)
    script.answers = [answer]
    teller.tell()
    assert sorted(row.state for row in teller.ledger.deliveries()) == [state, "sent"]


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ("slack", "Slack does not answer"),
        ("pagerduty", "events: PagerDuty cannot be reached"),
        ("webhook", "Webhook ops does not answer"),
    ],
)
def test_what_nobody_listens_for_is_tried_again_and_not_looked_up(
    telling: Callable[[Channel], Teller], channel: str, said: str
) -> None:
    closed = Script()
    teller = telling(getattr(closed, channel)())
    closed.close()
    teller.fires(an_alert())
    assert teller.tell() == ("retry", BACKOFF_S)
    (row,) = teller.ledger.deliveries()
    assert "cannot be reached: " in str(row.error)
    assert "Connection refused" in str(row.error)
    assert str(teller.sender.channel.check()).startswith(said)


def test_where_no_tls_is_spoken_nothing_is_sent(script: Script, telling: Callable[[Channel], Teller]) -> None:
    webhook = Webhook({"ops": script.url.replace("http:", "https:")}, timeout_s=1.0)
    teller = telling(webhook)
    teller.fires(an_alert())
    assert teller.tell() == ("retry", BACKOFF_S)
    assert script.asked == []


def test_of_an_answer_without_an_end_the_beginning_is_read() -> None:
    whole, sent = 32 << 20, 0

    def endless() -> None:
        nonlocal sent
        taken, _ = server.accept()
        with taken, suppress(OSError):
            taken.recv(1 << 16)
            taken.sendall(b"HTTP/1.1 400 no\r\nContent-Type: text/plain\r\n\r\n")
            while sent < whole:
                sent += taken.send(b"x" * (64 << 10))

    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=endless, daemon=True)
        answering.start()
        webhook = Webhook({"ops": f"http://127.0.0.1:{server.getsockname()[1]}/"}, timeout_s=5.0)
        outcome = webhook.send("ops", NOTE)
        answering.join(10)
    assert outcome == Broken(f"Webhook ops answered 400: {'x' * 199}….")
    assert 0 < sent < whole
