"""The stand-in for Slack: answers as Slack does, and forgets nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from embedded.sandbox.app import create_app
from embedded.sandbox.faults import Fault
from embedded.sandbox.inbox import Inbox
from embedded.sandbox.shown import shown


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    opened = Inbox(tmp_path / "sandbox.db", keep=50)
    yield opened
    opened.close()


@pytest.fixture
def web(inbox: Inbox) -> TestClient:
    return TestClient(create_app(inbox))


def call(web: TestClient, method: str, token: str = "xoxb-1", **arguments: Any) -> dict[str, Any]:
    answer: dict[str, Any] = web.post(
        f"/api/{method}", json=arguments, headers={"Authorization": f"Bearer {token}"} if token else {}
    ).json()
    return answer


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("chat.postMessage", {"channel": "ops", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "C0OPS"}, "no_text"),
        ("chat.postMessage", {"channel": "C0OPS", "text": "x" * 40_001}, "msg_too_long"),
        ("chat.postMessage", {"channel": "C0OPS", "text": "x", "blocks": [{}]}, "invalid_blocks"),
        ("chat.postMessage", {"channel": "C0OPS", "text": "x", "metadata": {"a": 1}}, "invalid_metadata_format"),
        ("chat.postMessage", {"channel": "C0OPS", "text": "x", "thread_ts": "1.000000"}, "thread_not_found"),
        ("chat.update", {"channel": "C0OPS", "text": "x", "ts": "1.000000"}, "message_not_found"),
        ("conversations.replies", {"channel": "C0OPS", "ts": "1.000000"}, "thread_not_found"),
        ("conversations.history", {"channel": "C0OPS", "limit": 0}, "invalid_limit"),
        ("chat.shout", {}, "unknown_method"),
    ],
)
def test_slacks_errors(web: TestClient, method: str, arguments: dict[str, Any], error: str) -> None:
    assert call(web, method, **arguments) == {"ok": False, "error": error}


def test_who_is_not_logged_in_is_refused(web: TestClient) -> None:
    assert call(web, "auth.test", token="")["error"] == "not_authed"
    assert call(web, "auth.test", token="wrong")["error"] == "invalid_auth"
    assert call(web, "auth.test")["ok"]


def test_history_shows_threads_as_slack_does(web: TestClient) -> None:
    metadata = {"event_type": "t", "event_payload": {"delivery_key": "k"}}
    root = call(web, "chat.postMessage", channel="C0OPS", text="root", metadata=metadata)["ts"]
    call(web, "chat.postMessage", channel="C0OPS", text="reply", thread_ts=root)
    call(web, "chat.postMessage", channel="C0OPS", text="loud", thread_ts=root, reply_broadcast=True)
    call(web, "chat.postMessage", channel="C0DEV", text="elsewhere")
    history = call(web, "conversations.history", channel="C0OPS")["messages"]
    assert [row["text"] for row in history] == ["loud", "root"]
    assert "metadata" not in history[1]
    full = call(web, "conversations.history", channel="C0OPS", include_all_metadata=True)["messages"]
    assert full[1]["metadata"] == metadata
    replies = call(web, "conversations.replies", channel="C0OPS", ts=root)["messages"]
    assert [row["text"] for row in replies] == ["root", "reply", "loud"]
    later = call(web, "conversations.history", channel="C0OPS", oldest=root)["messages"]
    assert [row["text"] for row in later] == ["loud"]


def test_history_comes_in_pages(web: TestClient) -> None:
    for number in range(5):
        call(web, "chat.postMessage", channel="C0OPS", text=f"{number}")
    seen: list[str] = []
    cursor = ""
    while True:
        page = call(web, "conversations.history", channel="C0OPS", limit=2, cursor=cursor)
        seen += [row["text"] for row in page["messages"]]
        if not page["has_more"]:
            break
        cursor = page["response_metadata"]["next_cursor"]
    assert seen == ["4", "3", "2", "1", "0"]


def test_an_update_replaces_the_text(web: TestClient) -> None:
    ts = call(web, "chat.postMessage", channel="C0OPS", text="before")["ts"]
    assert call(web, "chat.update", channel="C0OPS", ts=ts, text="after")["ok"]
    (row,) = call(web, "conversations.history", channel="C0OPS")["messages"]
    assert (row["text"], "edited" in row) == ("after", True)


def test_a_restart_loses_no_message_and_no_fault(tmp_path: Path) -> None:
    before = Inbox(tmp_path / "sandbox.db")
    before.post("C0OPS", "hello")
    before.mail("<1@x>", "a@x", "b@x", "subject", "body", {})
    before.faults.switch_on(Fault(service="slack", kind="error", count=2))
    before.close()
    after = Inbox(tmp_path / "sandbox.db")
    assert [row["text"] for row in after.messages()["slack"]] == ["hello"]
    assert [row["message_id"] for row in after.messages()["email"]] == ["<1@x>"]
    assert [fault.count for fault in after.faults.on()] == [2]
    after.close()


def test_it_keeps_the_newest_messages_only(inbox: Inbox) -> None:
    for number in range(60):
        inbox.post("C0OPS", f"{number}")
    assert [row["text"] for row in inbox.messages()["slack"]] == [f"{number}" for number in range(10, 60)]


def test_a_fault_breaks_as_many_calls_as_it_was_told(web: TestClient) -> None:
    web.post("/faults", json={"service": "slack", "kind": "rate_limited", "count": 2, "retry_after": "1.5"})
    answers = [
        web.post(
            "/api/chat.postMessage", json={"channel": "C0OPS", "text": "x"}, headers={"Authorization": "Bearer xoxb-1"}
        )
        for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "1.5"
    assert call(web, "conversations.history", channel="C0OPS")["ok"]


def test_a_fault_it_does_not_have_is_refused(web: TestClient) -> None:
    assert "has no fault 'refuse'" in web.post("/faults", json={"service": "slack", "kind": "refuse"}).json()["detail"]
    assert web.post("/faults", json={"service": "pager", "kind": "error"}).status_code == 422


def test_the_page_shows_what_arrived_and_runs_nothing_of_it(web: TestClient, inbox: Inbox) -> None:
    empty = web.get("/").text
    assert "the first FATAL alert appears here" in empty
    assert "https://" not in empty
    call(
        web,
        "chat.postMessage",
        channel="C0OPS",
        text="*FATAL* &lt;script&gt; <http://c/app?a=1&amp;b=2|Open> <img src=x>",
    )
    inbox.mail("<1@x>", "a@x", "b@x", "<b>subject", "<i>body", {})
    page = web.get("/fragment").text
    assert "<strong>FATAL</strong> &lt;script&gt;" in page
    assert '<a href="http://c/app?a=1&amp;b=2" rel="noreferrer">Open</a>' in page
    for tag in ("<script>", "<img", "<b>", "<i>"):
        assert tag not in page


RICH = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "*a*"}]}]}


@pytest.mark.parametrize(
    ("message", "html"),
    [
        ({"text": "*a* _b_ ~c~ `d`"}, "<strong>a</strong> <em>b</em> <s>c</s> <code>d</code>"),
        ({"text": "&gt; q"}, "<blockquote>q</blockquote>"),
        ({"text": "<!channel> :fire:"}, "<mark>!channel</mark> <i>fire</i>"),
        ({"text": "*a* :fire:", "mrkdwn": False}, "*a* <i>fire</i>"),
        ({"text": "x", "blocks": [RICH]}, "*a*"),
        ({"text": "<|x>"}, "&lt;|x&gt;"),
        (
            {"text": "x", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*a*"}}]},
            "<strong>a</strong>",
        ),
        ({"text": "x", "blocks": [{"type": "section", "text": {"type": "plain_text", "text": "*a*"}}]}, "*a*"),
    ],
)
def test_a_message_is_shown_as_slack_shows_it(message: dict[str, Any], html: str) -> None:
    assert shown(message) == html


def test_rich_text_it_does_not_know_is_refused(web: TestClient) -> None:
    empty = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "text"}]}]}
    assert call(web, "chat.postMessage", channel="C0OPS", text="x", blocks=[RICH])["ok"]
    assert call(web, "chat.postMessage", channel="C0OPS", text="x", blocks=[empty])["error"] == "invalid_blocks"


def test_the_page_shows_what_a_text_holds_unseen_and_breaks_a_long_word(web: TestClient, inbox: Inbox) -> None:
    call(web, "chat.postMessage", channel="C0OPS", text="FATAL in *invoice\u202efdp.exe*\nsecond line " + "x" * 6000)
    inbox.mail("<1@a>", "a@x", "b@x", "a\u200bb", "first\r\nsecond\u2067", {})
    shown = web.get("/").text
    assert "invoice\\u202efdp.exe</strong>\nsecond line" in shown
    assert "a\\u200bb" in shown
    assert "first\nsecond\\u2067" in shown
    assert not set("\u202e\u200b\u2067") & set(shown)
    assert "overflow-wrap: anywhere" in shown


def test_messages_tell_when_they_arrived(web: TestClient, inbox: Inbox) -> None:
    inbox.post("C0OPS", "early")
    (row,) = web.get("/messages").json()["slack"]
    assert row["arrived_ms"] > 1_700_000_000_000
    assert web.get("/messages", params={"since_ms": row["arrived_ms"] + 1}).json()["slack"] == []
