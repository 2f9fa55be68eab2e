"""The console as people see it, in a browser."""

from __future__ import annotations

import re
import urllib.error

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, Served, bar_at, eventually, opened

pytestmark = pytest.mark.browser

TABS = ("overview", "orders", "customers", "errors", "alerts", "pipeline")
LISTS = ("latest_orders", "order_rows", "customer_rows", "error_rows", "incident_rows", "chain")


def tile(page: Page, key: str) -> str:
    return page.locator(f'[data-tile="{key}"] .value').inner_text()


def test_an_order_reaches_the_tile_the_list_and_the_chart(page: Page, served: Served) -> None:
    opened(page, served)
    before = page.get_attribute('[data-tile="revenue"]', "data-value")
    commit = page.get_attribute("body", "data-commit")
    produced_at = served.post("/fake/order?total=1234.56&product=samovar").strip('"')
    expect(page.locator('[data-list="latest_orders"] tr').first).to_contain_text("samovar")
    expect(page.locator('[data-list="latest_orders"]')).to_have_attribute("data-produced-at", produced_at)
    expect(page.locator('[data-tile="revenue"]')).to_have_attribute("data-produced-at", produced_at)
    assert page.get_attribute('[data-tile="revenue"]', "data-value") != before
    assert page.get_attribute("body", "data-commit") != commit
    newest = (
        "() => Bokeh.documents[0].get_model_by_name('revenue_per_minute').renderers[0].data_source.data.revenue.at(-1)"
    )
    eventually(lambda: float(page.evaluate(newest)) >= 1234.56)


def test_a_publish_is_one_message_to_the_browser(page: Page, served: Served) -> None:
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    opened(page, served)
    expect(page.locator("#viewers")).to_have_text(re.compile(r"^1 viewer"))  # whoever leaves is told too
    served.post("/fake/order?product=kettle")
    first = page.locator('[data-list="latest_orders"] tr').first
    expect(first).to_contain_text("kettle")
    frames.clear()
    served.post("/fake/order?product=samovar")
    expect(first).to_contain_text("samovar")
    assert sum('"msgtype": "PATCH-DOC"' in frame for frame in frames) == 1
    assert sum(map(len, frames)) < 6000


def test_every_tab_stands_in_dark_and_light_without_going_over_the_edge(page: Page, served: Served) -> None:
    opened(page, served)
    for theme in ("dark", "light"):
        for tab in TABS:
            page.click(f"nav a[data-tab={tab}]")
            expect(page.locator(f"#{tab}")).to_be_visible()
            for width in (1440, 390):
                page.set_viewport_size({"width": width, "height": 844})
                page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == theme
        page.click("#theme")


def test_a_browsers_clock_that_is_set_makes_no_data_old(page: Page, served: Served) -> None:
    opened(page, served)
    expect(page.locator("body")).to_have_attribute("data-health", "ok")
    page.evaluate("window.rightly = Date.now")
    for ahead_ms in (600_000, 0, -600_000, 0):
        page.evaluate(f"Date.now = () => window.rightly() + {ahead_ms}")
        served.post("/fake/heartbeat")
        served.post("/fake/order?product=kettle")
        expect(page.locator("#age")).to_have_text(re.compile(r"\b\d\.\d s"))
        page.wait_for_timeout(600)  # the age ticks twice a second
        expect(page.locator("#age")).to_have_text(re.compile(r"\b\d\.\d s"))
        expect(page.locator("body")).to_have_attribute("data-health", "ok")


def test_no_request_leaves_the_host(page: Page, served: Served) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    opened(page, served, "tab=orders")
    expect(page.locator("[data-chart=orders_time] canvas").first).to_be_visible()
    for tab in TABS:
        page.click(f"nav a[data-tab={tab}]")
    expect(page.locator('[data-list="chain"] tr').first).to_be_visible()
    local = re.compile(rf"(blob:)?{re.escape(served.url)}/|data:")
    assert asked
    assert [url for url in asked if not local.match(url)] == []


def test_brushing_the_time_axis_narrows_rows_and_the_url_which_a_colleague_can_open(
    page: Page, chromium: Browser, served: Served
) -> None:
    opened(page, served, "tab=orders")
    words = page.locator('[data-words="order_rows"]')
    expect(words).to_contain_text("orders")
    everything = words.inner_text()
    drawn = page.locator("[data-chart=orders_time] canvas").first
    expect(drawn).to_be_visible()
    page.wait_for_timeout(500)  # Bokeh lays out once more after its canvas is there
    box = page.locator("[data-chart=orders_time]").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 400, box["y"] + 80)
    page.mouse.down()
    page.mouse.move(box["x"] + 700, box["y"] + 100, steps=5)
    page.mouse.up()
    page.wait_for_url("**brush=**")
    expect(words).not_to_have_text(everything)
    expect(page.locator("#orders-brush")).to_contain_text("whole range")
    page.locator('[data-facet="status"] button', has_text="CANCELLED").click()
    page.wait_for_url("**status=CANCELLED**")
    expect(page.locator('[data-list="order_rows"] tr', has_text="CREATED")).to_have_count(0)
    colleague = chromium.new_page()
    opened(colleague, served, page.url.partition("?")[2])
    expect(colleague.locator('[data-words="order_rows"]')).to_have_text(words.inner_text())
    colleague.close()
    page.go_back()
    expect(page.locator('[data-facet="status"] button', has_text="CANCELLED")).to_have_attribute(
        "aria-pressed", "false"
    )


def test_a_finger_scrolls_over_charts_and_a_tap_shows_and_chooses(chromium: Browser, served: Served) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    opened(page, served, "tab=orders&range=24h")
    finger = context.new_cdp_session(page)
    x, y = bar_at(page, "orders_time")
    moves = [{"x": x, "y": y - up} for up in range(0, 200, 10)]
    for step, place in (("touchStart", moves[:1]), *(("touchMove", [place]) for place in moves[1:]), ("touchEnd", [])):
        finger.send("Input.dispatchTouchEvent", {"type": step, "touchPoints": place})
    # A tap while the page still moves only stops it.
    stopped = "scrollY > 100 && scrollY === window.before || (window.before = scrollY, false)"
    page.wait_for_function(stopped, polling=300)
    assert "brush=" not in page.url
    page.touchscreen.tap(*bar_at(page, "orders_time"))
    expect(page.locator("#tip")).to_contain_text(re.compile(r"Orders over time by status\d+ orders"))
    page.wait_for_url("**brush=**")
    page.goto(f"{served.url}/app")
    live = page.locator("[data-chart=orders_per_minute]")
    expect(live.locator("canvas").first).to_be_visible()
    live.tap(position={"x": 200, "y": 60})
    expect(page.locator("#tip")).to_contain_text("Orders per minute")
    expect(page.locator("#tip")).not_to_contain_text("a click shows")
    page.touchscreen.tap(200, 20)
    expect(page.locator("#tip")).to_be_hidden()
    context.close()


def test_back_returns_to_the_former_tab(page: Page, served: Served) -> None:
    opened(page, served)
    page.click("nav a[data-tab=errors]")
    expect(page.locator('[data-list="error_rows"] tr').first).to_be_visible()
    page.go_back()
    expect(page.locator("#overview")).to_be_visible()
    expect(page.locator("#errors")).to_be_hidden()
    assert "tab=" not in page.url


def test_an_absolute_range_of_long_ago_is_aggregated_and_counted(page: Page, served: Served) -> None:
    opened(page, served, "tab=orders&from=1997-01-01T00:00:00Z&to=1998-07-01T00:00:00Z")
    expect(page.locator('[data-words="order_rows"]')).to_have_text(re.compile(r"90 orders, \$1.059\.30 in total"))
    expect(page.locator("#from")).to_have_value("1997-01-01T01:00")  # the viewer's zone is Berlin


def test_the_age_is_that_of_the_commit_shown_and_a_zone_keeps_the_times(page: Page, served: Served) -> None:
    opened(page, served, "tab=orders&range=24h&brush=1997-03-01T00:00:00Z~1997-04-01T00:00:00Z")
    expect(page.locator("#health")).to_have_text("all feeds ok, this tab is renewed every 6 s")
    expect(page.locator("#orders-brush")).to_contain_text("lies outside this range and narrows nothing")
    # Times typed and not yet shown keep their meaning when the zone changes.
    page.select_option("#range", "absolute")
    page.fill("#from", "1997-03-05T00:30:00")
    page.click("#zone")
    expect(page.locator("#from")).to_have_value("1997-03-04T23:30")
    page.wait_for_url("**zone=utc**")
    page.click("#orders-brush button[data-range]")
    page.wait_for_url("**from=1997-03-01*")
    expect(page.locator('[data-words="order_rows"]')).to_contain_text("31 orders")
    # The shop's own zone is the third; what is typed in it is meant in it.
    page.click("#zone")
    page.wait_for_url("**zone=shop**")
    expect(page.locator("#from")).to_have_value("1997-03-01T09:00")
    expect(page.locator("#orders-brush")).to_contain_text("1997-03-01 09:00:00")
    assert page.evaluate("tillwatch.clock(Date.parse('1997-03-01T00:00:00Z'))") == "09:00"
    page.fill("#from", "1997-03-01T10:00:00")
    page.click("#absolute button")
    page.wait_for_url("**from=1997-03-01T01*")
    expect(page.locator('[data-words="order_rows"]')).to_contain_text("30 orders")
    page.fill("#from", "1997-03-01T09:00:00")
    page.click("#absolute button")
    page.click("#zone")
    expect(page.locator("#from")).to_have_value("1997-03-01T01:00")  # the viewer's zone is Berlin
    assert "from=1997-03-01T00" in page.url.replace("%3A", ":")
    page.click("nav a[data-tab=errors]")
    page.wait_for_url("**tab=errors**")
    assert "brush=" in page.url
    page.click("nav a[data-tab=alerts]")
    expect(page.locator("#without-effect")).to_contain_text("without effect here: the brushed time")


def test_an_incident_link_outside_the_range_leads_to_it(page: Page, served: Served) -> None:
    opened(page, served, "tab=alerts&incident=0000dead-0000-0000-0000-000000000000")
    expect(page.locator("#alerts-said")).to_contain_text("or the link is wrong")


def test_a_value_in_the_url_that_cannot_be_used_is_told(page: Page, served: Served) -> None:
    opened(page, served, "tab=nowhere&range=3w")
    expect(page.locator("#notice")).to_contain_text("'nowhere' is no tab")


def test_from_an_incident_to_the_rows_behind_it(page: Page, served: Served) -> None:
    opened(page, served)
    served.post("/fake/fatal?service=checkout&message=no%20stock%20for%20%3Cb%3Ebold%3C/b%3E")
    row = page.locator(".incident", has_text="checkout")
    expect(row).to_contain_text("open")
    row.locator("a").click()
    expect(page.locator('[data-list="behind_errors"] tr').first).to_contain_text("no stock for <b>bold</b>")
    expect(page.locator('[data-list="behind_alerts"] tr').first).to_contain_text("FIRING")
    page.click("#behind-links a")
    expect(page.locator('[data-list="error_rows"] tr').first).to_contain_text("checkout")


def test_a_dead_gateway_greys_the_page_keeps_its_data_and_recovers_by_itself(page: Page, served: Served) -> None:
    opened(page, served)
    served.post("/fake/down?is_down=true")
    try:
        expect(page.locator("body")).to_have_attribute("data-health", "stale")
        expect(page.locator("#health")).to_contain_text("Neither Dremio nor a gateway answers")
        revenue = tile(page, "revenue")  # only now: until the page is stale an answer may still come in
        assert revenue.startswith("$")
        assert "grayscale" in page.evaluate("getComputedStyle(document.querySelector('.tile')).filter")
        age = page.locator("#age").inner_text()
        expect(page.locator("#age")).not_to_have_text(age)
        assert tile(page, "revenue") == revenue
        assert "Traceback" not in page.inner_text("body")
        eventually(lambda: _status(served, "/readyz") == 503)
    finally:
        served.post("/fake/down?is_down=false")
        served.post("/fake/heartbeat")
    expect(page.locator("body")).to_have_attribute("data-health", "ok")
    assert _status(served, "/readyz") == 200


def test_a_restarted_console_is_found_again(page: Page, served: Served) -> None:
    opened(page, served)
    served.stop()
    expect(page.locator("#health")).to_contain_text("connection to the console is lost")
    served.start()
    served.post("/fake/heartbeat")
    expect(page.locator("body")).to_have_attribute("data-health", "ok", timeout=40_000)


def test_a_page_that_slept_keeps_what_was_begun_on_it(page: Page, served: Served) -> None:
    opened(page, served)
    page.keyboard.press("m")
    page.locator("#mark-text").fill("deploy 1.4")
    expect(page.locator("body")).to_have_attribute("data-health", "ok")
    asked: list[str] = []
    page.on("response", lambda answer: asked.append(answer.url) if "/origin" in answer.url else None)
    page.evaluate("slept = 0; const now = performance.now.bind(performance); performance.now = () => now() + slept")

    def asks_why_nothing_comes() -> bool:
        # The machine sleeps for half a minute: again where a word came before the page looked.
        page.evaluate("slept += 30_000")
        for _ in range(16):
            page.wait_for_timeout(250)
            if asked:
                break
        return bool(asked)

    eventually(asks_why_nothing_comes, 45)
    served.post("/fake/heartbeat")
    page.wait_for_timeout(2_500)  # it is looked every two seconds
    expect(page.locator("body")).to_have_attribute("data-health", "ok")
    expect(page.locator("#mark-text")).to_have_value("deploy 1.4")


def test_the_console_tells_how_it_fares(served: Served) -> None:
    text = served.get("/metrics")
    for name in ("poll_seconds", "poll_failures", "age_seconds", "sessions", "wakes", "tick_seconds", "statements"):
        assert f"tillwatch_console_{name}" in text


def test_nothing_on_a_tab_shuts_anybody_out(page: Page, served: Served) -> None:
    opened(page, served)
    for tab, row in zip(TABS, LISTS, strict=True):
        page.click(f"nav a[data-tab={tab}]")
        expect(page.locator(f'[data-list="{row}"] tr').first).to_be_visible()
        for chart in page.locator(f"#{tab} [data-chart]").all():
            name = chart.get_attribute("aria-label")
            assert name, "a chart without a name"
            assert page.get_by_role("button", name=f"{name} as a table", exact=True, include_hidden=True).count() == 1
        if tab in ("errors", "pipeline"):
            # Errors and Alerts in the light, the others in the dark.
            page.keyboard.press("d")
        # What is shown while the next answer is awaited is paler, and so is what is old.
        served.post("/fake/heartbeat")
        expect(page.locator("body")).to_have_attribute("data-health", "ok")
        expect(page.locator(f"#{tab}")).not_to_have_attribute("aria-busy", "true")
        found = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
        assert [(tab, one["id"], [node["html"][:120] for node in one["nodes"]][:3]) for one in found] == []


def _status(served: Served, path: str) -> int:
    try:
        served.get(path)
    except urllib.error.HTTPError as error:
        return error.code
    return 200
