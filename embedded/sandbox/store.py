"""What arrived and which faults are switched on, in one SQLite file: a restart loses nothing."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

type Service = Literal["slack", "smtp"]

SLACK_FAULTS = {
    "rate_limited": "429 with Retry-After",
    "error": "500",
    "hang": "holds the call, takes nothing, answers 500",
    "drop_reply": "takes it and closes without an answer",
    "accept_and_hang": "takes it and holds the answer",
    "api_error": "200 with ok false and the error given",
}
SMTP_FAULTS = {
    "refuse": "451 to MAIL FROM",
    "reject": "550 to RCPT TO",
    "hang": "holds MAIL FROM, takes nothing",
    "drop_after_data": "takes it and closes without an answer",
    "accept_and_hang": "takes it and holds the answer",
}

_TABLES = """
CREATE TABLE IF NOT EXISTS slack (
    channel TEXT NOT NULL, ts TEXT NOT NULL, thread_ts TEXT, broadcast INTEGER NOT NULL, text TEXT NOT NULL,
    blocks TEXT, metadata TEXT, arrived_ms INTEGER NOT NULL, edited_ms INTEGER,
    markup INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (channel, ts));
CREATE TABLE IF NOT EXISTS email (
    id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT, sender TEXT NOT NULL, recipient TEXT NOT NULL,
    subject TEXT NOT NULL, body TEXT NOT NULL, headers TEXT NOT NULL, arrived_ms INTEGER NOT NULL);
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


class Store:
    """One connection, used by one event loop. `clock` gives microseconds since the epoch."""

    def __init__(
        self, path: Path | str, keep: int = 5000, clock: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        # NORMAL survives the end of the process; only a power cut may lose the newest, and this is no real Slack.
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA busy_timeout=10000")
        self._db.executescript(_TABLES)
        if "markup" not in [row["name"] for row in self._db.execute("PRAGMA table_info(slack)")]:
            self._db.execute("ALTER TABLE slack ADD COLUMN markup INTEGER NOT NULL DEFAULT 1")
        self._keep = keep
        self._clock = clock
        self.calls: dict[str, int] = {}

    def close(self) -> None:
        self._db.close()

    # ---- Slack

    def post(
        self,
        channel: str,
        text: str,
        *,
        thread_ts: str | None = None,
        broadcast: bool = False,
        blocks: Any = None,
        metadata: Any = None,
        markup: bool = True,
    ) -> dict[str, Any]:
        """Store a message and return it as Slack shows it. markup: whether the text is mrkdwn."""
        now = self._clock()
        row = self._db.execute("SELECT max(ts) AS newest FROM slack WHERE channel = ?", (channel,)).fetchone()
        # A ts is the message's id in its channel: two in one microsecond must differ.
        newest = int(row["newest"].replace(".", "")) if row["newest"] else 0
        us = max(now, newest + 1)
        ts = f"{us // 1_000_000}.{us % 1_000_000:06d}"
        self._db.execute(
            "INSERT INTO slack VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)",
            (
                channel,
                ts,
                thread_ts,
                int(broadcast and thread_ts is not None),
                text,
                None if blocks is None else json.dumps(blocks),
                None if metadata is None else json.dumps(metadata),
                now // 1000,
                int(markup),
            ),
        )
        self._trim("slack")
        return self.message(channel, ts) or {}

    def update(self, channel: str, ts: str, text: str, blocks: Any, metadata: Any) -> dict[str, Any] | None:
        """Replace text, blocks and, when given, metadata; None when there is no such message."""
        self._db.execute(
            "UPDATE slack SET text = ?, blocks = ?, metadata = coalesce(?, metadata), edited_ms = ? "
            "WHERE channel = ? AND ts = ?",
            (
                text,
                None if blocks is None else json.dumps(blocks),
                None if metadata is None else json.dumps(metadata),
                self._clock() // 1000,
                channel,
                ts,
            ),
        )
        return self.message(channel, ts)

    def message(self, channel: str, ts: str) -> dict[str, Any] | None:
        row = self._db.execute("SELECT * FROM slack WHERE channel = ? AND ts = ?", (channel, ts)).fetchone()
        return _slack(row) if row else None

    def history(
        self, channel: str, oldest: str, latest: str | None, inclusive: bool, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """Messages of a channel without thread replies, newest first, and whether there are more."""
        low, high = (">=", "<=") if inclusive else (">", "<")
        rows = self._db.execute(
            "SELECT * FROM slack WHERE channel = ? AND (thread_ts IS NULL OR thread_ts = ts OR broadcast = 1) "
            f"AND ts {low} ? AND ts {high} ? ORDER BY ts DESC LIMIT ?",
            (channel, oldest, latest or "9", limit + 1),
        ).fetchall()
        return [_slack(row) for row in rows[:limit]], len(rows) > limit

    def replies(self, channel: str, thread_ts: str, oldest: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
        """A thread's first message and its replies, oldest first, and whether there are more."""
        rows = self._db.execute(
            "SELECT * FROM slack WHERE channel = ? AND (ts = ? OR thread_ts = ?) AND (ts = ? OR ts > ?) "
            "ORDER BY ts LIMIT ?",
            (channel, thread_ts, thread_ts, thread_ts, oldest, limit + 1),
        ).fetchall()
        return [_slack(row) for row in rows[:limit]], len(rows) > limit

    # ---- email

    def mail(
        self, message_id: str, sender: str, recipient: str, subject: str, body: str, headers: dict[str, str]
    ) -> None:
        self._db.execute(
            "INSERT INTO email (message_id, sender, recipient, subject, body, headers, arrived_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (message_id, sender, recipient, subject, body, json.dumps(headers), self._clock() // 1000),
        )
        self._trim("email")

    # ---- both

    def messages(self, since_ms: int = 0) -> dict[str, list[dict[str, Any]]]:
        """All that arrived at or after `since_ms`, oldest first."""
        slack = self._db.execute("SELECT * FROM slack WHERE arrived_ms >= ? ORDER BY arrived_ms, ts", (since_ms,))
        email = self._db.execute("SELECT * FROM email WHERE arrived_ms >= ? ORDER BY id", (since_ms,))
        return {
            "slack": [
                _slack(row)
                | {"channel": row["channel"], "arrived_ms": row["arrived_ms"], "mrkdwn": bool(row["markup"])}
                for row in slack.fetchall()
            ],
            "email": [dict(row) | {"headers": json.loads(row["headers"])} for row in email.fetchall()],
        }

    def clear(self) -> None:
        """Forget every message."""
        self._db.execute("DELETE FROM slack")
        self._db.execute("DELETE FROM email")

    def switch(self, fault: Fault) -> None:
        """Switch a fault on; it breaks calls after those that are on already."""
        self._db.execute(
            "INSERT INTO faults (service, kind, method, remaining, options) VALUES (?, ?, ?, ?, ?)",
            (fault.service, fault.kind, fault.method, fault.count, fault.model_dump_json()),
        )

    def switch_off(self) -> None:
        self._db.execute("DELETE FROM faults")

    def faults(self) -> list[Fault]:
        """The faults that are on, oldest first; `count` is what is left."""
        rows = self._db.execute("SELECT * FROM faults ORDER BY id").fetchall()
        return [
            Fault.model_validate_json(row["options"]).model_copy(update={"count": row["remaining"]}) for row in rows
        ]

    def next_fault(self, service: Service, *names: str) -> Fault | None:
        """The oldest fault for one of these methods (or kinds, for SMTP), counted down; None when all is well."""
        column = "method" if service == "slack" else "kind"
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

    def _trim(self, table: str) -> None:
        self._db.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
            (self._keep,),
        )


def _fault(row: sqlite3.Row) -> Fault:
    return Fault.model_validate_json(row["options"])


def _slack(row: sqlite3.Row) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "message", "ts": row["ts"], "text": row["text"], "bot_id": "B0SANDBOX"}
    if row["thread_ts"]:
        message["thread_ts"] = row["thread_ts"]
        if row["broadcast"]:
            message["subtype"] = "thread_broadcast"
    if row["blocks"]:
        message["blocks"] = json.loads(row["blocks"])
    if row["metadata"]:
        message["metadata"] = json.loads(row["metadata"])
    if row["edited_ms"]:
        message["edited"] = {"user": "U0SANDBOX", "ts": f"{row['edited_ms'] / 1000:.6f}"}
    return message
