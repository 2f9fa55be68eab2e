"""A browser for tests that look at pages, and a served console to look at."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from bench.browser import launch
from lakehouse import ROOT
from lakehouse.settings.ports import PORTS

# A machine that also runs other tests takes its time.
PATIENCE_MS = 45_000
expect.set_options(timeout=PATIENCE_MS)

MISSING = "there is no Chrome or Chromium; install one, or run `playwright install chromium`"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless browser. Without one, a test is skipped; with CI=true it fails."""
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except PlaywrightError as error:
            if os.environ.get("CI") == "true":
                pytest.fail(f"{MISSING}: {str(error).splitlines()[0]}")
            pytest.skip(MISSING)
        yield browser
        browser.close()


class Served:
    """A console on a fake Dremio, in a process of its own."""

    def __init__(self, port: int, log: Path, **variables: str) -> None:
        self.port = port
        self.variables = variables
        self.log = log
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TILLWATCH_")}
        environment["TILLWATCH_PORT_OFFSET"] = str(self.port - PORTS["console"])
        environment["TILLWATCH_CONSOLE_REFRESH_S"] = "0.3"
        environment["TILLWATCH_CONSOLE_DRILL_REFRESH_S"] = "0.5"
        environment["TILLWATCH_CONSOLE_ROWS_SHOWN"] = "100"
        environment["TILLWATCH_CONSOLE_ZONE"] = "Asia/Tokyo"
        environment |= self.variables
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.browser.serve_fake"], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            try:
                self.get("/liveness")
            except OSError:
                assert self._process.poll() is None, self.log.read_text()
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"the console did not start: {self.log.read_text()}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            return str(answer.read().decode())

    def post(self, path: str) -> str:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, method="POST"), timeout=5) as answer:
            return str(answer.read().decode())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    # An offset reaches 20,000 ports up; what the system gives out may lie higher.
    while not 0 <= port - PORTS["console"] <= 20000:
        port = port - 15000
    return port


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    console = Served(free_port(), tmp_path_factory.mktemp("console") / "console.log")
    console.start()
    yield console
    console.stop()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """An empty page of 1440 x 900; a script error on it fails the test."""
    page = chromium.new_page(viewport={"width": 1440, "height": 900}, timezone_id="Europe/Berlin")
    page.set_default_timeout(PATIENCE_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # Shown where a test fails.
    page.on("console", lambda message: print(f"{time.monotonic():.3f} {message.text[:200]}"))
    yield page
    page.close()
    assert not errors


def opened(page: Page, served: Served, query: str = "") -> Page:
    """Open the console, and wait until its websocket works: from then on, what is done is heard."""
    served.post("/fake/heartbeat")
    with page.expect_console_message(lambda message: "document idle" in message.text, timeout=PATIENCE_MS):
        page.goto(f"{served.url}/app?{query}", timeout=PATIENCE_MS)
    return page


def eventually(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


BAR = """name => {
  const found = [...Bokeh.documents[0].get_model_by_name(name)?.references() ?? []]
  const source = found.find((one) => one.type === "ColumnDataSource" && one.data.start?.length)
  const view = source && Bokeh.index.find_one(found.find((one) => one.type === "Figure"))
  if (!view?.frame) return null
  const last = source.data.start.length - 1, of = (name) => source.data[name][last]
  const {left, top} = view.el.getBoundingClientRect()
  return [left + (view.frame.x_scale.compute(of("start")) + view.frame.x_scale.compute(of("end"))) / 2,
    top + (view.frame.y_scale.compute(of("bottom")) + view.frame.y_scale.compute(of("top"))) / 2]
}"""


def bar_at(page: Page, chart: str) -> tuple[float, float]:
    """The middle of the last bar, or cell, of a chart over time: x and y on the page."""
    page.wait_for_function(BAR, arg=chart)
    x, y = page.evaluate(BAR, chart)
    return x, y
