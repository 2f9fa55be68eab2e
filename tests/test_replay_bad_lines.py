"""Replay: bad lines may be left out; then they are listed, whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lakehouse.user_error import UserError
from producers.__main__ import app
from tests.test_replay import CSV, JSON, file, in_the_log

BAD = (
    CSV
    + "4,bob,p-2,0,5,SHIPPED,2026-11-23T09:00:00Z\n"
    + "5,bob,p-2,1,5,2026-11-23T09:00:00Z\n"
    + '6,"bo"b,p-2,1,5,SHIPPED,2026-11-23T09:00:00Z\n'
    + "7,,p-2,1,5,SHIPPED,2026-11-23T09:00:00Z\n"
    + "8,bob,p-2,1,NaN,SHIPPED,2026-11-23T09:00:00Z\n"
    + '9,"bob,p-2,1,5,SHIPPED,2026-11-23T09:00:00Z\n'
    + "10,cid,p-2,1,5,SHIPPED,2026-11-23T09:00:00Z\n"
    + "11,cid,p-2,1,5,SHIPPED,9999-01-01T09:00:00Z\n"
)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILLWATCH_DATA_DIR", str(tmp_path / "shop"))
    monkeypatch.setenv("TILLWATCH_MAX_EVENT_AGE", "off")
    return tmp_path / "shop"


def skipping(path: Path, listed: Path, *more: str) -> Any:
    arguments = ["replay", str(path), "--original-times", "--skip-bad", str(listed), *more]
    return CliRunner().invoke(app, arguments)


def test_good_lines_go_and_bad_ones_are_listed(tmp_path: Path, shop: Path) -> None:
    listed = tmp_path / "bad.csv"
    for _ in range(2):
        done = skipping(file(tmp_path, BAD), listed)
        assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(listed.read_text())))
    assert [(row["line"], row["reason"], row["column"], row["value"]) for row in rows] == [
        ("5", "BAD_VALUE", "column 'quantity'", "0"),
        ("6", "WIDTH", "column 'order_time'", "5,bob,p-2,1,5,2026-11-23T09:00:00Z"),
        ("7", "NOT_CSV", "", '6,"bo"b,p-2,1,5,SHIPPED,2026-11-23T09:00:00Z'),
        ("8", "MISSING_FIELD", "column 'user_id'", ""),
        ("9", "NOT_FINITE", "column 'price'", "NaN"),
        # The quote that is not closed would have taken the good line below it.
        ("10", "NOT_CSV", "", '9,"bob,p-2,1,5,SHIPPED,2026-11-23T09:00:00Z'),
        ("12", "FUTURE_TIME", "", "9999-01-01T09:00:00Z"),
    ]
    assert "expected 1 to" in rows[0]["why"] or "not within 1 to" in rows[0]["why"]
    assert "4 of 4 lines" in done.output
    last = done.output.splitlines()[-1]
    assert last.startswith("7 lines left out: NOT_CSV 2, ")
    assert last.endswith("bad.csv lists them")
    sent_orders = in_the_log(shop)
    assert set(sent_orders.values()) == {2}
    assert len(sent_orders) == 4
    assert {path.name for path in tmp_path.iterdir()} == {"orders.csv", "bad.csv", "shop"}


def test_elements_of_an_array_and_repeated_events_are_left_out_too(tmp_path: Path, shop: Path) -> None:
    good = json.loads(JSON) | {"event_id": "e"}
    elements = [good, good | {"quantity": 5}, good | {"event_id": "f"}, 7, good | {"event_id": "g", "price": None}]
    done = skipping(file(tmp_path, json.dumps(elements), "orders.json"), tmp_path / "bad.csv")
    assert done.exit_code == 0, done.output
    assert "2 of 2 elements" in done.output
    rows = list(csv.DictReader(io.StringIO((tmp_path / "bad.csv").read_text())))
    assert [(row["line"], row["reason"]) for row in rows] == [("2", "TWICE"), ("4", "NOT_JSON"), ("5", "MISSING_FIELD")]


def test_old_lines_are_left_out_where_some_are_young_enough(
    tmp_path: Path, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLWATCH_MAX_EVENT_AGE", "15 d")
    young = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    listed = tmp_path / "bad.csv"
    done = skipping(file(tmp_path, CSV.replace("2026-11", "2006-11").replace("2006-11-23T09:00:00Z", young)), listed)
    assert done.exit_code == 0, done.output
    assert "2 lines left out: STALE_TIME 2" in done.output
    listed.unlink()
    refusal = skipping(file(tmp_path, CSV.replace("2026-11", "2006-11")), listed)
    assert "set TILLWATCH_MAX_EVENT_AGE=off" in str(refusal.exception)
    assert not listed.exists()


def test_a_file_without_a_good_line_sends_nothing_and_lists_all(tmp_path: Path, shop: Path) -> None:
    listed = tmp_path / "bad.csv"
    refusal = skipping(file(tmp_path, CSV.replace("CREATED", "NEW").replace("SHIPPED", "NEW")), listed)
    assert "none of its lines is good: BAD_VALUE 3;" in str(refusal.exception)
    assert len(listed.read_text().splitlines()) == 4
    assert not (shop / "events.db").exists()


def test_a_list_of_bad_lines_that_cannot_be_written_sends_nothing(tmp_path: Path, shop: Path) -> None:
    path = file(tmp_path, BAD)
    (tmp_path / "notes.txt").write_text("mine")
    for listed, says in (
        (tmp_path / "nowhere" / "bad.csv", "cannot be written: No such file or directory"),
        (tmp_path / "orders.csv" / "bad.csv", "cannot be written: Not a directory"),
        (tmp_path, "is there already and is no list of bad lines"),
        (tmp_path / "notes.txt", "is there already and is no list of bad lines"),
        (path, "is the file that is read"),
    ):
        refusal = skipping(path, listed)
        assert isinstance(refusal.exception, UserError)
        assert says in str(refusal.exception)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (shop / "events.db").exists()


def test_a_list_is_there_whole_or_not_at_all(tmp_path: Path, shop: Path) -> None:
    listed = tmp_path / "bad.csv"
    # The array is cut: nothing is sent, and what was found bad before is not listed.
    refusal = skipping(file(tmp_path, f"[1, {JSON}, 2, {JSON}", "orders.json"), listed)
    assert isinstance(refusal.exception, UserError)
    assert {path.name for path in tmp_path.iterdir()} == {"orders.json"}
    good = skipping(file(tmp_path, CSV), listed)
    assert good.exit_code == 0, good.output
    assert listed.read_text() == "line,reason,column,value,why\n"
