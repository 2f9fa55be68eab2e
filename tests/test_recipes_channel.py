"""The recipe of CONTRIBUTING.md for a channel, followed on a copy of the tree: one new file, and all else knows it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from lakehouse import ROOT
from tests.notifier_cast import Cast, cast_of, wait_for

BELL = '''
"""A bell: any address that takes JSON, one POST a message."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from notifier.channel import Absent, ChannelSettings, DeclaredChannel, Finding, Outcome, half_set_up
from notifier.http import Poster
from notifier.manner import Manner
from notifier.render import Notification, as_text


class BellSettings(ChannelSettings):
    """An address; without it the bell is off."""

    bell_url: str = Field("", description="address that takes JSON; empty: no bell")
    bell_token: SecretStr = Field(SecretStr(""), description="sent as a bearer token; empty: none")


class Bell:
    """One address. The receipt is the delivery's key, which every attempt repeats."""

    name = "bell"
    # There is nowhere to look a message up.
    settle_s = 1.0
    per_s = None
    manner = Manner()

    def __init__(self, url: str, token: str) -> None:
        self.destinations = (urlsplit(url).hostname or url,)
        self._poster = Poster("The bell", url, timeout_s=10)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(self, destination: str, note: Notification) -> Outcome:
        body = {"key": note.delivery_key, "kind": note.kind, "title": note.title, "text": as_text(note)}
        return self._poster.post(json.dumps(body).encode(), self._headers, note.delivery_key)

    def find(self, destination: str, delivery_key: str, root: str | None, since_ms: int) -> Finding:
        return Absent()

    def check(self) -> str | None:
        return self._poster.reach()


def _half(settings: BellSettings) -> str | None:
    if settings.bell_token.get_secret_value() and not settings.bell_url:
        return half_set_up("bell_token", "bell_url", "the address that takes it")
    return None


def _open(settings: BellSettings) -> Bell:
    return Bell(settings.bell_url, settings.bell_token.get_secret_value())


CHANNEL = DeclaredChannel(BellSettings, switch="bell_url", half=_half, open=_open)
'''
ROUTES = "routes: [{name: on-call, when: [severity = FATAL], to: [bell]}]\n"
CONSOLE = "https://ops.shop.net/app"
"""What a bell rings for is linked to a console that others can open."""
ALONE = {"SLACK_TOKEN": "", "SLACK_CHANNEL": "", "SMTP_HOST": "", "EMAIL_FROM": "", "EMAIL_TO": ""}
"""Settings of the cast's other channels."""
# What the rest of the product makes of the new file.
ASK = """
import json
from lakehouse.settings.base import Shared
from notifier.settings import NotifierSettings
from tillwatch.demo import wiring
from tillwatch.settings_page import rows
settings = NotifierSettings.load()
print(json.dumps({
    "url": settings.bell_url,
    "logins": settings.logins(),
    "page": [row for row in rows() if "notifier.bell_" in row],
    "demo": wiring("notifier", Shared.load())["TILLWATCH_NOTIFIER_BELL_URL"],
}))
"""
OPEN = """
from lakehouse.user_error import exit_on_user_error
from notifier.settings import NotifierSettings
with exit_on_user_error():
    NotifierSettings.load(bell_url="http://127.0.0.1:1/").open_channels()
"""


class Address:
    """An address that answers 503 once, then takes what is posted; `got` is what it took, with the headers."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.calls = 0
        address = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(200)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                address.calls += 1
                if address.calls > 1:
                    address.got.append((body, dict(self.headers)))
                self.answer(200 if address.calls > 1 else 503)

            def answer(self, status: int) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/alerts"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def address() -> Iterator[Address]:
    opened = Address()
    yield opened
    opened.server.shutdown()
    opened.server.server_close()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the notifier and the command need, with the new channel, and a config of its own outside."""
    copy = tmp_path / "tree"
    for name in ("config", "embedded", "console", "lakehouse", "notifier", "pipeline", "producers", "spark-apps"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tillwatch", copy / "tillwatch", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "notifier" / "channels" / "bell.py").write_text(BELL, encoding="utf-8")
    (tmp_path / "routes.yaml").write_text(ROUTES, encoding="utf-8")
    return copy


def configured(tree: Path, text: str = "notifier:\n") -> str:
    """The path of a settings file beside the routes."""
    file = tree.parent / "tillwatch.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def run(cast: Cast, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env=cast.environment(), cwd=cast.tree, capture_output=True, text=True, timeout=60
    )


def test_a_channel_is_one_file(tree: Path, address: Address, tmp_path: Path) -> None:
    given = {"CONFIG": configured(tree), "NOTIFIER_BELL_URL": address.url, "NOTIFIER_BELL_TOKEN": "otter-kettle"}
    given["NOTIFIER_CONSOLE_URL"] = CONSOLE
    with cast_of(tmp_path / "data", **given, **{f"NOTIFIER_{name}": value for name, value in ALONE.items()}) as cast:
        cast.tree = tree
        cast.start("notifier")
        cast.dremio.publish(datetime.now(UTC))
        wait_for(lambda: cast.get("notifier", "/-/ready")[0] == 200)
        assert cast.get("notifier", "/-/ready")[1]["parts"] == {
            "data": None,
            "ledger": None,
            "config": None,
            "questions": None,
            "bell": None,
        }
        cast.dremio.alert(datetime.now(UTC), "inc-1")
        cast.dremio.publish(datetime.now(UTC))
        (row,) = wait_for(lambda: cast.deliveries(state="sent"))
        ((body, headers),) = address.got
        assert (row["channel"], row["destination"], row["attempts"]) == ("bell", "127.0.0.1", 2)
        assert body["title"] == "FATAL in payments"
        assert "card declined" in body["text"]
        assert (body["key"], headers["Authorization"]) == (row["receipt"], "Bearer otter-kettle")
        assert cast.metric('tillwatch_notifier_attempts_total{channel="bell",outcome="sent"}') == 1
        assert cast.metric('tillwatch_notifier_attempts_total{channel="bell",outcome="retry"}') == 1
        assert cast.metric('tillwatch_notifier_latency_seconds_count{channel="bell"}') == 1


def test_all_that_names_channels_knows_the_new_one(tree: Path, tmp_path: Path) -> None:
    config = configured(tree, "notifier:\n  bell_url: http://of-the-file.example/\n  bell_token: otter-kettle\n")
    with cast_of(tmp_path / "data", CONFIG=config, NOTIFIER_CONSOLE_URL=CONSOLE) as cast:
        cast.tree = tree
        known = run(cast, "-c", ASK)
        assert known.returncode == 0, known.stderr
        said = json.loads(known.stdout)
        assert said["url"] == "http://of-the-file.example/"
        assert ["", "otter-kettle"] in said["logins"]
        assert said["page"] == [
            "| `notifier.bell_url` |  | address that takes JSON; empty: no bell |",
            "| `notifier.bell_token` |  | sent as a bearer token; empty: none |",
        ]
        # A shell set up for production must not make the demo write to real people.
        assert said["demo"] == ""
        (tree.parent / "routes.yaml").write_text(ROUTES.replace("bell", "gong"), encoding="utf-8")
        assert (
            "'gong' is no channel; channels are bell, email, pagerduty, slack, webhook, or `all`"
            in run(cast, "-m", "notifier").stderr
        )


def test_a_half_set_up_is_told(tree: Path, tmp_path: Path) -> None:
    with cast_of(tmp_path / "data", CONFIG=configured(tree), NOTIFIER_BELL_TOKEN="otter-kettle") as cast:
        cast.tree = tree
        ended = run(cast, "-m", "notifier")
    assert ended.returncode == 2
    assert ended.stderr == (
        "tillwatch: Setting 'notifier.bell_token' is given but 'notifier.bell_url' is not; "
        "set TILLWATCH_NOTIFIER_BELL_URL to the address that takes it, or remove bell_token.\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("CHANNEL = DeclaredChannel(", "OTHER = DeclaredChannel(", "notifier/channels/bell.py declares no channel"),
        ('switch="bell_url"', 'switch="url"', "names the switch 'url', which is none of its settings"),
        ('name = "bell"', 'name = "gong"', "notifier/channels/bell.py opens a channel named 'gong'"),
        (
            "    bell_token: SecretStr",
            "    slack_token: SecretStr",
            "stands in notifier.channels.bell.BellSettings too",
        ),
        ("    bell_token: SecretStr", "    host: SecretStr", "'host' of notifier.channels.bell.BellSettings"),
    ],
)
def test_a_file_that_declares_no_channel_is_refused_by_name(tree: Path, old: str, new: str, sentence: str) -> None:
    file = tree / "notifier" / "channels" / "bell.py"
    file.write_text(BELL.replace(old, new), encoding="utf-8")
    ended = subprocess.run([sys.executable, "-c", OPEN], cwd=tree, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("tillwatch: ")
    assert sentence in ended.stderr
