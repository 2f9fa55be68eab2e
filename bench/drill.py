"""An incident from its Slack message to its end, in Chromium on the demo: what is clicked, how long each thing takes.

From the sandbox's Slack page to the incident's page: whose it is, since when, how many orders there are fewer than
usual, and that whoever signed in has it for an hour; a second browser beside it; a moment that is held and opened
elsewhere; a gateway that hangs and goes on; a notifier that is away.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from bench.browser import launch
from bench.processes import Demo, words_of
from bench.report import Report
from lakehouse.passwords import hash_of

PATIENCE_S = 60.0
TICK_S = 1.0
"""A publish of a shop that trades."""
PEOPLE = ("ada", "bob")
"""Operators, one at each browser."""
PASSWORD = "kettle-otter-52"
LONG_S = 3600.0
"""For how long Acknowledge takes an incident where nothing else is chosen."""
FEWER = re.compile(r"\d fewer than usual since .*\d")


class Desk:
    """Somebody at a browser, whose clicks are counted."""

    def __init__(self, browser: Browser) -> None:
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, timezone_id="UTC")
        self.page: Page = self.context.new_page()
        self.clicks = 0

    def sign_in(self, demo: Demo, person: str) -> None:
        """As somebody of PEOPLE, before anything is counted."""
        # Links of messages name this machine by the other of its names, for which a browser has other cookies.
        for host in ("127.0.0.1", "localhost"):
            self.page.goto(demo.url("console", "/app").replace("127.0.0.1", host))
            self.page.fill("#username", person)
            self.page.fill("#password", PASSWORD)
            self.page.click("button")
            self.page.locator("#theme").wait_for()

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


def taken(desk: Desk, by: str = PEOPLE[0]) -> bool:
    """Whether the page says that this person has its incident."""
    return f"{by} has it" in desk.text("#duty-facts")


def taken_for_s(desk: Desk) -> float:
    """For how many seconds from now the page says that somebody has its incident; 0 where it does not."""
    found = re.search(r"has it · until (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", desk.text("#duty-facts"))
    return (datetime.fromisoformat(f"{found[1]}+00:00") - datetime.now(UTC)).total_seconds() if found else 0.0


def what_is_known(desk: Desk) -> dict[str, bool]:
    """What whoever is called wants to know, and whether the page says it."""
    links, kinds = desk.text("#behind-links"), "\n".join(desk.rows("behind_kinds"))
    return {
        "service": "payments" in desk.text("#behind-title"),
        "what": "Card processor" in f"{desk.text('#behind-title')}\n{kinds}",
        "since when": bool(re.search(r"first .*\d\d:\d\d", links)),
        "orders fewer than usual": bool(FEWER.search(desk.text("#trade-facts"))),
    }


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
    until(lambda: desk.rows("behind_errors"), "the errors behind it")
    if desk.page.locator("#duty-now").is_visible():
        desk.click("#duty-now")  # it is shown as of the moment of the message
        until(lambda: desk.page.locator('[data-act="ack"]').is_enabled(), "the incident as it is now")
    at = desk.click('[data-act="ack"]')
    until(lambda: taken(desk), "who has it")
    report.row("click on Acknowledge to who has it", time.time() - at, "s")
    report.row("of an hour that who has it has it, still to come", taken_for_s(desk) / LONG_S, "", at_least=0.98)
    # Minutes are compared once they are over.
    until(lambda: FEWER.search(desk.text("#trade-facts")), "orders fewer than usual", 4 * PATIENCE_S)
    known = what_is_known(desk)
    said = (desk.text(f"#{name}") for name in ("behind-title", "behind-links", "trade-facts", "duty-facts"))
    print(f"drill: {' | '.join(said)}")
    report.row("clicks from the message to all that is known", desk.clicks, "", at_most=4)
    report.row("of service, what, since when and orders fewer than usual, said", sum(known.values()), "", exactly=4)


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
    lines = (f'{{person: {name}, role: operator, password: "{hash_of(PASSWORD)}"}}' for name in PEOPLE)
    with tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as over:
        (Path(over) / "people.yaml").write_text(f"people: [{', '.join(lines)}]\n", encoding="utf-8")
        with (
            sync_playwright() as playwright,
            contextlib.closing(launch(playwright)) as browser,
            Demo(arguments=("--with", over)) as demo,
        ):
            _drill(browser, demo, report)
    return report


def _drill(browser: Browser, demo: Demo, report: Report) -> None:
    demo.wait_live()
    desk, other = Desk(browser), Desk(browser)
    for one, person in zip((desk, other), PEOPLE, strict=True):
        one.sign_in(demo, person)
    to_the_incident(desk, demo, report)
    demo.wait_filled()
    beside(desk, other, report)
    a_moment(desk, other, demo, report)
    outages(desk, demo, report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.parse_args()
    run().finish()


if __name__ == "__main__":
    main()
