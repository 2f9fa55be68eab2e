"""The console under data, addresses and names that nobody expects."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Served, bar_at
from tests.fake_dremio import LONG, ODD

pytestmark = pytest.mark.browser


@pytest.fixture
def hostile(served: Served) -> Iterator[Served]:
    """A shop with rows whose texts are endless or turn others around, and with a minute below zero."""
    served.post("/fake/hostile")
    yield served
    request = urllib.request.Request(f"{served.url}/fake/hostile", method="DELETE")
    urllib.request.urlopen(request, timeout=5).close()


def opened(page: Page, url: str) -> None:
    with page.expect_console_message(lambda message: "document idle" in message.text):
        page.goto(url)


def test_endless_words_and_turned_ones_break_no_page_and_a_loss_stays_in_its_tile(page: Page, hostile: Served) -> None:
    incident = f"{len(LONG):08x}-0000-0000-0000-000000000000"
    opened(page, f"{hostile.url}/app")
    for tab, row in (("overview", "latest_orders"), ("orders", "order_rows"), ("errors", "error_rows"), ("alerts", "")):
        if row:
            page.click(f"nav a[data-tab={tab}]")
            expect(page.locator(f'[data-list="{row}"]')).to_contain_text("invoice\\u202efdp.exe")
        else:
            page.evaluate("query => tillwatch.go(query)", f"tab=alerts&incident={incident}")
            expect(page.locator('[data-list="behind_errors"] tr').first).to_contain_text("xxx")
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
        assert "\u202e" not in page.inner_text("body")
        if tab == "overview":
            drawn = page.get_attribute('[data-tile="revenue"] .line', "d")
            heights = [float(y) for y in re.findall(r" ([-\d.]+)", str(drawn))]
            assert heights
            assert 0 <= min(heights) < max(heights) <= 28
            scale = "() => Bokeh.documents[0].get_model_by_name('revenue_per_minute').y_range.start"
            assert page.evaluate(scale) < -60_000
    # A link made from data names its service whole, whatever is in it.
    page.evaluate("query => tillwatch.go(query)", f"tab=alerts&incident={len(ODD):08x}-0000-0000-0000-000000000000")
    expect(page.locator("#behind-title")).to_have_text(ODD)
    page.click("#behind-links a")
    expect(page.locator('[data-facet="service"] [aria-pressed="true"]')).to_have_text(re.compile(re.escape(ODD)))
    expect(page.locator('[data-list="error_rows"] tr')).to_have_count(1)


# The middle of the bar of a service whose name has no end: x and y on the page.
ENDLESS = """() => {
  const parts = [...Bokeh.documents[0].get_model_by_name("errors_service")?.references() ?? []]
  const view = Bokeh.index.find_one(parts.find((one) => one.type === "Figure"))
  const data = parts.find((one) => one.data?.whole)?.data
  if (!view?.frame || !data) return null
  const at = Array.from(data.whole).findIndex((name) => name.startsWith("xxx"))
  const {left, top} = view.el.getBoundingClientRect(), {x_scale, y_scale} = view.frame
  const x = (x_scale.compute(0) + x_scale.compute(data.value[at])) / 2
  return at < 0 ? null : [left + x, top + y_scale.compute(data.name[at])]
}"""


def _right_end(chart: Locator) -> tuple[float, float]:
    box = chart.bounding_box()
    assert box is not None
    return box["x"] + box["width"] - 20, box["y"] + 40


def test_a_tip_is_no_wider_than_a_phone_and_cuts_nothing(chromium: Browser, hostile: Served) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    for tab, place, tip in (
        ("", "errors_per_minute", "#tip"),
        ("errors", "errors_heat", "#tip"),
        ("errors", "errors_service", ".bk-Tooltip"),
        ("orders", "orders_time", "#tip"),
    ):
        opened(page, f"{hostile.url}/app?tab={tab or 'overview'}&range=15m")
        chart = page.locator(f'[data-chart="{place}"]')
        expect(chart.locator("canvas").first).to_be_visible()
        chart.scroll_into_view_if_needed()
        shown = page.locator(tip).locator("visible=true").last
        # Of the last minute, and of the longest name, are rows with endless words.
        if place == "errors_service":
            page.wait_for_function(ENDLESS)
            page.mouse.move(*page.evaluate(ENDLESS))
        else:
            page.mouse.move(*(bar_at(page, place) if tab else _right_end(chart)))
        expect(shown).to_be_visible()
        left, right, wide, held = shown.evaluate("""one => {
          const {left, right} = one.getBoundingClientRect()
          return [left, right, one.scrollWidth, one.clientWidth]
        }""")
        assert left >= 0, place
        assert right <= 390, place
        assert wide <= held, place
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_an_address_of_any_length_opens_a_page_that_lives(page: Page, served: Served) -> None:
    opened(page, f"{served.url}/app?" + "&".join([*(f"x{number}=1" for number in range(250)), "tab=errors"]))
    expect(page.locator("#errors")).to_be_visible()
    expect(page.locator("#notice")).to_be_hidden()
    opened(page, f"{served.url}/app?tab=errors&service={'y' * 20_000}&service=cart&severity=%FF")
    expect(page.locator("#notice")).to_contain_text("The address was longer than 4000 characters")
    expect(page.locator('[data-facet="service"] [aria-pressed="true"]')).to_contain_text("cart")
    assert page.url == f"{served.url}/app?tab=errors&service=cart"


def test_a_name_that_the_console_does_not_answer_to_is_told_with_its_setting(page: Page, served: Served) -> None:
    loads: list[str] = []
    page.on("load", lambda loaded: loads.append(loaded.url))
    served.post("/fake/heartbeat")
    page.goto(f"http://shop.localhost:{served.port}/app")  # Chromium takes every such name for this machine
    expect(page.locator("#health")).to_have_text(
        f"the console does not answer browsers at shop.localhost:{served.port}: "
        f'add "shop.localhost:{served.port}" to its setting console.allowed_origins, and start it again'
    )
    expect(page.locator("body")).to_have_attribute("data-health", "stale")
    page.wait_for_timeout(5000)
    expect(page.locator("#health")).to_contain_text("console.allowed_origins")
    assert len(loads) == 1
