"""What Slack and mail servers may answer, and what the notifier makes of it; and settings a person may get wrong."""

from __future__ import annotations

import json
import socketserver
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from lakehouse.user_error import UserError
from notifier.channel import Absent, Dead, Retry, Sent, Unknown, Unreadable
from notifier.channels.email import Email
from notifier.channels.slack import Slack
from notifier.http import retry_after_s
from notifier.model import MessageKind
from notifier.render import Notification
from notifier.routing.decide import Router, Surroundings
from notifier.settings import NotifierSettings, destinations_of
from tests.test_notifier import an_alert

NOTE = Notification(
    delivery_key="k" * 64,
    kind=MessageKind.FIRST,
    subject="FATAL in payments [abc]",
    title="FATAL in payments",
    body="no answer",
    facts=("12:00:00 UTC",),
    console_url="http://localhost:5006/app?tab=alerts",
    runbook_url=None,
    planned_at=datetime(2026, 3, 2, 12, tzinfo=UTC),
)
OK: tuple[int, dict[str, str], str] = (200, {}, '{"ok": true, "ts": "1.000001"}')


class Script:
    """A Slack that answers as scripted, one answer a call; `asked` is what it was sent. An answer of None drops it."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str], str] | None] = []
        self.asked: list[dict[str, Any]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                script.asked.append(json.loads(body) if body.startswith(b"{") else {"path": self.path})
                answer = script.answers.pop(0) if script.answers else OK
                if answer is None:
                    return
                status, headers, text = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST

            def log_message(self, *_: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/api/"

    def slack(self) -> Slack:
        return Slack(
            "xoxb-1", ("C0OPS",), base_url=self.url, timeout_s=1.0, settle_s=20.0, clock=lambda: 1_772_452_800.0
        )


@pytest.fixture(scope="module")
def running() -> Iterator[Script]:
    opened = Script()
    yield opened
    opened.server.shutdown()


@pytest.fixture
def script(running: Script) -> Script:
    running.answers.clear()
    running.asked.clear()
    return running


def no(code: str, status: int = 200, **headers: str) -> tuple[int, dict[str, str], str]:
    return (
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        f'{{"ok": false, "error": "{code}"}}',
    )


@pytest.mark.parametrize(
    ("answers", "outcome", "requests"),
    [
        ([OK], Sent("1.000001"), 1),
        ([None], Unknown, 1),
        ([no("ratelimited", 429, Retry_After="30")], Retry("Slack limits the rate: ratelimited.", 30.0), 1),
        ([no("ratelimited", 429, Retry_After="1.5")], Retry("Slack limits the rate: ratelimited.", 1.5), 1),
        ([no("ratelimited", 429, Retry_After="Mon, 02 Mar 2026 12:01:00 GMT")], 60.0, 1),
        ([no("ratelimited", 429, Retry_After="86400")], 300.0, 1),
        ([no("ratelimited", 429, Retry_After="soon")], 1.0, 1),
        ([no("ratelimited", 429)], 1.0, 1),
        ([no("message_limit_exceeded")], 1.0, 1),
        ([(500, {}, "oops")], Unknown, 1),
        ([(502, {}, "<html>")], Unknown, 1),
        ([(503, {}, '{"ok": false, "error": "service_unavailable"}')], Unknown, 1),
        ([no("internal_error")], Unknown, 1),
        ([no("fatal_error")], Unknown, 1),
        ([(200, {}, "<html>a proxy</html>")], Unknown, 1),
        ([(200, {}, '{"ok": true}')], Unknown, 1),
        ([no("invalid_auth")], Retry("Slack refuses: invalid_auth."), 1),
        ([no("token_revoked")], Retry("Slack refuses: token_revoked."), 1),
        ([no("account_inactive")], Retry("Slack refuses: account_inactive."), 1),
        ([no("channel_not_found")], Retry("Slack refuses: channel_not_found."), 1),
        ([no("not_in_channel")], Retry("Slack refuses: not_in_channel."), 1),
        ([no("is_archived")], Retry("Slack refuses: is_archived."), 1),
        ([no("restricted_action")], Retry("Slack refuses: restricted_action."), 1),
        ([no("missing_scope")], Retry("Slack refuses: missing_scope."), 1),
        ([no("a_code_of_next_year")], Retry("Slack refuses: a_code_of_next_year."), 1),
        ([(308, {}, "")], Retry("Slack, or a proxy before it, answered 308."), 1),
        ([(400, {}, "<html>")], Retry("Slack, or a proxy before it, answered 400."), 1),
        ([(403, {}, "<html>")], Retry("Slack, or a proxy before it, answered 403."), 1),
        ([(404, {}, "not here")], Retry("Slack, or a proxy before it, answered 404."), 1),
        ([(407, {}, "<html>")], Retry("Slack, or a proxy before it, answered 407."), 1),
        ([(413, {}, "<html>")], Retry("Slack, or a proxy before it, answered 413."), 1),
        ([no("invalid_blocks"), OK], Sent("1.000001"), 2),
        ([no("msg_too_long"), OK], Sent("1.000001"), 2),
        ([no("invalid_blocks"), no("invalid_blocks")], Dead, 2),
    ],
)
def test_what_slack_answers(script: Script, answers: list[Any], outcome: Any, requests: int) -> None:
    script.answers = list(answers)
    got = script.slack().send("C0OPS", NOTE)
    if isinstance(outcome, float):
        assert isinstance(got, Retry)
        assert got.after_s == outcome
    elif isinstance(outcome, type):
        assert isinstance(got, outcome)
    else:
        assert got == outcome
    assert len(script.asked) == requests


def test_a_post_carries_its_key_and_mentions_nobody(script: Script) -> None:
    script.slack().send("C0OPS", NOTE)
    assert script.asked[0]["metadata"]["event_payload"] == {"delivery_key": "k" * 64}
    assert script.asked[0]["link_names"] is False


def test_a_thread_somebody_deleted_is_begun_anew(script: Script) -> None:
    script.answers = [no("thread_not_found"), OK]
    assert script.slack().send("C0OPS", replace(NOTE, root="0.000001")) == Sent("1.000001")
    assert [call.get("thread_ts") for call in script.asked] == ["0.000001", None]


def test_a_slack_nobody_answers_for_is_tried_again_and_not_looked_up() -> None:
    slack = Slack("xoxb-1", ("C0OPS",), base_url="http://127.0.0.1:1/api/", timeout_s=1.0, settle_s=20.0)
    assert isinstance(slack.send("C0OPS", NOTE), Retry)
    assert isinstance(slack.find("C0OPS", "k", None, 0), Unreadable)
    assert "does not answer" in (slack.check() or "")


def test_a_message_is_found_on_the_historys_second_page(script: Script) -> None:
    mine = {"ts": "5.000000", "metadata": {"event_payload": {"delivery_key": "mine"}}}
    first = {"ok": True, "messages": [{"ts": "9.000000"}], "response_metadata": {"next_cursor": "more"}}
    script.answers = [(200, {}, json.dumps(first)), (200, {}, json.dumps({"ok": True, "messages": [mine]}))]
    assert script.slack().find("C0OPS", "mine", None, 1000) == Sent("5.000000")
    script.answers = [(200, {}, json.dumps({"ok": True, "messages": [mine]}))]
    assert script.slack().find("C0OPS", "other", None, 1000) == Absent()


def test_a_limited_history_tells_how_long(script: Script) -> None:
    script.answers = [no("ratelimited", 429, Retry_After="7")]
    found = script.slack().find("C0OPS", "k", None, 0)
    assert isinstance(found, Unreadable)
    assert found.after_s == 7.0


@pytest.mark.parametrize(("header", "seconds"), [("nan", 300.0), ("-5", 0.5), ("inf", 300.0), ("0", 0.5), (None, 1.0)])
def test_retry_after_is_never_more_than_five_minutes_or_nothing(header: str | None, seconds: float) -> None:
    assert retry_after_s(header, 0.0) == seconds


def test_a_line_break_in_a_subject_cannot_add_a_header() -> None:
    mail = Email("h", 25, "a@b.example", ("c@d.example",))
    raw = mail._mail("c@d.example", replace(NOTE, subject="x\nBcc: evil@e.example")).as_bytes()
    assert raw.startswith(b"Subject: x Bcc: evil@e.example\n")
    assert b"\nBcc:" not in raw


def test_a_proxy_that_opens_no_way_to_slack_took_nothing(script: Script) -> None:
    slack = script.slack()
    slack._client.base_url = "https://slack.invalid/api/"
    slack._client.proxy = script.url.removesuffix("/api/")
    outcome = slack.send("C0OPS", NOTE)
    assert isinstance(outcome, Retry)
    assert "Tunnel connection failed" in outcome.error


class MailServer:
    """A mail server of a few lines: `features` after EHLO, and an answer for each command it does not just take."""

    def __init__(self, features: tuple[str, ...] = (), answers: dict[str, str] | None = None) -> None:
        self.heard: list[str] = []
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 mail\r\n")
                for raw in self.rfile:
                    line = raw.decode().strip()
                    server.heard.append(line)
                    word = line.split(" ")[0].upper()
                    taken = (
                        "".join(f"250-{name}\r\n" for name in ("mail", *features)) + "250 OK"
                        if word == "EHLO"
                        else "250 OK"
                    )
                    self.wfile.write(((answers or {}).get(word, taken) + "\r\n").encode())

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def email(self, **values: Any) -> Email:
        port = self.server.server_address[1]
        options: dict[str, Any] = {"security": "none", "timeout_s": 5.0, **values}
        return Email("127.0.0.1", port, "a@b.example", ("c@d.example",), **options)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def mail_server() -> Iterator[Callable[..., MailServer]]:
    opened: list[MailServer] = []

    def start(*arguments: Any) -> MailServer:
        opened.append(MailServer(*arguments))
        return opened[-1]

    yield start
    for server in opened:
        server.close()


@pytest.mark.parametrize(
    ("command", "answer", "outcome"),
    [
        ("RCPT", "550 5.1.1 no such mailbox", Dead),
        ("RCPT", "550 5.7.1 relay denied", Retry),
        ("RCPT", "550 relaying denied", Retry),
        ("RCPT", "554 5.7.1 blocked", Retry),
        ("RCPT", "451 4.7.1 greylisted", Retry),
        ("MAIL", "530 5.7.0 must issue STARTTLS first", Retry),
        ("MAIL", "550 5.1.8 sender unknown", Retry),
        ("DATA", "554 5.6.0 not today", Retry),
    ],
)
def test_only_an_address_that_does_not_exist_is_dead(
    mail_server: Callable[..., MailServer], command: str, answer: str, outcome: type
) -> None:
    server = mail_server((), {command: answer})
    got = server.email().send("c@d.example", NOTE)
    assert isinstance(got, outcome)
    assert answer.split(" ", 1)[1] in str(got)


@pytest.mark.parametrize("answer", ["535 5.7.8 wrong", "534 5.7.9 too weak", "538 5.7.11 encrypt", "454 4.7.0 later"])
def test_a_refused_login_is_tried_again(mail_server: Callable[..., MailServer], answer: str) -> None:
    server = mail_server(("AUTH PLAIN",), {"AUTH": answer})
    got = server.email(user="u", password="p").send("c@d.example", NOTE)
    assert got == Retry(f"Mail server refuses the login: {answer}.")


@pytest.mark.parametrize(
    ("features", "values", "sentence"),
    [
        ((), {"security": "starttls"}, "offers no STARTTLS, and nothing is sent without it."),
        ((), {"user": "u", "password": "p"}, "offers no login, but notifier.smtp_user is set."),
        (("AUTH LOGIN",), {"user": "u", "password": "pä"}, "offers no AUTH PLAIN"),
    ],
)
def test_what_a_mail_server_does_not_offer_is_said_by_its_name(
    mail_server: Callable[..., MailServer], features: tuple[str, ...], values: dict[str, str], sentence: str
) -> None:
    email = mail_server(features).email(**values)
    got = email.send("c@d.example", NOTE)
    assert isinstance(got, Retry)
    assert sentence in got.error
    assert email.check() == got.error


def test_a_password_that_is_not_ascii_logs_in_and_sends(mail_server: Callable[..., MailServer]) -> None:
    server = mail_server(("AUTH CRAM-MD5 PLAIN",), {"AUTH": "235 in", "DATA": "354 go"})
    email = server.email(user="jürgen", password="pässwörd€")
    assert email.check() is None
    (heard,) = [line for line in server.heard if line.startswith("AUTH")]
    assert b64decode(heard.removeprefix("AUTH PLAIN ")).decode() == "\0jürgen\0pässwörd€"


def test_a_token_shows_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_NOTIFIER_SLACK_TOKEN", "xoxb-very-secret")
    monkeypatch.setenv("TILLWATCH_NOTIFIER_SMTP_PASSWORD", "very-secret")
    shown = repr(NotifierSettings.load())
    assert "very-secret" not in shown


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"SLACK_TOKEN": "xoxb-1"}, "'notifier.slack_token' is given but 'notifier.slack_channel' is not"),
        ({"SLACK_CHANNEL": "C0OPS"}, "TILLWATCH_NOTIFIER_SLACK_TOKEN"),
        ({"SLACK_TOKEN": "x", "SLACK_CHANNEL": "#ops"}, "'#ops': expected a channel's id"),
        ({"SMTP_HOST": "mail"}, "email_from"),
        ({"SMTP_HOST": "mail", "EMAIL_FROM": "a@b.c"}, "email_to"),
        ({"EMAIL_TO": "a@b.c"}, "smtp_host"),
        ({"EMAIL_TO": "alice"}, "'alice' is no address"),
        ({"SMTP_USER": "u"}, "smtp_password"),
        ({"SMTP_SECURITY": "ssl"}, "starttls"),
        ({"POLL_S": "5 s"}, "'notifier.poll_s' has the value '5 s'"),
        ({"POLL_S": "-1"}, "greater than or equal to 0"),
        ({"SETTLE": "20"}, "expected a number with a unit"),
        ({"TIMEZONE": "Berlin"}, "IANA"),
        ({"SLACK_BASE_URL": "slack.com"}, "ends in a slash"),
        ({"CONSOLE_URL": "localhost"}, "http://HOST:PORT/app"),
        ({"POLS": "1"}, "Unknown setting TILLWATCH_NOTIFIER_POLS"),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], sentence: str
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"TILLWATCH_NOTIFIER_{name}", value)
    with pytest.raises(UserError) as error:
        NotifierSettings.load().check()
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_the_routes_of_the_repository_reach_every_channel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLACK_TOKEN": "xoxb-1",
        "SLACK_CHANNEL": "C0OPS",
        "SMTP_HOST": "mail",
        "EMAIL_FROM": "a@b.example",
        "EMAIL_TO": "x@b.example, y@b.example,x@b.example",
    }.items():
        monkeypatch.setenv(f"TILLWATCH_NOTIFIER_{name}", value)
    settings = NotifierSettings.load()
    settings.check()
    channels = settings.open_channels()
    router = Router(settings.load_routes(channels), destinations_of(channels))
    around = Surroundings(datetime.now(UTC), lambda alert: False)
    found = [decision.target for decision in router.decide(an_alert(), around)]
    assert [(target.channel, target.destination) for target in found] == [
        ("slack", "C0OPS"),
        ("email", "x@b.example"),
        ("email", "y@b.example"),
    ]
