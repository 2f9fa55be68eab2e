"""The console with a password: nobody sees anything of the shop before signing in."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from bokeh.util.token import generate_jwt_token, generate_session_id
from playwright.sync_api import Page, expect

from tests.browser.conftest import Served, free_port
from tests.browser.prefix_proxy import proxy
from tests.notifier_cast import wait_for

pytestmark = pytest.mark.browser

PASSWORD = "kettle-otter-52"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A console whose password and cookie secret are in files, as containers have them."""
    folder = tmp_path_factory.mktemp("guarded")
    variables = {}
    for name, value in (("PASSWORD", PASSWORD), ("COOKIE_SECRET", "0" * 32)):
        (folder / name).write_text(value + "\n", encoding="utf-8")
        variables[f"TILLWATCH_CONSOLE_{name}_FILE"] = str(folder / name)
    console = Served(free_port(), folder / "console.log", **variables)
    console.start()
    yield console
    console.stop()


def signed_in(page: Page, guarded: Served, query: str = "") -> Page:
    page.goto(f"{guarded.url}/app?{query}")
    page.fill("#username", "ada")
    page.fill("#password", PASSWORD)
    with page.expect_console_message(lambda message: "document idle" in message.text):
        page.click("button")
    return page


def test_who_is_not_signed_in_sees_the_sign_in_page_and_nothing_else(page: Page, guarded: Served) -> None:
    page.goto(f"{guarded.url}/app?tab=orders")
    expect(page.get_by_label("Password")).to_be_visible()
    assert "latest_orders" not in page.content()


def test_a_websocket_without_signing_in_is_refused(page: Page, guarded: Served) -> None:
    """Session tokens are not signed: anybody can make one that is valid."""

    def opened() -> str:
        heard: str = page.evaluate(
            """([url, token]) => new Promise(done => {
                const socket = new WebSocket(url, ["bokeh", token]);
                socket.onmessage = () => done("answered");
                socket.onclose = () => done("closed");
            })""",
            [
                f"ws://127.0.0.1:{guarded.port}/app/ws",
                generate_jwt_token(generate_session_id(signed=False), signed=False, expiration=300),
            ],
        )
        return heard

    page.goto(f"{guarded.url}/login")
    assert opened() == "closed"
    signed_in(page, guarded)
    assert opened() == "answered"


def test_a_wrong_password_is_told_and_the_right_one_leads_to_the_page_asked_for(page: Page, guarded: Served) -> None:
    page.goto(f"{guarded.url}/?tab=errors&theme=light")
    page.fill("#username", "ada")
    page.fill("#password", "guess")
    page.click("button")
    expect(page.get_by_role("alert")).to_have_text("That is not the password; try again.")
    page.fill("#username", "ada")
    page.fill("#password", PASSWORD)
    page.click("button")
    expect(page.locator('nav a[aria-current="page"]')).to_have_text("Errors")
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_a_signed_in_page_lives_and_signing_out_ends_it(page: Page, guarded: Served) -> None:
    signed_in(page, guarded)
    guarded.post("/fake/order?product=samovar")
    expect(page.locator('[data-list="latest_orders"] tr').first).to_contain_text("samovar")
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    page.goto(f"{guarded.url}/app")
    expect(page.get_by_label("Password")).to_be_visible()


@pytest.mark.parametrize("asked", ["///evil.example", "//evil.example", "https://evil.example", "/\\\\evil.example"])
def test_signing_in_leads_nowhere_else(page: Page, guarded: Served, asked: str) -> None:
    answer = page.goto(f"{guarded.url}/login?{urlencode({'next': asked})}")
    assert answer is not None
    if answer.status == 400:
        return  # Panel refuses what it sees is elsewhere
    page.fill("#username", "ada")
    page.fill("#password", PASSWORD)
    page.click("button")
    expect(page.get_by_role("link", name="Sign out")).to_be_visible()
    assert page.url.startswith(f"{guarded.url}/")
    [cookie] = [cookie for cookie in page.context.cookies() if cookie["name"] == "user"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert 6 < (cookie["expires"] - time.time()) / 86_400 < 8


@pytest.mark.parametrize(("forwarded", "secure"), [({}, False), ({"X-Forwarded-Proto": "https"}, True)])
def test_a_cookie_given_over_tls_never_goes_in_the_clear(
    guarded: Served, forwarded: dict[str, str], secure: bool
) -> None:
    """As a proxy of this machine, which speaks TLS to the browser, asks."""
    address = urlsplit(guarded.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    form = urlencode({"username": "ada", "password": PASSWORD})
    connection.request("POST", "/login", form, {"Content-Type": "application/x-www-form-urlencoded", **forwarded})
    given = connection.getresponse().msg.get_all("Set-Cookie") or []
    connection.close()
    [cookie] = [one for one in given if one.startswith("user=")]
    words = {word.strip().lower() for word in cookie.split(";")[1:]}
    assert {"httponly", "samesite=lax"} <= words
    assert ("secure" in words) == secure


def test_a_sign_in_outlives_a_restart(page: Page, guarded: Served) -> None:
    signed_in(page, guarded)
    page.goto("about:blank")  # an open page would load itself again, at the same moment
    guarded.stop()
    guarded.start()
    page.goto(f"{guarded.url}/app")
    expect(page.get_by_role("link", name="Sign out")).to_be_visible()


def test_probes_need_no_password_and_it_stands_in_no_log(guarded: Served) -> None:
    def is_ready() -> bool:
        try:
            return bool(json.loads(guarded.get("/readyz"))["ready"])
        except HTTPError as error:
            if error.code != 503:  # a look was late on a busy machine
                raise
            return False

    wait_for(is_ready)
    with pytest.raises(HTTPError, match="401"):
        guarded.get("/metrics")
    said = guarded.log.read_text(encoding="utf-8")
    assert PASSWORD not in said
    command = Path(f"/proc/{guarded.pid}/cmdline")
    if command.exists():
        assert PASSWORD not in command.read_text(encoding="utf-8")


def test_without_a_password_there_is_nothing_to_sign_out_of(page: Page, served: Served) -> None:
    page.goto(f"{served.url}/app")
    expect(page.locator("#theme")).to_be_visible()
    expect(page.get_by_role("link", name="Sign out")).to_have_count(0)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_sign_in_page_can_be_used_by_everybody(page: Page, guarded: Served, theme: str) -> None:
    page.goto(f"{guarded.url}/app?theme={theme}")
    expect(page.locator("html")).to_have_attribute("data-theme", theme)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_behind_a_proxy_with_a_path_of_its_own_all_stays_below_it(page: Page, tmp_path: Path) -> None:
    port = free_port()
    variables = {"PASSWORD": PASSWORD, "ROOT_PATH": "/ops", "ALLOWED_ORIGINS": f'["127.0.0.1:{port}"]'}
    console = Served(
        free_port(),
        tmp_path / "console.log",
        **{f"TILLWATCH_CONSOLE_{name}": value for name, value in variables.items()},
    )
    console.start()
    here, left = f"http://127.0.0.1:{port}/ops", list[str]()
    page.on("request", lambda request: None if request.url.startswith(f"{here}/") else left.append(request.url))
    page.on("websocket", lambda socket: None if "/ops/app/ws" in socket.url else left.append(socket.url))
    try:
        with proxy("/ops", console.port, port):
            page.goto(f"{here}/?tab=errors")
            page.fill("#username", "ada")
            page.fill("#password", "guess")
            page.click("button")
            expect(page.locator("body")).to_contain_text("not the password")
            page.fill("#username", "ada")
            page.fill("#password", PASSWORD)
            with page.expect_console_message(lambda message: "document idle" in message.text):
                page.click("button")
            assert page.url == f"{here}/app?tab=errors"
            page.click("nav a[data-tab=overview]")
            expect(page.locator("[data-tile=orders] .value")).not_to_be_empty()
            page.click("a.sign-out")
            page.goto(f"{here}/app")
            expect(page.get_by_label("Password")).to_be_visible()
            page.goto("about:blank")
    finally:
        console.stop()
    assert [url for url in left if not url.startswith(("about:", "data:", "blob:"))] == []
