"""The console's recipes in CONTRIBUTING.md, followed on a copy of the tree: two files a live chart, two a tab."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from console.folder import declared_in
from console.live.active_users import ActiveUsers
from console.tab import Card, ChartPlace, Tab, TabFilter
from console.tabs import TABS, check_charts, check_names, filters_of
from lakehouse import ROOT
from lakehouse.user_error import UserError

LIVE_CHART = {
    "lakehouse/questions/phone_clicks.sql": """\
-- Clicks on phones (count) by minute, from :since up to :as_of.
-- Columns: moment timestamp, clicks int.
SELECT window_start AS moment, SUM(clicks) AS clicks
FROM {clicks_per_minute}
WHERE window_start >= :since AND window_start < :as_of AND device_type = 'mobile'
GROUP BY window_start
""",
    "console/live/phone_clicks.py": '''\
from __future__ import annotations

from collections.abc import Mapping

from bokeh.models import Range1d

from console.live_chart import LiveChart, axes, bars, empty_source


class PhoneClicks(LiveChart):
    """Clicks on phones per minute (count) over the last minutes."""

    order = 50
    title = "Clicks on phones"
    note = "per minute"
    question = "phone_clicks"
    empty = "Nobody clicked on a phone in the last {last}."
    values = ("clicks",)

    def __init__(self, look: Mapping[str, str], hour: Range1d) -> None:
        self.source = empty_source("clicks")
        self.root = axes(self.name, hour)
        bars(self.root, self.source, self.values, [look["purple"]])
''',
}

DRILL_TAB = {
    "lakehouse/questions/orders_by_customer.sql": """\
-- Orders (count) and revenue (the shop's currency) of [:since, :until) by user, the most first, at most :most.
-- Columns: user_id string, n int, amount decimal.
SELECT user_id, COUNT(*) AS n, SUM(order_total) AS amount
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :until
GROUP BY user_id
ORDER BY amount DESC, user_id
LIMIT :most
""",
    "console/pages/buyers.py": '''\
"""Buyers: who bought most in the range."""

from __future__ import annotations

from console.drill.tab import DrillTab, Found
from console.feed.asker import Want, want
from console.feed.pins import Pin
from console.parts import Part, money
from console.tab import Card, ListColumn, RowList, TabFilter
from console.view import Span, View
from lakehouse.texts import visible

USER = TabFilter("user")
ROWS = RowList(
    "buyer_rows",
    "Buyers",
    (ListColumn("User", "user"), ListColumn("Orders", "orders", "number"), ListColumn("Total", "total", "number")),
    "Nobody ordered in this range.",
    long=True,
)


class BuyersTab(DrillTab):
    title = "Buyers"
    order = 26
    filters = (USER,)
    cards = (Card((ROWS,)),)

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        return {"rows": want("orders_by_customer", pin.commit, since=inner[0], until=inner[1], most=50)}

    def found_parts(self, found: Found) -> dict[str, Part]:
        chosen = found.view.chosen("user")
        rows = [row for row in found.tables["rows"] if not chosen or row["user_id"] in chosen]
        return {
            **self.facet(USER, found.view, ((user, "") for user in chosen)),
            f"list.{ROWS.name}": {
                "rows": [
                    {
                        "key": row["user_id"],
                        "user": visible(row["user_id"]),
                        "orders": row["n"],
                        "total": money(row["amount"], self.page.settings.currency),
                    }
                    for row in rows
                ],
            },
        }
''',
}

# What a browser would get, from a console in the process that this runs in.
LOOK = """
import json, sys, threading
from bokeh.embed import file_html
from bokeh.resources import CDN
from console.session import PageSession
from console.url import parse, query
from tests.test_console_session import a_console, a_document

parts = a_console()
asked = parts.asker._dremio.asked
doc, context = a_document()
session = PageSession(doc, parts, sys.argv[1])
session.build()
answered = threading.Event()
session.wake = answered.set
session.redraw = lambda: None
shown = session._message(full=True)["parts"]
while shown.get(f"drill.{session.view.tab}", {}).get("loading"):
    assert answered.wait(20)
    answered.clear()
    shown = session._message(full=True)["parts"]
html = file_html(doc, CDN, template=doc.template, template_variables=doc.template_variables)
charts = {chart.name: {name: sum(chart.source.data[name]) for name in chart.values} for chart in session.live.charts}
print(json.dumps({
    "asked": asked, "html": html, "charts": charts, "parts": shown, "notices": session.notices,
    "query": query(session.view), "declared": json.loads(doc.template_variables["declared"]),
}, default=str))
parts.asker.close()
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the console is made of; the tests' own fakes are those that stand here."""
    for part in ("console", "lakehouse", "config"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("tests", "bench"):
        (tmp_path / part).symlink_to(ROOT / part)
    return tmp_path


def add(tree: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        assert not (tree / name).exists(), f"{name} is there already"
        (tree / name).write_text(text, encoding="utf-8")


def looked(tree: Path, query: str) -> dict[str, Any]:
    """What stands on a page of the console in `tree`, and what was asked for it."""
    command = [sys.executable, "-c", LOOK, query]
    ran = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stderr
    shown: dict[str, Any] = json.loads(ran.stdout)
    return shown


def test_a_live_chart_is_its_question_and_its_class(tree: Path) -> None:
    add(tree, LIVE_CHART)
    shown = looked(tree, "")
    assert shown["asked"].count("phone_clicks") == 1
    assert shown["charts"]["phone_clicks"]["clicks"] > 0
    assert "<h2>Clicks on phones <small>per minute</small>" in shown["html"]
    assert '<div class="chart" data-chart="phone_clicks"' in shown["html"]
    assert shown["parts"]["empty"]["phone_clicks"] is None
    assert shown["parts"]["empty"]["revenue_per_minute"] is None


def test_a_drill_down_tab_is_its_file_and_its_question(tree: Path) -> None:
    add(tree, DRILL_TAB)
    shown = looked(tree, "tab=buyers&user=user-007&user=user-021&range=1h")
    assert shown["notices"] == []
    assert shown["query"] == "tab=buyers&range=1h&user=user-007&user=user-021"
    navigation = shown["html"].split("<nav", 1)[1].split("</nav>")[0]
    tabs = [line.split('data-tab="')[1].split('"')[0] for line in navigation.splitlines() if "data-tab" in line]
    assert tabs == ["overview", "orders", "customers", "buyers", "errors", "alerts", "pipeline"]
    assert "orders_by_customer" in shown["asked"]
    assert {row["user"] for row in shown["parts"]["list.buyer_rows"]["rows"]} <= {"user-007", "user-021"}
    assert shown["parts"]["list.buyer_rows"]["rows"]
    assert '<section id="buyers" class="drill"' in shown["html"]
    columns = shown["declared"]["lists"]["buyer_rows"]["columns"]
    assert [column["field"] for column in columns] == ["user", "orders", "total"]


TAB = """
from console.tab import Tab, TabFilter

class Customers(Tab):
    title = "Customers"
    order = 25
    cards = ()
"""


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"a": TAB.replace("    title", "    words")},
            "Customers in {folder}/a.py lacks 'title'; see Tab for what it says",
        ),
        ({"a": TAB, "b": TAB}, "{folder}/b.py and {folder}/a.py both have order 25; give one of them another number"),
        ({"a": TAB.replace("(Tab)", "")}, "{folder}/a.py should declare one class that is a Tab, and declares none"),
        ({"a": TAB + "class More(Customers): ...\n"}, "one class that is a Tab, and declares Customers and More"),
    ],
)
def test_a_file_that_declares_wrongly_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], sentence: str
) -> None:
    folder = f"tabs_{uuid4().hex}"
    (tmp_path / folder).mkdir()
    add(tmp_path, {f"{folder}/{name}.py": text for name, text in files.items()})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=re.escape(sentence.format(folder=folder))):
        declared_in(folder, Tab)


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (TabFilter("range"), "has a filter 'range', which means another thing in a URL; rename it."),
        (TabFilter("service", ("cart",)), "has a filter 'service' with other choices than another tab's; rename it."),
    ],
)
def test_a_filter_that_another_meaning_has_is_refused(one: TabFilter, sentence: str) -> None:
    class Customers(Tab):
        filters = (one,)

    with pytest.raises(UserError, match=re.escape(sentence)):
        filters_of([*TABS.values(), Customers])


def test_a_name_that_another_tab_gave_to_a_place_is_refused() -> None:
    class Customers(Tab):
        cards = (Card((ChartPlace("orders_time", "Orders over time"),)),)

    with pytest.raises(UserError, match=r"has a place 'orders_time', as console/pages/orders\.py has; rename it"):
        check_names([*TABS.values(), Customers])


def test_a_chart_that_asks_or_stands_where_nothing_is_is_refused() -> None:
    class PhoneClicks(ActiveUsers):
        question = "phone_clicks"
        beside = "active_user"

    with pytest.raises(UserError, match=r"asks 'phone_clicks', and there is no lakehouse/questions/phone_clicks\.sql"):
        check_charts({"phone_clicks": PhoneClicks})
    PhoneClicks.question = "minutes"
    with pytest.raises(UserError, match="stands beside 'active_user', which has no card of its own"):
        check_charts({"phone_clicks": PhoneClicks})
