"""The small page: the console's figures at one commit, asked once for all viewers, and a sentence when it cannot."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from console import lite
from console.choices import FAILURES
from console.feed.numbers import THIN, exactly, short
from console.feed.snapshot import FeedSnapshot, now_utc
from console.feed.visited import Visited
from console.pages.overview import Overview
from console.small.server import serve_arguments
from console.small.status import freshness
from lakehouse import ROOT
from lakehouse.kinds import distinct_orders
from lakehouse.kpis import Counting
from lakehouse.settings.ports import PORTS
from lakehouse.settings.shop import OrdersSettings
from lakehouse.user_error import UserError
from tests.fake_dremio import FakeDremio, a_shop

SPAN = timedelta(minutes=5)


class Watched(FakeDremio):
    """A fake Dremio, with the feed that the page made on it."""

    feed: Visited

    def answers_grow_old(self) -> None:
        """The next viewer finds an answer that is no longer fresh."""
        self.feed._asked_at = float("-inf")


@pytest.fixture
def dremio(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    fake = Watched()
    a_shop(fake, now_utc().replace(microsecond=0), minutes=15)

    def feed(*args: Any, **kwargs: Any) -> Visited:
        fake.feed = Visited(*args, **kwargs)
        return fake.feed

    # Streamlit runs the page's file as a module of its own, which takes these names anew.
    monkeypatch.setattr("lakehouse.dremio.client.Dremio", lambda _settings: fake)
    monkeypatch.setattr("console.feed.visited.Visited", feed)
    st.cache_resource.clear()
    yield fake
    st.cache_resource.clear()
    fake.close()


def opened() -> AppTest:
    return AppTest.from_file(str(ROOT / "console" / "lite.py"), default_timeout=30).run()


def html_of(page: AppTest) -> str:
    return "\n".join(element.proto.body for element in page.get("html"))


def rows_of(page: AppTest, name: str) -> list[list[str]]:
    """The cells of a list, as text."""
    table = re.search(rf'<table data-list="{name}">.*?<tbody>(.*?)</tbody>', html_of(page), re.DOTALL)
    assert table is not None
    return [
        [unescape(re.sub("<.*?>", "", cell)) for cell in re.findall(r"<td.*?>(.*?)</td>", row)]
        for row in re.findall(r"<tr.*?>(.*?)</tr>", table[1])
    ]


def test_every_figure_equals_what_the_tables_say(dremio: Watched) -> None:
    page = opened()
    assert not page.exception
    as_of = dremio.ask("as_of").to_pylist()[0]["as_of"]
    figures = dremio.ask(
        "tiles",
        before=as_of - 2 * SPAN,
        since=as_of - SPAN,
        as_of=as_of,
        counted_statuses=OrdersSettings.load().counting.statuses,
        distinct=distinct_orders(OrdersSettings.load().counting),
    ).to_pylist()[0]
    shown = {metric.label: metric.value for metric in page.metric}
    assert shown["Revenue 5 min"] == f"${short(figures['revenue'], 2)}"
    net = figures["revenue"] - figures["refunded"]
    assert shown["Net revenue"] == f"${short(net, 2)}"
    assert shown["Orders 5 min"] == short(figures["orders"], 0)
    assert shown["Average order"] == f"${short(figures['revenue'] / figures['orders'], 2)}"
    assert shown["Active users"] == short(figures["users"], 0)
    assert shown["Conversion"] == f"{short(figures['buyers'] / figures['users'] * 100, 2)}{THIN}%"
    assert shown["Error rate"] == f"{short(figures['errors'] / figures['clicks'] * 100, 2)}{THIN}%"
    newest = dremio.ask("latest_orders", since=as_of - timedelta(days=1), as_of=as_of, most=12).to_pylist()
    assert [(row[1], row[4]) for row in rows_of(page, "latest_orders")] == [
        (row["order_id"], f"${exactly(row['order_total'])}") for row in newest
    ]
    since = as_of - timedelta(days=1)
    errors = dremio.ask("latest_errors", since=since, as_of=as_of, severities=FAILURES, most=12).to_pylist()
    assert [row[3] for row in rows_of(page, "latest_errors")] == [row["error_message"] for row in errors]
    assert [row[0] for row in rows_of(page, "incidents")] == ["open", "resolved"]


def test_the_page_prints_the_one_commit_it_shows(dremio: Watched) -> None:
    page = html_of(opened())
    assert f'data-commit="{dremio.head()}"' in page
    assert "all feeds ok" in page


def test_the_page_tells_its_script_whose_age_to_keep_growing(dremio: Watched) -> None:
    page = html_of(opened())
    as_of = dremio.ask("as_of").to_pylist()[0]["as_of"]
    status = re.search(r'<p class="tw" id="status" (.*?)>', page)
    assert status is not None
    told = dict(re.findall(r'data-([a-z-]+)="(.*?)"', status[1]))
    assert datetime.fromisoformat(told["as-of"]) == as_of
    assert datetime.fromisoformat(told["sent"]) >= as_of
    assert told["refresh-s"] == "15"
    assert '<span class="age">data ' in page
    assert "<script>" in page


def test_many_viewers_cost_one_set_of_questions(dremio: Watched) -> None:
    viewers = [opened() for _ in range(4)]
    assert dremio.asked.count("head") == 1
    assert dremio.asked.count("tiles") == 1
    viewers[0].run()
    assert dremio.asked.count("head") == 1


def test_without_viewers_nothing_is_asked(dremio: Watched) -> None:
    opened()
    dremio.asked.clear()
    dremio.answers_grow_old()
    assert dremio.asked == []


def test_a_dremio_that_fails_leaves_the_last_data_and_a_sentence(dremio: Watched) -> None:
    before = [metric.value for metric in opened().metric]
    dremio.down = True
    dremio.answers_grow_old()
    page = opened()
    assert not page.exception
    assert [metric.value for metric in page.metric] == before
    assert [warning.value.replace("\\", "") for warning in page.warning] == [
        "Neither Dremio nor a gateway answers at grpc://localhost:1: connection refused. "
        "What you see is the last good data."
    ]
    assert "all feeds ok" not in html_of(page)
    dremio.down = False
    dremio.answers_grow_old()
    page = opened()
    assert not page.warning


def test_a_dremio_that_never_answered_is_a_sentence_too(dremio: Watched) -> None:
    dremio.down = True
    page = opened()
    assert not page.exception
    assert not page.metric
    assert (
        page.warning[0].value.replace("\\", "").startswith("Neither Dremio nor a gateway answers at grpc://localhost:1")
    )


def test_one_failing_question_is_named_and_the_rest_is_shown(dremio: Watched) -> None:
    dremio.broken = {"latest_errors"}
    page = opened()
    assert not page.exception
    assert len(page.metric) == 7
    assert page.warning[0].value.replace("\\", "").startswith("Latest errors failed: Column 'x' not found")


def test_before_the_first_publish_it_says_what_to_start() -> None:
    words, health = freshness(FeedSnapshot(polled_at=now_utc()), None)
    assert health == "waiting"
    assert "look whether the producers and ingest" in words


def test_data_that_no_heartbeat_renewed_is_called_stale(dremio: Watched) -> None:
    dremio.publish(now_utc() - timedelta(minutes=3))
    page = opened()
    assert page.warning[0].value.startswith("Ingest is down or cannot read")


def test_a_clock_that_was_ahead_is_said_while_the_feeds_are_ok(dremio: Watched) -> None:
    now = now_utc()
    dremio.clock_ahead(now - timedelta(minutes=9), "errors_topic", 12, 93_600.0)
    dremio.publish(now + timedelta(milliseconds=1))
    page = opened()
    assert "all feeds ok" in html_of(page)
    assert [warning.value.replace("\\", "") for warning in page.warning] == [
        "In the last hour 12 messages of errors_topic had a log time up to 26.0 h ahead of ingest's clock."
    ]


def test_text_from_outside_stays_text(dremio: Watched) -> None:
    now = now_utc()
    dremio.error(now, error_message="<img src=x onerror=alert(1)> [a](http://x)")
    dremio.publish(now + timedelta(milliseconds=1))
    page = opened()
    assert "<img" not in html_of(page)
    assert rows_of(page, "latest_errors")[0][3] == "<img src=x onerror=alert(1)> [a](http://x)"


def test_text_from_outside_is_cut_and_what_it_holds_unseen_is_seen(dremio: Watched) -> None:
    now = now_utc()
    dremio.error(now, service="s" * 6000, error_message="invoice\u202efdp.exe")
    dremio.order(now, "-70000.00", product_id="p" * 6000)
    dremio.publish(now + timedelta(milliseconds=1))
    page = opened()
    assert rows_of(page, "latest_errors")[0][2:] == ["s" * 299 + "…", "invoice\\u202efdp.exe"]
    assert rows_of(page, "latest_orders")[0][2] == "p" * 299 + "…"
    assert rows_of(page, "latest_orders")[0][4] == f"−$70{THIN}000.00"
    assert page.metric[0].value.startswith("−$")
    assert "overflow-wrap: anywhere" in html_of(page)


def test_a_refused_question_is_not_asked_for_every_visitor(dremio: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    # Five pages take longer than its first pause where the machine is busy.
    for pause in ("FIRST_RETRY_S", "LONGEST_RETRY_S"):
        monkeypatch.setattr(f"console.feed.poller.{pause}", 3600.0)
    dremio.broken = {"latest_errors"}
    for _ in range(5):
        assert opened().warning[0].value.startswith("Latest errors failed")
        dremio.answers_grow_old()
    assert dremio.asked.count("latest_errors") == 1
    assert dremio.asked.count("tiles") == 1


def test_a_wrong_setting_is_a_sentence_on_the_page(dremio: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_LITE_REFRESH_S", "often")
    page = opened()
    assert not page.exception
    assert "'lite.refresh_s' has the value 'often'" in page.error[0].value


def test_a_hanging_dremio_does_not_hold_up_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.feed.visited.PATIENCE_S", 0.05)
    hangs = threading.Event()

    class Hanging(FakeDremio):
        def head(self) -> str:
            hangs.wait(10)
            return super().head()

    fake = Hanging()
    feed = Visited(fake, tab="overview", questions=Overview.ask, refresh_s=15, counting=Counting(("CREATED",)))
    assert feed.snapshot().commit is None
    hangs.set()
    feed._answered.wait(10)
    fake.close()


def test_a_busy_port_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        monkeypatch.setitem(PORTS, "lite", port)
        with pytest.raises(UserError, match=f"Port {port} is held by"):
            lite.serve()


def test_the_small_page_stays_small() -> None:
    """It never loads what the console draws with."""
    heavy = "('panel', 'bokeh', 'holoviews', 'duckdb', 'pandas', 'altair')"
    script = f"import sys, console.lite; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout.strip() == "[]"


def test_streamlit_neither_reports_nor_offers_to_deploy() -> None:
    options = serve_arguments(8501, "127.0.0.1")
    for option in (
        "--server.address=127.0.0.1",
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
        "--client.toolbarMode=minimal",
        "--client.showErrorDetails=none",
        "--server.fileWatcherType=none",
    ):
        assert option in options
