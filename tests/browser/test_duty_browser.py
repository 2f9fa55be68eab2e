"""What people do about incidents, in browsers, with a notifier behind the console."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from notifier.api import create_app
from notifier.tokens import Tokens
from tests.browser.conftest import Served, free_port, opened
from tests.notifier_cast import wait_for
from tests.test_notifier import Desk, Friend
from tests.test_notifier_ledger import a_daemon

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Served]]:
    """A notifier's desk, and a console that asks it. Each has a Dremio of its own: what is in both bears one id."""
    path = tmp_path_factory.mktemp("duty")
    desk, tokens = Desk(path, Friend()), Tokens(path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(create_app(a_daemon(desk), tokens), port=port, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    wait_for(lambda: server.started)
    console = Served(
        free_port(),
        path / "console.log",
        TILLWATCH_NOTIFIER_URL=f"http://127.0.0.1:{port}",
        TILLWATCH_NOTIFIER_TOKEN=tokens.secret_of("console"),
    )
    console.start()
    yield desk, console
    console.stop()
    server.should_exit = True
    desk.close()


def test_what_is_said_of_one_incident_is_not_said_of_another_and_others_are_told(
    page: Page, chromium: Browser, desk: tuple[Desk, Served]
) -> None:
    notifier, served = desk
    for service in ("cart", "stock"):
        served.post(f"/fake/fatal?service={service}&message=It%20fails")
    opened(page, served, "tab=alerts")
    rows = {name: page.locator('[data-list="incident_rows"] tr', has_text=name) for name in ("cart", "stock")}
    for service, row in rows.items():
        incident = row.get_attribute("data-value")
        assert incident
        notifier.fatal(incident, service=service)
    notifier.publish()
    colleague = chromium.new_page()
    opened(colleague, served, "tab=orders")
    expect(colleague.locator("#banner")).to_contain_text("nobody has it")
    rows["cart"].click()
    said, note = page.locator("#duty-said"), page.locator("#duty-note-text")
    page.locator("[data-act=ack]").click()
    expect(said).to_have_text("Acknowledged.")
    # Who did it stands on every page, once, wherever it was done.
    words = re.compile("^cart: acknowledged by .+")
    expect(colleague.locator("#toast p")).to_have_text(words)
    expect(page.locator("#toast p")).to_have_text(words)
    colleague.close()
    note.fill("I look at the cart")
    rows["stock"].click()
    expect(page.locator("#behind-links a").first).to_be_visible()
    expect(page.locator("[data-act=ack]")).to_be_visible()
    expect(said).not_to_contain_text("Acknowledged")
    expect(note).to_have_value("")
