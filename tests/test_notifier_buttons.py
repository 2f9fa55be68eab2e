"""Buttons under Slack's messages, the notifier and the sandbox as they run: pressed there, done here, shown there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lakehouse import ROOT
from tests.notifier_cast import Cast, cast_of, wait_for

CHANNEL = "C0SANDBOX"
PEOPLE = str(ROOT / "embedded" / "sandbox" / "people.yaml")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """Everybody there: Slack, which knows ada, bob and eve, and the notifier, for which the first two are operators."""
    data_dir = tmp_path_factory.mktemp("office") / "data"
    with cast_of(data_dir, NOTIFIER_SLACK_APP_TOKEN="xapp-test", NOTIFIER_PEOPLE=PEOPLE) as cast:
        cast.start("embedded.sandbox")
        cast.start("notifier")
        wait_for(lambda: cast.get("sandbox", "/messages")[1]["connections"])
        yield cast


def root_of(cast: Cast, service: str) -> dict[str, Any]:
    """The first message of a service's thread, once it is there."""
    return (
        wait_for(
            lambda: next(
                (row for row in cast.slack() if "thread_ts" not in row and f"in {service}" in row["text"]), None
            )
        )
        or {}
    )


def fail(cast: Cast, service: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    cast.dremio.alert(now, f"inc-{service}", "FIRING", service=service, description=f"no answer from {service}")
    cast.dremio.publish(now)
    return root_of(cast, service)


def labels(row: dict[str, Any]) -> dict[str, str]:
    """The buttons of a message: what each does, and what stands on it."""
    blocks = [block for attachment in row.get("attachments") or () for block in attachment["blocks"]]
    buttons = [one for block in blocks for one in block.get("elements", ()) if one.get("type") == "button"]
    return {one["action_id"]: one["text"]["text"] for one in buttons if "action_id" in one and "url" not in one}


def press(cast: Cast, row: dict[str, Any], action_id: str, user: str) -> dict[str, Any]:
    status, told = cast.post(
        "sandbox", "/-/press", {"channel": CHANNEL, "ts": row["ts"], "action_id": action_id, "user": user}
    )
    assert status == 200, told
    return dict(told)


def incident(cast: Cast, service: str) -> dict[str, Any]:
    return dict(cast.get("notifier", f"/api/incidents/inc-{service}")[1])


def acts(cast: Cast, service: str) -> list[tuple[str, str, str]]:
    """What people did: who, by which way, what."""
    return [(row["who"], row["via"], row["action"]) for row in incident(cast, service)["history"] if row["who"]]


def test_one_presses_acknowledge_and_everybody_sees_who_has_it(office: Cast) -> None:
    root = fail(office, "cart")
    assert labels(root) == {"ack": "Acknowledge", "silence_1h": "Silence 1 h"}
    press(office, root, "ack", "U0ADA")
    wait_for(lambda: "unack" in labels(root_of(office, "cart")))
    taken = root_of(office, "cart")
    assert taken["ts"] == root["ts"]
    assert "ada" in str(taken["attachments"])
    found = incident(office, "cart")
    assert (found["ack"]["by"], found["word"]) == ("ada", "acknowledged")
    press(office, taken, "unack", "U0BOB")
    wait_for(lambda: "ack" in labels(root_of(office, "cart")))
    assert acts(office, "cart") == [("ada", "slack", "acknowledged"), ("bob", "slack", "unacknowledged")]


def test_one_presses_silence_and_it_holds_for_that_rule_and_service(office: Cast) -> None:
    root = fail(office, "search")
    press(office, root, "silence_1h", "U0BOB")
    wait_for(lambda: incident(office, "search")["word"] == "silenced")
    (silence,) = office.get("notifier", "/api/silences")[1]
    assert {(each["column"], each["value"]) for each in silence["matchers"]} == {
        ("rule", "fatal_error"),
        ("service_name", "search"),
    }
    assert incident(office, "cart")["word"] != "silenced"


def test_one_who_is_no_operator_is_told_so_alone_and_nothing_is_done(office: Cast) -> None:
    root = fail(office, "stock")
    press(office, root, "ack", "U0EVE")
    (told,) = wait_for(lambda: office.get("sandbox", "/messages")[1]["ephemeral"])
    assert (told["only_for"], told["text"]) == (
        "U0EVE",
        "Nothing was done: T0SANDBOX/U0EVE is no operator in people.yaml.",
    )
    assert acts(office, "stock") == []


def test_a_press_that_slack_tells_again_over_a_new_connection_is_done_once(office: Cast) -> None:
    root = fail(office, "tax")
    office.fault("slack", "drop_reply", method="interactive")
    envelope = press(office, root, "ack", "U0ADA")["envelope_id"]
    (told,) = wait_for(
        lambda: [
            row
            for row in office.get("sandbox", "/messages")[1]["presses"]
            if row["envelope_id"] == envelope and row["acknowledged_ms"]
        ]
    )
    assert told["sent"] > 1
    wait_for(lambda: "unack" in labels(root_of(office, "tax")))
    assert acts(office, "tax") == [("ada", "slack", "acknowledged")]


def test_buttons_work_again_after_a_kill(office: Cast) -> None:
    root = fail(office, "login")
    office.kill("notifier")
    office.start("notifier")
    wait_for(lambda: office.get("sandbox", "/messages")[1]["connections"])
    press(office, root, "ack", "U0ADA")
    wait_for(lambda: acts(office, "login") == [("ada", "slack", "acknowledged")])
    wait_for(lambda: "unack" in labels(root_of(office, "login")))
