"""What arrived, in one SQLite file beside the faults that are on: a restart loses nothing."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedded.sandbox.conversations import Conversations
from embedded.sandbox.deliveries import DeliveryTable
from embedded.sandbox.faults import FaultSwitches
from embedded.sandbox.incidents import Incidents

_TABLE = """
CREATE TABLE IF NOT EXISTS email (
    id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT, sender TEXT NOT NULL, recipient TEXT NOT NULL,
    subject TEXT NOT NULL, body TEXT NOT NULL, headers TEXT NOT NULL, arrived_ms INTEGER NOT NULL);
"""
_KEPT = ("slack", "email", "pagerduty_events", "pagerduty_incidents", "webhook")


class Inbox:
    """One connection, used by one event loop. `clock` gives microseconds since the epoch.

    slack, pagerduty, webhook: what each service got. `keep` rows of each table stay.
    """

    def __init__(
        self, path: Path | str, keep: int = 5000, clock: Callable[[], int] = lambda: time.time_ns() // 1000
    ) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        # NORMAL survives the end of the process; only a power cut may lose the newest, and this is no real Slack.
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA busy_timeout=10000")
        self._db.executescript(_TABLE)
        if "html" not in [row["name"] for row in self._db.execute("PRAGMA table_info(email)")]:
            self._db.execute("ALTER TABLE email ADD COLUMN html TEXT NOT NULL DEFAULT ''")
        self._keep = keep
        self._clock = clock
        self.faults = FaultSwitches(self._db)
        self.slack = Conversations(self._db, self._trim, clock)
        self.pagerduty = Incidents(self._db, self._trim, clock)
        self.webhook = DeliveryTable(self._db, self._trim, clock)
        self.calls: dict[str, int] = {}

    def close(self) -> None:
        self._db.close()

    @property
    def revision(self) -> int:
        """Another number after every change."""
        return self._db.total_changes

    def mail(
        self,
        message_id: str,
        sender: str,
        recipient: str,
        subject: str,
        body: str,
        headers: dict[str, str],
        html: str = "",
    ) -> None:
        """Keep a mail for a recipient. body: its text; html: the same as HTML, where it has that."""
        self._db.execute(
            "INSERT INTO email (message_id, sender, recipient, subject, body, headers, arrived_ms, html) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (message_id, sender, recipient, subject, body, json.dumps(headers), self._clock() // 1000, html),
        )
        self._trim("email")

    def messages(self, since_ms: int = 0) -> dict[str, Any]:
        """All that arrived at or after `since_ms`, oldest first; PagerDuty's incidents as they are now."""
        email = self._db.execute("SELECT * FROM email WHERE arrived_ms >= ? ORDER BY id", (since_ms,))
        return {
            "slack": self.slack.everything(since_ms, ephemeral=False),
            "ephemeral": self.slack.everything(since_ms, ephemeral=True),
            "email": [dict(row) | {"headers": json.loads(row["headers"])} for row in email.fetchall()],
            "pagerduty": self.pagerduty.everything(since_ms),
            "webhook": self.webhook.everything(since_ms),
        }

    def clear(self) -> None:
        """Forget every message."""
        for table in _KEPT:
            self._db.execute(f"DELETE FROM {table}")

    def _trim(self, table: str) -> None:
        self._db.execute(
            f"DELETE FROM {table} WHERE rowid <= (SELECT max(rowid) FROM {table}) - ?",
            (self._keep,),
        )
