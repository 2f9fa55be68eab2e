"""The sandbox's page in a browser: what arrives shows by itself, buttons reach the app, mails run nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from embedded.sandbox.inbox import Inbox
from tests.sandbox_cast import SandboxServer

pytestmark = pytest.mark.browser

KEY = "0123456789abcdef0123456789abcdef"
NOON = 1_772_452_800
"""2026-03-02 12:00:00 UTC: 13:00 in Berlin, where the page is read."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SandboxServer]:
    inbox = Inbox(tmp_path / "sandbox.db")
    started = SandboxServer(inbox)
    yield started
    started.close()
    inbox.close()


def rich(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": list(elements)}]}


def root(state: str) -> dict[str, Any]:
    """The first message of a thread, with its colour and a button."""
    since = {"type": "date", "timestamp": NOON, "format": "{date_num} {time_secs}", "fallback": "noon"}
    label = {"type": "plain_text", "text": "Acknowledge"}
    blocks = [
        rich({"type": "text", "text": state, "style": {"bold": True}}),
        rich({"type": "text", "text": "since "}, since),
        {"type": "actions", "elements": [{"type": "button", "action_id": "ack", "value": "thread-1", "text": label}]},
    ]
    return {"channel": "C0ONCALL", "attachments": [{"color": "#d55e00", "fallback": state, "blocks": blocks}]}


def test_what_people_would_see_shows_without_a_reload(page: Page, server: SandboxServer) -> None:
    page.goto(server.url)
    expect(page.get_by_text("No message yet")).to_be_visible()
    ts = server.ask_slack("chat.postMessage", **root("FATAL in payments"))["ts"]
    server.ask_slack("chat.postMessage", channel="C0ONCALL", text="Also ERROR", thread_ts=ts, reply_broadcast=True)
    server.http.post("/-/say", json={"channel": "C0ONCALL", "user": "U0BOB", "text": "on it", "thread_ts": ts})
    card = page.locator(f"article[id='m-C0ONCALL-{ts}']")
    expect(card.locator(".attachment")).to_have_css("border-left-color", "rgb(213, 94, 0)")
    # Moments are of the reader's zone.
    expect(card.locator(".attachment time")).to_have_text("2026-03-02 1:00:00 PM")
    expect(card.locator(".thread .text")).to_have_text(["Also ERROR", "on it"])
    expect(page.locator("#slack-C0ONCALL > article").first).to_contain_text("replied to a thread")
    server.ask_slack("chat.update", ts=ts, **root("Resolved: FATAL in payments"))
    expect(card.locator(".attachment strong")).to_have_text("Resolved: FATAL in payments")
    server.ask_slack("chat.update", channel="C0ONCALL", ts=ts, text="Resolved", attachments=[])
    expect(card.locator(".text").first).to_have_text("Resolved (edited)")


def test_a_button_is_pressed_as_the_person_that_is_chosen(page: Page, server: SandboxServer) -> None:
    server.ask_slack("chat.postMessage", **root("FATAL in payments"))
    page.goto(server.url)
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#answer")).to_have_text("Nobody is told: the app has no Socket Mode connection open.")
    app = server.app(lambda request: request.payload["user"]["id"] != "U0EVE")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".press")).to_contain_text("ada pressed Acknowledge · the app took it")
    page.get_by_label("Press buttons as").select_option("U0EVE")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".press")).to_contain_text("eve pressed Acknowledge · the app does not take it")
    assert [request.payload["user"]["id"] for request in app.got[:2]] == ["U0ADA", "U0EVE"]


def test_a_mail_is_drawn_in_its_frame_and_stays_open_while_others_come(page: Page, tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "sandbox.db")
    server = SandboxServer(inbox)
    asked: list[str] = []
    page.on("requestfinished", lambda request: asked.append(request.url))
    html = '<p>card <b>declined</b></p><script>parent.x = 1</script><img src="http://127.0.0.1:9/x.png">'
    try:
        inbox.mail("<1@x>", "a@x", "b@x", "FATAL", "card declined", {}, html)
        page.goto(server.url)
        page.get_by_text("FATAL", exact=True).click()
        frame = page.frame_locator("#email iframe")
        expect(frame.locator("b")).to_have_text("declined")
        page.locator("#email iframe").evaluate("frame => frame.dataset.kept = 'yes'")
        inbox.mail("<2@x>", "a@x", "b@x", "RESOLVED", "well", {})
        expect(page.locator("#email article")).to_have_count(2)
        expect(page.locator("#email iframe[data-kept]")).to_be_visible()
        assert all(url.startswith((server.url, "data:", "about:")) for url in asked)
    finally:
        server.close()
        inbox.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_a_phone_in_light_and_dark(chromium: Browser, server: SandboxServer, scheme: Any) -> None:
    long = "x" * 300
    server.ask_slack("chat.postMessage", **root(f"FATAL in {long}"))
    payload = {"summary": long, "source": "payments", "severity": "critical"}
    server.http.post("/v2/enqueue", json={"routing_key": KEY, "event_action": "trigger", "payload": payload})
    server.http.post("/hooks/ops", json={"alerts": [], "status": long})
    page = chromium.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    try:
        page.goto(server.url)
        expect(page.locator(".pill.triggered")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        assert [one["id"] for one in Axe().run(page).response["violations"]] == []
        dark = page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(15, 20, 25)"
        assert dark is (scheme == "dark")
    finally:
        page.close()
