"""No secret leaves the notifier: log, ready, API and ledger."""

from __future__ import annotations

import logging
import sqlite3
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import pytest

from lakehouse.dremio.errors import Unavailable
from notifier.channel import Dead, Outcome, Retry, Unknown
from notifier.daemon import Daemon
from notifier.redact import RedactingFormatter, redactor
from notifier.settings import NotifierSettings
from tests.test_notifier import NOON, Desk, Friend, fatal_to

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
    redact = redactor([("ada", SECRET), ("", ""), ("", "abc")])
    assert redact(f"535 refused: {FORMS[form]}!") == "535 refused: (hidden)!", form
    assert redact("an alphabet: abc") == "an alphabet: abc"


def test_each_line_of_a_secret_is_hidden() -> None:
    assert redactor([("", "first-half\nother-half")])("got other-half, and first-half") == "got (hidden), and (hidden)"


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
    assert redactor([("", "correct  horse battery")])(said) == shown


@pytest.mark.parametrize("answer", [Retry, Unknown, Dead])
def test_what_a_server_says_is_kept_and_answered_without_the_secret(tmp_path: Path, answer: type[Outcome]) -> None:
    desk = Desk(tmp_path, Friend(), redact=redactor([("", SECRET)]))
    desk.channel.answers = [answer(f"refused: {SECRET}")]
    desk.fatal("inc-1")
    desk.publish()
    desk.ledger.outbox.park("slack", 1, f"limited: {SECRET}")
    (row,) = desk.deliveries()
    assert row.error == "refused: (hidden)"
    desk.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert b"otter" not in kept
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        assert db.execute("SELECT reason FROM parked").fetchone() == ("limited: (hidden)",)


def test_ready_and_the_log_do_not_show_a_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    redact = redactor([("", SECRET)])
    desk = Desk(tmp_path, Friend())
    daemon = Daemon(
        NotifierSettings.load(), NOON - NOON, desk.dremio, desk.ledger, [desk.channel], fatal_to({}).routing, redact
    )
    daemon.health.ended(f"refused: {SECRET}")
    daemon.senders["slack"].access.failing = {"C0OPS": f"refused: {SECRET}"}
    assert daemon.readiness() == {"data": "refused: (hidden)", "ledger": None, "slack": "refused: (hidden)"}
    # What the messages of the other channel say.
    assert daemon._failing_but("email") == ["Not told on slack: refused: (hidden)"]
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
    settings = NotifierSettings.load(slack_token="xoxb-1", api_token="kettle", smtp_user="ada", smtp_password="otter")
    assert set(settings.logins()) == {("", "xoxb-1"), ("", "kettle"), ("ada", "otter")}
