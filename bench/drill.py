"""An incident from its Slack message to its end, in Chromium on the demo: what is clicked, how long each thing takes.

From the sandbox's Slack page to the incident's page, who has it, what it costs; a second browser beside it; a moment
that is held and opened elsewhere; a gateway that hangs and goes on; a notifier that is away.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import time
from collections.abc import Callable, Iterator

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from bench.browser import launch
from bench.processes import Demo, words_of
from bench.report import Report

PATIENCE_S = 60.0
TICK_S = 1.0
"""A publish of a shop that trades."""


class Desk:
    """Somebody at a browser, whose clicks are counted."""

    def __init__(self, browser: Browser) -> None:
        self.context = browser.new_context(viewport={"width": 1440, "height": 900})
        self.page: Page = self.context.new_page()
        self.clicks = 0

    def click(self, selector: str) -> float:
        """Seconds since the epoch of the click."""
        self.clicks += 1
        self.page.locator(selector).first.click()
        return time.time()

    def text(self, selector: str) -> str:
        found = self.page.locator(selector).first
        return found.inner_text() if found.count() else ""

    def rows(self, name: str) -> list[str]:
        return self.page.locator(f'[data-list="{name}"] tr').all_inner_texts()


def taken(desk: Desk) -> bool:
    """Whether the page says who has its incident."""
    facts = desk.text("#duty-facts")
    return "has it" in facts and "nobody" not in facts


def until(holds: Callable[[], object], what: str, within_s: float = PATIENCE_S) -> float:
    """Seconds that it took. Raises SystemExit after `within_s`."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > within_s:
            raise SystemExit(f"bench: {what}: not within {within_s:g} s")
        time.sleep(0.02)
    return time.monotonic() - began


@contextlib.contextmanager
def held(demo: Demo, words: str) -> Iterator[None]:
    """Processes of the demo that stand still: they take nothing and answer nothing."""
    found = [process for process in demo.processes() if words in " ".join(words_of(process))]
    if not found:
        raise SystemExit(f"bench: the demo has no process '{words}'")
    for process in found:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def to_the_incident(desk: Desk, demo: Demo, report: Report) -> None:
    """From the message in Slack to an incident that somebody has."""
    desk.page.goto(demo.url("sandbox"))
    link = 'a[href*="incident="]'
    until(lambda: desk.page.locator(link).count(), "a message in Slack with a link")
    address = desk.page.locator(link).last.get_attribute("href")
    desk.clicks += 1
    began = time.monotonic()
    desk.page.goto(str(address))
    seconds = until(lambda: desk.text("#behind-title") and desk.text("#duty-facts"), "the incident's page")
    report.row("link of the message to the incident's page", time.monotonic() - began, "s")
    report.row("of that, after the page had loaded", seconds, "s")
    # An outage of 90 s takes less than what orders vary by: how many there are beside what is usual has to be said.
    until(lambda: re.search(r"\d orders? a minute, usually", desk.text("#trade-facts")), "orders", 3 * PATIENCE_S)
    until(lambda: desk.rows("behind_errors"), "the errors behind it")
    at = desk.click('[data-act="ack"]')
    until(lambda: taken(desk), "who has it")
    report.row("click on Acknowledge to who has it", time.time() - at, "s")
    said = f"{desk.text('#behind-title')} | {desk.text('#behind-links')} | {desk.text('#trade-facts')}"
    print(f"drill: {said} | {desk.text('#duty-facts')}")
    report.row("clicks from the message to who has it", desk.clicks, "", at_most=4)
    known = [
        bool(re.search(pattern, said)) for pattern in (r"payments", r"first .*\d", r"orders? a minute, usually \d")
    ]
    report.row("of service, since when and orders, said", sum(known), "", exactly=len(known))


def beside(desk: Desk, other: Desk, report: Report) -> None:
    """What one does, the other sees."""
    other.page.goto(desk.page.url)
    until(lambda: taken(other), "the incident in a second browser")
    desk.click('[data-act="unack"]')
    seconds = until(lambda: "nobody has it" in other.text("#duty-facts"), "that nobody has it any more")
    report.row("let go here to seen in another browser", seconds, "s", at_most=2 * TICK_S)
    until(lambda: desk.page.locator('[data-act="ack"]').is_enabled(), "a button to take it again")
    desk.click('[data-act="ack"]')
    seconds = until(lambda: taken(other), "it again")
    report.row("acknowledged here to seen in another browser", seconds, "s", at_most=2 * TICK_S)


def a_moment(desk: Desk, other: Desk, demo: Demo, report: Report) -> None:
    """A moment that is held shows the same rows to whoever opens its address."""
    desk.page.goto(demo.url("console", "/app?tab=orders&range=15m"))
    until(lambda: len(desk.rows("order_rows")) > 1, "rows of orders")
    desk.page.keyboard.press("f")
    until(lambda: desk.page.locator("body").get_attribute("data-health") == "frozen", "a held moment")
    until(lambda: desk.page.locator("#orders").get_attribute("aria-busy") == "false", "its rows")
    time.sleep(3 * TICK_S)
    rows = desk.rows("order_rows")
    other.page.goto(desk.page.url)
    until(lambda: other.rows("order_rows") == rows, "the same rows in another browser")
    report.row("rows of a held moment that another browser shows alike", len(rows), "", at_least=2)


def outages(desk: Desk, demo: Demo, report: Report) -> None:
    """What the screen says of a gateway that hangs, and of a notifier that is away; and that it recovers."""
    desk.page.goto(demo.url("console", "/app"))
    health = desk.page.locator("body")
    until(lambda: health.get_attribute("data-health") == "ok", "a page that is well")
    value = '[data-tile="orders"] .value'
    with held(demo, "embedded.gateway"):
        report.row(
            "gateway hangs to said on the screen",
            until(lambda: health.get_attribute("data-health") == "stale", "said"),
            "s",
        )
        report.row("figures that stay meanwhile", float(bool(desk.text(value))), "", exactly=1)
        print(f"drill: {desk.text('#health')}")
    report.row(
        "gateway goes on to a page that is well",
        until(lambda: health.get_attribute("data-health") == "ok", "well"),
        "s",
    )
    desk.page.goto(demo.url("console", "/app?tab=alerts"))
    until(lambda: len(desk.rows("incident_rows")) > 0, "incidents")
    desk.page.locator('[data-list="incident_rows"] tr').first.click()
    with held(demo, "-m notifier"):
        seconds = until(lambda: desk.page.locator("#duty-error").is_visible(), "that the notifier is away")
        report.row("notifier hangs to said on the screen", seconds, "s")
        report.row("incidents that are listed meanwhile", len(desk.rows("incident_rows")), "", at_least=1)
        print(f"drill: {desk.text('#duty-error')}")
    seconds = until(lambda: not desk.page.locator("#duty-error").is_visible(), "a notifier that is back")
    report.row("notifier goes on to nothing said", seconds, "s")


def run() -> Report:
    report = Report(
        "drill", "tillwatch demo, the outage of payments that it begins with; headless Chromium, two browsers"
    )
    with sync_playwright() as playwright, contextlib.closing(launch(playwright)) as browser, Demo() as demo:
        demo.wait_live()
        demo.wait_filled()
        desk, other = Desk(browser), Desk(browser)
        to_the_incident(desk, demo, report)
        beside(desk, other, report)
        a_moment(desk, other, demo, report)
        outages(desk, demo, report)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.parse_args()
    run().finish()


if __name__ == "__main__":
    main()
