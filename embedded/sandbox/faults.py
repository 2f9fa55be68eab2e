"""Which faults are switched on: what a stand-in breaks, how, and how often."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

type Service = Literal["slack", "smtp"]

FAULTS: Mapping[Service, Mapping[str, str]] = {
    "slack": {
        "rate_limited": "429 with Retry-After",
        "error": "500",
        "hang": "holds the call, takes nothing, answers 500",
        "drop_reply": "takes it and closes without an answer",
        "accept_and_hang": "takes it and holds the answer",
        "api_error": "200 with ok false and the error given",
    },
    "smtp": {
        "refuse": "451 to MAIL FROM",
        "reject": "550 to RCPT TO",
        "hang": "holds MAIL FROM, takes nothing",
        "drop_after_data": "takes it and closes without an answer",
        "accept_and_hang": "takes it and holds the answer",
    },
}
"""What each fault of a service does, by its kind."""

_TABLE = """
CREATE TABLE IF NOT EXISTS faults (
    id INTEGER PRIMARY KEY AUTOINCREMENT, service TEXT NOT NULL, kind TEXT NOT NULL, method TEXT NOT NULL,
    remaining INTEGER, options TEXT NOT NULL);
"""


class Fault(BaseModel):
    """One switch. `count` is how many calls it breaks (None: until cleared); `method` is Slack's, or `*`."""

    model_config = ConfigDict(extra="forbid")

    service: Service
    kind: Literal[
        "rate_limited",
        "error",
        "hang",
        "drop_reply",
        "accept_and_hang",
        "api_error",
        "refuse",
        "reject",
        "drop_after_data",
    ]
    method: str = "chat.postMessage"
    count: int | None = Field(1, ge=1)
    retry_after: str = "2"
    hold_s: float = Field(30.0, gt=0, le=600)
    error: str = "channel_not_found"


class FaultSwitches:
    """The faults that are on, in a table of the sandbox's database."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._db.executescript(_TABLE)

    def switch_on(self, fault: Fault) -> None:
        """It breaks calls after those that are on already."""
        self._db.execute(
            "INSERT INTO faults (service, kind, method, remaining, options) VALUES (?, ?, ?, ?, ?)",
            (fault.service, fault.kind, fault.method, fault.count, fault.model_dump_json()),
        )

    def switch_off(self) -> None:
        """All of them."""
        self._db.execute("DELETE FROM faults")

    def on(self) -> list[Fault]:
        """The faults that are on, oldest first; `count` is what is left."""
        rows = self._db.execute("SELECT * FROM faults ORDER BY id").fetchall()
        return [_fault(row).model_copy(update={"count": row["remaining"]}) for row in rows]

    def next_of_method(self, service: Service, *methods: str) -> Fault | None:
        """The oldest fault for one of these methods, counted down; None when all is well."""
        return self._next("method", service, methods)

    def next_of_kind(self, service: Service, *kinds: str) -> Fault | None:
        """The oldest fault of one of these kinds, counted down; None when all is well."""
        return self._next("kind", service, kinds)

    def _next(self, column: str, service: Service, names: tuple[str, ...]) -> Fault | None:
        marks = ", ".join("?" * len(names))
        row = self._db.execute(
            f"SELECT * FROM faults WHERE service = ? AND {column} IN ({marks}) ORDER BY id", (service, *names)
        ).fetchone()
        if row is None:
            return None
        if row["remaining"] == 1:
            self._db.execute("DELETE FROM faults WHERE id = ?", (row["id"],))
        elif row["remaining"] is not None:
            self._db.execute("UPDATE faults SET remaining = remaining - 1 WHERE id = ?", (row["id"],))
        return _fault(row)


def _fault(row: sqlite3.Row) -> Fault:
    return Fault.model_validate_json(row["options"])
