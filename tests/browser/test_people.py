"""People sign in to the console under their own names: what they may do there, and that whoever is removed is out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from lakehouse.passwords import hash_of
from tests.browser.conftest import Served, free_port

pytestmark = pytest.mark.browser

OTTER = hash_of("otter")
ADA = f'{{person: ada, role: operator, password: "{OTTER}"}}'
EVE = f'{{person: eve, role: viewer, password: "{OTTER}"}}'


class Shop(Served):
    """A console for the people of a file."""

    people: Path

    def write(self, *people: str) -> None:
        """Another file of people."""
        before = self.people.stat().st_mtime_ns if self.people.exists() else 0
        self.people.write_text(f"people: [{', '.join(people)}]\n", encoding="utf-8")
        os.utime(self.people, ns=(before + 10**9, before + 10**9))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("people")
    console = Shop(free_port(), folder / "console.log", TILLWATCH_NOTIFIER_PEOPLE=str(folder / "people.yaml"))
    console.people = folder / "people.yaml"
    console.write(ADA, EVE)
    console.start()
    yield console
    console.stop()


def signed_in(page: Page, shop: Shop, name: str, query: str = "") -> Page:
    page.goto(f"{shop.url}/app?{query}")
    page.fill("#username", name)
    page.fill("#password", "otter")
    with page.expect_console_message(lambda message: "document idle" in message.text):
        page.click("button")
    return page


def test_each_comes_in_under_their_own_name_and_sees_the_shop(page: Page, shop: Shop) -> None:
    signed_in(page, shop, "eve")
    shop.post("/fake/order?product=samovar")
    expect(page.locator('[data-list="latest_orders"] tr').first).to_contain_text("samovar")
    page.goto(f"{shop.url}/login")
    page.fill("#username", "mallory")
    page.fill("#password", "otter")
    page.click("button")
    expect(page.get_by_role("alert")).to_have_text("That is not the password; try again.")


def test_many_wrong_tries_have_to_wait(page: Page, shop: Shop) -> None:
    page.goto(f"{shop.url}/login")
    for _ in range(6):
        page.fill("#username", "mallory-2")
        page.fill("#password", "guess")
        page.click("button")
        expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("Too many tries: wait")


def test_whoever_is_removed_is_led_out_and_their_cookie_opens_nothing(page: Page, shop: Shop) -> None:
    signed_in(page, shop, "ada")
    expect(page.locator('[data-list="latest_orders"] tr').first).to_be_visible()
    try:
        shop.write(EVE)
        cookies: list[Any] = list(page.context.cookies())
        expect(page.get_by_text("You are signed out.")).to_be_visible(timeout=60_000)
        page.context.add_cookies(cookies)
        page.goto(f"{shop.url}/app")
        expect(page.get_by_text("You are signed out.")).to_be_visible(timeout=60_000)
        page.context.add_cookies(cookies)
        answer = page.request.get(f"{shop.url}/metrics")
        assert answer.status == 401
    finally:
        shop.write(ADA, EVE)
