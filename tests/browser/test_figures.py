"""The whole way on real parts: what the screen shows is what SQL answers at the commit that it names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from streamlit.testing.v1 import AppTest

from bench.cdnow import SETTINGS, replay
from bench.pipelines import Embedded, Pipeline
from console.feed.past import kept_moment, reference
from lakehouse import ROOT
from lakehouse.settings.ports import PORTS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
SCHEMA = "nessie_minio_catalog.ecommerce_db"


@dataclass
class Shown:
    """A console on real parts, whose ingest has ended, so that its commit stays; and that commit."""

    pipeline: Pipeline
    url: str
    commit: str
    as_of: datetime

    def ask(self, select: str, table: str, where: str = "") -> list[dict[str, Any]]:
        """SQL of our own at the commit; `:since` and `:as_of` are the last five minutes."""
        text = f'SELECT {select} FROM {SCHEMA}.{table} AT COMMIT "{self.commit}" {where}'
        for name, moment in (("since", self.as_of - timedelta(minutes=5)), ("as_of", self.as_of)):
            text = text.replace(f":{name}", f"TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S.%f}'".replace("000'", "'"))
        rows: list[dict[str, Any]] = self.pipeline.dremio.sql(text).to_pylist()
        return rows


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    data_dir = tmp_path_factory.mktemp("figures")
    offset = 12_000 + os.getpid() % 5000
    for name in list(os.environ):
        assert not name.startswith("TILLWATCH_DREMIO"), f"{name} is set"
    now = datetime.now(UTC)
    shoppers = ["shoppers", "--rate", "40", "--flat", "--no-outages"]
    span = ["--from", (now - timedelta(minutes=20)).isoformat(), "--to", now.isoformat()]
    with Embedded(data_dir, offset, SETTINGS) as pipeline:
        subprocess.run([sys.executable, "-m", "producers", *shoppers, *span], env=pipeline.environment, check=True)
        replay(pipeline).wait()
        pipeline.start_engine()
        pipeline.wait_until_read()
        pipeline.stop_engine()
        console = subprocess.Popen(
            [sys.executable, "-m", "console"],
            env=pipeline.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{PORTS['console'] + offset}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/liveness", timeout=2).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the console did not start"
                time.sleep(0.2)
        commit = pipeline.dremio.head()
        as_of = pipeline.dremio.ask("as_of", commit=commit)["as_of"][0].as_py()
        yield Shown(pipeline, url, commit, as_of)
        console.terminate()
        console.wait(20)


def opened(page: Page, shown: Shown) -> None:
    page.goto(f"{shown.url}/app")
    expect(page.locator("body")).to_have_attribute("data-commit", shown.commit)
    expect(page.locator('[data-tile="revenue"]')).to_have_attribute("data-value", re.compile(r"\d"))


def value(page: Page, key: str) -> Decimal:
    text = page.get_attribute(f'[data-tile="{key}"]', "data-value")
    assert text is not None
    return Decimal(text)


def test_every_tile_and_chart_is_what_sql_answers_at_the_same_commit(page: Page, shown: Shown) -> None:
    opened(page, shown)
    orders = shown.ask(
        "COUNT(*) AS n, SUM(order_total) AS total", "orders_processed", "WHERE order_ts >= :since AND order_ts < :as_of"
    )[0]
    assert orders["n"] > 10
    assert value(page, "revenue") == orders["total"]
    assert value(page, "orders") == orders["n"]
    assert abs(value(page, "average") - orders["total"] / orders["n"]) < Decimal("0.01")
    clicks = shown.ask("user_id", "clicks_processed", "WHERE click_ts >= :since AND click_ts < :as_of")
    users = {row["user_id"] for row in clicks}
    assert value(page, "users") == len(users)
    buyers = shown.ask("user_id", "orders_processed", "WHERE order_ts >= :since AND order_ts < :as_of")
    conversion = len(users & {row["user_id"] for row in buyers}) / len(users)
    assert abs(float(value(page, "conversion")) - conversion) < 1e-6
    where = "WHERE error_ts >= :since AND error_ts < :as_of AND severity IN ('ERROR', 'FATAL')"
    errors = shown.ask("COUNT(*) AS n", "errors_processed", where)[0]["n"]
    assert abs(float(value(page, "error_rate")) - errors / len(clicks)) < 1e-6
    drawn = page.evaluate(
        "() => Bokeh.documents[0].get_model_by_name('revenue_per_minute').renderers[0].data_source.data.revenue"
        ".reduce((sum, value) => sum + (Number.isFinite(value) ? value : 0), 0)"
    )
    first = (shown.as_of - timedelta(minutes=59)).replace(second=0, microsecond=0)
    minutes = shown.ask("SUM(order_total) AS total", "orders_processed", f"WHERE order_ts >= TIMESTAMP '{first:%F %T}'")
    assert abs(drawn - float(minutes[0]["total"])) < 0.01
    newest = shown.ask("order_id", "orders_processed", "ORDER BY order_ts DESC, order_id DESC LIMIT 12")
    listed = page.locator('[data-list="latest_orders"]').inner_text()
    assert sum(row["order_id"] in listed for row in newest) >= 11  # the last place may be shared by equal times


def test_a_moment_that_is_held_shows_the_same_rows_to_whoever_opens_its_address(
    page: Page, chromium: Browser, shown: Shown
) -> None:
    words = page.locator('[data-words="order_rows"]')
    span = "from=1990-01-01T00:00:00Z&to=2100-01-01T00:00:00Z"
    page.goto(f"{shown.url}/app?tab=orders&{span}")
    expect(words).to_contain_text("in total")
    now = words.inner_text()
    moment = shown.as_of.replace(microsecond=0) + timedelta(seconds=2)
    kept = kept_moment(shown.pipeline.dremio, moment)
    assert kept is not None
    then = shown.pipeline.dremio.ask("as_of", commit=reference(kept))["as_of"][0].as_py()
    assert then < shown.as_of
    at = f"at={moment:%Y-%m-%dT%H:%M:%SZ}"
    rows = shown.pipeline.dremio.sql(
        f"SELECT COUNT(*) AS n FROM {SCHEMA}.orders_processed AT TIMESTAMP '{kept:%F %T.%f}'"
    )
    expected = f"{rows['n'][0].as_py():,}".replace(",", "\u202f")
    for viewer in (page, chromium.new_page()):
        viewer.goto(f"{shown.url}/app?tab=orders&{span}&{at}")
        expect(viewer.locator("#age")).to_contain_text("frozen at")
        expect(viewer.locator('[data-words="order_rows"]')).to_contain_text(f"{expected} orders")
    page.keyboard.press("f")
    expect(words).to_have_text(now)
    expect(page.locator("#age")).to_contain_text("old")
    assert "at=" not in page.url


def test_a_real_history_is_seen_with_an_absolute_range(page: Page, shown: Shown) -> None:
    page.goto(f"{shown.url}/app?tab=orders&from=1997-01-01T00:00:00Z&to=1998-07-01T00:00:00Z")
    words = page.locator('[data-words="order_rows"]')
    expect(words).to_contain_text("in total", timeout=30_000)
    figures = words.inner_text().replace("\u202f", "").replace("\u2009", "").replace(" ", "").replace(",", "")
    assert "6919orders" in figures
    assert "244091.94" in figures


def test_the_small_page_shows_what_the_console_shows(page: Page, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in shown.pipeline.environment.items():
        if name.startswith("TILLWATCH_"):
            monkeypatch.setenv(name, text)
    opened(page, shown)
    tiles = {
        key: page.locator(f'[data-tile="{key}"] .value').inner_text().strip()
        for key in ("revenue", "net", "orders", "average", "users", "conversion", "error_rate")
    }
    lite = AppTest.from_file(str(ROOT / "console" / "lite.py"), default_timeout=60).run()
    assert not lite.exception
    assert any(f'data-commit="{shown.commit}"' in element.proto.body for element in lite.get("html"))
    assert [metric.value for metric in lite.metric] == list(tiles.values())
