"""The small page in a browser: its age grows by itself, whatever becomes of its server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lakehouse import ROOT
from lakehouse.settings.ports import PORTS
from tests.browser.conftest import eventually, free_port

pytestmark = pytest.mark.browser


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_age_grows_without_a_server_and_the_page_says_that_it_has_lost_it(page: Page, tmp_path: Path) -> None:
    offset = free_port() - PORTS["console"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TILLWATCH_")}
    environment |= {"TILLWATCH_PORT_OFFSET": str(offset), "TILLWATCH_DATA_DIR": str(tmp_path)}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.browser.serve_fake_lite"], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        assert b"lite:" in server.stdout.readline()
        url = f"http://127.0.0.1:{PORTS['lite'] + offset}/"
        eventually(lambda: listens(PORTS["lite"] + offset), within_s=40)
        page.goto(url)
        age, health = page.locator("#status .age"), page.locator("#status .health")
        expect(health).to_have_text("all feeds ok", timeout=40_000)
        before = age.inner_text()
        expect(age).not_to_have_text(before)
    finally:
        server.kill()
        server.wait()
    expect(health).to_contain_text("this page has lost its server")
    lost = age.inner_text()
    expect(age).not_to_have_text(lost)
    assert "grayscale" in page.evaluate("getComputedStyle(document.querySelector('[data-testid=stMetric]')).filter")
