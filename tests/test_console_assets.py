"""Scripts and styles of the page: compressed, under addresses that browsers may keep, and nothing else of the disk."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from console.assets import FOR_EVER, LOOK, ROUTER, lean, look_address

TAGS = """<script type="text/javascript" src="static/js/bokeh.min.js"></script>
<link rel="stylesheet" href="static/extensions/panel/bundled/datatabulator/tabulator_simple.min.css?v=1">
<script src="static/extensions/panel/bundled/datatabulator/luxon/luxon.min.js"></script>
<script>const own = "static/js/bokeh.min.js"</script>
<script src="https://elsewhere.example/static/js/bokeh.min.js"></script>"""


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(ROUTER)
    return TestClient(app)


def test_what_is_needed_gets_an_address_of_its_content_and_what_is_not_is_left_out(client: TestClient) -> None:
    kept = lean(TAGS)
    (address,) = re.findall(r'src="(kept/[0-9a-f]{16}/static/js/bokeh\.min\.js)"', kept)
    assert "tabulator" not in kept
    assert "luxon" not in kept
    assert kept.splitlines()[-2:] == TAGS.splitlines()[-2:]
    answer = client.get(f"/{address}")
    assert answer.headers["cache-control"] == FOR_EVER
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) * 3 < len(answer.content)


def test_our_own_modules_are_under_one_address_and_whole_with_and_without_compression(client: TestClient) -> None:
    for path in LOOK.iterdir():
        for encoding in ("gzip, br", "identity"):
            answer = client.get(f"/{look_address()}/{path.name}", headers={"Accept-Encoding": encoding})
            assert answer.content == path.read_bytes()
            assert answer.headers["cache-control"] == FOR_EVER
    assert client.get(f"/{look_address()}/console.js").headers["content-type"].startswith("text/javascript")


def test_an_address_of_before_an_upgrade_is_answered_and_not_kept(client: TestClient) -> None:
    answer = client.get("/kept/0123456789abcdef/look/console.js")
    assert answer.content == (LOOK / "console.js").read_bytes()
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "address",
    [
        "look/../app.py",
        "look/%2e%2e/app.py",
        "static/../../../secrets.py",
        "look/nothing.js",
        "look/",
        "etc/passwd",
        "",
    ],
)
def test_nothing_else_is_served(client: TestClient, address: str) -> None:
    assert client.get(f"/kept/0/{address}").status_code == 404
