"""The console in Chromium: loads, changes of tab, filters and ranges, on the demo and on 2 million orders of 6.5 days.

Bytes are counted by a relay between browser and console: all that the wire carries, the websocket's too.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from bench.browser import launch
from bench.latency import percentile
from bench.pipelines import Embedded
from bench.processes import Demo, free_offset
from bench.relay import Relay
from bench.report import Report
from lakehouse import ROOT
from lakehouse.settings.ports import PORTS

TABS = ("overview", "orders", "customers", "errors", "alerts", "pipeline")
HISTORY = timedelta(days=6.5)

# Times what a click leads to, in the page itself: [ms until the frame and its values stand, ms until its last chart].
_TIMED = """
async ({click, select, value, tab, changes}) => {
  const section = () => document.getElementById(tab)
  const below = (node) => [...(node.shadowRoot ? node.shadowRoot.children : []), ...node.children]
  const paints = (node) => (node.tagName === "CANVAS" && node.clientHeight > 20) || below(node).some(paints)
  const words = () => changes && document.querySelector(changes).textContent
  const seen = (what) => [...section().querySelectorAll(what)].filter((one) => one.checkVisibility())
  const isThere = () => !section().hidden && section().getAttribute("aria-busy") !== "true" &&
    seen("[data-list]").every((one) => one.children.length)
  const isDrawn = () => seen(".chart").every(paints)
  const before = words(), started = performance.now()
  const until = async (holds) => {
    while (!holds()) {
      if (performance.now() - started > 60000) throw new Error("it did not come about")
      await new Promise((next) => setTimeout(next, 4))
    }
    return performance.now() - started
  }
  if (select) {
    const element = document.querySelector(select)
    element.value = value
    element.dispatchEvent(new Event("change", {bubbles: true}))
  } else document.querySelector(click).click()
  const there = await until(() => (!changes || words() !== before) && isThere())
  return [there, await until(isDrawn)]
}
"""
_LIVE = """
() => {
  const below = (node) => [...(node.shadowRoot ? node.shadowRoot.children : []), ...node.children]
  const paints = (node) => (node.tagName === "CANVAS" && node.clientHeight > 20) || below(node).some(paints)
  return [...document.querySelectorAll("#overview .chart")].some(paints)
    && [...document.querySelectorAll("[data-tile][data-produced-at]")].length > 0
}
"""


def loads(browser: Browser, relay: Relay, times: int) -> list[list[tuple[float, int]]]:
    """First and second loads: seconds until a chart is live and bytes by then, in a new profile each time."""
    url = f"http://localhost:{relay.port}/app"
    found: list[list[tuple[float, int]]] = [[], []]
    for _ in range(times):
        with contextlib.closing(browser.new_context(viewport={"width": 1440, "height": 900})) as context:
            for kind in found:
                page = context.new_page()
                relay.taken()
                started = time.monotonic()
                page.goto(url, wait_until="commit")
                page.wait_for_function(_LIVE, polling=20, timeout=60_000)
                kind.append((time.monotonic() - started, relay.taken()))
                page.close()
    return found


def timed(page: Page, tab: str, changes: str = "", **how: str) -> tuple[float, float]:
    there, drawn = page.evaluate(_TIMED, {"tab": tab, "changes": changes, **how})
    return float(there), float(drawn)


def walks(page: Page, url: str, rounds: int) -> list[tuple[float, float]]:
    """Each tab after the other, so many times: ms to frame and values, to the last chart. The first round, which builds
    charts for the first time, is one of them."""
    page.goto(url)
    page.wait_for_function(_LIVE, polling=20, timeout=60_000)
    return [timed(page, tab, click=f'nav a[data-tab="{tab}"]') for _ in range(rounds) for tab in (*TABS[1:], TABS[0])]


def choices(page: Page, url: str, ranges: tuple[str, str], rounds: int) -> tuple[list[float], list[float]]:
    """Filters and ranges chosen on the tab Orders: ms until its rows are those of the choice."""
    words = '[data-words="order_rows"]'
    page.goto(f"{url}?tab=orders&range={ranges[0]}")
    page.wait_for_function("(words) => document.querySelector(words).textContent.includes('order')", arg=words)
    filters, spans = [], []
    for _ in range(rounds):
        for status in ("SHIPPED", "DELIVERED"):
            # On and off again.
            for _ in range(2):
                filters.append(
                    timed(page, "orders", words, click=f'#orders [data-toggle="status"][data-value="{status}"]')[0]
                )
                time.sleep(0.2)
        for name in (ranges[1], ranges[0]):
            spans.append(timed(page, "orders", words, select="#range", value=name)[0])
            time.sleep(0.2)
    return filters, spans


def on_the_demo(browser: Browser, report: Report, times: int) -> None:
    offset = free_offset()
    relay = Relay(PORTS["console"] + offset)
    with Demo((), offset=offset, variables=_environment(relay)) as demo:
        demo.wait_live()
        demo.wait_filled()
        cold, warm = loads(browser, relay, times)
        report.row("first load to a live chart, slowest", max(s for s, _ in cold), "s", at_most=3.4)
        report.row("second load to a live chart, slowest", max(s for s, _ in warm), "s", at_most=2.0)
        report.row("first load, over the wire", max(size for _, size in cold) / 1000, "KB")
        report.row("second load, over the wire", max(size for _, size in warm) / 1000, "KB", at_most=100)
        url = f"http://localhost:{relay.port}/app"
        with contextlib.closing(browser.new_page(viewport={"width": 1440, "height": 900})) as page:
            walked = walks(page, url, times)
            report.row(
                "change of tab to frame and values, p95", percentile([a for a, _ in walked], 95), "ms", at_most=500
            )
            report.row(
                "change of tab to its last chart, p95", percentile([b for _, b in walked], 95), "ms", at_most=1000
            )
            filters, spans = choices(page, url, ("1h", "15m"), times)
            report.row("filter to rows, p95", percentile(filters, 95), "ms", at_most=300)
            report.row("range to rows, p95", percentile(spans, 95), "ms", at_most=300)


def write_history(path: Path, orders: int) -> None:
    """A file of orders, spread over the last 6.5 days."""
    chance, now = random.Random(23), datetime.now(UTC)
    step = HISTORY / orders
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["order_id", "user_id", "product_id", "quantity", "price", "status", "order_time"])
        for number in range(orders):
            at = now - HISTORY + number * step
            status = chance.choice(("CREATED", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED"))
            lines.writerow(
                [f"o{number}", f"u{chance.randrange(50_000)}", f"p{chance.randrange(200)}", 1 + number % 3,
                 f"{chance.randrange(300, 9000) / 100:.2f}", status, at.isoformat(timespec="milliseconds")]
            )  # fmt: skip


@contextlib.contextmanager
def history(folder: Path, orders: int, relay_of: dict[str, Any]) -> Iterator[Embedded]:
    """A console on a pipeline that has read so many orders of 6.5 days."""
    path = folder / "orders.csv"
    write_history(path, orders)
    offset = free_offset()
    relay = relay_of["relay"] = Relay(PORTS["console"] + offset)
    with Embedded(folder / "data", offset, {"MAX_EVENT_AGE": "off", **_settings(relay)}) as pipeline:
        words = [sys.executable, "-m", "producers", "replay", str(path), "--original-times"]
        subprocess.run([*words, *pipeline.sink_words], cwd=ROOT, env=pipeline.environment, check=True)
        pipeline.start_engine()
        pipeline.wait_until_read()
        pipeline.start("console", [sys.executable, "-m", "console"])
        _wait_ready(pipeline)
        yield pipeline


def _wait_ready(pipeline: Embedded) -> None:
    end = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(pipeline.url("console", "/readyz"), timeout=2):
            return
        if time.monotonic() > end or not pipeline.runs("console"):
            raise SystemExit(f"bench: the console does not start:\n{pipeline.log_of('console').read_text()}")
        time.sleep(0.2)


def on_a_history(browser: Browser, report: Report, orders: int, times: int) -> None:
    held: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, history(Path(folder), orders, held) as pipeline:
        counted = pipeline.dremio.sql("SELECT COUNT(*) AS n FROM nessie_minio_catalog.ecommerce_db.orders_processed")
        report.row("history: orders", counted.to_pylist()[0]["n"], "", exactly=orders)
        with contextlib.closing(browser.new_page(viewport={"width": 1440, "height": 900})) as page:
            page.set_default_timeout(120_000)
            filters, spans = choices(page, f"http://localhost:{held['relay'].port}/app", ("7d", "24h"), times)
        report.row("history: filter to rows, p95", percentile(filters, 95), "ms", at_most=1500)
        report.row("history: range to rows, p95", percentile(spans, 95), "ms", at_most=1500)


def _settings(relay: Relay) -> dict[str, str]:
    return {"CONSOLE_ALLOWED_ORIGINS": f'["localhost:{relay.port}"]'}


def _environment(relay: Relay) -> dict[str, str]:
    return dict(os.environ) | {f"TILLWATCH_{name}": value for name, value in _settings(relay).items()}


def run(orders: int, times: int, *, demo: bool = True) -> Report:
    report = Report(
        "desk", f"headless Chromium, the demo at its rate; then {orders:,} orders of 6.5 days; {times} times each"
    )
    with sync_playwright() as playwright, contextlib.closing(launch(playwright)) as browser:
        if demo:
            on_the_demo(browser, report, times)
        if orders:
            on_a_history(browser, report, orders, times)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--orders", type=int, default=2_000_000, help="of the history; 0: without it")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--no-demo", action="store_true", help="the history alone")
    arguments = parser.parse_args()
    run(arguments.orders, arguments.times, demo=not arguments.no_demo).finish()


if __name__ == "__main__":
    main()
