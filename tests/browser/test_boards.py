"""A shop's own board in a browser: shown, changed while it is looked at, and wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from lakehouse import ROOT
from tests.board_cast import BOARD, a_shop_of_ones_own
from tests.browser.conftest import Served, eventually, free_port, opened

pytestmark = pytest.mark.browser

CREATED = """() => {
  const chart = Bokeh.documents[0].get_model_by_name('trade.live0')
  return chart && Array.from(chart.renderers[0].data_source.data.CREATED).slice(-2).reduce((sum, one) => sum + one)
}"""
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    for path in (ROOT / "config").glob("*.*"):
        shutil.copy(path, folder)
    a_shop_of_ones_own(folder)
    return folder


@pytest.fixture(scope="module")
def console(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = tmp_path_factory.mktemp("boards") / "console.log"
    served = Served(free_port(), log, TILLWATCH_CONFIG=str(shop / "tillwatch.yaml"))
    served.start()
    yield served
    served.stop()


def test_a_board_goes_on_is_exported_and_fits_a_phone(page: Page, console: Served) -> None:
    opened(page, console, "tab=trade&range=1h")
    expect(page.locator('nav a[data-tab="trade"]')).to_have_text("Trade")
    expect(page.locator('[data-list="trade.tables0"] tr').first).to_contain_text(":")
    expect(page.locator('[data-tile="trade.tile0"] .base')).to_have_text("5 min, vs the 5 min before")
    before = page.get_attribute('[data-tile="trade.tile0"]', "data-produced-at") or ""
    eventually(lambda: page.evaluate(CREATED) is not None)
    console.post("/fake/order?total=77.70&product=samovar")
    eventually(lambda: (page.get_attribute('[data-tile="trade.tile0"]', "data-produced-at") or "") > before)
    eventually(lambda: page.evaluate(CREATED) >= 1)
    expect(page.locator('[data-list="trade.tables0"] tr').first).to_contain_text("samovar")
    with page.expect_download() as taken:
        page.click('[data-export="trade.tables0"] a >> nth=0')
    assert "samovar" in Path(taken.value.path()).read_text(encoding="utf-8")
    page.click('[data-twin="trade.live0"]')
    expect(page.locator("#twin th").nth(1)).to_have_text("CREATED")
    page.keyboard.press("Escape")
    for theme in ("", "&theme=light"):
        page.set_viewport_size({"width": 390, "height": 844})
        opened(page, console, f"tab=trade&range=1h{theme}")
        expect(page.locator('[data-chart="trade.charts0"] canvas').first).to_be_attached()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in SERIOUS] == []


def test_a_board_is_renewed_without_a_restart_and_says_what_is_wrong(page: Page, console: Served, shop: Path) -> None:
    opened(page, console, "tab=trade&range=24h&product=mug")
    expect(page.locator('[data-list="trade.tables0"] tr').first).to_contain_text("mug")
    a_shop_of_ones_own(shop, BOARD.replace("title: Trade", "title: Business", 1))
    expect(page.locator('nav a[data-tab="trade"]')).to_have_text("Business")
    expect(page.locator('[data-list="trade.tables0"] tr').first).to_contain_text("mug")
    assert "product=mug" in page.url
    a_shop_of_ones_own(shop, BOARD.replace("kind: stacked", "kind: heaped"))
    expect(page.locator("#trade-said")).to_contain_text("'heaped' is no kind of live chart (did you mean 'heatmap'?)")
    expect(page.locator('[data-list="trade.tables0"] tr').first).to_contain_text("mug")
    assert "heaped" in console.log.read_text(encoding="utf-8")
    a_shop_of_ones_own(shop)
    expect(page.locator("#trade-said")).to_be_hidden()
    page.click('nav a[data-tab="overview"]')
    more = a_shop_of_ones_own(
        shop, BOARD.replace("title: Trade", "title: More").replace("order: 25", "order: 26"), "more.yaml"
    )
    page.click('nav a[data-tab="more"]')
    expect(page.locator('[data-tile="more.tile0"] .value')).not_to_have_text("\u00a0")
    more.unlink()
    expect(page.locator('nav a[data-tab="more"]')).to_have_count(0)
    expect(page.locator("#notice")).to_contain_text("'more' is no tab; shown is overview.")
