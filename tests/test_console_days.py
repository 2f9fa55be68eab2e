"""What every chart, list and file of a tab shows of a day is what its raw rows come to, by plain arithmetic.

Days on which sums go wrong: with a change of the clock, a gap, negative totals, nothing before, nothing at all; and a
real history. The rows are asked for at the same commit, by SQL that no tab uses.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from console.choices import DEVICES, FAILURES, STATUSES
from console.drill.tab import DrillTab
from console.live_hour import live_hours
from console.running import Running
from console.session import PageSession
from lakehouse.dremio.client import Dremio
from lakehouse.kinds import kind_of
from lakehouse.settings.dremio import DremioSettings
from lakehouse.stop import Stop
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from producers.layout import Layout
from producers.pace import SystemClock
from producers.reading import read
from producers.replay import replay
from tests.conftest import Shop
from tests.test_console_session import a_console, a_document
from tests.test_console_tabs import Opened
from tests.test_gateway import start_gateway, stop

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HISTORY = Path(__file__).parent / "data" / "cdnow_sample.txt"
type Row = dict[str, Any]


class Day(NamedTuple):
    """A range of a tab, and what lies in it: rows of each topic (count), and the parts of it that have none."""

    since: datetime
    until: datetime
    rows: int = 400
    gap: tuple[datetime, datetime] | None = None
    back: float = 0.0
    """The part of orders that come back: their totals are below zero."""
    beside: float = 0.1
    """How far before and behind the range rows lie too, in its lengths."""


def _utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]  # year to second


DAYS = {
    "summer begins": Day(_utc(2026, 3, 28, 23), _utc(2026, 3, 29, 22)),
    "summer ends": Day(_utc(2026, 10, 24, 22), _utc(2026, 10, 25, 23)),
    "a gap": Day(_utc(2026, 5, 4), _utc(2026, 5, 5), gap=(_utc(2026, 5, 4, 10), _utc(2026, 5, 4, 14))),
    "more comes back than goes out": Day(_utc(2026, 6, 1), _utc(2026, 6, 2), back=0.8),
    "an hour and nothing before": Day(_utc(2026, 7, 1, 9), _utc(2026, 7, 1, 10), beside=0.0),
    "parts of minutes": Day(_utc(2026, 7, 3, 9, 0, 30), _utc(2026, 7, 3, 9, 20, 15)),
    "a part of one minute": Day(_utc(2026, 7, 5, 9, 0, 5), _utc(2026, 7, 5, 9, 0, 55)),
    "a month": Day(_utc(2026, 8, 1), _utc(2026, 8, 31), rows=600),
    "no data": Day(_utc(2025, 1, 1), _utc(2025, 1, 2), rows=0),
    "a real history": Day(_utc(1997, 1, 1), _utc(1998, 7, 1), rows=0),
}

LAST = Day(NOW - timedelta(minutes=70), NOW, beside=0.0)
"""What a screen shows of now."""


class Bulk(Shop):
    """A shop whose events go into the log together."""

    def message(self, topic: str, value: bytes | None) -> None:
        self.sink.send(topic, None, value)


def _fill(shop: Shop, day: Day, chance: random.Random) -> None:
    def moments() -> Iterator[datetime]:
        for _ in range(day.rows):
            at = day.since + (day.until - day.since) * ((1 + 2 * day.beside) * chance.random() - day.beside)
            at = at.replace(microsecond=at.microsecond // 1000 * 1000)
            if day.gap is None or not day.gap[0] <= at < day.gap[1]:
                yield at

    users = [f"user {number}" for number in range(60)]
    for at in moments():
        quantity, price = chance.randint(1, 3), Decimal(chance.randint(100, 9999)) / 100
        total = quantity * price * (-1 if chance.random() < day.back else 1)
        shop.order(
            at, order_id=f"order {at.isoformat()}", user_id=chance.choice(users),
            product_id=f"p{chance.randint(1, 30)}", status=chance.choice(STATUSES), quantity=quantity,
            price=float(price), order_total=float(total),
        )  # fmt: skip
        if chance.random() < 0.2:
            # Some are paid back days after the range, and one of them twice.
            for _ in range(chance.choice((1, 1, 2))):
                later = at + chance.random() * timedelta(days=3)
                paid_back = float(quantity * price / 2)
                shop.refund(later, order_id=f"order {at.isoformat()}", amount=paid_back)
    for at in moments():
        page = chance.choice(("", "page/product/7?x=1", "/page/cart", "https://a.example/page/search#top", "help"))
        shop.click(at, user_id=chance.choice(users), url=page, device_type=chance.choice(DEVICES))
    for at in moments():
        message = f"Charge {chance.randint(1, 10**6)} of '{chance.choice(users)}' {chance.choice(('failed', 'hung'))}"
        shop.error(
            at, service_name=chance.choice(("payments", "cart", "search")), error_message=message,
            severity=chance.choice(("DEBUG", "INFO", "WARN", *FAILURES)),
        )  # fmt: skip


@dataclass
class Shown:
    """A console on a gateway whose commit stands still."""

    console: Running
    dremio: Dremio
    commit: str

    def rows(self, table: str, time: str, since: datetime, until: datetime) -> list[Row]:
        """All rows of a raw table in [since, until), asked for in the test's own words."""
        since_text, until_text = (f"TIMESTAMP '{moment:%Y-%m-%d %H:%M:%S}'" for moment in (since, until))
        where = f"{time} >= {since_text} AND {time} < {until_text}"
        name = f'{CATALOG}.{SCHEMA}.{table} AT COMMIT "{self.commit}"'
        rows: list[Row] = self.dremio.sql(f"SELECT * FROM {name} WHERE {where}").to_pylist()
        return rows

    def opened(self, tab: str, day: Day) -> tuple[DrillTab, dict[str, Any], Callable[[str], list[Row]]]:
        """The tab at the day, drawn; its parts; and what a file of one of its lists holds."""
        page = Opened(self.console, f"tab={tab}&from={day.since:%Y-%m-%dT%H:%M:%SZ}&to={day.until:%Y-%m-%dT%H:%M:%SZ}")
        drill = page.session.drills[tab]

        def all_there(_parts: dict[str, Any]) -> bool:
            # What services there are is known before what each of them said is asked.
            return drill.found is not None and (tab != "errors" or "heat" in drill.found.tables)

        parts = page.parts(all_there)
        drill.draw()

        def file(name: str) -> list[Row]:
            table = page.session.exported(name)
            assert table is not None
            rows: list[Row] = table.to_pylist()
            return rows

        return drill, parts, file


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    data_dir = tmp_path_factory.mktemp("days")
    shop = Bulk(data_dir)
    shop.max_event_age, shop.now = None, NOW
    chance = random.Random(23)
    for day in (*DAYS.values(), LAST):
        _fill(shop, day, chance)
    for number in range(40):
        shop.refund(NOW - timedelta(seconds=100 * number + 1), amount=f"{number}.25")
    replay(read(HISTORY, Layout.of(HISTORY, form="cdnow")), shop.sink, SystemClock(), Stop())
    shop.sink.flush()
    shop.publish()
    shop.close()
    process, port = start_gateway(data_dir)
    with Dremio(DremioSettings.load(uri=f"grpc://127.0.0.1:{port}")) as dremio:
        console = a_console(dremio, now=NOW)  # type: ignore[arg-type]  # asks as the fake one does
        yield Shown(console, dremio, dremio.head())
        console.asker.close()
    stop(process)


def _drawn(tab: DrillTab, place: str) -> Any:
    """What a chart was given to draw."""
    return tab.charts[place]._pipe.data


def _bars(rows: Iterable[Row], time: str, part: str, day: Day) -> dict[tuple[datetime, str], float]:
    """Rows a bar and part: bars of a minute in two hours, of ten minutes on a day, of an hour in two weeks, else of a
    day."""
    length = day.until - day.since
    counts: Counter[tuple[datetime, str]] = Counter()
    for row in rows:
        at: datetime = row[time]
        if length <= timedelta(hours=2):
            at = at.replace(second=0, microsecond=0)
        elif length <= timedelta(hours=26):
            at = at.replace(minute=at.minute // 10 * 10, second=0, microsecond=0)
        elif length <= timedelta(days=15):
            at = at.replace(minute=0, second=0, microsecond=0)
        else:
            at = at.replace(hour=0, minute=0, second=0, microsecond=0)
        counts[at, row[part]] += 1
    return dict(counts)


def _ranked(rows: Iterable[tuple[str, float, str, bool]]) -> list[tuple[str, float]]:
    return [(name, value) for name, value, *_ in rows]


@pytest.mark.parametrize("name", DAYS)
def test_orders_are_what_their_rows_come_to(shown: Shown, name: str) -> None:
    day = DAYS[name]
    rows = shown.rows("orders_processed", "order_ts", day.since, day.until)
    tab, parts, file = shown.opened("orders", day)
    assert _drawn(tab, "orders_time").counts == _bars(rows, "order_ts", "status", day)
    assert parts["empty"]["orders_time"] == (None if rows else "No order in this range.")
    by_status = Counter(row["status"] for row in rows)
    assert dict(_ranked(_drawn(tab, "orders_status").rows)) == dict(by_status)
    amounts: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        amounts[row["product_id"]] += row["order_total"]
    best = sorted(amounts.items(), key=lambda item: (-item[1], item[0]))[:12]
    assert _ranked(_drawn(tab, "orders_product").rows) == [(product, float(amount)) for product, amount in best]
    words = parts["list.order_rows"]["words"].replace("\u202f", "").replace("\u2009", "")
    if rows:
        assert words.startswith(f"{len(rows)} orders")
        assert f"{abs(sum(amounts.values())):.2f}" in words
    assert words.count("−") == (sum(amounts.values()) < 0)
    paid_back: dict[str, Decimal] = defaultdict(Decimal)
    for row in shown.rows("refunds_processed", "refund_ts", day.since, NOW):
        paid_back[row["order_id"]] += row["amount"]
    bought: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        bought[row["user_id"]].append(row)
    spent = {
        user: (len(theirs), sum(row["order_total"] for row in theirs),
               sum(paid_back[order] for order in {row["order_id"] for row in theirs}))
        for user, theirs in bought.items()
    }  # fmt: skip
    top = sorted(spent, key=lambda user: (spent[user][2] - spent[user][1], user))[:12]
    assert [(row["user_id"], (row["n"], row["amount"], row["refunded"])) for row in file("top_customers")] == [
        (user, spent[user]) for user in top
    ]
    assert _ranked(_drawn(tab, "orders_customer").rows) == [
        (user, float(spent[user][1] - spent[user][2])) for user in top
    ]
    newest = sorted(rows, key=lambda row: (-row["order_ts"].timestamp(), row["event_key"]))[:200]
    assert [row["event_key"] for row in file("order_rows")] == [row["event_key"] for row in newest]
    assert [row["order_total"] for row in file("order_rows")] == [row["order_total"] for row in newest]


def test_a_tap_on_a_customer_leads_to_all_that_they_did(shown: Shown) -> None:
    tab, _, _ = shown.opened("orders", DAYS["a gap"])
    [(best, _), *_] = _ranked(_drawn(tab, "orders_customer").rows)
    tab.charts["orders_customer"].tapped(1.0, best)
    view = tab.page.view
    assert (view.tab, view.filters, view.span) == ("customers", {"user": (best,)}, DAYS["a gap"][:2])


@pytest.mark.parametrize("name", DAYS)
def test_customers_are_what_their_rows_come_to(shown: Shown, name: str) -> None:
    day = DAYS[name]
    clicks = shown.rows("clicks_processed", "click_ts", day.since, day.until)
    orders = shown.rows("orders_processed", "order_ts", day.since, day.until)
    before = {
        row["user_id"]
        for row in shown.rows("clicks_processed", "click_ts", day.since - max(timedelta(days=1), day.until - day.since),
                              day.since)
    }  # fmt: skip
    tab, parts, file = shown.opened("customers", day)
    pages = {"": "home", "page/product/7?x=1": "product", "/page/cart": "cart", "help": "help"}
    for row in clicks:
        row["page"] = pages.get(row["url"], "search")
    assert _drawn(tab, "visits_time").counts == _bars(clicks, "click_ts", "page", day)
    by_device = Counter(row["device_type"] for row in clicks)
    assert dict(_ranked(_drawn(tab, "visits_device").rows)) == dict(by_device)
    saw: dict[str, set[str]] = defaultdict(set)
    for row in clicks:
        saw[row["user_id"]].add(row["page"])
    bought = {row["user_id"] for row in orders}
    came = set(saw)
    home = {user for user in came if "home" in saw[user]}
    looked = {user for user in home if "product" in saw[user]}
    carted = {user for user in looked if "cart" in saw[user]}
    ordered = carted & bought
    took = [came, home, looked, carted, ordered]
    new = [len(step - before) for step in took]
    bars = [counts for _, counts in _drawn(tab, "funnel").steps.values()]
    assert [(bar["new"], bar["returning"]) for bar in bars] == [
        (fresh, len(step) - fresh) for step, fresh in zip(took, new, strict=True)
    ]
    listed = parts["list.funnel_steps"]["rows"]
    assert [(row["took"], row["new"], row["returning"]) for row in listed] == (
        [(str(len(step)), str(fresh), str(len(step) - fresh)) for step, fresh in zip(took, new, strict=True)]
        if came
        else []
    )
    for row, step, further in zip(listed, took, took[1:], strict=False):
        assert row["lost"].partition(",")[0] == str(len(step - further))
    words = parts["list.customer_rows"]["words"].replace("\u202f", "")
    assert words.startswith(f"{len(came)} customers, {len(came - before)} of them new")
    spent: dict[str, Decimal] = defaultdict(Decimal)
    for row in orders:
        spent[row["user_id"]] += row["order_total"]
    assert {
        (row["user_id"], row["clicks"], row["orders"], row["amount"], row["step"]) for row in file("customer_rows")
    } == {
        (user, sum(row["user_id"] == user for row in clicks), sum(row["user_id"] == user for row in orders),
         spent[user], 1 + sum(user in step for step in (home, looked, carted, ordered)))
        for user in came
    }  # fmt: skip


@pytest.mark.parametrize("name", DAYS)
def test_errors_are_what_their_rows_come_to(shown: Shown, name: str) -> None:
    day = DAYS[name]
    every = shown.rows("errors_processed", "error_ts", day.since, day.until)
    rows = [row for row in every if row["severity"] in FAILURES]
    tab, parts, file = shown.opened("errors", day)
    assert _drawn(tab, "errors_time").counts == _bars(rows, "error_ts", "severity", day)
    assert _drawn(tab, "errors_heat").counts == _bars(rows, "error_ts", "service_name", day)
    by_service = Counter(row["service_name"] for row in rows)
    assert dict(_ranked(_drawn(tab, "errors_service").rows)) == dict(by_service)
    words = parts["list.error_rows"]["words"].replace("\u202f", "")
    assert words.startswith(f"{len(rows)} ")
    kinds: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        kinds[kind_of(row["error_message"], row["service_name"]), row["severity"]].append(row)
    assert {
        (row["kind"], row["severity"]): (row["n"], row["services"], row["first_at"], row["newest_at"])
        for row in file("error_kinds")
    } == {
        kind: (len(alike), len({row["service_name"] for row in alike}), min(row["error_ts"] for row in alike),
               max(row["error_ts"] for row in alike))
        for kind, alike in kinds.items()
    }  # fmt: skip
    newest = sorted(rows, key=lambda row: (-row["error_ts"].timestamp(), row["event_key"]))[:200]
    assert [row["event_key"] for row in file("error_rows")] == [row["event_key"] for row in newest]


def test_pipeline_says_what_each_table_takes(shown: Shown) -> None:
    _, parts, file = shown.opened("pipeline", DAYS["a month"])
    rows = file("table_sizes")
    assert [row["name"] for row in rows] == sorted(TABLES)
    for row in rows:
        counted = shown.dremio.sql(
            f'SELECT COUNT(*) AS n FROM {CATALOG}.{SCHEMA}.{row["name"]} AT COMMIT "{shown.commit}"'
        )
        assert (row["row_count"] or 0) == counted["n"][0].as_py(), row["name"]
        assert bool(row["bytes"]) == bool(row["files"]) == bool(row["row_count"])
    [orders] = [row for row in parts["list.table_sizes"]["rows"] if row["table"] == "orders_processed"]
    [counted] = [row for row in rows if row["name"] == "orders_processed"]
    assert orders["rows"].replace("\u202f", "") == str(counted["row_count"])


def _touched(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Alert rows by their incident."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["incident_id"]].append(row)
    return found


@pytest.mark.parametrize("name", ["summer ends", "an hour and nothing before", "a month", "no data"])
def test_incidents_are_what_their_alert_rows_come_to(shown: Shown, name: str) -> None:
    day = DAYS[name]
    incidents = _touched(shown.rows("alerts", "alert_timestamp", day.since, day.until))
    errors = shown.rows("errors_processed", "error_ts", day.since, day.until)
    fatal = [row for row in errors if row["severity"] == "FATAL"]
    assert sum(map(len, incidents.values())) == len(fatal), "one alert a fatal error"
    _, parts, file = shown.opened("alerts", day)
    words = parts["list.incident_rows"]["words"].replace("\u202f", "")
    if len(incidents) < 200:
        assert words.startswith(f"{len(incidents)} incident"), words
    listed = file("incident_rows")
    assert len(listed) == min(200, len(incidents))
    for row in listed:
        rows = incidents[row["incident_id"]]
        times = [one["alert_timestamp"] for one in rows]
        assert (row["firings"], row["newest_at"]) == (len(rows), max(times))
        assert row["starts_at"] == min(one["starts_at"] for one in rows)


def test_an_incidents_charts_are_what_the_rows_of_their_minutes_come_to(shown: Shown) -> None:
    rows = shown.rows("alerts", "alert_timestamp", LAST.since, LAST.until)
    incidents = _touched(row for row in rows if row["rule"] == "fatal_error")
    for incident in (incidents, _touched(shown.rows("alerts", "alert_timestamp", *DAYS["a month"][:2]))):
        chosen, of_it = max(incident.items(), key=lambda item: len(item[1]))
        since, until = min(row["alert_timestamp"] for row in of_it), max(row["alert_timestamp"] for row in of_it)
        around = (
            f"from={since - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}&to={until + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        )
        page = Opened(shown.console, f"tab=alerts&incident={chosen}&{around}")
        page.parts(lambda parts: all(parts[chart]["drawn"] for chart in ("figure", "trade", "conversion")))
        tab = page.session.drills["alerts"]
        tab.draw()
        for place in ("incident_figure", "incident_trade", "incident_conversion"):
            data = _drawn(tab, place)
            end = data.first + len(data.values) * timedelta(minutes=1)
            assert data.first <= since < end, "the incident's own time"
            want = _of_minutes(shown, place, of_it[0]["service_name"], data.first, end)
            assert [value or 0 for value in data.values] == pytest.approx(want), place


def _of_minutes(shown: Shown, place: str, service: str, since: datetime, until: datetime) -> list[float]:
    """The figure of each minute, from raw rows."""
    starts = [since + minute * timedelta(minutes=1) for minute in range((until - since) // timedelta(minutes=1))]
    orders = _by_minute(shown.rows("orders_processed", "order_ts", since, until), "order_ts")
    if place == "incident_trade":
        return [len(orders[start]) for start in starts]
    if place == "incident_figure":
        errors = _by_minute(shown.rows("errors_processed", "error_ts", since, until), "error_ts")
        return [
            sum(row["severity"] == "FATAL" and row["service_name"] == service for row in errors[start])
            for start in starts
        ]
    clicks = _by_minute(shown.rows("clicks_processed", "click_ts", since, until), "click_ts")
    found = []
    for start in starts:
        came, bought = ({row["user_id"] for row in rows[start]} for rows in (clicks, orders))
        found.append(100 * len(came & bought) / len(came) if came else 0.0)
    return found


def _by_minute(rows: Iterable[Row], time: str) -> dict[datetime, list[Row]]:
    found: dict[datetime, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[time].replace(second=0, microsecond=0)].append(row)
    return found


def test_the_overview_is_what_the_rows_of_its_hour_come_to(shown: Shown) -> None:
    snapshot = shown.console.hub.snapshot
    assert snapshot.as_of is not None
    hours = live_hours(snapshot)
    # The open minute has not begun.
    starts = hours["revenue_per_minute"].starts[:-1]
    since, until = starts[0], snapshot.as_of
    orders = _by_minute(shown.rows("orders_processed", "order_ts", since, until), "order_ts")
    errors = _by_minute(shown.rows("errors_processed", "error_ts", since, until), "error_ts")
    clicks = shown.rows("clicks_processed", "click_ts", since - timedelta(minutes=5), until)
    drawn = {
        name: {column: list(values[:-1]) for column, values in hour.series.items()} for name, hour in hours.items()
    }
    assert drawn["revenue_per_minute"]["revenue"] == pytest.approx(
        [float(sum(row["order_total"] for row in orders[start])) for start in starts]
    )
    assert drawn["orders_per_minute"]["orders"] == [len(orders[start]) for start in starts]
    for severity in FAILURES:
        assert drawn["errors_per_minute"][severity.lower()] == [
            sum(row["severity"] == severity for row in errors[start]) for start in starts
        ]
    for start, users in zip(starts, drawn["active_users"]["users"], strict=True):
        ends = start + timedelta(minutes=1)
        came = {row["user_id"] for row in clicks if ends - timedelta(minutes=5) <= row["click_ts"] < ends}
        assert (users or 0) == len(came), start
    doc, _context = a_document()
    parts = PageSession(doc, shown.console, "")._message(full=True)["parts"]
    tile = (until - timedelta(minutes=5), until)
    sold = sum(row["order_total"] for row in shown.rows("orders_processed", "order_ts", *tile))
    back = sum(row["amount"] for row in shown.rows("refunds_processed", "refund_ts", *tile))
    assert back
    assert Decimal(parts["tile.net"]["value"]) == sold - back
    assert Decimal(parts["tile.revenue"]["value"]) == sold
    rules = f'{CATALOG}.{SCHEMA}.rule_state AT COMMIT "{shown.commit}"'
    standing = shown.dremio.sql(f"SELECT incident_id FROM {rules} WHERE incident_id IS NOT NULL")
    assert parts["head"]["open"] == len(standing) > 0
