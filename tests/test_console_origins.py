"""By which names browsers may reach the console, and how the page learns that one is refused."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from console import plugins
from console.__main__ import serve_arguments
from console.settings import ConsoleSettings, LiteSettings
from console.small import server
from lakehouse.settings.ports import PORTS
from lakehouse.user_error import UserError
from tests.test_console_session import a_console


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("shop.example:9000", "shop.example:9000"),
        ("shop.example", "shop.example"),
        ("Shop.Example:9000", "shop.example:9000"),
        (" https://shop.example/ ", "shop.example"),
        ("https://shop.example:443", "shop.example"),
        ("http://shop.example:8080", "shop.example:8080"),
        ("shop.example:443", "shop.example"),
        ("*", "*"),
        ("192.168.0.*", "192.168.0.*"),
    ],
)
def test_a_name_may_be_given_as_people_copy_it(given: str, taken: str) -> None:
    assert ConsoleSettings.load(allowed_origins=(given,)).allowed_origins == (taken,)
    assert LiteSettings.load(allowed_origins=(given,)).allowed_origins == (taken,)


@pytest.mark.parametrize(
    "given", ["", "https://", "shop.example/console", "shop example", "a:b", "[::1]:5006", "ftp://a"]
)
def test_what_can_be_no_name_is_refused_at_start_in_a_sentence(given: str) -> None:
    with pytest.raises(UserError, match="HOST or HOST:PORT, as it stands in the browser's address bar"):
        ConsoleSettings.load(allowed_origins=(given,))


def test_the_page_is_told_what_the_server_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_CONSOLE_ALLOWED_ORIGINS", '["https://Shop.example", "tunnel.example:9000"]')
    parts = a_console()
    monkeypatch.setattr(plugins, "running", lambda: parts)
    port = PORTS["console"]

    app = FastAPI()
    app.include_router(plugins.ROUTER)
    client = TestClient(app)

    def allowed(host: str) -> bool:
        return bool(client.get("/origin", params={"host": host}).json()["allowed"])

    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "shop.example", "SHOP.example", "tunnel.example:9000"):
        assert allowed(host), host
    for host in ("localhost", "shop.example:9000", "tunnel.example", "other.example", ""):
        assert not allowed(host), host
    told = serve_arguments(port, parts.settings)
    assert [told[at + 1] for at, word in enumerate(told) if word == "--allow-websocket-origin"] == [
        f"localhost:{port}", f"127.0.0.1:{port}", "shop.example", "tunnel.example:9000",
    ]  # fmt: skip


def test_the_small_page_takes_names_too() -> None:
    assert "--server.corsAllowedOrigins=http://shop.example" in server.serve_arguments(
        8501, "127.0.0.1", ["shop.example"]
    )
