"""The notifier's API: who may do what, revisions, keys, long polls; whatever may come is answered as is said."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from lakehouse.oncall import Told
from notifier import outgoing
from notifier.api import create_app
from notifier.changes import LOOK_S, Changes
from notifier.routing.decide import Silence
from notifier.routing.matchers import parse_matcher
from notifier.tokens import Tokens
from tests.test_notifier import Desk, Friend
from tests.test_notifier_ledger import a_daemon
from tests.test_notifier_random import EDITS


class Api:
    """An application over a ledger with some incidents, and clients with each token."""

    def __init__(self, path: Path) -> None:
        self.desk = Desk(path, Friend())
        self.desk.fatal("inc-1")
        self.desk.fatal("inc-2", service="checkout", severity="ERROR")
        self.desk.fatal("inc-old", service="search", at=self.desk.now - timedelta(hours=2))
        self.desk.fatal("inc-over", service="stock")
        self.desk.publish()
        self.desk.resolved("inc-over")
        self.desk.fatal("inc-never", status="RESOLVED")
        self.desk.publish()
        self.tokens = Tokens(path)
        self.app: FastAPI = create_app(a_daemon(self.desk), self.tokens)

    def client(self, name: str | None = "operator", **headers: str) -> TestClient:
        if name is not None:
            headers["Authorization"] = f"Bearer {self.tokens.secret_of(name)}"
        return TestClient(self.app, base_url="http://localhost", headers=headers)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    opened = Api(tmp_path)
    yield opened
    opened.desk.close()


def ack(client: TestClient, incident: str = "inc-1", **headers: str) -> Any:
    return client.post(f"/api/incidents/{incident}/ack", json={"note": "on it"}, headers=headers)


# ---- who may what

READS = ("/api/incidents", "/api/incidents/inc-1", "/api/deliveries", "/api/silences", "/api/marks", "/api/state")
ACTS: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/api/incidents/inc-1/ack", {}),
    ("DELETE", "/api/incidents/inc-1/ack", None),
    ("POST", "/api/incidents/inc-1/notes", {"note": "x"}),
    ("POST", "/api/incidents/inc-1/escalate", None),
    ("POST", "/api/silences", {"matchers": [], "reason": "x", "until": "2027-01-01T00:00:00Z"}),
    ("DELETE", "/api/silences/x", None),
    ("POST", "/api/marks", {"text": "deploy"}),
    ("POST", "/api/deliveries/x/retry", None),
)


def test_without_a_token_nothing_is_told_or_done_but_health(api: Api) -> None:
    nobody = api.client(None)
    asked = [("GET", path, None) for path in (*READS, "/openapi.json")] + list(ACTS)
    assert {nobody.request(method, path, json=body).status_code for method, path, body in asked} == {401}
    for path in ("/-/healthy", "/metrics"):
        assert nobody.get(path).status_code == 200
    assert api.desk.ledger.history("inc-1") == []


def test_metrics_tell_how_the_connection_to_dremio_is(api: Api) -> None:
    said = api.client(None).get("/metrics").text
    assert 'tillwatch_notifier_data_state{tillwatch_notifier_data_state="up"} 1.0' in said
    assert 'tillwatch_notifier_data_state{tillwatch_notifier_data_state="down"} 0.0' in said
    assert "tillwatch_notifier_data_latency_seconds 0.0" in said
    assert "tillwatch_notifier_data_last_ok_timestamp_seconds NaN" in said


def test_a_token_that_reads_cannot_act(api: Api) -> None:
    reader = api.client("reader")
    assert {reader.get(path).status_code for path in READS} == {200}
    answers = [reader.request(method, path, json=body) for method, path, body in ACTS]
    assert {answer.status_code for answer in answers} == {403}
    assert answers[0].json()["detail"] == "The token 'reader' may read, and not act."


def test_only_the_consoles_token_names_a_person_and_without_one_it_is_unverified(api: Api) -> None:
    refused = ack(api.client("operator", **{"Tillwatch-Person": "ada"}))
    assert (refused.status_code, "names no person" in refused.json()["detail"]) == (403, True)
    assert ack(api.client("console")).json()["ack"]["by"] == "unverified"
    named = ack(api.client("console", **{"Tillwatch-Person": "Ad%C3%A1"}))
    assert named.json()["ack"]["by"] == "Adá"
    history = api.client("reader").get("/api/incidents/inc-1").json()["history"]
    assert [(line["who"], line["via"], line["action"]) for line in history] == [
        ("unverified", "console", "acknowledged"),
        ("Adá", "console", "acknowledged"),
    ]


def test_tokens_are_their_owners_alone(api: Api, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "tokens.json").stat().st_mode) == 0o600
    named = json.loads((tmp_path / "tokens.json").read_text(encoding="utf-8"))
    assert [(one["name"], one["right"]) for one in named] == [
        ("reader", "read"),
        ("operator", "act"),
        ("console", "behalf"),
    ]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5007", "localhost.evil.example", ""])
def test_by_another_name_it_answers_nobody(api: Api, host: str) -> None:
    answer = api.client().get("/api/state", headers={"Host": host})
    assert (answer.status_code, answer.json()["detail"]) == (421, "This name is not mine; set notifier.hosts.")


def test_a_body_over_64_kib_is_refused_unread(api: Api) -> None:
    answer = api.client().post("/api/marks", content=b" " * (64 << 10) + b"{}")
    assert answer.status_code == 413


# ---- what is told


def test_incidents_are_listed_by_status_and_one_that_never_fired_is_none(api: Api) -> None:
    client = api.client("reader")
    found = client.get("/api/incidents").json()["incidents"]
    assert {(one["incident_id"], one["status"]) for one in found} == {
        ("inc-1", "open"),
        ("inc-2", "open"),
        ("inc-old", "old"),
        ("inc-over", "resolved"),
    }
    for status in ("open", "old", "resolved"):
        some = client.get("/api/incidents", params={"status": status, "limit": 1}).json()["incidents"]
        assert [one["status"] for one in some] == [status]
    [told] = client.get("/api/incidents/inc-1").json()["told"]
    assert (told["channel"], told["destination"], told["state"]) == ("slack", "C0OPS", "sent")
    assert told["receipt"].startswith("ts-")
    # No route takes it: it is listed all the same.
    [nobody] = client.get("/api/incidents/inc-2").json()["told"]
    assert (nobody["state"], nobody["reason"]) == ("muted", "no_route")


def test_of_the_words_the_first_that_holds_is_shown(api: Api) -> None:
    client = api.client()

    def word() -> str:
        return str(client.get("/api/incidents/inc-1").json()["word"])

    assert word() == "open"
    ack(client)
    assert word() == "acknowledged"
    now = api.desk.now
    matcher = parse_matcher("service_name = payments")
    api.desk.ledger.people.silence(Silence("s1", (matcher,), "known", "ada", now + timedelta(hours=1), now))
    assert word() == "silenced"
    api.desk.resolved("inc-1")
    api.desk.publish()
    assert word() == "resolved"


def test_history_is_told_up_to_a_moment(api: Api) -> None:
    ack(api.client())
    history = api.client().get("/api/incidents/inc-1").json()["history"]
    before = api.client().get("/api/incidents/inc-1", params={"at": "2020-01-01T00:00:00Z"}).json()["history"]
    assert (len(history), before) == (1, [])


# ---- revisions and keys


def test_who_acts_on_what_has_changed_since_hears_who_has_it(api: Api) -> None:
    client = api.client()
    seen = client.get("/api/incidents/inc-1").json()["revision"]
    assert ack(client, **{"If-Match": f'"{seen}"'}).status_code == 200
    stale = ack(client, **{"If-Match": f'"{seen}"'})
    assert (stale.status_code, stale.json()["detail"]) == (
        409,
        "It has changed since: operator has it. Look again, then decide.",
    )
    assert ack(client, **{"If-Match": "latest"}).status_code == 422


def test_a_request_that_comes_again_is_answered_as_before_and_done_once(api: Api) -> None:
    client = api.client()
    key = {"Idempotency-Key": "a-key-of-mine"}
    first = client.post("/api/marks", json={"text": "deploy 1.4"}, headers=key)
    again = client.post("/api/marks", json={"text": "deploy 1.4"}, headers=key)
    assert (first.status_code, again.json()) == (200, first.json())
    assert len(client.get("/api/marks").json()) == 1
    other = client.post("/api/marks", json={"text": "deploy 1.5"}, headers=key)
    assert (other.status_code, "was used for another request" in other.json()["detail"]) == (422, True)


def test_a_question_is_held_open_until_something_changes(api: Api) -> None:
    client = api.client()
    revision = client.get("/api/incidents").headers["ETag"]
    same = client.get("/api/incidents", headers={"If-None-Match": revision})
    assert (same.status_code, same.headers["ETag"]) == (304, revision)
    answers: list[Any] = []

    def wait() -> None:
        answers.append(client.get("/api/incidents", params={"wait": 20}, headers={"If-None-Match": revision}))

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    assert answers == []
    ack(api.client())
    waiting.join(10)
    assert answers[0].status_code == 200
    assert answers[0].headers["ETag"] != revision


def test_however_many_wait_the_ledger_is_looked_at_for_all_at_once_and_asked_once() -> None:
    revision, waiters = [7], 50
    looks: list[str] = []
    made: list[str] = []

    def look() -> int:
        looks.append("")
        return revision[0]

    def make() -> str:
        made.append("")
        time.sleep(0.1)
        return f"as of {revision[0]}"

    async def wait(changes: Changes[str], known: int) -> str | None:
        return await changes.answer("all", make) if await changes.since(known, 2.0) else None

    async def all_wait() -> list[str | None]:
        changes = Changes[str](look)
        waiting = [asyncio.create_task(wait(changes, 7)) for _ in range(waiters)]
        gone = asyncio.create_task(wait(changes, 7))
        await asyncio.sleep(3 * LOOK_S)
        gone.cancel()
        revision[0] = 8
        late = await wait(changes, 7)
        return [late, *await asyncio.gather(*waiting)]

    # In a thread of its own: where a browser was driven before, this one has a loop already.
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: asyncio.run(all_wait())).result() == ["as of 8"] * (waiters + 1)
    # Each once when it comes, and a few for all of them.
    assert len(looks) < waiters + 20
    assert len(made) < 4


def test_a_storms_digest_is_read_once_for_all_that_it_tells_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, Friend(manner=EDITS))
    try:
        desk.ledger.storm_after = 2
        for number in range(40):
            desk.fatal(f"inc-{number}", service=f"shop-{number}")
            desk.publish()
            desk.run(timedelta(seconds=6))
        deliveries = len(desk.ledger.deliveries(limit=1000))
        made: list[Told] = []

        def counted(**values: Any) -> Told:
            made.append(Told(**values))
            return made[-1]

        monkeypatch.setattr(outgoing, "Told", counted)
        found = outgoing.Outgoing(desk.ledger).incidents("open", None, None, 100)
        assert [[told.state for told in one.told] for one in found.incidents] == [["sent"]] * 40
        assert 2 < len(made) <= deliveries
    finally:
        desk.close()


def test_what_is_wrong_is_a_sentence_and_the_field(api: Api) -> None:
    client = api.client()
    until, soon = "2099-01-01T00:00:00Z", (datetime.now(UTC) + timedelta(days=1)).isoformat()
    whole = {"matchers": [{"column": "rule", "op": "=", "value": "x"}], "reason": "known", "until": until}
    for change, field, words in (
        ({"matchers": []}, "matchers", "at least 1 item"),
        ({"reason": ""}, "reason", "at least 1 character"),
        ({"until": "2020-01-01T00:00:00Z"}, "", "'until' is over already"),
        ({}, "", "'until' is over 7 d"),
        ({"until": "2099-01-01T00:00:00"}, "", "A time has its zone"),
        ({"until": soon, "matchers": [{"column": "rul", "op": "=", "value": "x"}]}, "", "(did you mean 'rule'?)"),
    ):
        answer = client.post("/api/silences", json=whole | change)
        assert answer.status_code == 422, change
        assert words in answer.json()["detail"]
        assert field in answer.json().get("field", "")
    assert client.post("/api/incidents/none/ack", json={}).json()["detail"] == "There is no incident 'none'."


# ---- whatever may come


def test_no_request_breaks_it(api: Api) -> None:
    """20 made-up requests an operation, with the token that may most: each is answered, and no fault is ours."""
    sent = {"Authorization": f"Bearer {api.tokens.secret_of('console')}", "Host": "localhost"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", api.app, headers=sent)
    asked = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if not operation.path.startswith("/api/"):
            continue

        @given(case=operation.as_strategy())
        @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def ask(case: Any) -> None:
            nonlocal asked
            asked += 1
            if "wait" in (case.query or {}):
                case.query["wait"] = 0
            answer = case.call(headers=sent)
            assert answer.status_code in (200, 204, 304, 403, 404, 409, 413, 422), answer.text
            if answer.status_code >= 400:
                assert isinstance(answer.json()["detail"], str)

        ask()
    assert asked >= 14 * 20
