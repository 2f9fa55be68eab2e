"""No secret leaves the notifier: log, ready, API, ledger and messages, whatever the other side of a channel says."""

from __future__ import annotations

import json
import logging
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lakehouse.dremio.errors import Unavailable
from lakehouse.roster import NOBODY
from notifier.api import create_app
from notifier.channel import Dead, Outcome, Retry, Unknown
from notifier.channels import CHANNELS
from notifier.config import Config
from notifier.daemon import Daemon
from notifier.ledger.ledger import Ledger
from notifier.ledger.outbox import Why
from notifier.redact import RedactingFormatter, Redactor
from notifier.settings import NotifierSettings
from notifier.tokens import Tokens
from tests.channel_cast import MailServer, Script, reply
from tests.fake_dremio import FakeDremio
from tests.test_notifier import Desk, Friend, a_config, fatal_to

SECRET = 'xoxb-"otter"/kettle&1'
FORMS = {
    "as it is": SECRET,
    "in a URL": "xoxb-%22otter%22%2Fkettle%261",
    "in JSON": 'xoxb-\\"otter\\"/kettle&1',
    "in HTML": "xoxb-&quot;otter&quot;/kettle&amp;1",
    "base64, AUTH LOGIN": b64encode(SECRET.encode()).decode(),
    "base64, AUTH PLAIN": b64encode(f"\0ada\0{SECRET}".encode()).decode(),
    "base64, HTTP Basic": b64encode(f"ada:{SECRET}".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_hidden_however_it_is_written(form: str) -> None:
    redact = Redactor(("ada", SECRET), ("", ""), ("", "abc"))
    assert redact(f"535 refused: {FORMS[form]}!") == "535 refused: (hidden)!", form
    assert redact("an alphabet: abc") == "an alphabet: abc"


def test_each_line_of_a_secret_is_hidden() -> None:
    assert Redactor(("", "first-half\nother-half"))("got other-half, and first-half") == "got (hidden), and (hidden)"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("refused: correct horse battery", "refused: (hidden)"),
        ("refused: correct  horse battery", "refused: (hidden)"),
        ("refused: correct hor…", "refused: (hidden)…"),
        ("refused: corr…", "refused: (hidden)…"),
        ("refused: cor…", "refused: cor…"),
        ("correctly…", "correctly…"),
    ],
)
def test_a_secret_that_was_folded_or_cut_is_hidden_too(said: str, shown: str) -> None:
    assert Redactor(("", "correct  horse battery"))(said) == shown


@pytest.mark.parametrize("answer", [Retry, Unknown, Dead])
def test_what_a_server_says_is_kept_and_answered_without_the_secret(tmp_path: Path, answer: type[Outcome]) -> None:
    desk = Desk(tmp_path, Friend(), redact=Redactor(("", SECRET)))
    desk.channel.answers = [answer(f"refused: {SECRET}")]
    desk.fatal("inc-1")
    desk.publish()
    desk.ledger.outbox.park("slack", "C0OPS", Why.RATE, 1, f"limited: {SECRET}", 0)
    (row,) = desk.deliveries()
    assert row.error == "refused: (hidden)"
    desk.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert b"otter" not in kept
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        assert db.execute("SELECT reason FROM parked").fetchone() == ("limited: (hidden)",)


def test_ready_and_the_log_do_not_show_a_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    redact = Redactor(("", SECRET))
    desk = Desk(tmp_path, Friend())
    daemon = Daemon(a_config([desk.channel], fatal_to({}).routing), desk.dremio, desk.ledger, redact)
    daemon.health.ended(f"refused: {SECRET}")
    daemon.senders["slack"].access.failing = {"C0OPS": f"refused: {SECRET}"}
    assert daemon.readiness() == {
        "data": "refused: (hidden)",
        "ledger": None,
        "config": None,
        "questions": None,
        "slack": "refused: (hidden)",
    }
    # What the messages of the other channel say.
    assert daemon._crew._failing_but("email") == ["Not told on slack: refused: (hidden)"]
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(message)s", redact))
    logger = logging.getLogger("tests.redact")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        raise Unavailable(f"no answer for {SECRET}")
    except Unavailable:
        logger.exception("at %s", SECRET)
    said = capsys.readouterr().err
    assert "no answer for (hidden)" in said
    assert "otter" not in said
    desk.close()


def test_every_secret_of_the_section_is_known_to_the_redactor() -> None:
    path = "/services/T0/kettle-otter-52?key=otter-and-kettle&n=52-kettles"
    settings = NotifierSettings.load(
        slack_token="xoxb-1",
        heartbeat_url="https://hc.example/1",
        api_token="tap-1",
        smtp_user="ada",
        smtp_password="mail-1",
        pagerduty_key=f"shop={'s' * 32}, depot={'d' * 32}",
        webhook_url=f"ops=https://hooks.example{path}, https://ada:p%40ss-word@hooks.example/",
        webhook_secret="kettle-otter-52-new, kettle-otter-51-old",
    )
    logins = settings.logins()
    assert {("", "xoxb-1"), ("", "https://hc.example/1"), ("", "tap-1"), ("ada", "mail-1")} <= set(logins)
    redact = Redactor(*logins)
    of_addresses = (f"https://hooks.example{path}", path, "kettle-otter-52", "otter-and-kettle", "52-kettles")
    of_a_login = ("p@ss-word", b64encode(b"ada:p@ss-word").decode())
    of_lists = ("s" * 32, "d" * 32, "kettle-otter-52-new", "kettle-otter-51-old")
    for secret in (*of_addresses, *of_a_login, *of_lists):
        assert redact(f"no {secret}!") == "no (hidden)!"
    assert redact("ops at hooks.example has services") == "ops at hooks.example has services"


SETUPS: dict[str, Callable[[str, int], dict[str, str]]] = {
    "email": lambda url, port: {
        "smtp_host": "127.0.0.1",
        "smtp_port": str(port),
        "smtp_security": "none",
        "smtp_user": "ada",
        "smtp_password": "kettle-otter-52",
        "email_from": "a@b.example",
        "email_to": "c@d.example",
    },
    "pagerduty": lambda url, port: {"pagerduty_key": f"{'otter' * 6}52, db={'kettle' * 5}52", "pagerduty_url": url},
    "slack": lambda url, port: {
        "slack_base_url": url,
        "slack_token": "xoxb-otter-kettle",
        "slack_channel": "C0OPS",
    },
    "webhook": lambda url, port: {
        "webhook_url": url.replace("://", "://ada:kettle52@") + "otter-token-52",
        "webhook_secret": "kettle-otter-new, kettle-otter-old",
    },
}
"""Settings of each channel, to a server of ours: its address, and its port where it is a mail server."""


@contextmanager
def tattling(name: str, for_good: bool) -> Iterator[NotifierSettings]:
    """Settings of a channel whose other side refuses all, and says each secret of ours that there is."""
    script = Script()
    secrets = [secret for _, secret in NotifierSettings.load(**SETUPS[name](script.url, 1)).logins()]
    words = " ".join(sorted(secrets, key=len))
    script.usual = reply(400 if for_good else 429, json.dumps({"ok": False, "error": words}))
    mail = MailServer(("AUTH PLAIN",), {"AUTH": f"{535 if for_good else 454} {words}"})
    try:
        yield NotifierSettings.load(poll_s=1.0, **SETUPS[name](script.url, mail.port))
    finally:
        script.close()
        mail.close()


@pytest.mark.parametrize("for_good", [True, False])
@pytest.mark.parametrize("name", CHANNELS)
def test_no_channel_tells_its_secrets_when_the_other_side_says_them(tmp_path: Path, name: str, for_good: bool) -> None:
    with tattling(name, for_good) as settings:
        settings.check()
        secrets = settings.logins()
        redact = Redactor(*secrets)
        log = StringIO()
        handler = logging.StreamHandler(log)
        handler.setFormatter(RedactingFormatter("%(message)s", redact))
        root = logging.getLogger()
        before, dremio, friend = root.level, FakeDremio(), Friend("friend", ("desk",))
        ledger = Ledger(tmp_path / "ledger.db", redact=redact)
        channels: list[Any] = [*settings.open_channels(), friend]
        router = fatal_to({channel.name: channel.destinations for channel in channels})
        config = Config(settings, tuple(channels), router.routing, NOBODY, timedelta(hours=1))
        daemon = Daemon(config, dremio, ledger, redact)
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            dremio.alert(datetime.now(UTC), "inc-1")
            dremio.publish(datetime.now(UTC))
            daemon.cycle()
            for sender in daemon.senders.values():
                sender.access.check()
                while sender.step() == 0.0:
                    pass
            tokens = Tokens(tmp_path)
            web = TestClient(create_app(daemon, tokens), base_url="http://localhost")
            headers = {"Authorization": f"Bearer {tokens.secret_of('reader')}"}
            paths = ("/-/ready", "/metrics", "/api/state", "/api/deliveries", "/api/incidents", "/api/incidents/inc-1")
            answers = {path: web.get(path, headers=headers).text for path in paths}
        finally:
            root.removeHandler(handler)
            root.setLevel(before)
            ledger.close()
            dremio.close()
    told = [str(note) for note in friend.posts]
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*")).decode(errors="replace")
    for place, text in {"log": log.getvalue(), "ledger": kept, "messages": "".join(told), **answers}.items():
        for _, secret in secrets:
            assert secret not in text, place
        # It was said wherever refusals are told.
        assert ("(hidden)" in text) == (place != "/metrics"), place
