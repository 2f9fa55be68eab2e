"""The Pipeline tab: each leg of an event's way with its limit, what came late, and dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from console.running import Running
from tests.fake_dremio import FakeDremio
from tests.test_console_session import NOON, a_console
from tests.test_console_tabs import Opened, the_fake

MINUTE = timedelta(minutes=1)


def letter(dremio: FakeDremio, number: int, reason: str, topic: str = "orders_topic") -> None:
    """The later the larger its number."""
    at = NOON - 30 * MINUTE + number * timedelta(seconds=1)
    dremio.insert(
        "dead_letters", topic=topic, source_partition=0, source_offset=number, received_at=at, reason=reason,
        detail=f"{reason} of {number}", payload=f"bytes {number}".encode(), ingested_at=at,
    )  # fmt: skip


def measured(dremio: FakeDremio, metric: str, value: float, topic: str = "", ago: timedelta = MINUTE) -> None:
    at = NOON - ago
    dremio.insert("pipeline_metrics", measured_at=at, topic=topic, metric=metric, value=value, ingested_at=at)


@pytest.fixture(scope="module")
def console() -> Iterator[Running]:
    parts = a_console()
    dremio = the_fake(parts)
    letter(dremio, 1, "NOT_JSON")
    letter(dremio, 2, "NOT_JSON")
    letter(dremio, 3, "BAD_VALUE", "errors_topic")
    for number in range(4, 254):
        letter(dremio, number, "BAD_TYPE")
    for topic, took in (("orders_topic", 0.2), ("clicks_topic", 7.5)):
        measured(dremio, "to_log_seconds", took, topic)
        measured(dremio, "lag", 3.0, topic)
    for minutes, late, late_s in ((10, 2.0, 90.0), (20, 5.0, 1200.0), (30, 0.0, 0.0)):
        measured(dremio, "late", late, "clicks_topic", minutes * MINUTE)
        if late:
            measured(dremio, "late_seconds", late_s, "clicks_topic", minutes * MINUTE)
    yield parts
    parts.asker.close()


def shown(console: Running, more: str = "") -> dict[str, Any]:
    return Opened(console, f"tab=pipeline&range=1h{more}").parts()


def test_each_leg_of_an_events_way_has_a_limit_and_says_when_it_is_over(console: Running) -> None:
    rows = {row["part"]: row for row in shown(console)["list.chain"]["rows"]}
    assert list(rows)[:6] == [
        "event to log",
        "in the log",
        "log to ingest",
        "ingest to publish",
        "publish to poll",
        "poll to screen",
    ]
    assert all(row["limit"] for row in rows.values())
    assert rows["event to log"]["state_words"] == "over its limit"
    assert rows["event to log"]["words"].endswith("slowest for clicks_topic")
    assert (rows["in the log"]["now"], rows["in the log"]["state_words"]) == ("6", "ok")
    assert rows["ingest to publish"]["state_words"] == "n/a"


def test_a_clock_that_is_ahead_is_over_its_limit_and_named(console: Running) -> None:
    [clock] = [row for row in shown(console)["list.chain"]["rows"] if row["part"] == "clock of the log"]
    assert clock["state_words"] == "over its limit"
    assert clock["words"].endswith("12 messages of errors_topic")


def test_what_came_late_is_counted_with_how_late_it_was_at_most(console: Running) -> None:
    page = Opened(console, "tab=pipeline&range=1h")
    [row] = page.parts()["list.late_events"]["rows"]
    assert (row["topic"], row["late"], row["late_by"].replace("\u202f", " ")) == ("clicks_topic", "7", "20 min")
    drill = page.session.drills["pipeline"]
    drill.draw()
    bars = drill.charts["late_time"]._pipe.data.counts
    assert sorted(bars.values()) == [2.0, 5.0]
    none = shown(console, "&brush=2026-03-02T11:58:00Z~2026-03-02T11:59:00Z")["list.late_events"]["rows"]
    assert none == []


def test_each_reason_has_its_newest_letter_however_many_of_another_are_newer(console: Running) -> None:
    rows = {row["reason"]: row for row in shown(console)["list.dead_letters"]["rows"]}
    assert {reason: (row["count"], row["sample"]) for reason, row in rows.items()} == {
        "BAD_TYPE": ("250", "BAD_TYPE of 253: bytes 253"),
        "NOT_JSON": ("2", "NOT_JSON of 2: bytes 2"),
        "BAD_VALUE": ("1", "BAD_VALUE of 3: bytes 3"),
    }
    again = rows["BAD_VALUE"]["again"]
    assert again.startswith("tillwatch producers dead-letters replay --topic errors_topic --reason BAD_VALUE --since ")


def test_letters_come_in_pages_are_found_and_ordered(console: Running) -> None:
    first = shown(console)["list.dead_letter_rows"]
    assert (len(first["rows"]), first["order"]["pages"], first["words"]) == (200, 2, "1 – 200 shown")
    last = shown(console, "&page=2")["list.dead_letter_rows"]
    assert [row["why"] for row in last["rows"][-2:]] == ["NOT_JSON of 2", "NOT_JSON of 1"]
    ordered = shown(console, "&sort=reason.asc")["list.dead_letter_rows"]["rows"]
    assert (ordered[0]["reason"], ordered[0]["offset"]) == ("BAD_TYPE", "253")
    found = shown(console, "&find=of+25")
    assert {row["why"] for row in found["list.dead_letter_rows"]["rows"]} == {
        f"BAD_TYPE of {number}" for number in (25, 250, 251, 252, 253)
    }
    assert [row["count"] for row in found["list.dead_letters"]["rows"]] == ["5"]
