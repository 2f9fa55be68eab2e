"""Incidents of rules that ask are treated as all others: by the API, by people, by silences, by a reload and a kill."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from lakehouse.settings.base import Shared
from notifier.model import DeliveryState
from notifier.reconcile import reconcile
from pipeline.batch.terms import Terms
from tests.asking_cast import LIMIT, Asking, rule_text, rules_of
from tests.conftest import Shop
from tests.notifier_cast import Cast, cast_of, wait_for

TEA = "Much of tea: 3, over 2 for 20 s"


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    opened = Asking(tmp_path, rule_text(**LIMIT, runbook_url="https://runbooks.shop.net/much"))
    yield opened
    opened.close()


def client(asking: Asking) -> TestClient:
    app, tokens = asking.api()
    headers = {"Authorization": f"Bearer {tokens.secret_of('operator')}"}
    return TestClient(app, base_url="http://localhost", headers=headers)


def test_the_api_tells_it_with_its_source_and_what_a_page_needs(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.turns(3)
    [incident] = client(asking).get("/api/incidents").json()["incidents"]
    known = {name: incident[name] for name in ("source", "status", "word", "rule", "severity", "owner", "description")}
    assert known == {
        "source": "question",
        "status": "open",
        "word": "open",
        "rule": "much_sold",
        "severity": "FATAL",
        "owner": "shop",
        "description": TEA,
    }
    assert (incident["threshold"], incident["runbook_url"]) == (2.0, "https://runbooks.shop.net/much")
    assert [told["state"] for told in incident["told"]] == ["sent"]


def test_somebody_takes_it_and_its_end_is_in_its_history(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.turns(3)
    [incident] = asking.incidents()
    http = client(asking)
    assert http.post(f"/api/incidents/{incident.incident_id}/ack", json={"note": "on it"}).json()["word"] == (
        "acknowledged"
    )
    asking.desk.dremio.delete("orders_processed", "product_id", ("tea",))
    asking.turns(3)
    told = http.get(f"/api/incidents/{incident.incident_id}").json()
    assert told["status"] == "resolved"
    assert [(line["via"], line["action"]) for line in told["history"]] == [
        ("operator", "acknowledged"),
        ("question", "resolved"),
    ]


def test_a_silence_mutes_it_and_what_is_still_open_is_told_at_its_end(asking: Asking) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    http = client(asking)
    # The API's clock is the machine's, the ledger's is the test's.
    matchers = [{"column": "rule", "op": "=", "value": "much_sold"}]
    silence = http.post("/api/silences", json={"matchers": matchers, "reason": "sale", "until": until}).json()
    asking.sold("tea", 3)
    assert asking.turns(3) == []
    assert [(row.state, row.reason) for row in asking.desk.deliveries()] == [(DeliveryState.MUTED, "silenced")]
    http.delete(f"/api/silences/{silence['id']}")
    asking.crew.planner.unmute()
    assert asking.turn() == [TEA]


def test_what_nobody_was_told_of_is_found_by_reconcile_as_of_the_table(asking: Asking) -> None:
    asking.sold("tea", 3)
    asking.turns(3)
    with asking.desk.ledger.file.write() as db:
        db.exec_driver_sql("DELETE FROM deliveries")
        db.exec_driver_sql("DELETE FROM members")
    missing = reconcile(
        asking.desk.ledger.file.read,
        [],
        asking.config.router(),
        asking.config.manners,
        clock=asking.desk.clock,
        sleep=lambda _: None,
    )
    assert [(each.incident.rule, each.why) for each in missing.untold] == [("much_sold", "no message was planned")]


# ---- as processes


def shop(cast: Cast, folder: Path, text: str) -> None:
    """Files of a shop: all alerts to Slack, and these rules."""
    folder.mkdir(exist_ok=True)
    (folder / "tillwatch.yaml").write_text("", encoding="utf-8")
    (folder / "routes.yaml").write_text("routes:\n  - {name: all, to: [slack]}\n", encoding="utf-8")
    (folder / "alerts.yaml").write_text(f"rules:{text or ' []'}\n", encoding="utf-8")
    cast.settings = {"CONFIG": str(folder / "tillwatch.yaml")}


def a_rule(**keys: str) -> str:
    usual = dict(LIMIT) | {"every": "5 s", "for": "1 s", "keep_firing_for": "0 s"}
    return "\n" + rule_text(**(usual | {name.rstrip("_"): value for name, value in keys.items()}))


def sell(cast: Cast, *products: str) -> None:
    now = datetime.now(UTC)
    for product in products:
        cast.dremio.order(now, product_id=product)
    cast.dremio.publish(now)


def test_kill_and_reload_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    with cast_of(tmp_path / "data") as cast:
        shop(cast, tmp_path / "config", a_rule())
        cast.start("embedded.sandbox")
        sell(cast, "tea", "tea", "tea")
        cast.start("notifier")
        # Pending, then firing, across three kills.
        for _ in range(3):
            wait_for(lambda: cast.metric('tillwatch_notifier_questions_total{outcome="judged"}') > 0)
            cast.kill("notifier")
            sell(cast)
            cast.start("notifier")
        wait_for(lambda: len(cast.slack()) == 1)
        cast.kill("notifier")
        process = cast.start("notifier")
        wait_for(lambda: cast.metric('tillwatch_notifier_questions_total{outcome="judged"}') > 0)
        assert len(cast.slack()) == 1
        # Another rule comes, this one goes: its incident ends.
        sell(cast)
        shop(cast, tmp_path / "config", a_rule().replace("much_sold", "much_more"))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(cast.slack()) == 3)
        incidents = cast.get("notifier", "/api/incidents")[1]["incidents"]
        assert {(each["rule"], each["status"]) for each in incidents} == {
            ("much_sold", "resolved"),
            ("much_more", "open"),
        }
        assert cast.stop("notifier") == 0


def test_a_wrong_rule_keeps_the_ones_before(tmp_path: Path) -> None:
    with cast_of(tmp_path / "data") as cast:
        shop(cast, tmp_path / "config", a_rule())
        cast.start("embedded.sandbox")
        sell(cast)
        process = cast.start("notifier")
        wait_for(lambda: cast.get("notifier", "/-/ready")[0] == 200)
        shop(cast, tmp_path / "config", a_rule(above="", below=""))
        process.send_signal(signal.SIGHUP)
        said = wait_for(lambda: cast.get("notifier", "/-/ready")[1]["parts"]["config"])
        assert (
            "rule 'much_sold', key 'above' has the value 'nothing'; expected a number for one of above and below"
            in said
        )
        sell(cast, "tea", "tea", "tea")
        wait_for(lambda: len(cast.slack()) == 1)


def test_a_real_gateway_is_asked_at_the_newest_commit_and_for_what_has_none(tmp_path: Path) -> None:
    """Real ingest and gateway: a table of ours in braces, and rows that are nobody's."""
    with cast_of(tmp_path / "data") as cast:
        assert cast.door is not None
        cast.door.shutdown()
        cast.door = None
        others = rule_text(
            "others",
            sql="SELECT p, n FROM (VALUES ('mug', 7)) AS t(p, n)",
            value="n",
            above="5",
            by="[p]",
            every="5 s",
            description='"{p} {n}"',
        )
        shop(cast, tmp_path / "config", a_rule(for_="0 s", time_limit="1 min") + others)
        # A slow machine starts three processes in a minute.
        cast.settings |= {"NOTIFIER_JUDGE_WITHIN": "1 h"}
        ours = Shop(cast.data_dir)
        ours.now = datetime.now(UTC)
        for _ in range(3):
            ours.order(ours.now - timedelta(minutes=1), product_id="tea")
        ours.publish()
        for part in ("embedded.gateway", "embedded.sandbox", "notifier"):
            cast.start(part)
        wait_for(lambda: len(cast.slack()) == 2, 90)
        incidents = cast.get("notifier", "/api/incidents?status=open")[1]["incidents"]
        said = {each["rule"]: (each["source"], each["description"]) for each in incidents}
        assert said == {
            "others": ("question", "mug 7"),
            "much_sold": ("question", "Much of tea: 3, over 2 for 0 min"),
        }
        ours.close()


def test_ingest_knows_nothing_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules_of(tmp_path, rule_text(**LIMIT))
    (tmp_path / "tillwatch.yaml").write_text("", encoding="utf-8")
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "tillwatch.yaml"))
    assert Terms.load(Shared.load()).rules == ()
