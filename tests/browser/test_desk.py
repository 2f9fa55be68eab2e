"""Working at the console: filters, rows that stand still, the keyboard, figures as tables and files."""

from __future__ import annotations

import csv
import io
import re
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, quote

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Served, bar_at, eventually, opened

pytestmark = pytest.mark.browser


def test_an_error_is_an_error_and_milder_messages_are_shown_when_asked_for(page: Page, served: Served) -> None:
    opened(page, served, "tab=errors")
    words = page.locator('[data-words="error_rows"]')
    expect(words).to_contain_text("error")
    rows = page.locator('[data-list="error_rows"]')
    expect(rows).not_to_contain_text("INFO")
    page.locator('#errors [data-value="INFO"]').click()
    expect(words).to_contain_text("messages")
    expect(rows).to_contain_text("INFO")
    # The chip that was pressed has the focus still, and the keyboard takes it back.
    expect(page.locator('#errors [data-value="INFO"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(words).to_contain_text("error")
    expect(page).not_to_have_url(re.compile("severity"))


def test_messages_that_are_alike_are_one_line_that_leads_to_its_rows(page: Page, served: Served) -> None:
    served.post("/fake/fatal?service=kiosk&message=Till%201%20of%207%20is%20jammed")
    served.post("/fake/fatal?service=kiosk&message=Till%202%20of%207%20is%20jammed")
    opened(page, served, "tab=errors")
    line = page.locator('[data-list="error_kinds"] tr', has_text="Till … of … is jammed")
    expect(line).to_contain_text("2")
    line.focus()
    page.keyboard.press("Enter")
    expect(page.locator('[data-words="error_rows"]')).to_contain_text("2 errors")
    expect(page.locator('[data-list="error_rows"]')).to_contain_text("Till 1 of 7 is jammed")
    page.locator("#errors [data-search]").fill("till 2")
    page.keyboard.press("Enter")
    expect(page.locator('[data-words="error_rows"]')).to_contain_text("1 error")


def test_rows_stand_still_under_whoever_reads_them(page: Page, served: Served) -> None:
    opened(page, served, "tab=orders")
    rows = page.locator('[data-list="order_rows"]')
    expect(rows.locator("tr").nth(5)).to_be_visible()
    first = rows.locator("tr").first.inner_text()
    page.evaluate("document.querySelector('[data-list=order_rows]').closest('.rows').scrollTop = 60")
    served.post("/fake/order?product=umbrella")
    release = page.locator('[data-release="order_rows"]')
    expect(release).to_have_text("1 new · show")
    assert rows.locator("tr").first.inner_text() == first
    release.click()
    expect(rows.locator("tr").first).to_contain_text("umbrella")
    expect(release).to_be_hidden()


def test_a_selection_lives_on_while_rows_come(page: Page, served: Served) -> None:
    opened(page, served)
    row = page.locator('[data-list="latest_orders"] tr').nth(2)
    expect(row).to_be_visible()
    text = row.locator("td").nth(1).inner_text()
    row.locator("td").nth(1).select_text()
    served.post("/fake/order?product=ladder")
    expect(page.locator('[data-release="latest_orders"]')).to_be_visible()
    assert page.evaluate("getSelection().toString()").strip() == text
    page.locator('[data-release="latest_orders"]').click()
    expect(page.locator('[data-list="latest_orders"] tr').first).to_contain_text("ladder")


def test_all_can_be_done_by_keys_and_a_list_says_which(page: Page, served: Served) -> None:
    opened(page, served)
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_contain_text("hold this moment")
    page.keyboard.press("Escape")
    page.keyboard.press("4")
    expect(page).to_have_url(re.compile("tab=errors"))
    expect(page.locator("#errors [data-search]")).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#errors [data-search]")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.keyboard.press("t")
    expect(page.locator("#range")).to_be_focused()


def test_a_page_stands_still_until_somebody_goes_on(page: Page, served: Served) -> None:
    """Tiles, rows and charts, by key, button or notice; its address says nothing of it."""
    newest = "Bokeh.documents[0].get_model_by_name('orders_per_minute').renderers[0].data_source.data.orders"
    still = f"[document.querySelector('#tiles').innerText, ...Array.from({newest})].join()"
    opened(page, served)
    first = page.locator('[data-list="latest_orders"] tr').first
    expect(first).to_be_visible()
    address, notice = page.url, page.locator("#paused")
    page.keyboard.press("p")
    expect(notice).to_contain_text("paused, nothing new since")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    before = page.evaluate(still)
    served.post("/fake/order?product=parasol&total=4321.00")
    expect(notice).to_contain_text(re.compile(r"paused, 1 order and 0 errors new since"))
    assert page.evaluate(still) == before
    assert page.url == address
    expect(first).not_to_contain_text("parasol")
    notice.click()
    expect(notice).to_be_hidden()
    expect(first).to_contain_text("parasol")
    page.wait_for_function(f"before => {still} !== before", arg=before)
    # What is chosen anew is shown, and goes on.
    opened(page, served, "tab=orders")
    rows = page.locator('[data-list="order_rows"] tr')
    expect(rows.first).to_contain_text("parasol")
    page.locator("#pause").click()
    expect(notice).to_be_visible()
    served.post("/fake/order?product=canoe")
    expect(notice).to_contain_text("1 order and 0 errors")
    expect(rows.first).to_contain_text("parasol")
    page.keyboard.press("4")
    expect(notice).to_be_hidden()


FOCUSED = """(tab) => {
  const place = tab === null ? document.querySelector("header") : document.querySelector(`#${tab}`)
  const hides = (one) => getComputedStyle(one).overflowX === "hidden"
  const cuts = (one) => one && one !== place && (hides(one) || cuts(one.parentElement))
  return [...place.querySelectorAll("a[href], button, input, select, [tabindex='0']")].filter((one) => {
    if (!one.checkVisibility() || one.disabled) return false
    one.focus()
    const {outlineStyle, outlineWidth, outlineOffset} = getComputedStyle(one)
    const cut = cuts(one.parentElement) && parseFloat(outlineOffset) > 0
    return outlineStyle === "none" || parseFloat(outlineWidth) < 2 || cut
  }).map((one) => one.outerHTML.slice(0, 80))
}"""


def test_whatever_has_the_focus_shows_it(page: Page, served: Served) -> None:
    opened(page, served, "tab=orders")
    page.keyboard.press("Tab")
    for tab, row in (("orders", "order_rows"), ("errors", "error_rows"), ("alerts", "incident_rows")):
        page.click(f"nav a[data-tab={tab}]")
        expect(page.locator(f'[data-list="{row}"] tr').first).to_be_visible()
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED, tab) == []
    assert page.evaluate(FOCUSED, None) == []


def test_the_browsers_tab_says_which_tab_it_is(page: Page, served: Served) -> None:
    assert "<title>Orders · tillwatch</title>" in served.get("/app?tab=orders")
    served.post("/fake/fatal?service=cart&message=It%20is%20full")
    opened(page, served, "tab=orders")
    expect(page).to_have_title(re.compile(r"^\(\d+\) Orders · tillwatch$"))
    page.keyboard.press("5")
    expect(page).to_have_title(re.compile(r"^\(\d+\) Alerts · tillwatch$"))


def test_a_new_fatal_is_told_once_on_whichever_tab(page: Page, served: Served) -> None:
    served.post("/fake/fatal?service=lift&message=It%20hangs")
    page.emulate_media(reduced_motion="reduce")
    opened(page, served, "tab=orders")
    toast = page.locator("#toast p")
    expect(page.locator("#banner")).to_contain_text("lift")
    # What the banner says as the page is opened is no news.
    expect(toast).to_have_count(0)
    served.post("/fake/fatal?service=gate&message=It%20is%20shut")
    expect(toast).to_have_text(re.compile("^FATAL gate: "))
    assert toast.evaluate("(one) => getComputedStyle(one).animationName") == "none"
    page.keyboard.press("Escape")
    expect(toast).to_have_count(0)
    assert "tab=orders" in page.url
    page.keyboard.press("4")
    served.post("/fake/fatal?service=gate&message=Still%20shut")
    expect(page.locator('[data-list="error_rows"] tr').first).to_contain_text("Still shut")
    expect(toast).to_have_count(0)
    # It leads to the incident, and leaves.
    served.post("/fake/fatal?service=ramp&message=Steep")
    toast.get_by_role("link").click()
    expect(page).to_have_url(re.compile("tab=alerts&incident="))
    expect(toast).to_have_count(0)
    expect(page.locator("#behind-title")).to_be_visible()


def test_a_minute_of_a_live_chart_leads_to_its_rows_and_a_strip_to_its_incident(page: Page, served: Served) -> None:
    served.post("/fake/fatal?service=crane&message=It%20swings")
    served.post("/fake/order?product=anchor")
    opened(page, served, "theme=light")
    expect(page.locator('[data-list="latest_orders"] tr').first).to_contain_text("anchor")
    box = page.locator('[data-chart="orders_per_minute"]').bounding_box()
    assert box
    # The last minute, on the axis.
    page.mouse.click(box["x"] + box["width"] - 18, box["y"] + box["height"] - 32)
    expect(page).to_have_url(re.compile("tab=orders"))
    asked = dict(parse_qsl(page.url.partition("?")[2]))
    since, until = map(datetime.fromisoformat, asked["brush"].split("~"))
    assert until - since == timedelta(minutes=1)
    assert until == datetime.fromisoformat(asked["to"])
    assert asked["theme"] == "light"
    expect(page.locator('[data-words="order_rows"]')).to_have_text(re.compile(r"^\d+ orders?,"))
    page.go_back()
    expect(page.locator("#overview")).to_be_visible()
    # Above all bars there is the strip alone.
    page.evaluate(
        "(at) => tillwatch.behind({x: at, y: 1e9, origin: Bokeh.documents[0].get_model_by_name('errors_per_minute')})",
        since.timestamp() * 1000 + 59_000,
    )
    expect(page).to_have_url(re.compile("tab=alerts&incident="))
    page.go_back()
    # The table of a chart leads there too, for who has no pointer.
    page.get_by_role("button", name="Errors per minute as a table").click()
    page.locator("#twin tbody a").last.click()
    expect(page.locator("#twin")).to_be_hidden()
    expect(page).to_have_url(re.compile("tab=errors.*brush="))


def test_the_console_as_it_was_is_asked_for_on_the_page(page: Page, served: Served) -> None:
    opened(page, served)
    page.keyboard.press("a")
    field = page.locator("#moment-at")
    expect(field).to_be_focused()
    field.fill("2026-01-15T12:00:00")
    page.locator("#zone").click()
    # What was typed keeps its meaning in another zone; the viewer's is Berlin.
    expect(field).to_have_value("2026-01-15T11:00")
    page.locator("#moment button").click()
    expect(page).to_have_url(re.compile("at=2026-01-15T11(:|%3A)00"))
    expect(page.locator("#moment")).to_be_hidden()
    expect(page.locator("#age")).to_contain_text("frozen at")
    expect(page.locator("#freeze")).to_have_attribute("aria-pressed", "true")


def test_a_chart_is_a_table_too(page: Page, served: Served) -> None:
    opened(page, served)
    page.get_by_role("button", name="Orders per minute as a table").click()
    expect(page.locator("#twin tbody tr")).to_have_count(60)
    expect(page.locator("#twin thead")).to_contain_text("orders")
    page.keyboard.press("Escape")
    page.keyboard.press("4")
    expect(page.locator("#errors [data-chart=errors_service] canvas").first).to_be_visible()
    page.get_by_role("button", name="By service as a table").click()
    expect(page.locator("#twin tbody tr").first).to_be_visible()


def test_what_the_bars_of_a_chart_choose_is_chosen_by_the_keyboard_too(page: Page, served: Served) -> None:
    served.post("/fake/fatal?service=mill&message=It%20stands%20still")
    served.post("/fake/heartbeat")  # a commit's moment lies behind all that happened before it
    opened(page, served, "tab=orders&range=24h")
    page.get_by_role("button", name="Top products as a table").focus()
    page.keyboard.press("Enter")
    mug = page.locator("#twin").get_by_role("button", name=re.compile("^mug"))
    mug.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("product=mug"))
    expect(page.locator("#twin")).to_be_hidden()
    expect(page.locator('[data-facet="product"] [aria-pressed="true"]')).to_contain_text("mug")
    page.keyboard.press("4")
    # A table stands still once it is open, and the tab may have been asked a moment before: its line is there first.
    page.wait_for_function(
        """() => window.Bokeh?.documents[0]?.get_model_by_name("errors_heat")?.references &&
          [...Bokeh.documents[0].get_model_by_name("errors_heat").references()]
            .some(one => one.data?.name && [...one.data.name].some((name, at) => name === "mill" && one.data.n[at]))"""
    )
    page.get_by_role("button", name="By service over time as a table").click()
    # A cell that holds the worst says so in words.
    cell = page.locator("#twin tr", has_text="mill")
    expect(cell).to_contain_text("FATAL 1")
    expect(page.locator("#twin th")).to_have_text(["name", "start", "n", "made of"])
    cell.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("service=mill.*brush=|brush=.*service=mill"))
    expect(page.locator('[data-list="error_rows"] tr')).to_contain_text(["It stands still"])
    page.get_by_role("button", name="Errors over time by severity as a table").click()
    # The shade over what was brushed is no row of its figures.
    expect(page.locator("#twin th")).to_have_text(["start", "part", "n"])
    page.locator("#twin tbody tr").last.get_by_role("button").click()
    # The same time once more lets it go.
    expect(page).not_to_have_url(re.compile("brush="))


def test_the_rows_on_the_screen_can_be_taken_as_files(page: Page, served: Served) -> None:
    opened(page, served, "tab=orders")
    expect(page.locator('[data-list="order_rows"] tr').nth(3)).to_be_visible()
    shown = page.locator('[data-list="order_rows"] tr').count()
    links = page.locator('[data-export="order_rows"] a')
    address, other = (f"{served.url}/{links.nth(place).get_attribute('href')}" for place in (0, 1))
    lines = list(csv.DictReader(io.StringIO(page.request.get(address).text())))
    table = pq.read_table(io.BytesIO(page.request.get(other).body()))
    assert len(lines) == table.num_rows == shown
    assert [line["order_id"] for line in lines] == table["order_id"].to_pylist()
    assert [line["order_total"] for line in lines] == [str(total) for total in table["order_total"].to_pylist()]
    page.get_by_role("button", name="By status as a table", exact=True).click()
    with page.expect_download() as taken:
        page.locator("#twin").get_by_role("link", name="CSV").click()
    counted = csv.DictReader(io.StringIO(taken.value.path().read_text(encoding="utf-8")))
    assert {line["status"] for line in counted} >= {"CREATED", "CANCELLED"}


def test_who_has_no_page_open_gets_no_rows(page: Page, served: Served) -> None:
    answer = page.request.get(f"{served.url}/export/nobody/order_rows.csv")
    assert answer.status == 404
    assert "reload the page" in answer.text()


LISTS = {
    "overview": "latest_orders",
    "orders": "order_rows",
    "customers": "customer_rows",
    "errors": "error_rows",
    "alerts": "incident_rows",
    "pipeline": "chain",
}
"""A list of each tab, which has rows once the tab is there."""
WORDS = """() => [...document.querySelectorAll("main *, header *, #toast *")].filter((one) => one.checkVisibility() &&
    [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())).map((one) => {
      const zoom = one.currentCSSZoom ?? 1
      return [parseFloat(getComputedStyle(one).fontSize) * zoom, one.textContent.trim().slice(0, 30)]})"""
AXES = """[...Bokeh.documents[0]._all_models.values()].filter((one) => one.type.endsWith("Axis"))
    .map((one) => parseFloat(one.major_label_text_font_size))"""
TOO_WIDE = """[...document.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth + 1)
    .map((one) => one.querySelector("[data-list]")?.dataset.list ?? one.className)"""


@pytest.mark.parametrize(("width", "height", "smallest"), [(390, 844, 12), (3840, 2160, 24)])
def test_a_phone_and_a_wall_can_be_read(
    chromium: Browser, served: Served, width: int, height: int, smallest: int
) -> None:
    page = chromium.new_page(viewport={"width": width, "height": height})
    opened(page, served, "kiosk=1" if width > 2000 else "")
    expect(page.locator('[data-tile="orders"] .value')).to_have_text(re.compile(r"\d"))
    for tab, row in LISTS.items():
        # A wall shows no navigation to click on.
        page.evaluate("([tab, kiosk]) => tillwatch.go(`tab=${tab}${kiosk}`)", [tab, "&kiosk=1" if width > 2000 else ""])
        expect(page.locator(f'[data-list="{row}"] tr').first).to_be_visible()
        expect(page.locator(f"#{tab}")).not_to_have_attribute("aria-busy", "true")
        assert [(tab, size, text) for size, text in page.evaluate(WORDS) if size < smallest - 0.01] == []
        # What charts write is set a moment after they come.
        page.wait_for_function(f"() => {AXES}.every((size) => size >= {smallest})")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
        assert page.evaluate(TOO_WIDE) == [], f"{tab}: a list whose end has to be swiped to"
    page.close()


def test_a_moment_that_is_held_does_not_hide_that_what_is_of_now_is_old(page: Page, served: Served) -> None:
    opened(page, served)
    page.keyboard.press("f")
    expect(page.locator("body")).to_have_attribute("data-health", "frozen")
    # It is frozen at once; its rows are there a moment later.
    expect(page.locator("#age")).to_contain_text("frozen at")
    served.post("/fake/down?is_down=true")
    try:
        expect(page.locator("#health")).to_contain_text("Neither Dremio nor a gateway answers")
        expect(page.locator("#age")).to_contain_text("frozen at")
    finally:
        served.post("/fake/down?is_down=false")
        served.post("/fake/heartbeat")
    expect(page.locator("body")).to_have_attribute("data-health", "frozen")


def test_now_is_compared_with_yesterday_and_the_charts_show_both(page: Page, served: Served) -> None:
    opened(page, served)
    expect(page.locator('[data-tile="orders"] .base')).to_have_text("5 min, vs the 5 min before")
    page.locator("#compare").select_option("yesterday")
    expect(page.locator('[data-tile="orders"] .base')).to_have_text("5 min, vs the same yesterday")
    expect(page).to_have_url(re.compile("compare=yesterday"))
    chart = page.locator('[data-chart="orders_per_minute"]')
    chart.hover(position={"x": 400, "y": 60})
    tip = page.locator("#tip")
    # Pointed at one chart, all say what they show of that minute.
    for words in ("Revenue per minute", "Orders per minute", "fatal", "Active users"):
        expect(tip).to_contain_text(words)
    expect(tip.locator("tr.past").first).to_have_text(re.compile(r"the same minute yesterday\$40\.00"))
    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()
    page.locator('nav a[data-tab="orders"]').click()
    expect(page.locator("#compare")).to_be_hidden()
    expect(page.locator("#without-effect")).to_contain_text("the comparison with yesterday")


def test_the_live_charts_show_as_many_minutes_as_are_chosen_and_do_so_after_a_reload(
    page: Page, served: Served
) -> None:
    page.add_init_script("""
      window.shifted = 0
      new PerformanceObserver((list) => { for (const one of list.getEntries()) window.shifted += one.value })
        .observe({type: "layout-shift", buffered: true})""")
    opened(page, served)
    shown = """name => {
      const {x_range, renderers} = Bokeh.documents[0].get_model_by_name(name)
      return [renderers[0].data_source.get_length(), (x_range.end - x_range.start) / 60000]
    }"""

    def all_show(minutes: int) -> bool:
        names = ("revenue_per_minute", "orders_per_minute", "errors_per_minute", "active_users")
        return [page.evaluate(shown, name) for name in names] == [[minutes, minutes]] * 4

    eventually(lambda: all_show(60))
    before = page.evaluate("window.shifted")
    page.keyboard.press("t")
    expect(page.locator("#last")).to_be_focused()
    page.locator("#last").select_option("3h")
    expect(page).to_have_url(re.compile("last=3h"))
    eventually(lambda: all_show(180))
    assert page.evaluate("window.shifted") - before < 0.01
    # The table and the file are of the same minutes.
    page.get_by_role("button", name="Orders per minute as a table").click()
    expect(page.locator("#twin tbody tr")).to_have_count(180)
    link = page.locator("#twin .exports a").first
    rows = list(csv.DictReader(io.StringIO(page.request.get(f"{served.url}/{link.get_attribute('href')}").text())))
    ordered = [row for row in rows if row["series"] == "orders"]
    cells = page.locator("#twin tbody tr td:nth-child(2)").all_text_contents()
    assert sum(map(float, filter(None, cells))) == sum(float(row["n"]) for row in ordered) > 0
    page.keyboard.press("Escape")
    with page.expect_console_message(lambda message: "document idle" in message.text):
        page.reload()
    expect(page.locator("#last")).to_have_value("3h")
    eventually(lambda: all_show(180))
    # Another tab keeps it, and says so.
    page.locator('nav a[data-tab="orders"]').click()
    expect(page.locator("#last")).to_be_hidden()
    expect(page.locator("#without-effect")).to_contain_text("the last 3 h of live charts")
    page.go_back()
    page.locator("#last").select_option("15m")
    eventually(lambda: all_show(15))
    page.locator("#last").select_option("1h")
    eventually(lambda: all_show(60))
    expect(page).not_to_have_url(re.compile("last="))


def test_charts_over_time_of_a_tab_are_pointed_at_together(page: Page, served: Served) -> None:
    served.post("/fake/fatal?service=kiln&message=It%20is%20cold")
    opened(page, served, "tab=errors&range=15m")
    expect(page.locator('[data-list="error_rows"] tr').first).to_contain_text("kiln")
    tip = page.locator("#tip")

    def says() -> bool:
        # A chart that was just drawn may still move.
        page.mouse.move(*bar_at(page, "errors_heat"))
        return "kiln (FATAL 1)" in tip.inner_text()

    eventually(says)
    counted = [int(text.split()[0]) for text in tip.locator("tr.total td:last-child").all_text_contents()]
    assert tip.locator("tr.total td:first-child").all_text_contents() == [
        "Errors over time by severity",
        "By service over time",
    ]
    # Both are the same errors, parted in other ways.
    assert counted[0] == counted[1] >= 1
    parts = [int(text) for text in tip.locator("tr:not(.total) td:last-child").all_text_contents()]
    assert sum(parts) == sum(counted)
    lines = """() => new Set([...Bokeh.documents[0]._all_models.values()].filter((one) => one.type === "CrosshairTool")
      .map((one) => one.overlay).filter((one) => isFinite(one.location) && one.location !== null)).size"""
    assert page.evaluate(lines) == 1
    page.mouse.move(5, 5)
    expect(tip).to_be_hidden()


def test_a_change_is_marked_by_a_key_and_a_refusal_is_said_where_one_typed(page: Page, served: Served) -> None:
    opened(page, served)
    page.keyboard.press("m")
    dialog = page.locator("#mark")
    expect(dialog.locator("#mark-text")).to_be_focused()
    page.keyboard.type("deploy 1.4")
    page.keyboard.press("Enter")
    # No notifier runs here.
    expect(dialog.locator("#mark-said")).to_contain_text("notifier")
    expect(dialog.locator("#mark-text")).to_have_value("deploy 1.4")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def _amounts(texts: list[str]) -> list[float]:
    return [float(re.sub(r"[^\d.-]", "", text.replace("−", "-"))) for text in texts]


def test_rows_come_in_the_order_of_a_column_over_all_pages(page: Page, served: Served) -> None:
    opened(page, served, "tab=orders&range=24h")
    rows, pager = page.locator('[data-list="order_rows"] tr'), page.locator('[data-pager="order_rows"]')
    expect(pager).to_contain_text("page 1 of")
    head = page.locator('#orders th:has([data-sort="total"])')
    head.locator("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page.locator('[data-words="order_rows"]')).to_contain_text("1 – 100 shown")
    totals = _amounts(rows.locator("td:nth-child(7)").all_inner_texts())
    assert totals == sorted(totals, reverse=True)
    pager.get_by_role("button", name="the page after").click()
    expect(page.locator('[data-words="order_rows"]')).to_contain_text("101 – ")
    expect(page).to_have_url(re.compile("sort=total&page=2"))
    beyond = _amounts(rows.locator("td:nth-child(7)").all_inner_texts())
    assert beyond == sorted(beyond, reverse=True)
    assert beyond[0] <= totals[-1]
    # Another choice begins with its first page, and a click turns the order around.
    head.locator("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    expect(pager).to_contain_text("page 1 of")
    expect(rows.first.locator("td").nth(6)).not_to_have_text(re.compile(r"\$[4-9]\d"))


def test_the_newest_rows_and_incidents_are_found_and_ordered_by_keys_and_the_address_says_it(
    page: Page, served: Served
) -> None:
    opened(page, served)
    served.post("/fake/order?product=parasol&total=4321.00")
    rows, words = page.locator('[data-list="latest_orders"] tr'), page.locator('[data-words="latest_orders"]')
    expect(words).to_have_text("the newest 12")
    page.keyboard.press("p")
    expect(page.locator("#paused")).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#overview [data-search]")).to_be_focused()
    page.keyboard.type("parasol")
    page.keyboard.press("Enter")
    expect(words).to_have_text(re.compile(r"^\d of the newest 12$"))
    expect(rows.first).to_contain_text("parasol")
    # What stands still can be looked through, and goes on standing still.
    expect(page.locator("#paused")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?find=parasol$"))
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.evaluate("tillwatch.go('')")
    expect(words).to_have_text("the newest 12")
    head = page.locator('#overview th:has([data-sort="total"])')
    head.locator("button").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(page).to_have_url(re.compile(r"\?sort=total$"))
    totals = _amounts(rows.locator("td:nth-child(5)").all_inner_texts())
    assert totals == sorted(totals, reverse=True)
    # What is new takes its place; what has the focus keeps it.
    rows.first.focus()
    served.post("/fake/order?product=marquee&total=9999.00")
    expect(rows.first).to_contain_text("marquee")
    expect(rows.nth(1)).to_be_focused()
    opened(page, served, "tab=alerts&find=payments&sort=starts_at.asc")
    expect(page.locator('[data-words="incident_rows"]')).to_contain_text(re.compile(r"^\d+ incidents?, \d+ open$"))
    expect(page.locator("#alerts [data-search]")).to_have_value("payments")
    services = page.locator('[data-list="incident_rows"] td:nth-child(3)')
    expect(services.first).to_have_text("payments")
    assert set(services.all_inner_texts()) == {"payments"}
    expect(page.locator('#alerts th:has([data-sort="starts_at"])')).to_have_attribute("aria-sort", "ascending")


def test_a_double_click_on_a_time_looks_closer_and_back_goes_back(page: Page, served: Served) -> None:
    opened(page, served, "tab=orders&range=24h")
    words = page.locator('[data-words="order_rows"]')
    expect(words).to_contain_text("orders")
    whole = words.inner_text()
    chart = page.locator('[data-chart="orders_time"] canvas').first
    expect(chart).to_be_visible()
    box = chart.bounding_box()
    assert box
    # The hour that has orders is the last one.
    page.mouse.dblclick(box["x"] + box["width"] - 40, box["y"] + 80)
    expect(page).to_have_url(re.compile("from=.*&to="))
    asked = dict(parse_qsl(page.url.partition("?")[2]))
    length = datetime.fromisoformat(asked["to"]) - datetime.fromisoformat(asked["from"])
    assert timedelta(hours=7.5) < length < timedelta(hours=8.5)
    expect(words).to_contain_text("orders")
    page.go_back()
    expect(words).to_have_text(whole)
    # The hours looked at may have had all of the orders: that it has come back, only the axis tells.
    page.wait_for_function(
        """() => [...Bokeh.documents[0].get_model_by_name("orders_time").references()]
          .some((one) => one.type === "Figure" && one.x_range.end - one.x_range.start > 23 * 3600000)"""
    )
    # One click chooses the time of its bar, ten minutes of a day, and another one lets it go.
    page.mouse.click(*bar_at(page, "orders_time"))
    page.wait_for_url("**brush=**")
    since, until = dict(parse_qsl(page.url.partition("?")[2]))["brush"].split("~")
    assert datetime.fromisoformat(until) - datetime.fromisoformat(since) == timedelta(minutes=10)
    expect(words).not_to_have_text(whole)
    page.mouse.click(*bar_at(page, "orders_time"))
    expect(page).not_to_have_url(re.compile("brush"))
    expect(words).to_have_text(whole)


def test_a_row_that_is_clicked_tells_all_of_itself(page: Page, served: Served) -> None:
    message = "Till 9 is jammed: " + "paper " * 100
    served.post(f"/fake/fatal?service=kiosk&message={quote(message)}")
    opened(page, served, "tab=errors")
    page.locator('[data-list="error_rows"] tr', has_text="Till 9").click()
    dialog = page.locator("#row")
    expect(dialog.locator("h2")).to_have_text("Rows")
    expect(dialog.locator("dd", has_text="Till 9")).to_have_text(message)
    page.keyboard.press("Escape")
    opened(page, served, "tab=orders")
    first = page.locator('[data-list="order_rows"] tr').first
    first.focus()
    page.keyboard.press("Enter")
    order = dialog.locator("dt", has_text="order id").locator("+ dd").inner_text()
    dialog.get_by_role("link", name="all that is known of this order").click()
    expect(page.locator("#order-title")).to_have_text(f"Order {order}")
    expect(page.locator('[data-list="order_events"] tr', has_text="order").first).to_be_visible()
    expect(page).to_have_url(re.compile(f"tab=orders.*order={order}"))
    first.focus()
    page.keyboard.press("Enter")
    user = dialog.locator("dt", has_text="user id").locator("+ dd").inner_text()
    dialog.get_by_role("link", name="all that this customer did").click()
    expect(dialog).to_be_hidden()
    expect(page).to_have_url(re.compile(f"tab=customers.*user={user}"))


def test_what_the_colours_of_a_chart_are_stands_beside_its_title(page: Page, served: Served) -> None:
    opened(page, served, "tab=customers")
    legend = page.locator('[data-legend="visits_time"] .badge')
    expect(legend.first).to_be_visible()
    colour = legend.first.evaluate("(entry) => getComputedStyle(entry, '::before').backgroundColor")
    assert colour == "rgb(0, 114, 178)"
    names = legend.all_inner_texts()
    page.locator('[data-twin="visits_time"]').click()
    twin = page.locator("dialog table").first
    expect(twin).to_contain_text(names[0])


def test_another_theme_redraws_charts_in_place(page: Page, served: Served) -> None:
    models = "Bokeh.documents[0].roots().flatMap((root) => [...root.references()])"
    figures = f"() => {models}.filter(({{type}}) => type === 'Figure').map(({{id}}) => id)"
    labels = f"{models}.filter(({{type}}) => type.endsWith('Axis')).map((axis) => axis.major_label_text_color)"
    opened(page, served, "tab=errors")
    # Four live charts stand in the page too, those of the tab come once it is asked for.
    page.wait_for_function(f"() => {labels}.filter((colour) => colour === '#9fabb8').length >= 2 * 7")
    before = page.evaluate(figures)
    page.locator("#theme").click()
    page.wait_for_function(f"() => {labels}.every((colour) => colour === '#55616d')")
    served.post("/fake/fatal?service=mill&message=It%20stands%20still")
    served.post("/fake/heartbeat")  # a commit's moment lies behind all that happened before it
    expect(page.locator('[data-list="error_rows"] tr').first).to_contain_text("It stands still")
    assert set(page.evaluate(f"() => {labels}")) == {"#55616d"}
    assert page.evaluate(figures) == before
