"""What was asked at one commit: frozen, shared by all sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol

import pyarrow as pa

from lakehouse.clock import clock_words
from lakehouse.dremio.state import ConnectionState
from lakehouse.kpis.left_out import left_out_words


class AsksDremio(Protocol):
    """As much of lakehouse.dremio.client.Dremio as the console needs."""

    @property
    def near(self) -> bool: ...

    @property
    def state(self) -> ConnectionState: ...

    def head(self) -> str: ...

    def next_head(self, known: str, wait_s: float) -> str: ...

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table: ...


@dataclass(frozen=True)
class FeedAnswer:
    """A question's answer, and the commit and time it is of. `since` is from when on it was asked, where it said so."""

    table: pa.Table
    commit: str
    as_of: datetime
    since: datetime | None = None

    def covers(self, since: datetime | None) -> bool:
        """Whether what is asked of the same commit from then on is in it."""
        return self.since is None or since is None or self.since <= since


_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class FeedSnapshot:
    """The newest state of the feed.

    `commit` and `as_of` are those of the last whole poll (None before the first publish). `answers` holds the last good
    answer of every question asked; one that failed at `commit` keeps its older commit and stands in `failed` with the
    reason. `error` says why the last poll got no answer at all. Times are UTC; `polled_at` is the last good poll.
    """

    version: int = 0
    commit: str | None = None
    as_of: datetime | None = None
    first_events: Mapping[str, datetime | None] = field(default_factory=lambda: _NOTHING)
    answers: Mapping[str, FeedAnswer] = field(default_factory=lambda: _NOTHING)
    failed: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    error: str | None = None
    polled_at: datetime | None = None
    asked_s: float = 0.0

    def age_s(self, now: datetime) -> float | None:
        """Age of the data in seconds: now - as_of; None before the first publish."""
        return None if self.as_of is None else max(0.0, (now - self.as_of).total_seconds())

    # Every page asks for these at every tick: the first pays.
    @cached_property
    def clock_ahead(self) -> str:
        """Which clock was ahead of ingest's in the last hour, in words; empty: none."""
        answer = self.answers.get("clock_ahead")
        return "" if answer is None else clock_words(answer.table.to_pylist())

    @cached_property
    def kpis_left_out(self) -> str:
        """Which KPI tables lack rows, and why, in words; empty: none."""
        answer = self.answers.get("kpis_left_out")
        return "" if answer is None else left_out_words(answer.table.to_pylist())


def now_utc() -> datetime:
    return datetime.now(UTC)
