"""What arrived, in one SQLite file beside the faults that are on: a restart loses nothing."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedded.sandbox.faults import FaultSwitches

_TABLES = """
CREATE TABLE IF NOT EXISTS slack (
    channel TEXT NOT NULL, ts TEXT NOT NULL, thread_ts TEXT, broadcast INTEGER NOT NULL, text TEXT NOT NULL,
    blocks TEXT, metadata TEXT, arrived_ms INTEGER NOT NULL, edited_ms INTEGER,
    markup INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (channel, ts));
CREATE TABLE IF NOT EXISTS email (
    id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT, sender TEXT NOT NULL, recipient TEXT NOT NULL,
    subject TEXT NOT NULL, body TEXT NOT NULL, headers TEXT NOT NULL, arrived_ms INTEGER NOT NULL);
"""


class Inbox:
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
        self.faults = FaultSwitches(self._db)
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

    def _trim(self, table: str) -> None:
        self._db.execute(
            f"DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
            (self._keep,),
        )


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
