"""The stand-ins for PagerDuty, webhooks and Slack's Socket Mode: real servers, and Slack's own client."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from embedded.sandbox.app import create_app
from embedded.sandbox.inbox import Inbox
from tests.notifier_cast import wait_for
from tests.sandbox_cast import SandboxServer

KEY = "0123456789abcdef0123456789abcdef"
SECRET = "whsec-of-the-test"


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "sandbox.db", keep=50)
    yield opened
    opened.close()


@pytest.fixture
def web(inbox: Inbox) -> TestClient:
    return TestClient(create_app(inbox, webhook_secret=SECRET))


# ---- PagerDuty


def enqueue(web: TestClient, action: str, **fields: Any) -> httpx.Response:
    payload = {"summary": "payments fail", "source": "payments", "severity": "critical"}
    event = {"routing_key": KEY, "event_action": action, "dedup_key": "thread-1", "payload": payload, **fields}
    answer: httpx.Response = web.post("/v2/enqueue", json=event)
    return answer


def test_an_incident_goes_from_triggered_to_resolved_and_may_begin_anew(web: TestClient) -> None:
    def states() -> list[str]:
        return [incident["state"] for incident in web.get("/messages").json()["pagerduty"]["incidents"]]

    answer = enqueue(web, "trigger")
    assert answer.status_code == 202
    assert answer.json() == {"status": "success", "message": "Event processed", "dedup_key": "thread-1"}
    seen = [states()]
    for action in ("acknowledge", "trigger", "resolve", "acknowledge", "trigger"):
        assert enqueue(web, action).status_code == 202
        seen.append(states())
    assert seen == [
        ["triggered"],
        ["acknowledged"],
        # More of an incident that somebody has: he has it still.
        ["acknowledged"],
        ["resolved"],
        ["resolved"],
        ["resolved", "triggered"],
    ]
    log = web.get("/messages").json()["pagerduty"]["events"]
    assert log[4]["effect"] == "nothing: no incident with this dedup_key is open"


def test_a_trigger_without_a_key_gets_one(web: TestClient) -> None:
    first, second = (enqueue(web, "trigger", dedup_key=None).json()["dedup_key"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"routing_key": ""}, "'routing_key' cannot be blank"),
        ({"routing_key": "short"}, "Length of 'routing_key' is incorrect (should be 32 characters)"),
        ({"event_action": ""}, "'event_action' is missing or blank"),
        ({"event_action": "shout"}, "'event_action' is invalid (must be one of trigger, acknowledge, resolve)"),
        ({"event_action": "resolve", "dedup_key": ""}, "'dedup_key' is missing or blank; resolve needs it"),
        ({"dedup_key": "k" * 256}, "'dedup_key' is invalid (must be a string of at most 255 characters)"),
        ({"payload": None}, "'payload' is missing or not an object"),
        ({"payload": {"summary": "x" * 1025, "source": "s", "severity": "info"}}, "'payload.summary' is too long"),
        ({"payload": {"summary": "x", "source": " ", "severity": "info"}}, "'payload.source' is missing or blank"),
        ({"payload": {"summary": "x", "source": "s", "severity": "FATAL"}}, "'payload.severity' is invalid"),
        (
            {"payload": {"summary": "x", "source": "s", "severity": "info", "timestamp": "soon"}},
            "'payload.timestamp' is invalid (must be ISO 8601)",
        ),
        ({"links": [{"text": "x"}]}, "'links' is invalid (must be an array of objects with 'href')"),
    ],
)
def test_an_event_that_is_wrong_is_refused_and_logged(web: TestClient, fields: dict[str, Any], error: str) -> None:
    answer = enqueue(web, fields.pop("event_action", "trigger"), **fields)
    assert answer.status_code == 400
    assert (answer.json()["status"], answer.json()["message"]) == ("invalid event", "Event object is invalid")
    assert answer.json()["errors"][0].startswith(error)
    state = web.get("/messages").json()["pagerduty"]
    assert (state["incidents"], error in state["events"][0]["effect"]) == ([], True)


def test_what_is_no_event_is_refused(web: TestClient) -> None:
    answer = web.post("/v2/enqueue", content=b"{")
    assert (answer.status_code, answer.json()["status"]) == (400, "Unrecognized object")
    assert enqueue(web, "trigger", client="x" * 512_000).status_code == 413


def test_pagerduty_breaks_on_demand(web: TestClient) -> None:
    for fault in (
        {"kind": "rate_limited", "retry_after": "7"},
        {"kind": "error", "status": 502},
        {"kind": "api_error", "method": "trigger"},
        {"kind": "drop_reply", "method": "resolve"},
    ):
        assert web.post("/faults", json={"service": "pagerduty", **fault}).status_code == 200
    limited = enqueue(web, "trigger")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert limited.json()["status"] == "throttle exceeded"
    assert [enqueue(web, "trigger").status_code for _ in range(3)] == [502, 400, 202]
    # The fault of resolving is still to come.
    assert [fault["method"] for fault in web.get("/faults").json()] == ["resolve"]


# ---- webhooks


def post(web: TestClient, body: bytes, signature: str | None, delivery: str = "d-1") -> httpx.Response:
    headers = {"Tillwatch-Delivery": delivery} | ({} if signature is None else {"Tillwatch-Signature": signature})
    answer: httpx.Response = web.post("/hooks/ops", content=body, headers=headers)
    return answer


def signed(body: bytes, secret: str, moment: int | None = None) -> tuple[int, str]:
    moment = int(time.time()) if moment is None else moment
    return moment, hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()


def test_a_delivery_is_kept_with_what_its_signature_is_worth(web: TestClient) -> None:
    body = json.dumps({"version": "4", "status": "firing", "alerts": [{}]}).encode()
    now, right = signed(body, SECRET)
    _, old = signed(body, "the one before")
    stale, late = signed(body, SECRET, now - 3600)
    post(web, body, f"t={now},v1={right}")
    post(web, body, f"t={now},v1={old},v1={right}", "d-2")
    post(web, body, f"t={now},v1={old}", "d-3")
    post(web, body + b" ", f"t={now},v1={right}", "d-4")
    post(web, body, f"t={stale},v1={late}", "d-5")
    post(web, body, "nonsense", "d-6")
    post(web, body, None)
    got = web.get("/messages").json()["webhook"]
    assert [row["signature"] for row in got] == ["right", "right", "wrong", "wrong", "stale", "wrong", "missing"]
    assert [row["repeated"] for row in got] == [False] * 6 + [True]
    assert (got[0]["name"], got[0]["body"], got[0]["headers"]["tillwatch-delivery"]) == ("ops", body.decode(), "d-1")
    page = web.get("/").text
    assert "firing · 1 alert" in page
    assert "came before" in page


def test_without_a_secret_nothing_is_checked(inbox: Inbox) -> None:
    web = TestClient(create_app(inbox))
    post(web, b"{}", "t=1,v1=00")
    assert web.get("/messages").json()["webhook"][0]["signature"] == "unchecked"


def test_webhooks_break_on_demand(web: TestClient) -> None:
    for fault in (
        {"kind": "error", "status": 410, "method": "ops"},
        {"kind": "redirect"},
        {"kind": "long_answer"},
        {"kind": "rate_limited", "method": "other"},
    ):
        web.post("/faults", json={"service": "webhook", **fault})
    assert post(web, b"{}", None).status_code == 410
    moved = web.post("/hooks/ops", content=b"{}", follow_redirects=False)
    assert (moved.status_code, moved.headers["location"]) == (307, "/hooks/elsewhere")
    assert len(post(web, b"{}", None).content) == 16 << 20
    assert post(web, b"{}", None).json() == {"ok": True}
    assert len(web.get("/messages").json()["webhook"]) == 2


# ---- Socket Mode


@pytest.fixture
def server(inbox: Inbox) -> Iterator[SandboxServer]:
    started = SandboxServer(inbox)
    yield started
    started.close()


def test_a_pressed_button_reaches_the_app_as_slack_says_it(server: SandboxServer) -> None:
    app = server.app()
    ts = server.post_buttons()
    pressed = server.press(ts, user="U0BOB").json()
    (request,) = wait_for(lambda: app.got)
    assert (request.type, request.envelope_id) == ("interactive", pressed["envelope_id"])
    payload = request.payload
    assert (payload["type"], payload["team"]["id"]) == ("block_actions", "T0SANDBOX")
    assert payload["user"] == {"id": "U0BOB", "username": "bob", "name": "bob", "team_id": "T0SANDBOX"}
    assert (payload["channel"]["id"], payload["message"]["ts"], payload["message"]["text"]) == ("C0OPS", ts, "FATAL")
    assert payload["container"]["message_ts"] == ts
    (action,) = payload["actions"]
    assert (action["type"], action["action_id"], action["block_id"]) == ("button", "ack", "b")
    assert (action["value"], action["text"]["text"]) == ("thread-1", "Acknowledge")
    (told,) = wait_for(lambda: [press for press in server.messages()["presses"] if press["acknowledged_ms"]])
    assert (told["sent"], told["late"]) == (1, False)


def test_a_response_url_answers_the_one_who_pressed_or_all(server: SandboxServer) -> None:
    app = server.app()
    ts = server.post_buttons()
    server.press(ts, user="U0EVE")
    url = wait_for(lambda: app.got)[0].payload["response_url"]
    answers: list[dict[str, Any]] = [
        {"text": "You are not on call here."},
        {"text": "to all", "response_type": "in_channel", "thread_ts": ts},
        {"text": "taken", "replace_original": True},
    ]
    for answer in answers:
        assert server.http.post(url, json=answer).json() == {"ok": True}
    messages = server.messages()
    assert [(row["only_for"], row["text"]) for row in messages["ephemeral"]] == [("U0EVE", "You are not on call here.")]
    assert [row["text"] for row in messages["slack"]] == ["taken", "to all"]
    assert "only eve sees this" in server.http.get("/").text
    codes = [server.http.post(url, json={"text": "x"}).json().get("error") for _ in range(3)]
    assert codes == [None, None, "used_url"]
    history = server.ask_slack("conversations.history", channel="C0OPS")["messages"]
    assert [row["text"] for row in history] == ["taken"]


def test_what_is_not_acknowledged_comes_again_and_a_person_sees_a_warning(server: SandboxServer) -> None:
    app = server.app(lambda request: bool(request.retry_attempt))
    server.press(server.post_buttons())
    wait_for(lambda: [press for press in server.messages()["presses"] if press["acknowledged_ms"]])
    first, again = app.got
    assert (first.envelope_id, first.payload) == (again.envelope_id, again.payload)
    assert (first.retry_attempt, again.retry_attempt, again.retry_reason) == (None, 1, "timeout")
    (told,) = server.messages()["presses"]
    assert (told["sent"], told["late"]) == (2, True)


def test_two_connections_share_the_envelopes(server: SandboxServer) -> None:
    one, two = server.app(), server.app()
    ts = server.post_buttons()
    for _ in range(4):
        server.press(ts)
    wait_for(lambda: len(one.got) + len(two.got) == 4)
    assert (len(one.got), len(two.got)) == (2, 2)


@pytest.mark.parametrize("kind", ["drop_reply", "accept_and_hang"])
def test_an_envelope_survives_a_connection_that_breaks(server: SandboxServer, kind: str) -> None:
    app = server.app()
    ts = server.post_buttons()
    assert server.http.post("/faults", json={"service": "slack", "kind": kind, "method": "interactive"}).is_success
    server.press(ts)
    wait_for(lambda: [press for press in server.messages()["presses"] if press["acknowledged_ms"]])
    # The app heard it again, and does the same thing again unless it knows what it has heard.
    assert len(app.got) >= 2
    assert len({request.envelope_id for request in app.got}) == 1
    assert server.messages()["connections"] == 1


def test_a_disconnected_app_comes_back(server: SandboxServer) -> None:
    app = server.app()
    opened = server.messages()["calls"]["apps.connections.open"]
    assert server.http.post("/-/disconnect", json={"reason": "refresh_requested"}).json() == {"connections": 1}
    wait_for(lambda: server.messages()["calls"]["apps.connections.open"] > opened)
    wait_for(lambda: server.messages()["connections"] == 1)
    server.press(server.post_buttons())
    wait_for(lambda: app.got)


def test_a_button_that_nobody_would_hear_of_says_so(server: SandboxServer) -> None:
    ts = server.post_buttons()
    nobody = server.press(ts)
    assert (nobody.status_code, nobody.json()["detail"]) == (
        409,
        "Nobody is told: the app has no Socket Mode connection open.",
    )
    assert server.press(ts, action_id="silence_1h").status_code == 404
    assert server.press("1.000000").status_code == 404
    assert server.messages()["presses"] == []


def test_a_connection_needs_an_app_level_token_and_a_ticket_of_its_own(server: SandboxServer) -> None:
    assert server.ask_slack("apps.connections.open")["error"] == "not_allowed_token_type"
    assert server.ask_slack("chat.postMessage", token="xapp-1")["error"] == "not_allowed_token_type"
    url = server.ask_slack("apps.connections.open", token="xapp-1")["url"]
    assert url.startswith(server.url.replace("http", "ws"))
    app = server.app()
    used = app.client.wss_uri
    assert used is not None
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    assert server.http.get(used.replace("ws", "http", 1), headers=headers).status_code == 403
