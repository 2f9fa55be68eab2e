"""What the chaos bench counts, whom its routes tell, and how Alertmanager beside it is told."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from bench.alertmanager import VERSION, Alertmanager, built
from bench.notifier_chaos import SlackTold, conversation_of, names, program_of, settings_of
from bench.report import Report
from embedded.sandbox.app import create_app
from embedded.sandbox.inbox import Inbox
from notifier.routing.decide import Router, Surroundings
from notifier.routing.load import load_routing
from tests.notifier_cast import wait_for
from tests.test_notifier import NOON, an_alert


def message(name: str, at: int = 5_000, channel: str = "", **more: Any) -> dict[str, Any]:
    where = channel or conversation_of(name)
    return {"channel": where, "ts": f"{at}", "text": f"FIRING fatal error in {name}", "arrived_ms": at} | more


def counted(told: SlackTold, every: list[str], promised: bool = True) -> tuple[dict[str, float], list[str]]:
    """The figures, and which promises are not kept."""
    report = Report("test", "")
    told.rows(report, "x", dict.fromkeys(every, 1_000), promised)
    values = {figure.name.removeprefix("x: "): figure.value for figure in report.figures}
    return values, [figure.name.removeprefix("x: ") for figure in report.figures if figure.kept is False]


def test_an_incident_is_lost_told_once_or_more_than_once() -> None:
    once, twice, lost, answered = every = names(4, 3)
    told = SlackTold.of(
        [
            message(once, 2_000),
            message(twice, 3_000),
            message(twice, 9_000, text=f"{twice} (possible repeat)"),
            message(answered, 4_000),
            message(answered, 8_000, thread_ts="4000"),
        ]
    )
    values, broken = counted(told, every)
    assert values["told exactly once"] == 2
    assert values["told more than once"] == 1
    assert values["messages too many"] == 1
    assert values["lost"] == 1
    assert lost not in told.arrived
    assert told.marked == 1
    assert values["first failure to last incident told"] == 3
    assert values["failure to told, median"] == 2
    assert broken == ["told exactly once", "lost", "told more than once"]
    assert counted(told, every, promised=False)[1] == []


def test_a_message_of_another_conversation_or_of_nothing_tells_of_no_incident() -> None:
    one, other = every = names(2, 2)
    told = SlackTold.of([message(one), message(other, channel=conversation_of(one)), message(other, text="hello")])
    assert set(told.arrived) == {one}
    assert counted(told, every)[1] == ["told exactly once", "lost", "messages of nothing that was asked for"]


def test_each_incident_is_routed_to_one_conversation_and_each_conversation_gets_as_many(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "config", 4)
    places = {"slack": tuple(settings["NOTIFIER_SLACK_CHANNEL"].split(",")), "email": ()}
    router = Router(load_routing(tmp_path / "config" / "routes.yaml", places), places)
    around = Surroundings(NOON, lambda _: False)
    got = {
        name: [decision.target.destination for decision in router.decide(an_alert(service_name=name), around)]
        for name in names(20, 4)
    }
    assert got == {name: [conversation_of(name)] for name in names(20, 4)}
    assert set(Counter(where for (where,) in got.values()).values()) == {5}


def test_the_sandbox_takes_and_counts_what_alertmanager_posts(tmp_path: Path) -> None:
    web = TestClient(create_app(Inbox(tmp_path / "sandbox.db")))
    (name,) = names(1, 1)
    summary = f"Fatal error in {name}"
    # As notify/slack of 0.35.0 writes it.
    attachment: dict[str, Any] = {"title": summary, "text": summary, "fallback": summary, "callback_id": ""}
    attachment |= {"footer": "", "color": "danger", "mrkdwn_in": ["fallback", "pretext", "text"]}
    body = {"username": "Alertmanager", "link_names": False, "attachments": [attachment]}
    headers = {"Authorization": "Bearer xoxb-bench", "Content-Type": "application/json"}
    answer = web.post("/api/chat.postMessage", json=body | {"channel": conversation_of(name)}, headers=headers)
    assert answer.json()["ok"]
    told = SlackTold.of(web.get("/messages").json()["slack"])
    assert {incident: len(times) for incident, times in told.arrived.items()} == {name: 1}
    assert told.astray == 0


@contextmanager
def listening() -> Iterator[tuple[int, list[list[dict[str, Any]]]]]:
    """A port that takes alerts, and what it got."""
    got: list[list[dict[str, Any]]] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Taker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, got
        server.shutdown()
        thread.join()


def test_alertmanager_is_told_of_all_alerts_again_and_again(tmp_path: Path) -> None:
    every = names(300, 20)
    with listening() as (port, got):
        alertmanager = Alertmanager(tmp_path / "none", tmp_path / "am", port, "http://127.0.0.1:1/api/", resend_s=0.05)
        try:
            for name in every:
                alertmanager.fire(name, conversation_of(name), NOON)

            def told() -> Counter[str]:
                return Counter(alert["labels"]["incident"] for batch in [*got] for alert in batch)

            wait_for(lambda: len(told()) == 300 and min(told().values()) >= 2)
        finally:
            alertmanager.close()
    assert max(len(batch) for batch in got) == 256
    assert {alert["labels"]["channel"] for batch in got for alert in batch} == {*map(conversation_of, every)}


def test_without_go_a_sentence_says_that_alertmanager_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert program_of(None) is None
    assert "There is no Go here" in capsys.readouterr().err
    there = tmp_path / f"alertmanager-{VERSION}"
    there.touch()
    assert built(tmp_path) == there
    assert program_of(str(there)) == there
    assert program_of("none") is None
    with pytest.raises(SystemExit, match="there is no file"):
        program_of(str(tmp_path / "other"))
