"""The notifier and the sandbox as they run: faults, kill -9, restarts, and a data door that comes and goes."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lakehouse.dremio.client import Dremio
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import PORTS
from lakehouse.tables import ALERTS, full_name
from tests.conftest import Shop
from tests.notifier_cast import Cast, Door, cast_of, wait_for


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    with cast_of(tmp_path_factory.mktemp("on_call") / "data") as cast:
        cast.start("embedded.sandbox")
        cast.start("notifier")
        yield cast


@pytest.fixture
def shop_on_call(running: Cast) -> Cast:
    """A sandbox that runs without faults, and a notifier that is ready; one for all tests, each with its incidents."""
    running.clear_faults()
    running.dremio.publish(datetime.now(UTC))
    wait_for(lambda: running.get("notifier", "/-/ready")[0] == 200)
    return running


def fatal(cast: Cast, incident: str, status: str = "FIRING") -> None:
    now = datetime.now(UTC)
    cast.dremio.alert(
        now, incident, status, service=incident, description=f"Fatal error in service: {incident} - no answer"
    )
    cast.dremio.publish(now)


def told(cast: Cast, incident: str) -> tuple[int, int, int]:
    """Slack messages, emails and different Message-IDs that name an incident."""
    slack = [row for row in cast.slack() if incident in row["text"]]
    email = [row for row in cast.email() if incident in row["body"]]
    return len(slack), len(email), len({row["message_id"] for row in email})


def both_told(cast: Cast, incident: str) -> bool:
    return told(cast, incident)[:2] == (1, 1)


def all_sent(cast: Cast, incident: str) -> bool:
    rows = cast.deliveries(incident=incident)
    return bool(rows) and {row["state"] for row in rows} == {"sent"}


def test_each_fault_ends_with_one_slack_message_and_one_message_id(shop_on_call: Cast) -> None:
    cast = shop_on_call
    faults: list[tuple[str, str, dict[str, Any]]] = [
        ("slack", "rate_limited", {"retry_after": "0.6"}),
        ("slack", "error", {}),
        ("slack", "hang", {"hold_s": 2}),
        ("slack", "drop_reply", {}),
        ("slack", "accept_and_hang", {"hold_s": 2}),
        ("slack", "drop_reply", {"method": "*", "count": 2}),
        ("smtp", "refuse", {}),
        ("smtp", "drop_after_data", {}),
    ]
    for number, (service, kind, options) in enumerate(faults):
        incident = f"{service}-{kind}-{number}"
        cast.fault(service, kind, **options)
        fatal(cast, incident)
        wait_for(partial(all_sent, cast, incident))
    for number, (service, kind, _) in enumerate(faults):
        slack, email, ids = told(cast, f"{service}-{kind}-{number}")
        assert (slack, ids) == (1, 1), kind
        assert email == (2 if kind == "drop_after_data" else 1), kind
    assert cast.metric('tillwatch_notifier_settled_total{channel="slack"}') >= 3
    assert cast.metric('tillwatch_notifier_resent_unconfirmed_total{channel="email"}') == 1


def test_a_permanent_error_is_dead_counted_and_logged(shop_on_call: Cast) -> None:
    cast = shop_on_call
    cast.fault("slack", "api_error", error="invalid_blocks", count=2)
    cast.fault("smtp", "reject")
    fatal(cast, "inc-1")
    wait_for(lambda: len(cast.messages(state="dead")) == 2)
    assert cast.metric('tillwatch_notifier_dead_total{channel="slack",reason="refused"}') == 1
    assert "neither with blocks nor without: invalid_blocks." in cast.log()


def test_ready_and_the_other_channel_say_which_one_fails_until_it_is_mended(shop_on_call: Cast) -> None:
    cast = shop_on_call
    cast.fault("slack", "api_error", error="not_in_channel", count=1000)
    fatal(cast, "inc-shut-1")
    reason = "Slack refuses: not_in_channel."
    wait_for(lambda: cast.get("notifier", "/-/ready")[1]["parts"]["slack"] == reason)
    fatal(cast, "inc-shut-2")
    wait_for(lambda: any(f"Not told on slack: {reason}" in mail["body"] for mail in cast.email()))
    assert [place["reason"] for place in cast.get("notifier", "/api/state")[1]["parked"]] == [reason]
    cast.clear_faults()
    # Whoever has mended it need not wait for the next try.
    [first, *_] = cast.messages(state="parked")
    assert cast.post("notifier", f"/api/deliveries/{first['delivery_key']}/retry")[0] == 204
    wait_for(lambda: sum("incident=inc-shut-" in row["text"] for row in cast.slack()) == 2)


def test_a_kill_between_slacks_accepting_and_the_record_repeats_nothing(shop_on_call: Cast) -> None:
    cast = shop_on_call
    for number in range(3):
        incident = f"killed-{number}"
        cast.fault("slack", "accept_and_hang", hold_s=20)
        cast.fault("smtp", "accept_and_hang", hold_s=20)
        fatal(cast, incident)
        wait_for(partial(both_told, cast, incident))
        cast.kill("notifier")
        cast.start("notifier")
        wait_for(partial(all_sent, cast, incident))
    for number in range(3):
        slack, email, ids = told(cast, f"killed-{number}")
        assert (slack, ids) == (1, 1)
        assert email >= 1


def test_slack_down_loses_nothing_and_a_restart_of_the_sandbox_forgets_nothing(shop_on_call: Cast) -> None:
    cast = shop_on_call
    fatal(cast, "before")
    wait_for(lambda: all_sent(cast, "before"))
    cast.kill("embedded.sandbox")
    fatal(cast, "while-down")
    wait_for(lambda: {row["state"] for row in cast.messages(incident="while-down")} == {"retry"})
    assert cast.get("notifier", "/-/ready")[0] == 503
    cast.start("embedded.sandbox")
    wait_for(lambda: all_sent(cast, "while-down"))
    assert told(cast, "before") == (1, 1, 1)
    assert told(cast, "while-down") == (1, 1, 1)


def test_an_incident_is_one_thread_and_its_emails_refer_to_the_first(tmp_path: Path) -> None:
    with cast_of(tmp_path / "data", NOTIFIER_GATHER="500 ms") as cast:
        cast.start("embedded.sandbox")
        cast.start("notifier")
        for _ in range(20):
            fatal(cast, "storm")
        wait_for(lambda: cast.email() and cast.slack())
        fatal(cast, "storm", "RESOLVED")
        wait_for(lambda: any(row["body"].startswith("Resolved") for row in cast.email()))
        wait_for(lambda: any(row.get("thread_ts") and row["text"].startswith("Resolved") for row in cast.slack()))
        root, *replies = cast.slack()
        assert {row["thread_ts"] for row in replies} == {root["ts"]}
        assert replies[-1]["text"].startswith("Resolved: FATAL in storm")
        assert "20 alerts in all" in replies[-1]["text"]
        first, *answers = cast.email()
        assert {row["headers"]["References"] for row in answers} == {first["message_id"]}
        assert answers[-1]["subject"] == f"Re: {first['subject'].replace('FIRING', 'RESOLVED')}"
        status, answer = cast.get("notifier", "/api/incidents")
        assert status == 200
        [incident] = answer["incidents"]
        assert (incident["alerts"], incident["status"], incident["word"]) == (20, "resolved", "resolved")
        # The root says so too.
        wait_for(lambda: cast.slack()[0]["text"].startswith("Resolved: FATAL in storm"))


def test_without_its_data_the_daemon_stays_up_says_so_once_and_recovers(shop_on_call: Cast) -> None:
    cast = shop_on_call
    told_before = cast.log().count("degraded")
    assert cast.door is not None
    cast.door.shutdown()
    wait_for(lambda: cast.get("notifier", "/-/ready")[0] == 503)
    assert cast.get("notifier", "/-/healthy")[0] == 200
    assert "Dremio" in cast.get("notifier", "/-/ready")[1]["parts"]["data"]
    time.sleep(0.5)
    assert cast.log().count("degraded") == told_before + 1
    cast.door = Door(cast.dremio, PORTS["gateway"] + cast.offset)
    fatal(cast, "data-is-back")
    wait_for(partial(both_told, cast, "data-is-back"))
    wait_for(lambda: cast.get("notifier", "/-/ready")[0] == 200)


def test_sigterm_does_not_wait_for_slack_and_what_was_in_hand_is_settled_later(tmp_path: Path) -> None:
    with cast_of(tmp_path / "data", NOTIFIER_SLACK_TIMEOUT_S="30") as cast:
        cast.start("embedded.sandbox")
        cast.start("notifier")
        cast.fault("slack", "accept_and_hang", hold_s=25)
        fatal(cast, "in-hand")
        wait_for(lambda: told(cast, "in-hand")[0] == 1)
        assert cast.stop("notifier") == 0
        cast.start("notifier")
        wait_for(lambda: all_sent(cast, "in-hand"))
        assert told(cast, "in-hand")[0] == 1


def test_what_it_tells_is_what_the_gateway_answers(tmp_path: Path) -> None:
    """Real ingest, gateway, notifier and sandbox; the data's clock is months away from ours, and does not matter."""
    with cast_of(tmp_path / "data", NOTIFIER_GATHER="500 ms") as cast:
        assert cast.door is not None
        cast.door.shutdown()
        cast.door = None
        shop = Shop(cast.data_dir)
        shop.error(severity="FATAL", error_message="card service is gone")
        shop.error(severity="FATAL", at=shop.now - timedelta(hours=2))
        shop.publish()
        for part in ("embedded.gateway", "embedded.sandbox", "notifier"):
            cast.start(part)

        def of_payments() -> list[dict[str, Any]]:
            # That nothing new comes is told too, for it is months since.
            return [row for row in cast.slack() if "judged" not in row["text"]]

        wait_for(of_payments)
        for _ in range(4):
            shop.error(severity="FATAL")
        shop.publish()
        wait_for(lambda: len(of_payments()) == 2)
        shop.close()
        with Dremio(DremioSettings.load(uri=f"grpc://localhost:{PORTS['gateway'] + cast.offset}")) as dremio:
            commit = dremio.head()
            live = f"{full_name(ALERTS)} AT COMMIT \"{commit}\" WHERE alert_timestamp > TIMESTAMP '2026-03-02 11:00:00'"
            count = dremio.sql(f"SELECT COUNT(*) AS alerts FROM {live}")["alerts"].to_pylist()[0]
        first, more = of_payments()
        assert "payments - card service is gone" in first["text"]
        assert f"{count} alerts so far" in more["text"]
        assert f"commit {commit[:12]}" in more["text"]
        assert [row["reason"] for row in cast.deliveries(state="muted")] == ["old", "old"]


def test_without_a_channel_it_runs_and_says_so(tmp_path: Path) -> None:
    quiet = {"NOTIFIER_SLACK_TOKEN": "", "NOTIFIER_SLACK_CHANNEL": "", "NOTIFIER_SMTP_HOST": ""}
    quiet |= {"NOTIFIER_EMAIL_TO": "", "NOTIFIER_EMAIL_FROM": ""}
    with cast_of(tmp_path / "data", **quiet) as cast:
        cast.start("notifier")
        fatal(cast, "nobody")
        wait_for(lambda: Counter(row["reason"] for row in cast.deliveries()) == {"no_channel": 1})
        assert cast.log().count("no channel is set up") == 1
        assert cast.stop("notifier") == 0


def test_a_busy_port_is_one_sentence(tmp_path: Path) -> None:
    # create_server takes a port where connections of an earlier test are in TIME_WAIT still, as servers do.
    with cast_of(tmp_path / "data") as cast, socket.create_server(("127.0.0.1", PORTS["notifier"] + cast.offset)):
        ended = subprocess.run(
            [sys.executable, "-m", "notifier"], env=cast.environment(), capture_output=True, text=True, timeout=30
        )
        assert ended.returncode == 2
        assert f"Port {PORTS['notifier'] + cast.offset} is held by" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_the_api_describes_itself(shop_on_call: Cast) -> None:
    status, schema = shop_on_call.get("notifier", "/openapi.json")
    assert status == 200
    assert {"/api/deliveries", "/api/incidents", "/-/ready", "/metrics"} <= set(schema["paths"])


def test_with_a_token_only_who_knows_it_reads_the_ledger(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("otter-kettle\n", encoding="utf-8")
    with cast_of(tmp_path / "data", NOTIFIER_API_TOKEN_FILE=str(secret)) as cast:
        cast.start("notifier")
        url = f"http://127.0.0.1:{PORTS['notifier'] + cast.offset}/api/incidents"
        for header in ({}, {"Authorization": "Bearer kettle"}, {"Authorization": "Basic otter-kettle"}):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(url, headers=header), timeout=10)
            assert refused.value.code == 401
            assert refused.value.headers["WWW-Authenticate"] == "Bearer"
            assert "notifier.api_token" in refused.value.read().decode()
        known = urllib.request.Request(url, headers={"Authorization": "Bearer otter-kettle"})
        with urllib.request.urlopen(known, timeout=10) as answer:
            assert answer.status == 200
        assert cast.get("notifier", "/-/healthy")[0] == 200
        assert cast.get("notifier", "/metrics")[0] == 200
        assert "otter-kettle" not in cast.log()


def test_a_ledger_that_was_saved_and_put_back_sends_nothing_twice(tmp_path: Path) -> None:
    with cast_of(tmp_path / "data") as cast:
        cast.start("embedded.sandbox")
        cast.start("notifier")
        fatal(cast, "before")
        wait_for(lambda: len(cast.slack()) == 1)
        wait_for(lambda: len(cast.email()) == 1 and all_sent(cast, "before"))
        saving = [sys.executable, "-m", "notifier", "--save-ledger", str(tmp_path / "saved.db")]
        done = subprocess.run(saving, env=cast.environment(), capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        before = cast.messages()
        cast.kill("notifier")
        for left in cast.data_dir.glob("ledger.db*"):
            left.unlink()
        shutil.copy(tmp_path / "saved.db", cast.data_dir / "ledger.db")
        cast.start("notifier")
        assert cast.messages() == before
        fatal(cast, "after")
        wait_for(lambda: len(cast.slack()) == 2)
        assert len({message["text"] for message in cast.slack()}) == 2


def test_a_ledger_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with cast_of(tmp_path / "data") as cast:
        saving = [sys.executable, "-m", "notifier", "--save-ledger", str(tmp_path / "saved.db")]
        done = subprocess.run(saving, env=cast.environment(), capture_output=True, text=True, timeout=30)
        assert done.returncode == 2
        assert "There is no ledger" in done.stderr
        assert "Traceback" not in done.stderr
