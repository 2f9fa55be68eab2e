"""What Slack and mail servers are told and asked, and settings of channels that a person may get wrong."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from lakehouse.user_error import UserError
from notifier.channel import Absent, Broken, Retry, Sent, Sought, Unreadable
from notifier.channels.email import Email
from notifier.channels.slack import Slack
from notifier.channels.webhook import Webhook
from notifier.routing.decide import Router, Surroundings
from notifier.settings import NotifierSettings, destinations_of
from tests.channel_cast import KEY, NOTE, OK, MailServer, Script, no
from tests.test_notifier import an_alert


@pytest.fixture(scope="module")
def running() -> Iterator[Script]:
    opened = Script()
    yield opened
    opened.close()


@pytest.fixture
def script(running: Script) -> Script:
    running.clear()
    return running


def test_a_post_carries_its_key_and_mentions_nobody(script: Script) -> None:
    script.slack().send("C0OPS", NOTE)
    assert script.said[0]["metadata"]["event_payload"] == {"delivery_key": "k" * 64}
    assert script.said[0]["link_names"] is False


def test_an_edit_takes_the_place_of_the_root_and_a_broadcast_is_seen_in_the_channel(script: Script) -> None:
    script.slack().send("C0OPS", replace(NOTE, root="0.000001", edits=True))
    script.slack().send("C0OPS", replace(NOTE, root="0.000001", broadcast=True))
    edit, reply = script.said
    assert (edit["ts"], edit.get("thread_ts"), edit.get("reply_broadcast")) == ("0.000001", None, None)
    assert (reply["thread_ts"], reply["reply_broadcast"]) == ("0.000001", True)


def test_ready_asks_for_all_that_a_post_needs(script: Script) -> None:
    assert script.slack().check() is None
    script.answers = [no("invalid_auth")]
    assert script.slack().check() == "Slack does not let us in: invalid_auth."
    script.answers = [OK, no("not_in_channel")]
    assert script.slack().check() == "Slack's C0OPS is closed to us: not_in_channel."
    # Who is told to ask later is let in.
    script.answers = [no("ratelimited")]
    assert script.slack().check() is None
    script.answers = [OK, no("ratelimited")]
    assert script.slack().check() is None


def test_the_history_of_a_slack_nobody_answers_for_is_unreadable() -> None:
    slack = Slack("xoxb-1", ("C0OPS",), base_url="http://127.0.0.1:1/api/", timeout_s=1.0, settle_s=20.0)
    assert isinstance(slack.find("C0OPS", Sought("k", None, 0)), Unreadable)


def test_a_message_is_found_on_the_historys_second_page(script: Script) -> None:
    mine = {"ts": "5.000000", "metadata": {"event_payload": {"delivery_key": "mine"}}}
    first = {"ok": True, "messages": [{"ts": "9.000000"}], "response_metadata": {"next_cursor": "more"}}
    script.answers = [(200, {}, json.dumps(first)), (200, {}, json.dumps({"ok": True, "messages": [mine]}))]
    assert script.slack().find("C0OPS", Sought("mine", None, 1000)) == Sent("5.000000")
    script.answers = [(200, {}, json.dumps({"ok": True, "messages": [mine]}))]
    assert script.slack().find("C0OPS", Sought("other", None, 1000)) == Absent()


def test_a_limited_history_tells_how_long(script: Script) -> None:
    script.answers = [no("ratelimited", 429, Retry_After="7")]
    found = script.slack().find("C0OPS", Sought("k", None, 0))
    assert isinstance(found, Unreadable)
    assert found.after_s == 7.0


def test_a_line_break_in_a_subject_cannot_add_a_header() -> None:
    mail = Email("h", 25, "a@b.example", ("c@d.example",))
    raw = mail._mail("c@d.example", replace(NOTE, subject="x\nBcc: evil@e.example")).as_bytes()
    assert raw.startswith(b"Subject: x Bcc: evil@e.example\n")
    assert b"\nBcc:" not in raw


def test_a_proxy_that_opens_no_way_to_slack_took_nothing(script: Script) -> None:
    slack = script.slack()
    slack.client.base_url = "https://slack.invalid/api/"
    slack.client.proxy = script.url.removesuffix("/api/")
    outcome = slack.send("C0OPS", NOTE)
    assert isinstance(outcome, Retry)
    assert "Tunnel connection failed" in outcome.error


def test_a_proxy_that_opens_no_way_to_a_webhook_took_nothing(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", script.url.removesuffix("/api/"))
    webhook = Webhook({"ops": "https://hooks.invalid/x"}, timeout_s=1.0)
    outcome = webhook.send("ops", NOTE)
    assert isinstance(outcome, Retry)
    assert outcome.error.startswith("Webhook ops cannot be reached: Tunnel connection failed")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://127.0.0.1:port"])
def test_a_proxy_that_cannot_be_used_is_one_sentence(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(UserError, match="The proxy that https_proxy names in the environment is none that can be used"):
        Webhook({"ops": "https://hooks.invalid/x"}, timeout_s=1.0)


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
    assert isinstance(got, Broken)
    assert got.whole
    assert sentence in got.error
    assert email.check() == got.error


def test_a_password_that_is_not_ascii_logs_in_and_sends(mail_server: Callable[..., MailServer]) -> None:
    server = mail_server(("AUTH CRAM-MD5 PLAIN",), {"AUTH": "235 in"})
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
        ({"PAGERDUTY_KEY": "otter-kettle"}, "entry 1 is not an integration key of 32 letters and digits"),
        ({"PAGERDUTY_KEY": f"{KEY}, my db={KEY}"}, "entry 2 is not an integration key"),
        ({"PAGERDUTY_KEY": f"db={KEY}, {KEY}, db={KEY}"}, "entry 3 is a second 'db'; write another NAME= before it"),
        ({"PAGERDUTY_KEY": f"{KEY}, {KEY}"}, "entry 2 is a second 'events'"),
        ({"PAGERDUTY_URL": "events.pagerduty.com"}, "'notifier.pagerduty_url' has the value 'events.pagerduty.com'"),
        ({"PAGERDUTY_TIMEOUT_S": "0"}, "'notifier.pagerduty_timeout_s' has the value '0'"),
        ({"PAGERDUTY_PER_S": "inf"}, "'notifier.pagerduty_per_s' has the value 'inf'"),
        ({"WEBHOOK_URL": "ftp://hooks.example/x"}, "entry 1 is not an address like https://HOST/PATH"),
        ({"WEBHOOK_URL": "https://hooks.example/a,b"}, "entry 2 is not an address"),
        ({"WEBHOOK_URL": "https://hooks.example:port/"}, "entry 1 is not an address"),
        ({"WEBHOOK_URL": "https:///x"}, "entry 1 is not an address"),
        ({"WEBHOOK_URL": "https://a.example/x, https://a.example/y"}, "entry 2 is a second 'a.example'; write another"),
        ({"WEBHOOK_SECRET": "otter-kettle"}, "a secret has at least 16 characters"),
        ({"WEBHOOK_SECRET": f"{KEY},{KEY},{KEY}"}, "expected one secret, or NEW, OLD while one is replaced"),
        ({"WEBHOOK_SECRET": KEY}, "'notifier.webhook_secret' is given but 'notifier.webhook_url' is not"),
        ({"WEBHOOK_TIMEOUT_S": "61"}, "'notifier.webhook_timeout_s' has the value '61'"),
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
    assert KEY not in str(error.value)
    assert "kettle" not in str(error.value)


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
    assert sorted((target.channel, target.destination) for target in found) == [
        ("email", "x@b.example"),
        ("email", "y@b.example"),
        ("slack", "C0OPS"),
    ]
