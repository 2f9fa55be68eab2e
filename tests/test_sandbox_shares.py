"""Faults that break a share of all calls: the same ones again, across restarts, and one fault a call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from embedded.sandbox.app import create_app
from embedded.sandbox.faults import Fault, Kind
from embedded.sandbox.inbox import Inbox

SHARES: dict[Kind, float] = {"rate_limited": 0.10, "drop_reply": 0.05, "error": 0.05}
CALLS = 4000


def faulty(path: Path, seed: int) -> Inbox:
    inbox = Inbox(path)
    for kind, share in SHARES.items():
        inbox.faults.switch_on(Fault(service="slack", kind=kind, share=share, seed=seed))
    return inbox


def met(inbox: Inbox, calls: int) -> list[str]:
    found = (inbox.faults.next_of_method("slack", "chat.postMessage", "*") for _ in range(calls))
    return [fault.kind if fault else "" for fault in found]


def test_faults_break_their_shares_of_all_calls_and_one_fault_a_call(tmp_path: Path) -> None:
    counts = Counter(met(faulty(tmp_path / "sandbox.db", 1), CALLS))
    for kind, share in SHARES.items():
        assert counts[kind] / CALLS == pytest.approx(share, abs=0.015)
    assert counts[""] / CALLS == pytest.approx(0.80, abs=0.03)


def test_the_same_seed_breaks_the_same_calls_and_another_seed_others(tmp_path: Path) -> None:
    one, same, other = (met(faulty(tmp_path / f"{n}.db", seed), 200) for n, seed in enumerate((7, 7, 8)))
    assert one == same
    assert one != other


def test_a_restart_goes_on_with_the_same_draws(tmp_path: Path) -> None:
    whole = met(faulty(tmp_path / "whole.db", 3), 200)
    inbox = faulty(tmp_path / "sandbox.db", 3)
    before = met(inbox, 90)
    inbox.close()
    assert before + met(Inbox(tmp_path / "sandbox.db"), 110) == whole


def test_a_call_that_another_fault_breaks_is_not_drawn_for(tmp_path: Path) -> None:
    drawn = met(faulty(tmp_path / "drawn.db", 5), 60)
    inbox = faulty(tmp_path / "sandbox.db", 5)
    inbox.faults.switch_on(Fault(service="slack", kind="hang", count=2))
    assert met(inbox, 62) == ["hang", "hang", *drawn]


def test_a_sandbox_of_before_takes_shares(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "sandbox.db")
    for column in ("share", "drawn"):
        inbox._db.execute(f"ALTER TABLE faults DROP COLUMN {column}")
    inbox.close()
    assert set(met(faulty(tmp_path / "sandbox.db", 1), 200)) == {"", *SHARES}


def test_a_share_breaks_calls_until_cleared_and_the_page_says_so(tmp_path: Path) -> None:
    web = TestClient(create_app(Inbox(tmp_path / "sandbox.db")))
    (on,) = web.post("/faults", json={"service": "slack", "kind": "error", "share": 1, "seed": 4}).json()
    assert (on["share"], on["seed"], on["count"]) == (1, 4, None)
    assert [web.post("/api/chat.postMessage").status_code for _ in range(5)] == [500] * 5
    assert "Slack error (100 % of calls, until switched off)" in web.get("/").text
    assert web.delete("/faults").json() == []
    assert web.post("/api/chat.postMessage").status_code == 200
    (counted,) = web.post("/faults", json={"service": "slack", "kind": "error", "share": 1, "count": 2}).json()
    assert counted["count"] == 2
    assert [web.post("/api/chat.postMessage").status_code for _ in range(3)] == [500, 500, 200]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ([{"kind": "error", "share": 1.5}], "less than or equal to 1"),
        ([{"kind": "error", "share": 0}], "greater than 0"),
        ([{"kind": "error", "share": 0.7}, {"kind": "hang", "share": 0.4}], "more than all calls"),
        ([{"kind": "error", "share": 0.7}, {"kind": "hang", "share": 0.4, "method": "*"}], "more than all calls"),
        ([{"kind": "error", "share": 0.7}, {"kind": "hang", "share": 0.4, "method": "chat.update"}], ""),
    ],
)
def test_shares_of_more_than_all_calls_are_refused(
    tmp_path: Path, faults: Sequence[dict[str, Any]], words: str
) -> None:
    web = TestClient(create_app(Inbox(tmp_path / "sandbox.db")))
    answers = [web.post("/faults", json={"service": "slack", **fault}) for fault in faults]
    assert answers[-1].status_code == (422 if words else 200)
    if words:
        assert words in answers[-1].json()["detail"]
        assert len(web.get("/faults").json()) == len(faults) - 1
