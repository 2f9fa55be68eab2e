"""The console as it was: which commit a moment means, and what is asked of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from console.feed.past import NOTHING_KEPT, Past, Then, kept_moment, reference
from console.tabs import questions
from lakehouse.dremio.errors import QueryError, Unavailable
from lakehouse.dremio.state import ConnectionState
from lakehouse.kpis import Counting
from tests.fake_dremio import FakeDremio

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


class Kept:
    """Commits by when they were published; a moment is answered by the newest of before."""

    near = False
    state = ConnectionState("up")

    def __init__(self, *published: float) -> None:
        self.published = sorted(published)
        self.asked = 0
        self.down = False

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table:
        self.asked += 1
        if self.down:
            raise Unavailable("Nobody answers.")
        assert commit is not None
        then = datetime.fromisoformat(commit)
        before = [one for one in self.published if at(one) <= then]
        if not before:
            raise QueryError("There is no such commit.")
        return pa.table({"as_of": pa.array([at(before[-1] - 0.2)], pa.timestamp("ms", "UTC"))})

    def head(self) -> str:
        raise AssertionError

    def next_head(self, known: str, wait_s: float) -> str:
        raise AssertionError

    def thin(self) -> None:
        """Only the first commit of each minute is left."""
        first: dict[int, float] = {}
        for one in self.published:
            first.setdefault(int(one // 60), one)
        self.published = sorted(first.values())


@pytest.mark.parametrize(
    ("moment", "kept"),
    [(30.0, 0.4), (0.1, -59.6), (59.999, 0.4), (60.0, 0.4), (61.0, 60.25), (119.0, 60.25), (3600.0, 3600.0)],
)
def test_a_moment_means_the_first_commit_of_a_minute_now_and_once_the_others_are_gone(
    moment: float, kept: float
) -> None:
    dremio = Kept(-119.5, -59.6, -30, -0.1, 0.4, 1.1, 29.9, 59.9, 60.25, 90, 118)
    assert kept_moment(dremio, at(moment)) == at(kept)
    assert dremio.asked < 30
    dremio.thin()
    assert kept_moment(dremio, at(moment)) == at(kept)


def test_a_moment_before_all_that_is_kept_means_none_and_one_nobody_answers_raises() -> None:
    dremio = Kept(0.4, 60.2)
    assert kept_moment(dremio, at(-1)) is None
    dremio.down = True
    with pytest.raises(Unavailable):
        kept_moment(dremio, at(70))


class Somebody:
    watches = "overview"
    present = True
    woken = 0

    def wake(self) -> None:
        self.woken += 1


def waited(past: Past, moment: datetime, tab: str, viewer: Somebody) -> Then:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = past.at(moment, tab, viewer)
        if found.error is not None or (found.snapshot is not None and _whole(found, tab)):
            return found
        time.sleep(0.01)
    raise AssertionError("no answer")


def _whole(found: Then, tab: str) -> bool:
    assert found.snapshot is not None
    return tab != "overview" or "tiles" in found.snapshot.answers


def test_a_moment_is_asked_once_for_all_who_look_and_each_tab_when_it_is_looked_at() -> None:
    dremio = FakeDremio()
    dremio.order(NOON - timedelta(seconds=20))
    dremio.publish(NOON)
    past, one, other = Past(dremio, tabs=questions(), counting=Counting(("CREATED",))), Somebody(), Somebody()
    assert past.at(NOON, "orders", one) == Then()
    found = waited(past, NOON, "orders", one)
    assert found.snapshot is not None
    assert found.snapshot.commit == reference(NOON)
    assert found.snapshot.as_of == NOON
    assert one.woken == 1
    assert "tiles" not in dremio.asked
    asked = len(dremio.asked)
    assert past.at(NOON, "orders", other) == found
    assert len(dremio.asked) == asked
    waited(past, NOON, "overview", other)
    assert dremio.asked.count("tiles") == 1
    assert dremio.asked.count("incidents") == 1
    past.close()


def test_a_moment_that_is_gone_is_said_and_asked_again_later() -> None:
    clock = [0.0]
    dremio = Kept()
    past = Past(dremio, tabs={}, counting=Counting(()), clock=lambda: clock[0])
    assert waited(past, NOON, "orders", Somebody()).error == NOTHING_KEPT
    asked = dremio.asked
    assert past.at(NOON, "orders", Somebody()).error == NOTHING_KEPT
    assert dremio.asked == asked
    clock[0] += 10
    assert past.at(NOON, "orders", Somebody()) == Then()
    past.close()
