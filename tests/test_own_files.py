"""Files of a shop's own: what their short form stands for, what is wrong in one, what --with makes of them."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from decoding import DECLARED, refuse_others
from lakehouse import ROOT
from lakehouse.decode.fast import reader
from lakehouse.kpis import KPIS, Counting, load_kpis
from lakehouse.kpis.check import check_queries
from lakehouse.own import own_files
from lakehouse.rules import load_rules
from lakehouse.tables import TABLES, by_name
from lakehouse.topics import TOPICS, load_topics
from lakehouse.user_error import UserError
from producers.own_events import with_own
from producers.shoppers import Shop
from tests.own_cast import EXAMPLE
from tests.test_declarations import MANY
from tests.test_recipes_data import PAYMENTS
from tillwatch.overlay import lay_over, use

TOPIC = (EXAMPLE / "topics" / "payments_topic.yaml").read_text()
KPI = (EXAMPLE / "kpis" / "payments_per_minute.sql").read_text()


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_short_form_stands_for_the_whole_one(tmp_path: Path) -> None:
    short = load_topics([], [written(tmp_path, "payments_topic.yaml", TOPIC)])["payments_topic"]
    (tmp_path / "whole").mkdir()
    whole = load_topics([], [written(tmp_path / "whole", "payments_topic.yaml", PAYMENTS)])["payments_topic"]
    assert [(c.name, c.type, c.unit, c.required) for c in short.table.columns if c.name != "payment_time"] == [
        (c.name, c.type, c.unit, c.required) for c in whole.table.columns if c.name != "payment_ts"
    ]
    assert (short.time, short.message_key, short.table.name) == ("payment_time", "payment_id", "payments_processed")
    assert set(short.key) == set(whole.key)
    topics = {"payments_topic": short}
    by_query = load_kpis([], topics, [written(tmp_path, "payments_per_minute.sql", KPI)])["payments_per_minute"]
    check_queries([by_query], Counting(("CREATED",)))
    assert [(c.name, c.type, c.unit) for c in by_query.table.columns] == [
        ("window_start", "timestamptz", ""),
        ("window_end", "timestamptz", ""),
        ("state", "string", ""),
        ("payments", "long", "payments"),
        ("amount", "decimal(38,2)", "currency of the shop"),
        ("updated_at", "timestamptz", ""),
    ]
    assert by_query.table.column("state") == short.table.column("state")


def test_the_order_of_lines_says_nothing_of_an_event(tmp_path: Path) -> None:
    head, _, fields = TOPIC.partition("  amount")
    moved = f"{head}  state{fields.partition('  state')[2]}  amount{fields.partition('  state')[0]}"
    keys = []
    for text in (TOPIC, moved):
        topic = load_topics([], [written(tmp_path, "payments_topic.yaml", text)])["payments_topic"]
        event = reader(topic)(
            b'{"payment_id":"p","order_id":"o","amount":1,"state":"FAILED","payment_time":"2026-03-02T12:00:00Z"}'
        )
        assert event is not None
        keys.append(event.event_key)
    assert moved != TOPIC
    assert keys[0] == keys[1]


def test_own_ones_come_after_what_is_shipped(tmp_path: Path) -> None:
    first = written(tmp_path, "aaa_topic.yaml", TOPIC.replace("doc: One", "order: -5\ndoc: One"))
    assert list(load_topics(Path("lakehouse/topics").absolute().glob("*.yaml"), [first])) == [*TOPICS, "aaa_topic"]


TOPICS_WRONG = [
    ("payments_topic", "amount: {kind: MONEY", "amount: {kind: MONEYS", "line 6, 'amount': 'kind' is 'MONEYS' (did you "
     "mean 'MONEY'?); expected one of ID, TEXT, CHOICE, COUNT, PRICE, MONEY, TIME, CURRENCY."),
    ("payments_topic", "payment_time: TIME", "payment_time: DATE", "line 8, 'payment_time': 'kind' is 'DATE'"),
    ("payments_topic", "  payment_time: TIME\n", "", "line 2: say which field is the event's `time`: none or "
     "several are a required TIME."),
    ("payments_topic", "payment_id: {kind: ID", "payment_id: {kind: TEXT", "line 3: the first field must be the"),
    ("payments_topic", "state: [AUTHORISED", "state: [on, AUTHORISED", "line 7, 'state': entry 1 of 'choices' "
     "is of another type: expected text, got true or false; correct it."),
    ("payments_topic", "doc: One", "docs: x\ndoc: One", "line 2: the key 'docs' is unknown (did you mean 'doc'?); "
     "known are order, doc, time, fields, key, table, message_key."),
    ("payments_topic", "fields:", "fields: []\nothers:", "line 3: 'fields' is of another type"),
    ("payments_topic", "doc: One", "table: {name: orders_processed}\ndoc: One", "line 2: the table 'orders_processed' "
     "is that of orders_topic; give it another name."),
    ("orders_topic", "", "", "line 2: there is another topic 'orders_topic'; give its file another name."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "sentence"), TOPICS_WRONG)
def test_a_topic_that_is_wrong_is_told_in_one_sentence(
    tmp_path: Path, name: str, old: str, new: str, sentence: str
) -> None:
    text = TOPIC.replace(old, new)
    if name == "orders_topic":
        text += "table: {name: mine}\n"
    path = written(tmp_path, f"{name}.yaml", text)
    with pytest.raises(UserError) as refused:
        load_topics(Path("lakehouse/topics").absolute().glob("*.yaml"), [path])
    assert str(refused.value).startswith(f"{path}, {sentence}")
    assert str(refused.value).count("\n") == 0


KPIS_WRONG = [
    ("topic: payments_topic", "topic: payment_topic", "line 2: 'topic' is 'payment_topic', which is no topic (did you "
     "mean 'payments_topic'?); expected one of orders_topic, clicks_topic, errors_topic, refunds_topic, "
     "payments_topic."),
    ("units: {payments", "units: {payment", "line 4: 'units' names 'payment', which is no column of the query (did you "
     "mean 'payments'?); correct it."),
    ("topic: payments_topic", "topic: payments_topic\ntable: payments", "line 3: 'table' is 'payments', but a table "
     "is called as its file; leave it out or rename one."),
    ("SUM(amount)", "SUM(amounts)", "line 12: DuckDB refuses the query: Binder Error: Referenced column \"amounts\" "
     "not found in FROM clause!"),
    ("SUM(amount)", "MAX(CAST(payment_time AS DATE))", "line 6: the query gives 'amount' as DATE, which no table "
     "holds; use CAST, as to VARCHAR."),
    ("FROM payments_processed", "FROM clicks_processed", "line 13: DuckDB refuses the query: Catalog Error: Table "
     "with name clicks_processed does not exist!"),
    ("SELECT", "DELETE FROM x; SELECT", "line 6: here must stand one SELECT and "
     "nothing else; write it."),
    ("COUNT(*) AS payments", "COUNT(* AS payments", "line 11: DuckDB refuses the query: Parser Error"),
    ("  DATE_TRUNC('minute', payment_time) + INTERVAL '1' MINUTE AS window_end,\n", "", "line 6: the query gives no "
     "column 'window_end', which its header declares; correct one."),
    ("grain: one", "grains: one", "line 3: the key 'grains' is unknown (did you mean 'grain'?); known are "
     "topic, order, table, doc, grain, units, window, keep_first."),
    ("COUNT(*)", "(SELECT COUNT(*) FROM RANGE(1000000000000) a, RANGE(1000000) b)", "line 6: the query takes over 0.1 "
     "s over no rows; make it cheaper."),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "sentence"), KPIS_WRONG)
def test_a_kpi_that_is_wrong_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, sentence: str
) -> None:
    monkeypatch.setattr("lakehouse.kpis.check._SOON_S", 0.1)
    topics = {**TOPICS, **load_topics([], [written(tmp_path, "payments_topic.yaml", TOPIC)])}
    assert old in KPI
    path = written(tmp_path, "payments_per_minute.sql", KPI.replace(old, new))
    with pytest.raises(UserError) as refused:
        check_queries(load_kpis([], topics, [path]).values(), Counting(("CREATED",)))
    assert str(refused.value).startswith(f"{path}, {sentence}")
    assert "\n" not in str(refused.value)


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "orders_revenue_per_minute.sql", KPI.replace("payments_topic", "orders_topic"))
    text = path.read_text().replace("payments_processed", "orders_processed").replace("payment_time", "order_ts")
    path.write_text(text.replace("state", "status").replace("SUM(amount)", "SUM(order_total)"))
    with pytest.raises(UserError, match=r"minute.sql, line 2: there is another KPI table 'orders_revenue_per_minute';"):
        load_kpis(Path("lakehouse/kpis").absolute().glob("*.sql"), TOPICS, [path])
    path = written(tmp_path, "payments_topic.yaml", f"{TOPIC}table: {{name: alerts}}\n")
    own = load_topics([], [path])["payments_topic"].table
    with pytest.raises(UserError, match=r"'alerts': .*_topic.yaml, line 9 and lakehouse/tables.py; give your own"):
        by_name([own, TABLES["alerts"]])


def test_a_folder_that_cannot_be_read_and_an_ending_that_is_nearly_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "tillwatch.yaml"))
    assert own_files("topics", ".yaml") == []
    (tmp_path / "topics").write_text("")
    with pytest.raises(UserError, match=r"The folder .*/topics cannot be read: Not a directory; mend it"):
        own_files("topics", ".yaml")
    (tmp_path / "topics").unlink()
    (tmp_path / "topics").mkdir()
    for name in ("b.yaml", "a.yaml", ".#a.yaml", "README.md"):
        written(tmp_path / "topics", name, "")
    assert [path.name for path in own_files("topics", ".yaml")] == ["a.yaml", "b.yaml"]
    written(tmp_path / "topics", "c.yml", "")
    with pytest.raises(UserError, match=r"topics/c.yml, line 1: files here end with .yaml; rename it"):
        own_files("topics", ".yaml")
    (tmp_path / "topics" / "a.yaml").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"a.yaml cannot be read: it is not UTF-8 text; save it as UTF-8; mend"):
        load_topics([], [tmp_path / "topics" / "a.yaml"])


def test_executors_that_have_read_other_topics_say_what_they_lack() -> None:
    refuse_others(DECLARED)
    with pytest.raises(ValueError, match=r"other topics than the driver: .* spark.executorEnv.TILLWATCH_CONFIG"):
        refuse_others(f"{DECLARED} and one more")


# ---- shoppers


@pytest.mark.parametrize(("name", "text"), [("payments_topic", TOPIC), ("parcels_topic", MANY)])
def test_shoppers_send_events_of_own_topics_that_are_good_and_the_same_each_time(
    tmp_path: Path, name: str, text: str
) -> None:
    topic = load_topics([], [written(tmp_path, f"{name}.yaml", text)])[name]
    shop, read = Shop(rate=50, flat=True, outages=False), reader(topic)
    begin = 1_780_000_000_000
    sent = [each for some in with_own(shop.messages(begin, begin + 600_000), [topic]) for each in some]
    mine = [message for message in sent if message[2] == name]
    assert len(mine) == Counter(message[2] for message in sent)["orders_topic"] > 100
    events = [read(message[4] + b"}") for message in mine]
    assert None not in events
    assert len({event.event_key for event in events if event}) == len(mine)
    times = [datetime.fromtimestamp(message[0] / 1000, UTC) for message in mine]
    assert [getattr(event, topic.time_column) for event in events] == times
    later = [each for some in with_own(shop.messages(begin + 300_000, begin + 600_000), [topic]) for each in some]
    assert [m for m in later if m[2] == name and m[0] > begin + 301_000] == [m for m in mine if m[0] > begin + 301_000]


def test_shoppers_pay_what_they_ordered_and_not_what_was_cancelled(tmp_path: Path) -> None:
    topic = load_topics([], [written(tmp_path, "payments_topic.yaml", TOPIC)])["payments_topic"]
    sent = [m for some in with_own(Shop(rate=50).messages(1_780_000_000_000, 1_780_000_600_000), [topic]) for m in some]
    orders = {o.order_id: o for m in sent if m[2] == "orders_topic" and (o := reader(TOPICS[m[2]])(m[4] + b"}"))}
    payments = [p for m in sent if m[2] == topic.name and (p := reader(topic)(m[4] + b"}"))]
    assert {p.state for p in payments} == {"AUTHORISED", "CAPTURED", "FAILED"}
    for paid in payments:
        assert paid.amount == orders[paid.order_id].order_total
        assert (paid.state == "FAILED") == (orders[paid.order_id].status == "CANCELLED")


# ---- --with


def test_an_example_lies_over_config_for_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    (mine / "topics").mkdir(parents=True)
    written(mine, "tillwatch.yaml", "demo: {rate: 5}\norders: {counted_statuses: [CREATED, SHIPPED]}\n")
    written(mine, "notes.txt", "nothing of ours")
    rule = {"kind": "no_data", "name": "quiet", "topic": "orders_topic", "severity": "WARN", "for": "2 min"}
    rule |= {"keep_firing_for": "2 min", "description": "quiet", "owner": "me", "summary": "quiet"}
    written(mine, "alerts.yaml", yaml.safe_dump({"rules": [rule]}))
    written(mine, "routes.yaml", "routes:\n- {name: mine, to: [all]}\n")
    written(mine / "topics", "stock_topic.yaml", TOPIC)
    monkeypatch.setenv("TILLWATCH_CONFIG", str(mine / "tillwatch.yaml"))
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}

    more = tmp_path / "more"
    more.mkdir()
    written(more, "tillwatch.yaml", "orders: {counted_statuses: [CREATED]}\ndemo: {lite: false}\n")

    settings = lay_over([EXAMPLE, more], tmp_path / "data")

    assert settings == tmp_path / "data" / "config" / "tillwatch.yaml"
    laid = settings.parent
    assert yaml.safe_load(settings.read_text()) == {
        "demo": {"rate": 5, "lite": False},
        "orders": {"counted_statuses": ["CREATED"]},
    }
    routes = yaml.safe_load((laid / "routes.yaml").read_text())["routes"]
    assert [route["name"] for route in routes] == ["payments", "mine"]
    rules = yaml.safe_load((laid / "alerts.yaml").read_text())["rules"]
    assert [each["name"] for each in rules] == ["quiet", "payments_failing", "payment_failed"]
    assert sorted(path.name for path in (laid / "topics").iterdir()) == ["payments_topic.yaml", "stock_topic.yaml"]
    assert sorted(path.name for path in laid.iterdir() if path.is_file()) == [
        *("alerts.yaml", "routes.yaml", "tillwatch.yaml")
    ]
    assert {path: path.read_bytes() for path in before} == before
    # What is wrong is wrong in the file that somebody wrote.
    written(mine / "topics", "stock_topic.yaml", TOPIC.replace("MONEY", "GOLD"))
    with pytest.raises(UserError, match=rf"^{mine}/topics/stock_topic.yaml, line 6"):
        load_topics([], [laid / "topics" / "stock_topic.yaml"])


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("examples/payment", "--with is 'examples/payment', which is no folder (did you mean 'examples/payments'?);"),
        ("nowhere/at/all", "--with is 'nowhere/at/all', which is no folder; name one like config/."),
    ],
)
def test_a_folder_that_is_none_is_refused(tmp_path: Path, folder: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        lay_over([Path(folder)], tmp_path)
    assert str(refused.value).startswith(sentence)


def test_what_is_laid_over_is_not_laid_over_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "config" / "tillwatch.yaml"))
    with pytest.raises(UserError, match="which --with makes anew; name the file that you edit"):
        lay_over([EXAMPLE], tmp_path)


def test_a_start_without_it_says_once_what_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir, mine = tmp_path / "data", str(ROOT / "config" / "tillwatch.yaml")
    monkeypatch.setenv("TILLWATCH_CONFIG", mine)
    assert use((), data_dir, "embedded") is None
    assert not data_dir.exists()
    said = use([EXAMPLE], data_dir, "embedded")
    assert said == f"config/ with {EXAMPLE} over it, in {data_dir / 'config'}"
    assert os.environ["TILLWATCH_CONFIG"] == str(data_dir / "config" / "tillwatch.yaml")
    monkeypatch.setenv("TILLWATCH_CONFIG", mine)
    assert (use((), data_dir, "embedded") or "").startswith(
        "the last start had --with, this one has not: its own topics"
    )
    assert use((), data_dir, "embedded") is None


def test_the_shipped_product_has_nothing_of_its_own() -> None:
    assert not any(topic.table.own for topic in TOPICS.values())
    assert not any(kpi.table.own for kpi in KPIS.values())
    assert load_rules(Path("config/alerts.yaml"))
