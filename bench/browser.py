"""A headless Chromium that looks at the console and notes when each tile and list changed."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Error, Page, Playwright, sync_playwright

_NAMES = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser", "chrome")
_PLACES = (
    "/usr/bin/chromium",
    "/snap/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    str(Path.home() / "Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
)
# No sandbox: CI and containers run as root. The rest keeps the browser from calling home.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

# Every change of data-produced-at, of elements that are there and of new ones: [name, produced_at ms, seen ms]. Tiles
# and lists have names; the rows of a list are none of their own.
_WATCH = """
(() => {
  const changes = window.benchChanges = []
  const last = new Map()
  const note = (element) => {
    const {tile, list, producedAt: at} = element.dataset
    const name = tile ? `tile ${tile}` : list ? `list ${list}` : null
    if (!name || !at || last.get(name) === at) return
    last.set(name, at)
    changes.push([name, Date.parse(at), Date.now()])
  }
  const look = (root) => {
    if (root.nodeType !== Node.ELEMENT_NODE) return
    if (root.dataset && root.dataset.producedAt) note(root)
    root.querySelectorAll("[data-produced-at]").forEach(note)
  }
  const start = () => {
    look(document.documentElement)
    new MutationObserver((records) => {
      for (const record of records) {
        if (record.type === "attributes") note(record.target)
        else record.addedNodes.forEach(look)
      }
    }).observe(document.documentElement, {subtree: true, childList: true, attributeFilter: ["data-produced-at"]})
  }
  if (document.documentElement) start()
  else document.addEventListener("readystatechange", start, {once: true})
})()
"""

# A chart is live when it holds a minute with orders and has drawn itself, and a tile includes an event made since.
_LIVE = """
(since) => {
  const all = (selector) => [...document.querySelectorAll(selector)]
  const below = (node) => [...(node.shadowRoot ? node.shadowRoot.children : []), ...node.children]
  const paints = (node) => (node.tagName === "CANVAS" && node.clientHeight > 20) || below(node).some(paints)
  const drawn = all("#overview .chart").filter(paints)
  const fresh = all("[data-tile][data-produced-at]").some((tile) => Date.parse(tile.dataset.producedAt) >= since)
  return drawn.length && fresh && Boolean(document.body.dataset.commit)
}
"""


@dataclass(frozen=True)
class PageChange:
    """An element began to include the events up to produced_ms; seen_ms is when. Milliseconds since the epoch."""

    element: str
    produced_ms: float
    seen_ms: float


def installed_browser() -> str | None:
    """The path of a Chrome or Chromium: from PATH, else from where they usually are; None: playwright's own."""
    on_path = (shutil.which(name) for name in _NAMES)
    return next((path for path in on_path if path), None) or next(
        (path for path in _PLACES if os.access(path, os.X_OK)), None
    )


def launch(playwright: Playwright) -> Browser:
    """A headless browser. Raises playwright's Error where there is none, nor one that playwright brought."""
    return playwright.chromium.launch(executable_path=installed_browser(), args=list(_ARGUMENTS))


@contextmanager
def browser_page() -> Iterator[Page]:
    """A page of 1440 x 900 in a browser of its own, which ends with the block."""
    with sync_playwright() as playwright:
        try:
            browser = launch(playwright)
        except Error as error:
            raise SystemExit(f"bench: no Chrome or Chromium starts here: {error.message.splitlines()[0]}") from None
        try:
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(60_000)
            yield page
        finally:
            browser.close()


def watch(page: Page, url: str) -> None:
    """Open a page of the console and note its changes from the first moment on."""
    page.add_init_script(_WATCH)
    page.goto(url)
    page.wait_for_selector("[data-tile][data-produced-at]")


def changes(page: Page) -> list[PageChange]:
    """All changes so far, in order."""
    found: list[Any] = page.evaluate("window.benchChanges")
    return [PageChange(element, produced, seen) for element, produced, seen in found]


def _listens(host: str | None, port: int | None) -> bool:
    try:
        socket.create_connection((host or "localhost", port or 80), timeout=1).close()
    except OSError:
        return False
    return True


def wait_for_live_chart(page: Page, url: str, since_ms: float, within_s: float) -> None:
    """Until the Overview's charts are drawn and a figure includes an event produced after `since_ms` (epoch).

    Raises SystemExit when that takes longer than `within_s`.
    """
    until = monotonic() + within_s
    # A browser that draws "connection refused" ten times a second takes a core from what it waits for.
    where = urlsplit(url)
    while not _listens(where.hostname, where.port) and monotonic() < until:
        sleep(0.05)
    while True:
        try:
            page.goto(url, timeout=5_000)
            page.wait_for_function(_LIVE, arg=since_ms, timeout=max(1.0, until - monotonic()) * 1000, polling=50)
            return
        except Error as error:
            if monotonic() >= until:
                reason = error.message.splitlines()[0]
                raise SystemExit(f"bench: no live chart within {within_s:g} s: {reason}") from None
            sleep(0.1)
