"""The small page in a browser: its age grows by itself, whatever becomes of its server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from lakehouse import ROOT
from lakehouse.settings.ports import PORTS
from tests.browser.conftest import PATIENCE_MS, eventually, free_port

pytestmark = pytest.mark.browser


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Lite:
    """The small page, served by a process of its own."""

    def __init__(self, data_dir: Path) -> None:
        offset = free_port() - PORTS["console"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TILLWATCH_")}
        environment |= {"TILLWATCH_PORT_OFFSET": str(offset), "TILLWATCH_DATA_DIR": str(data_dir)}
        environment["TILLWATCH_LITE_REFRESH_S"] = "5"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.browser.serve_fake_lite"], cwd=ROOT, env=environment, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert b"lite:" in self.process.stdout.readline()
        self.url = f"http://127.0.0.1:{PORTS['lite'] + offset}/"
        eventually(lambda: listens(PORTS["lite"] + offset), within_s=40)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lite]:
    served = Lite(tmp_path_factory.mktemp("lite"))
    yield served
    served.end()


SHIFTS = """window.shifts = []
new PerformanceObserver((list) => { for (const one of list.getEntries()) {
  const moved = one.sources.map(({node}) => (node?.outerHTML ?? String(node)).slice(0, 120))
  if (!one.hadRecentInput) shifts.push([one.value, moved])
} }).observe({type: "layout-shift", buffered: true})"""
WIDENS = "stMainBlockContainer"
REFRESHED = """const {sent} = document.querySelector("#status").dataset
window.seen = (window.seen ?? new Set()).add(sent)
return seen.size > 3"""
SMALL = """() => [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility() &&
  [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
  .map((one) => [parseFloat(getComputedStyle(one).fontSize), one.textContent.trim().slice(0, 30)])
  .filter(([size]) => size < 11.99)"""


BROKEN = """() => [...document.querySelectorAll(".tw td.state, .tw td:nth-child(3)")].filter((one) => {
  const range = document.createRange()
  range.selectNodeContents(one)
  return !/\\s/.test(one.textContent) && new Set([...range.getClientRects()].map(({top}) => Math.round(top))).size > 1
}).map((one) => one.textContent)"""
"""Single words that stand on more than one line."""


@pytest.mark.parametrize(
    ("width", "height", "scheme", "most"),
    [(390, 844, "dark", 0.01), (1440, 900, "light", 0.05)],
)
def test_it_can_be_read_on_a_phone_and_nothing_on_it_moves(
    chromium: Browser, lite: Lite, width: int, height: int, scheme: Literal["dark", "light"], most: float
) -> None:
    """From the load on, over three refreshes of a shop that goes on."""
    page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(SHIFTS)
    page.goto(lite.url)
    expect(page.locator('[data-list="latest_orders"] tbody tr')).to_have_count(12)
    expect(page.locator("canvas, svg.marks").first).to_be_visible()
    before = page.locator('[data-list="latest_orders"] tbody tr').first.inner_text()
    page.wait_for_function(f"() => {{ {REFRESHED} }}", timeout=2 * PATIENCE_MS)
    assert page.locator('[data-list="latest_orders"] tbody tr').first.inner_text() != before
    # On a screen Streamlit first draws each page narrow, before it knows that this one is wide.
    ours = [(value, moved) for value, moved in page.evaluate("shifts") if width < 1000 or WIDENS not in "".join(moved)]
    assert sum(value for value, _ in ours) <= most, ours
    assert page.evaluate(SMALL) == []
    for place in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{place}.scrollWidth <= innerWidth")
    assert page.evaluate(BROKEN) == []
    page.close()


def test_the_age_grows_without_a_server_and_the_page_says_that_it_has_lost_it(page: Page, tmp_path: Path) -> None:
    server = Lite(tmp_path)
    try:
        page.goto(server.url)
        age, health = page.locator("#status .age"), page.locator("#status .health")
        expect(health).to_have_text("all feeds ok", timeout=40_000)
        before = age.inner_text()
        expect(age).not_to_have_text(before)
    finally:
        server.end()
    expect(health).to_contain_text("this page has lost its server")
    lost = age.inner_text()
    expect(age).not_to_have_text(lost)
    assert "grayscale" in page.evaluate("getComputedStyle(document.querySelector('[data-testid=stMetric]')).filter")
