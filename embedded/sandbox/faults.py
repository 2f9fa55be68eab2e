"""Which faults are switched on: what a stand-in breaks, how, and how often."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

type Service = Literal["slack", "smtp", "pagerduty", "webhook"]
type Kind = Literal[
    "rate_limited",
    "error",
    "hang",
    "drop_reply",
    "accept_and_hang",
    "api_error",
    "redirect",
    "long_answer",
    "refuse",
    "reject",
    "drop_after_data",
]

_NO_SUCH_KEY = "Length of 'routing_key' is incorrect (should be 32 characters)"
_HTTP: Mapping[Kind, str] = {
    "rate_limited": "429 with Retry-After",
    "error": "500, or the status given",
    "hang": "holds the call, takes nothing, answers 500",
    "drop_reply": "takes it and closes without an answer",
    "accept_and_hang": "takes it and holds the answer",
}
FAULTS: Mapping[Service, Mapping[Kind, str]] = {
    "slack": {**_HTTP, "api_error": "200 with ok false and the error given"},
    "smtp": {
        "refuse": "451 to MAIL FROM",
        "reject": "550 to RCPT TO",
        "hang": "holds MAIL FROM, takes nothing",
        "drop_after_data": "takes it and closes without an answer",
        "accept_and_hang": "takes it and holds the answer",
    },
    "pagerduty": {**_HTTP, "api_error": "400 with the error given"},
    "webhook": {
        **_HTTP,
        "redirect": "307 to /hooks/elsewhere, takes nothing",
        "long_answer": "takes it and answers 200 with 16 MiB",
    },
}
"""What each fault of a service does, by its kind."""

INTERACTIVE = "interactive"
"""The method of faults of Socket Mode's envelopes."""
INTERACTIVE_FAULTS: Mapping[Kind, str] = {
    "drop_reply": "sends the envelope, takes no acknowledgement of it and cuts the connection",
    "accept_and_hang": "sends the envelope and takes no acknowledgement of it",
}

_TABLE = """
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT, service TEXT NOT NULL, kind TEXT NOT NULL, method TEXT NOT NULL,
    remaining INTEGER, options TEXT NOT NULL, share REAL, drawn INTEGER NOT NULL DEFAULT 0);
"""
_LATER_COLUMNS = {"share": "REAL", "drawn": "INTEGER NOT NULL DEFAULT 0"}


class Fault(BaseModel):
    """One switch. `count` is how many calls it breaks (None: until cleared, which a share does where none is given).

    share: of the calls that no fault without a share breaks, as 0.05; the others are left alone. A call meets one fault
    at most. seed: of the draws; the same seed breaks the same calls, whether or not the sandbox is restarted between.
    Of faults with a share for the same calls, the oldest one's seed holds for all.
    method: Slack's, chat.postMessage where none is given, or `interactive`; PagerDuty's event_action; a webhook's name;
    `*`: all of them. place: a conversation of Slack's, for calls that name it; none given: all calls. error: of an
    api_error, channel_not_found at Slack where none is given. status: of an error.
    """

    model_config = ConfigDict(extra="forbid")

    service: Service
    kind: Kind
    method: str = ""
    place: str = ""
    count: int | None = Field(1, ge=1)
    retry_after: str = "2"
    hold_s: float = Field(30.0, gt=0, le=600)
    error: str = ""
    status: int = Field(500, ge=400, le=599)
    share: float | None = Field(None, gt=0, le=1)
    seed: int = 0

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = FAULTS[self.service]
        where: str = self.service
        if self.service == "slack" and self.method == INTERACTIVE:
            known, where = INTERACTIVE_FAULTS, INTERACTIVE
        if self.kind not in known:
            raise ValueError(f"{where} has no fault '{self.kind}'; it has {', '.join(known)}")
        if self.place and (self.service != "slack" or self.method == INTERACTIVE):
            raise ValueError("place: only calls of Slack's methods name one")
        self.method = self.method or ("chat.postMessage" if self.service == "slack" else "*")
        if not self.error and self.kind == "api_error":
            self.error = "channel_not_found" if self.service == "slack" else _NO_SUCH_KEY
        if self.share is not None and "count" not in self.model_fields_set:
            self.count = None
        return self


class FaultSwitches:
    """The faults that are on, in a table of the sandbox's database."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._db.executescript(_TABLE)
        there = [row["name"] for row in self._db.execute("PRAGMA table_info(faults)")]
        for name, declared in _LATER_COLUMNS.items():
            if name not in there:
                self._db.execute(f"ALTER TABLE faults ADD COLUMN {name} {declared}")

    def switch_on(self, fault: Fault) -> None:
        """It breaks calls after those that are on already. Raises ValueError where all shares of a call are over 1."""
        alike = [other for other in self.on() if other.service == fault.service and _meet(other.method, fault.method)]
        shares = sum(other.share or 0 for other in alike)
        if fault.share and shares + fault.share > 1:
            raise ValueError(f"share: {fault.share:g} and the {shares:g} of faults that are on are more than all calls")
        self._db.execute(
            "INSERT INTO faults (service, kind, method, remaining, options, share) VALUES (?, ?, ?, ?, ?, ?)",
            (fault.service, fault.kind, fault.method, fault.count, fault.model_dump_json(), fault.share),
        )

    def switch_off(self) -> None:
        """All of them."""
        self._db.execute("DELETE FROM faults")

    def on(self) -> list[Fault]:
        """The faults that are on, oldest first; `count` is what is left."""
        rows = self._db.execute("SELECT * FROM faults ORDER BY id").fetchall()
        return [_fault(row).model_copy(update={"count": row["remaining"]}) for row in rows]

    def next_of_method(self, service: Service, *methods: str, place: str = "") -> Fault | None:
        """The fault that a call of one of these methods meets, counted down; None when all is well. place: of the call;
        faults of other places are none of its."""
        return self._next("method", service, methods, place)

    def next_of_kind(self, service: Service, *kinds: Kind) -> Fault | None:
        """The fault of one of these kinds that a call meets, counted down; None when all is well."""
        return self._next("kind", service, kinds)

    def _next(self, column: str, service: Service, names: tuple[str, ...], place: str = "") -> Fault | None:
        """The oldest of those without a share; where none is, one of the others, or none, by chance."""
        marks = ", ".join("?" * len(names))
        found = self._db.execute(
            f"SELECT * FROM faults WHERE service = ? AND {column} IN ({marks}) ORDER BY share IS NOT NULL, id",
            (service, *names),
        )
        rows = [row for row in found if _fault(row).place in ("", place)]
        row = next(iter(rows), None)
        if row is not None and row["share"] is not None:
            row = self._drawn(rows)
        if row is None:
            return None
        if row["remaining"] == 1:
            self._db.execute("DELETE FROM faults WHERE id = ?", (row["id"],))
        elif row["remaining"] is not None:
            self._db.execute("UPDATE faults SET remaining = remaining - 1 WHERE id = ?", (row["id"],))
        return _fault(row)

    def _drawn(self, rows: Sequence[sqlite3.Row]) -> sqlite3.Row | None:
        """Which of these faults with a share it is this time: one number says it for all of them."""
        oldest = rows[0]
        self._db.execute("UPDATE faults SET drawn = drawn + 1 WHERE id = ?", (oldest["id"],))
        # By the number of the call, and not from one generator for all: a restart goes on where it was.
        chance = random.Random(f"{_fault(oldest).seed} {oldest['drawn']}").random()
        for row in rows:
            chance -= row["share"]
            if chance < 0:
                return row
        return None


def _meet(one: str, other: str) -> bool:
    """Whether a call can be of both methods."""
    return one == other or "*" in (one, other)


def _fault(row: sqlite3.Row) -> Fault:
    return Fault.model_validate_json(row["options"])
