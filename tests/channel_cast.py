"""Who plays in the tests of channels: the other side, as servers of a few lines, and a ledger with news in it."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from notifier.attempts import Waits
from notifier.channel import Channel
from notifier.channels.email import Email
from notifier.channels.pagerduty import PagerDuty
from notifier.channels.slack import Slack
from notifier.channels.webhook import Webhook
from notifier.clock import to_ms
from notifier.ledger.ledger import Ledger
from notifier.ledger.rows import metadata
from notifier.metrics import Metrics
from notifier.model import OPEN, AlertRow, MessageKind, Target
from notifier.planning.board import Worksheet
from notifier.render import Notification, Style
from notifier.routing.decide import Decision, Policy
from notifier.sender import Sender

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEY = "k" * 32
NOTE = Notification(
    delivery_key="k" * 64,
    kind=MessageKind.FIRST,
    subject="FATAL in payments [abc]",
    title="FATAL in payments",
    body="no answer",
    facts=("12:00:00 UTC",),
    console_url="http://localhost:5006/app?tab=alerts",
    runbook_url=None,
    planned_at=NOON,
    thread_id="t" * 64,
)

type Answer = tuple[int, dict[str, str], str] | None
"""Status, headers and text; None: the connection is cut."""
OK: Answer = (200, {}, '{"ok": true, "ts": "1.000001"}')


def reply(status: int, text: str = "", **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, text


def no(code: str, status: int = 200, **headers: str) -> Answer:
    """Slack's way to refuse."""
    return reply(status, json.dumps({"ok": False, "error": code}), **headers)


class Asked(NamedTuple):
    """A request as it came."""

    path: str
    headers: Message
    body: bytes


class Script:
    """An HTTP server that answers as scripted, one answer a call, then `usual`; `asked` is what it was sent."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.usual: Answer = OK
        self.asked: list[Asked] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                script.asked.append(Asked(self.path, self.headers, body))
                answer = script.answers.pop(0) if script.answers else script.usual
                if answer is None:
                    return
                status, headers, text = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text.encode())

            do_GET = do_HEAD = do_POST  # the names are http.server's

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def clear(self) -> None:
        self.answers.clear()
        self.asked.clear()
        self.usual = OK

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def said(self) -> list[dict[str, Any]]:
        """What it was sent as JSON."""
        return [json.loads(asked.body) for asked in self.asked if asked.body.startswith(b"{")]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/api/"

    def slack(self) -> Slack:
        return Slack("xoxb-1", ("C0OPS",), base_url=self.url, timeout_s=1.0, settle_s=20.0, clock=NOON.timestamp)

    def pagerduty(self, *services: str) -> PagerDuty:
        keys = dict.fromkeys(services or ("events",), KEY)
        return PagerDuty(keys, url=f"{self.url}v2/enqueue", timeout_s=1.0, clock=NOON.timestamp)

    def webhook(self, *secrets: str) -> Webhook:
        return Webhook({"ops": f"{self.url}hook"}, secrets, timeout_s=1.0, clock=NOON.timestamp)


class MailServer:
    """A mail server of a few lines: `features` after EHLO, and an answer for each step that it does not just take.

    Steps are commands, `connect`, and `.`, the end of a message; an answer of None cuts the connection.
    """

    def __init__(self, features: tuple[str, ...] = (), answers: dict[str, str | None] | None = None) -> None:
        self.heard: list[str] = []
        given = answers or {}
        ehlo = "".join(f"250-{name}\r\n" for name in ("mail", *features)) + "250 OK"
        usual = {"connect": "220 mail", "EHLO": ehlo, "DATA": "354 go on", "QUIT": "221 bye"}
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                if not self.answer("connect"):
                    return
                for raw in self.rfile:
                    line = raw.decode(errors="replace").strip()
                    server.heard.append(line)
                    step = line.split(" ")[0].upper()
                    if not self.answer(step):
                        return
                    if step == "DATA" and given.get("DATA", usual["DATA"]).startswith("354"):  # type: ignore[union-attr]
                        while self.rfile.readline() not in (b".\r\n", b""):
                            pass
                        if not self.answer("."):
                            return

            def answer(self, step: str) -> bool:
                said = given.get(step, usual.get(step, "250 OK"))
                if said is not None:
                    self.wfile.write(f"{said}\r\n".encode())
                return said is not None

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def steps(self) -> str:
        """The commands that it heard."""
        return " ".join(line.split(" ")[0].upper() for line in self.heard)

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def email(self, **values: Any) -> Email:
        options: dict[str, Any] = {"security": "none", "timeout_s": 5.0, **values}
        return Email("127.0.0.1", self.port, "a@b.example", ("c@d.example",), **options)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Teller:
    """An emptied ledger, and a sender of one channel, on a clock that the test turns."""

    def __init__(self, ledger: Ledger, channel: Channel) -> None:
        self.now_ms = to_ms(NOON)
        self.ledger = ledger
        with ledger.file.write() as db:
            for table in metadata.tables.values():
                db.execute(sa.delete(table))
        self.targets = [Target(channel.name, place) for place in channel.destinations]
        self.ledger.manners = dict.fromkeys(self.targets, channel.manner)
        self.sender = Sender(
            channel,
            self.ledger,
            Metrics([channel.name]),
            Style("http://localhost:5006/app", ZoneInfo("UTC")),
            Waits(),
            clock=lambda: self.now_ms,
            monotonic=lambda: self.now_ms / 1000,
            chance=lambda: 1.0,
        )

    def fires(self, alert: AlertRow) -> None:
        """It is to be told at every destination."""
        self.plan(alert, lambda board: board.hear(alert, self.decisions(alert), old=False))

    def decisions(self, alert: AlertRow) -> list[Decision]:
        return [Decision(target, ("all",), Policy(), f"service_name={alert.service_name}") for target in self.targets]

    def plan(self, alert: AlertRow, change: Callable[[Worksheet], None]) -> None:
        self.ledger.plan([alert], [f"service_name={alert.service_name}"], change, self.now_ms)

    def tell(self) -> tuple[str, float | None]:
        """Send what is due: the state of the newest delivery, and seconds until the next try, if there is to be one."""
        while (wait_s := self.sender.step()) == 0.0:
            pass
        state = max(self.ledger.deliveries(), key=lambda row: row.sequence).state
        return str(state), wait_s if state in OPEN else None
