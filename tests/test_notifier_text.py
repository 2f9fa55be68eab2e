"""What somebody else wrote reaches people as text: by planner and senders into Slack's sandbox and a mail server."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from html import unescape
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import uvicorn
from aiosmtpd.controller import Controller
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from embedded.sandbox.app import create_app
from embedded.sandbox.inbox import Inbox
from embedded.sandbox.shown import shown
from notifier.channels.email import Email
from notifier.channels.slack import Slack
from notifier.daemon import Daemon
from notifier.ledger.ledger import Ledger
from notifier.model import DeliveryState
from notifier.render import Notification, Style, as_html, as_text, notification
from notifier.routing.tree import Routing
from notifier.slack_dress import blocks_of, text_of
from notifier.text import header_text, line, plain
from tests.fake_dremio import FakeDremio
from tests.notifier_cast import wait_for
from tests.test_notifier import a_config, a_message, an_alert

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NAMES = int(os.environ.get("TEXTS_IN_TEST", "40"))
"""How many names and messages are made; TEXTS_IN_TEST=500 makes a longer run."""
FORGERY = "=?utf-8?q?hi=0d=0aBcc:_x@y.z=0d=0a=0d=0aBODY?="
HEADERS = [
    "Subject",
    "From",
    "To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
]
PIECES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            FORGERY,
            "\r\nBcc: x@y.z\r\n\r\nBODY",
            "\u2028",
            "\u2029",
            "\u0085",
            "\x00",
            "\x1b[2J",
            "\u202e",
            "\u200b",
            "*bold*",
            "_it_",
            "~no~",
            "`code`",
            "> quote",
            "<!channel>",
            "<@U0123>",
            "@here",
            ":fire:",
            "https://evil.example/x",
            "<https://evil.example|pay>",
            "&lt;",
            "<script>",
            " ",
            "\n\n\n\n",
            "é" * 400,
            "x" * 10_000,
        ]
    ),
)
TEXTS = st.lists(PIECES, max_size=6).map("".join)


def generated(count: int) -> list[tuple[str, str]]:
    """Names and messages, the same at every run."""
    made: list[tuple[str, str]] = [(FORGERY, "a forged header"), (" \t ", "blank"), ("n" * 3000, "a long name")]

    @settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(name=TEXTS, text=TEXTS)
    def make(name: str, text: str) -> None:
        made.append((name, text))

    make()
    return made[:count]


class Post:
    """Keeps each mail as the server got it."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.raw.append(envelope.original_content or envelope.content)
        return "250 OK"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def slack_sandbox(path: Path) -> Iterator[tuple[Inbox, str]]:
    inbox = Inbox(path / "sandbox.db")
    server = uvicorn.Server(uvicorn.Config(create_app(inbox), port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield inbox, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/api/"
    finally:
        server.should_exit = True
        thread.join()
        inbox.close()


def test_generated_names_and_messages_arrive_as_text(tmp_path: Path) -> None:
    texts = generated(NAMES)
    post = Post()
    port = free_port()
    mail = Controller(post, hostname="127.0.0.1", port=port)
    mail.start()
    try:
        with slack_sandbox(tmp_path) as (inbox, url):
            slack = Slack("xoxb-1", ("C0OPS",), base_url=url, timeout_s=20.0, settle_s=1.0)
            email = Email("127.0.0.1", port, "a@b.example", ("c@d.example",), security="none", timeout_s=20.0)
            notes = tell(tmp_path, [slack, email], texts)
            messages = inbox.messages()["slack"]
    finally:
        mail.stop()
    assert (len(messages), len(post.raw)) == (NAMES, NAMES)
    for row in messages:
        note = notes[row["metadata"]["event_payload"]["delivery_key"]]
        reads_as_meant(shown(row), note)
        # What a reader sees where the blocks fail.
        assert not re.search("<(?!br)", shown(row | {"blocks": None, "attachments": None}))
    for raw in post.raw:
        mail_is_as_meant(raw, notes)


def tell(path: Path, channels: list[Slack | Email], texts: list[tuple[str, str]]) -> dict[str, Notification]:
    """Send an alert for each name and message; the messages by their keys."""
    dremio, ledger, now = FakeDremio(), Ledger(path / "ledger.db"), datetime.now(UTC)
    for number, (name, text) in enumerate(texts):
        words = f"Fatal error in service: {name} - {text}"
        dremio.alert(now, f"inc-{number}", service=name, description=words)
    # Each by itself, and no digest of them.
    route = {"name": "all", "to": [channel.name for channel in channels], "group_by": ["incident_id"]}
    routing = Routing.model_validate({"routes": [route]})
    daemon = Daemon(a_config(channels, routing, poll_s=0.5, storm_after=0), dremio, ledger)
    settings = daemon.settings
    style = Style(settings.console_url, ZoneInfo(settings.timezone))
    dremio.publish(now)
    daemon.start()
    try:
        told = len(texts) * len(channels)
        wait_for(lambda: sum(row.state is DeliveryState.SENT for row in ledger.deliveries(limit=10_000)) == told, 100)
        rows = ledger.deliveries(limit=10_000)
        notes = {}
        for row in rows:
            alert = ledger.alert(row.alert_id)
            view, _ = ledger.view(row)
            before = replace(view, thread=replace(view.thread, root=None))
            note = notification(row, alert, before, style, row.planned_ms)
            # Words of the event itself, so that nothing is compared with itself alone.
            spoken = re.findall(r"[a-z]{4,}", texts[int(alert.incident_id.removeprefix("inc-"))][1][:100])
            assert all(word in note.body for word in spoken[:-1]), (spoken, note.body)
            notes[row.delivery_key] = note
        return notes
    finally:
        daemon.stop()
        ledger.close()
        dremio.close()


def reads_as_meant(html: str, note: Notification) -> None:
    """Title bold, our link, and all else the very text."""
    assert re.findall("<([a-z]+)", html) == ["strong", "div", "time", "a"]
    assert unescape(re.sub("<[^>]*>", "", html)).startswith(f"{note.title}{note.body or ' '}\n{note.facts[0]}")
    assert len(note.title) <= 120


def mail_is_as_meant(raw: bytes, notes: dict[str, Notification]) -> None:
    head, _, _ = raw.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    assert [text.split(":")[0] for text in lines if text[0] not in " \t"] == HEADERS
    assert max(map(len, lines)) <= 998
    mail = message_from_bytes(raw, policy=policy.default)
    (note,) = [note for key, note in notes.items() if key[:40] in str(mail["Message-ID"])]
    # By the other parser of the library too, which is closer to what mail programs do.
    subject = str(make_header(decode_header(re.sub("\r\n(?=[ \t])", "", _raw(head, "Subject")))))
    assert subject == note.subject
    body = mail.get_body(("plain",))
    assert body is not None
    assert note.body in body.get_content().replace("\r\n", "\n")


def _raw(head: bytes, name: str) -> str:
    found = re.search(rf"^{name}:((?:[^\r\n]|\r\n[ \t])*)", head.decode("ascii"), re.MULTILINE)
    assert found
    return found[1].strip()


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("   ", "FATAL in a service without a name"),
        ("\u200b\u202e\x00", "FATAL in a service without a name"),
        ("\u3164\u2800\u115f", "FATAL in a service without a name"),
        ("pay\u2028ments\u0085x", "FATAL in pay ments x"),
        ("n" * 3000, "FATAL in " + "n" * 59 + "…"),
        ("\u202eevil", "FATAL in evil"),
    ],
)
def test_a_name_nobody_can_read_still_gives_a_title(name: str, title: str) -> None:
    assert a_message(an_alert(service_name=name)).title == title


def test_a_long_name_does_not_push_the_message_out_of_sight() -> None:
    name = "n" * 3000
    note = a_message(an_alert(service_name=name, description=f"Fatal error in service: {name} - card declined"))
    assert note.body.endswith("… - card declined")
    assert note.subject.endswith("[tttttttt]")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://wiki.example/\r\nBcc: x",
        "https://wiki.example/\u202egpj.exe",
        "https://[wiki",
        "https:///x",
        "https://wiki.example/|x>",
    ],
)
def test_a_runbook_that_is_no_web_address_is_no_link(url: str) -> None:
    note = a_message(an_alert(runbook_url=url))
    assert note.runbook_url is None
    assert "Runbook" not in text_of(note) + str(blocks_of(note)) + as_text(note) + as_html(note)


def test_an_incident_of_any_text_is_one_part_of_the_link() -> None:
    note = a_message(an_alert(incident_id="a&tab=x#\ud800 <b>"))
    assert "?tab=alerts&incident=a%26tab%3Dx%23%3F%20%3Cb%3E&from=" in note.console_url


def test_text_is_made_in_one_place() -> None:
    assert header_text(FORGERY, 200).startswith("= ?utf-8")
    assert plain("a\x1b[31m\ud800b\r\n\u2029\n\n\nc", 100) == "a [31m\ufffdb\n\nc"
    assert line("a\n b\u3000c", 100) == "a b c"
