"""The stand-in for Slack: answers as Slack does, and forgets nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from embedded.sandbox.app import create_app
from embedded.sandbox.conversations import Content
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
    answer = call(web, method, **arguments)
    assert (answer["ok"], answer["error"]) == (False, error)


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


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "block_id": "b", "text": {"type": "mrkdwn", "text": text}}


RICH = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "*a*"}]}]}
BAR = {"color": "#d55e00", "fallback": "x"}
METADATA = {"event_type": "t", "event_payload": {"delivery_key": "k"}}


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ({"text": "b"}, ("b", None, "#d55e00", METADATA, True)),
        ({"text": "b", "blocks": [section("c")]}, ("b", "c", "#d55e00", METADATA, False)),
        ({"blocks": [section("c")]}, ("", "c", "#d55e00", METADATA, False)),
        ({"text": "b", "attachments": []}, ("b", None, None, METADATA, True)),
        ({"attachments": [{"color": "good", "text": "d"}]}, ("a", "a", "good", METADATA, False)),
        ({"text": "b", "metadata": {}}, ("b", None, "#d55e00", None, True)),
    ],
    ids=["a text takes blocks away", "blocks", "blocks alone", "no attachment", "attachments alone", "no metadata"],
)
def test_an_update_replaces_what_slack_says_it_replaces(
    web: TestClient, given: dict[str, Any], after: tuple[Any, ...]
) -> None:
    posted: dict[str, Any] = {"text": "a", "blocks": [section("a")], "attachments": [BAR], "metadata": METADATA}
    ts = call(web, "chat.postMessage", channel="C0OPS", **posted)["ts"]
    answer = call(web, "chat.update", channel="C0OPS", ts=ts, **given)
    assert (answer["ok"], answer["ts"], answer["text"]) == (True, ts, after[0])
    (row,) = call(web, "conversations.history", channel="C0OPS", include_all_metadata=True)["messages"]
    blocks, attachments = row.get("blocks"), row.get("attachments")
    assert after == (
        row["text"],
        blocks and blocks[0]["text"]["text"],
        attachments and attachments[0]["color"],
        row.get("metadata"),
        # Slack marks as edited what has no blocks.
        "edited" in row,
    )


def test_only_own_messages_are_changed_and_deleted(web: TestClient) -> None:
    theirs = web.post("/-/say", json={"channel": "C0OPS", "user": "U0BOB", "text": "on it"}).json()["ts"]
    arguments = {"channel": "C0OPS", "ts": theirs}
    assert call(web, "chat.update", text="x", **arguments)["error"] == "cant_update_message"
    assert call(web, "chat.delete", **arguments)["error"] == "cant_delete_message"
    rich = call(web, "chat.postMessage", channel="C0OPS", text="x", blocks=[RICH])["ts"]
    plain = {"channel": "C0OPS", "ts": rich, "text": "x", "blocks": [section("x")]}
    assert call(web, "chat.update", **plain)["error"] == "block_mismatch"
    assert call(web, "chat.update", channel="C0OPS", ts=rich, text="x" * 4001)["error"] == "msg_too_long"


def test_a_deleted_root_stays_as_a_mark_where_it_has_replies(web: TestClient) -> None:
    alone, root = (call(web, "chat.postMessage", channel="C0OPS", text="x")["ts"] for _ in range(2))
    call(web, "chat.postMessage", channel="C0OPS", text="reply", thread_ts=root)
    for ts in (alone, root):
        assert call(web, "chat.delete", channel="C0OPS", ts=ts) == {"ok": True, "channel": "C0OPS", "ts": ts}
        assert call(web, "chat.update", channel="C0OPS", ts=ts, text="x")["error"] == "message_not_found"
    (mark,) = call(web, "conversations.history", channel="C0OPS")["messages"]
    assert (mark["ts"], mark["subtype"], mark["text"]) == (root, "tombstone", "This message was deleted.")
    replies = call(web, "conversations.replies", channel="C0OPS", ts=root)["messages"]
    assert [row["text"] for row in replies[1:]] == ["reply"]
    answer = call(web, "chat.postMessage", channel="C0OPS", text="x", thread_ts=alone)
    assert answer["error"] == "thread_not_found"


def test_a_broadcast_reply_says_so_at_once_and_later(web: TestClient) -> None:
    root = call(web, "chat.postMessage", channel="C0OPS", text="root")["ts"]
    reply = {"channel": "C0OPS", "thread_ts": root}
    answer = call(web, "chat.postMessage", text="loud", reply_broadcast=True, **reply)
    assert (answer["message"]["subtype"], answer["message"]["root"]["text"]) == ("thread_broadcast", "root")
    quiet = call(web, "chat.postMessage", text="quiet", **reply)["ts"]
    later = {"channel": "C0OPS", "ts": quiet, "reply_broadcast": True}
    assert call(web, "chat.update", text="new", **later)["error"] == "no_dual_broadcast_content_update"
    assert call(web, "chat.update", **later)["message"]["subtype"] == "thread_broadcast"
    alone = call(web, "chat.update", channel="C0OPS", ts=root, reply_broadcast=True)
    assert alone["error"] == "cant_broadcast_message"
    history = call(web, "conversations.history", channel="C0OPS")["messages"]
    assert [row["text"] for row in history] == ["quiet", "loud", "root"]
    assert (history[2]["reply_count"], history[2]["latest_reply"]) == (2, quiet)


def test_membership_archives_and_scopes_are_told_and_enforced(web: TestClient) -> None:
    def info(channel: str) -> Any:
        return call(web, "conversations.info", channel=channel).get("channel", {}).get("is_member")

    state = {"scopes": ["chat:write", "channels:read"], "channels": {"C0OUT": {"is_member": False}}}
    state["channels"] |= {"C0OLD": {"is_archived": True}, "G0OUT": {"is_member": False}}  # type: ignore[operator]
    assert web.put("/-/workspace", json=state).status_code == 200
    assert (info("C0OPS"), info("C0OUT"), info("G0OUT")) == (True, False, None)
    for channel, error in (("C0OUT", "not_in_channel"), ("C0OLD", "is_archived"), ("G0OUT", "channel_not_found")):
        assert call(web, "chat.postMessage", channel=channel, text="x")["error"] == error
    refused = call(web, "conversations.history", channel="C0OPS")
    assert (refused["error"], refused["needed"]) == ("missing_scope", "channels:history")
    answer = web.post("/api/auth.test", headers={"Authorization": "Bearer xoxb-1"})
    assert answer.headers["x-oauth-scopes"] == "chat:write,channels:read"


def button(**fields: Any) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": "Acknowledge"}, **fields}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def rich(*elements: dict[str, Any], **part: Any) -> dict[str, Any]:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(elements), **part}]}


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        ([{"type": "divider"}] * 51, "no more than 50 items allowed [json-pointer:/blocks]"),
        ([section("")], "must be more than 0 characters [json-pointer:/blocks/0/text/text]"),
        ([section("x" * 3001)], "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
        ([{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}], "must be one of plain_text"),
        ([section("x"), section("x")], "`block_id` must be unique"),
        (
            [section("x") | {"block_id": "b" * 256}],
            "must be less than 256 characters [json-pointer:/blocks/0/block_id]",
        ),
        ([{"type": "context", "elements": []}], "no fewer than 1 items"),
        ([actions(*[button()] * 26)], "no more than 25 items allowed [json-pointer:/blocks/0/elements]"),
        ([actions(button(action_id="a" * 256))], "must be less than 256 characters"),
        ([actions(button(action_id="a"), button(action_id="a"))], "`action_id` must be unique"),
        ([actions(button(value="v" * 2001))], "must be less than 2001 characters"),
        ([actions(button(style="loud"))], "must be one of primary, danger"),
        ([actions({"type": "button", "text": {"type": "plain_text", "text": "x" * 76}})], "less than 76 characters"),
        ([rich({"type": "text", "text": ""})], "must be more than 0 characters"),
        ([rich({"type": "date", "timestamp": "1", "format": "{time}"})], "missing required field: timestamp"),
        ([rich({"type": "text", "text": "x"}, type="rich_text_list")], "must be one of bullet, ordered"),
        ([{"type": "video"}], "unsupported type: video [json-pointer:/blocks/0/type]"),
    ],
)
def test_blocks_that_slack_refuses_are_refused_with_the_place(
    web: TestClient, blocks: list[dict[str, Any]], reason: str
) -> None:
    answer = call(web, "chat.postMessage", channel="C0OPS", text="x", blocks=blocks)
    assert answer["error"] == "invalid_blocks"
    assert reason in answer["errors"][0]
    inside = call(web, "chat.postMessage", channel="C0OPS", text="x", attachments=[{"blocks": blocks}])
    assert inside["error"] == "invalid_attachments"


@pytest.mark.parametrize(
    ("attachments", "error"),
    [
        ([{"fallback": "x"}] * 101, "too_many_attachments"),
        ([{"color": "vermilion", "text": "x"}], "invalid_attachments"),
        ([{"color": "good"}], "no_text"),
        ("x", "invalid_attachments"),
    ],
)
def test_attachments_that_slack_refuses_are_refused(web: TestClient, attachments: Any, error: str) -> None:
    assert call(web, "chat.postMessage", channel="C0OPS", text="x", attachments=attachments)["error"] == error


def test_blocks_and_buttons_get_ids_where_they_have_none(web: TestClient) -> None:
    answer = call(web, "chat.postMessage", channel="C0OPS", text="x", blocks=[actions(button())])
    (block,) = answer["message"]["blocks"]
    assert block["block_id"]
    assert block["elements"][0]["action_id"]


def test_a_restart_loses_no_message_and_no_fault(tmp_path: Path) -> None:
    before = Inbox(tmp_path / "sandbox.db")
    before.slack.post("C0OPS", Content("hello"))
    before.mail("<1@x>", "a@x", "b@x", "subject", "body", {})
    before.faults.switch_on(Fault(service="slack", kind="error", count=2))
    before.close()
    after = Inbox(tmp_path / "sandbox.db")
    assert [row["text"] for row in after.messages()["slack"]] == ["hello"]
    assert [row["message_id"] for row in after.messages()["email"]] == ["<1@x>"]
    assert [fault.count for fault in after.faults.on()] == [2]
    after.close()


def test_a_fault_of_one_conversation_leaves_others_alone(web: TestClient) -> None:
    fault = {"service": "slack", "kind": "rate_limited", "place": "C0OPS", "count": None}
    assert web.post("/faults", json=fault).status_code == 200
    assert call(web, "chat.postMessage", channel="C0DEPOT", text="x")["ok"]
    assert call(web, "chat.postMessage", channel="C0OPS", text="x")["error"] == "ratelimited"
    refused = web.post("/faults", json={"service": "smtp", "kind": "refuse", "place": "C0OPS"})
    assert "place: only calls of Slack's methods name one" in refused.json()["detail"]


def test_it_keeps_the_newest_messages_only(inbox: Inbox) -> None:
    for number in range(60):
        inbox.slack.post("C0OPS", Content(f"{number}"))
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


@pytest.mark.parametrize("method", ["chat.update", "chat.delete", "conversations.info", "apps.connections.open"])
def test_each_method_can_break(web: TestClient, method: str) -> None:
    web.post("/faults", json={"service": "slack", "kind": "api_error", "method": method, "error": "fatal_error"})
    web.post("/faults", json={"service": "slack", "kind": "error", "method": method, "status": 503})
    assert call(web, method)["error"] == "fatal_error"
    assert web.post(f"/api/{method}").status_code == 503
    assert web.get("/faults").json() == []


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
    for theirs in ("<script>", "<img", "<b>subject", "<i>body"):
        assert theirs not in page


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
        ({"text": "<@U0ADA> <#C0OPS>"}, "<mark>@ada</mark> <mark>#ops</mark>"),
        ({"text": "x", "blocks": [rich({"type": "text", "text": "a", "style": {"strike": True}})]}, "<s>a</s>"),
        (
            {"text": "x", "blocks": [rich({"type": "date", "timestamp": 0, "format": "{time}", "fallback": "<b>"})]},
            '<time datetime="1970-01-01T00:00:00Z" title="1970-01-01 00:00:00 UTC" data-form="{time}">&lt;b&gt;</time>',
        ),
        (
            {"text": "<!date^0^{date_num}|then>"},
            '<time datetime="1970-01-01T00:00:00Z" title="1970-01-01 00:00:00 UTC" data-form="{date_num}">then</time>',
        ),
        (
            {"text": "x", "blocks": [rich({"type": "link", "url": "javascript:x()", "text": "y"})]},
            '<a href="#" rel="noreferrer">y</a>',
        ),
        (
            {"text": "a", "attachments": [{"color": "danger", "blocks": [RICH, {"type": "divider"}]}]},
            'a<div class="attachment" style="--bar: #a30200">*a*<hr></div>',
        ),
        (
            {"text": "x", "blocks": [actions(button(action_id="ack", style="primary")) | {"block_id": "b"}]},
            '<div class="actions"><button type="button" class="action primary" data-action="ack" data-block="b">'
            "Acknowledge</button></div>",
        ),
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
    inbox.slack.post("C0OPS", Content("early"))
    (row,) = web.get("/messages").json()["slack"]
    assert row["arrived_ms"] > 1_700_000_000_000
    assert web.get("/messages", params={"since_ms": row["arrived_ms"] + 1}).json()["slack"] == []
