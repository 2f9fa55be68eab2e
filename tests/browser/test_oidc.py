"""People sign in to the console by an OpenID Connect provider: a claim says what they may do there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import PATIENCE_MS, Served, free_port
from tests.fake_provider import FakeProvider

pytestmark = pytest.mark.browser

OPERATORS = {"groups": ["staff", "tillwatch-operators"]}


class Shop(Served):
    provider: FakeProvider


@pytest.fixture(scope="module", params=["its secret", ""], ids=["secret", "PKCE"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    provider = FakeProvider()
    console = Shop(
        free_port(),
        tmp_path_factory.mktemp("oidc") / "console.log",
        TILLWATCH_CONSOLE_AUTH="oidc",
        TILLWATCH_CONSOLE_OIDC_ISSUER=provider.issuer,
        TILLWATCH_CONSOLE_OIDC_CLIENT_ID="tillwatch",
        TILLWATCH_CONSOLE_OIDC_CLIENT_SECRET=request.param,
    )
    console.provider = provider
    console.start()
    yield console
    console.stop()
    provider.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    yield page
    page.context.close()


def test_whoever_the_provider_knows_comes_in_under_their_name_with_the_role_of_a_claim(page: Page, shop: Shop) -> None:
    shop.provider.claims = {"email": "ada@shop.example", **OPERATORS}
    with page.expect_console_message(lambda message: "document idle" in message.text):
        page.goto(f"{shop.url}/app?tab=alerts&incident=00000000-0000-0000-0000-000000000001")
    # The page that was asked for, and the name that the provider told.
    expect(page).to_have_url(re.compile(r"/app\?tab=alerts&incident="))
    expect(page.locator("#duty-said")).to_have_text("as ada@shop.example")
    assert shop.provider.asked[-1]["redirect_uri"] == f"{shop.url}/login"
    # One small cookie says so, which no script reads.
    held = {one["name"]: one for one in page.context.cookies()}
    assert "access_token" not in held
    assert "id_token" not in held
    assert (held["user"]["httpOnly"], held["user"]["sameSite"]) == (True, "Lax")
    assert len(held["user"]["value"]) < 200


def test_without_the_claim_one_may_look_and_not_act(page: Page, shop: Shop) -> None:
    shop.provider.claims = {"email": "eve@shop.example", "groups": "staff"}
    page.goto(f"{shop.url}/app?tab=alerts&incident=00000000-0000-0000-0000-000000000001")
    expect(page.locator("#duty-said")).to_contain_text("You are signed in as a viewer")
    page.locator(".sign-out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    assert "user" not in {one["name"] for one in page.context.cookies()}
    assert page.request.get(f"{shop.url}/export/nobody/order_rows.csv").status == 401
    shop.provider.claims = {"email": "ada@shop.example", **OPERATORS}
    page.get_by_role("link", name="Sign in").click()
    expect(page.locator('[data-tile="orders"] .value')).to_have_text(re.compile(r"\d"))


def test_what_does_not_let_anybody_in_is_one_sentence(page: Page, shop: Shop) -> None:
    for claims, sentence in (
        ({"sub": "7"}, "The sign-in has no claim 'email', which would be your name."),
        ({"sub": "7", "email": "ada", "aud": ["another"]}, "The sign-in was made for another application."),
        (
            {"sub": "7", "email": "ada", "iss": "https://elsewhere.example"},
            "The sign-in is of another issuer than this console's.",
        ),
        ({"sub": "7", "email": "ada", "exp": 1}, "The sign-in is too old; sign in again."),
    ):
        shop.provider.claims = claims
        page.goto(f"{shop.url}/app")
        expect(page.get_by_role("alert")).to_have_text(sentence)
        assert "user" not in {one["name"] for one in page.context.cookies()}
    page.goto(f"{shop.url}/login?code=stolen&state=made-up")
    expect(page.get_by_role("alert")).to_have_text("This sign-in did not begin here, or too long ago.")
    assert "user" not in {one["name"] for one in page.context.cookies()}
    # A code of somebody else, in a browser that asked for none.
    shop.provider.claims = {"email": "mallory@shop.example", **OPERATORS}
    page.context.clear_cookies()
    for query in ("code=stolen&state=", "code=stolen", "next=/%3Fcode%3Dstolen%26state%3D"):
        page.goto(f"{shop.url}/login?{query}")
        expect(page.get_by_role("alert")).to_have_text("This sign-in did not begin here, or too long ago.")
    assert "user" not in {one["name"] for one in page.context.cookies()}
    page.context.add_cookies([{"name": "user", "value": "ada~operator~9999999999", "url": shop.url}])
    assert page.request.get(f"{shop.url}/export/nobody/order_rows.csv").status == 401


def test_a_provider_that_refuses_or_is_away_is_one_sentence(page: Page, shop: Shop) -> None:
    shop.provider.denied = "No <b>access</b> today"
    try:
        page.goto(f"{shop.url}/app")
        expect(page.get_by_role("alert")).to_have_text("The provider did not let you in (access_denied).")
    finally:
        shop.provider.denied = ""
    page.goto(f"{shop.url}/login?error=Call%200800%20for%20help")
    expect(page.get_by_role("alert")).to_have_text("The provider did not let you in (no reason).")
    shop.provider.forgetful = True
    try:
        page.goto(f"{shop.url}/app")
        expect(page.get_by_role("alert")).to_have_text("The provider did not confirm who you are; try again.")
    finally:
        shop.provider.forgetful = False
    assert "an access token" not in shop.log.read_text()


def test_signing_in_leads_nowhere_else(page: Page, shop: Shop) -> None:
    shop.provider.claims = {"email": "eve@shop.example"}
    for asked in ("///elsewhere.example", "//elsewhere.example", "/\\elsewhere.example", "https://elsewhere.example"):
        page.context.clear_cookies()
        page.goto(f"{shop.url}/login?next={quote(asked)}")
        assert page.url.startswith(shop.url)


def test_a_sign_in_that_is_over_goes_through_the_provider_again_and_back(page: Page, shop: Shop) -> None:
    shop.provider.claims = {"email": "eve@shop.example"}
    page.goto(f"{shop.url}/app?tab=orders")
    expect(page.locator("#orders")).to_be_visible()
    tries = len(shop.provider.asked)
    # What the console sends to whoever is in no more.
    page.evaluate(
        "window.tillwatch.take(JSON.stringify({n: 1, now: new Date().toISOString(), parts: {out: {out: true}}}))"
    )
    expect(page).to_have_url(re.compile(r"/app\?tab=orders"))
    expect(page.locator("#orders")).to_be_visible()
    assert len(shop.provider.asked) == tries + 1
