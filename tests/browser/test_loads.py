"""What a page costs the wire: a first load, and one by somebody who was there before."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served

pytestmark = pytest.mark.browser


def loaded(page: Page, served: Served, query: str = "") -> tuple[int, int]:
    """Bytes of all answers until the charts stand, and how many of them were asked for at the server."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[int] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    with page.expect_console_message(lambda message: "document idle" in message.text):
        page.goto(f"{served.url}/app?{query}")
    expect(page.locator('[data-chart="revenue_per_minute"] > *').first).to_be_visible()
    session.detach()
    return sum(sizes), sum(size > 0 for size in sizes)


# The longest of the live charts hold thrice as many rows.
@pytest.mark.parametrize("query", ["", "last=3h"])
def test_scripts_are_sent_compressed_and_once(page: Page, served: Served, query: str) -> None:
    served.post("/fake/heartbeat")
    first, _ = loaded(page, served, query)
    assert first < 1_000_000
    page.goto("about:blank")
    second, asked = loaded(page, served, query)
    # Promised are 100 KB with what the websocket brings; most of it is the page, which has a row for each open FATAL.
    assert second < 90_000
    assert asked < 10
