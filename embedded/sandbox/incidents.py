"""PagerDuty's side: an incident for each dedup_key of an integration, and the log of events."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS pagerduty_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, routing_key TEXT NOT NULL, dedup_key TEXT NOT NULL, action TEXT NOT NULL,
    effect TEXT NOT NULL, incident INTEGER, event TEXT NOT NULL, arrived_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS pagerduty_incidents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, routing_key TEXT NOT NULL, dedup_key TEXT NOT NULL, state TEXT NOT NULL,
    event TEXT NOT NULL, opened_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS pagerduty_keys ON pagerduty_incidents (routing_key, dedup_key);
"""
_STATES = {"acknowledge": "acknowledged", "resolve": "resolved"}


class Incidents:
    """In tables of the sandbox's database. States: triggered, acknowledged, resolved; then its key may begin anew."""

    def __init__(self, db: sqlite3.Connection, trim: Callable[[str], None], clock: Callable[[], int]) -> None:
        self._db = db
        self._trim = trim
        self._clock = clock
        self._db.executescript(_TABLES)

    def take(self, event: Mapping[str, Any], dedup_key: str) -> None:
        """What an event that is right does to its incident.

        A trigger opens one, or tells more of one that is open and leaves its state. An acknowledge or resolve of none
        that is open does nothing.
        """
        now = self._clock() // 1000
        action = event["event_action"]
        key = (event["routing_key"], dedup_key)
        open_one = self._db.execute(
            "SELECT * FROM pagerduty_incidents WHERE routing_key = ? AND dedup_key = ? AND state <> 'resolved'", key
        ).fetchone()
        incident = open_one["id"] if open_one else None
        if open_one is None and action == "trigger":
            cursor = self._db.execute(
                "INSERT INTO pagerduty_incidents (routing_key, dedup_key, state, event, opened_ms, changed_ms) "
                "VALUES (?, ?, 'triggered', ?, ?, ?)",
                (*key, json.dumps(event), now, now),
            )
            incident = cursor.lastrowid
            self._trim("pagerduty_incidents")
            effect = "triggered"
        elif open_one is None:
            effect = "nothing: no incident with this dedup_key is open"
        elif action == "trigger":
            self._db.execute("UPDATE pagerduty_incidents SET changed_ms = ? WHERE id = ?", (now, incident))
            effect = "added to the open incident"
        else:
            effect = _STATES[action]
            self._db.execute(
                "UPDATE pagerduty_incidents SET state = ?, changed_ms = ? WHERE id = ?", (effect, now, incident)
            )
        self._log(event, dedup_key, effect, incident, now)

    def refuse(self, event: Mapping[str, Any], errors: Sequence[str]) -> None:
        """Log an event that is wrong."""
        self._log(event, str(event.get("dedup_key", "")), f"refused: {'; '.join(errors)}", None, self._clock() // 1000)

    def everything(self, since_ms: int) -> dict[str, list[dict[str, Any]]]:
        """The incidents as they are now, and the log of events that arrived at or after `since_ms`; oldest first."""
        incidents = self._db.execute("SELECT * FROM pagerduty_incidents ORDER BY id").fetchall()
        events = self._db.execute("SELECT * FROM pagerduty_events WHERE arrived_ms >= ? ORDER BY id", (since_ms,))
        return {
            name: [dict(row) | {"event": json.loads(row["event"])} for row in rows]
            for name, rows in (("incidents", incidents), ("events", events.fetchall()))
        }

    def _log(self, event: Mapping[str, Any], dedup_key: str, effect: str, incident: int | None, now: int) -> None:
        self._db.execute(
            "INSERT INTO pagerduty_events (routing_key, dedup_key, action, effect, incident, event, arrived_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                str(event.get("routing_key", "")),
                dedup_key,
                str(event.get("event_action", "")),
                effect,
                incident,
                json.dumps(event),
                now,
            ),
        )
        self._trim("pagerduty_events")
