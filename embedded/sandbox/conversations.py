"""Slack's messages: what was posted, changed and deleted, and how Slack gives it back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embedded.sandbox.workspace import APP_ID, BOT_ID, BOT_USER, TEAM_ID

_TABLE = """
CREATE TABLE IF NOT EXISTS slack (
    channel TEXT NOT NULL, ts TEXT NOT NULL, thread_ts TEXT, broadcast INTEGER NOT NULL, text TEXT NOT NULL,
    blocks TEXT, metadata TEXT, arrived_ms INTEGER NOT NULL, edited_ms INTEGER,
    markup INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (channel, ts));
"""
_LATER_COLUMNS = {
    "markup": "INTEGER NOT NULL DEFAULT 1",
    "attachments": "TEXT",
    "author": f"TEXT NOT NULL DEFAULT '{BOT_USER}'",
    "only_for": "TEXT",
    "deleted": "INTEGER NOT NULL DEFAULT 0",
}
_INDEXES = """
CREATE INDEX IF NOT EXISTS slack_threads ON slack (channel, thread_ts);
CREATE INDEX IF NOT EXISTS slack_arrivals ON slack (arrived_ms);
"""
_IN_CHANNEL = "(thread_ts IS NULL OR thread_ts = ts OR broadcast = 1)"
# An app cannot read what only one person sees.
_READABLE = "only_for IS NULL"


@dataclass(frozen=True)
class Content:
    """What a message says. markup: whether the text is mrkdwn."""

    text: str
    blocks: Sequence[Mapping[str, Any]] | None = None
    attachments: Sequence[Mapping[str, Any]] | None = None
    metadata: Mapping[str, Any] | None = None
    markup: bool = True


class Conversations:
    """The messages of all conversations, in a table of the sandbox's database. A message's id is (channel, ts)."""

    def __init__(self, db: sqlite3.Connection, trim: Callable[[str], None], clock: Callable[[], int]) -> None:
        self._db = db
        self._trim = trim
        self._clock = clock
        self._db.executescript(_TABLE)
        there = [row["name"] for row in self._db.execute("PRAGMA table_info(slack)")]
        for name, declared in _LATER_COLUMNS.items():
            if name not in there:
                self._db.execute(f"ALTER TABLE slack ADD COLUMN {name} {declared}")
        self._db.executescript(_INDEXES)

    def post(
        self,
        channel: str,
        content: Content,
        *,
        thread_ts: str | None = None,
        broadcast: bool = False,
        author: str = BOT_USER,
        only_for: str | None = None,
    ) -> dict[str, Any]:
        """Store a message and return it as Slack shows it. only_for: the one person who sees it."""
        now = self._clock()
        row = self._db.execute("SELECT max(ts) AS newest FROM slack WHERE channel = ?", (channel,)).fetchone()
        # A ts is the message's id in its channel: two in one microsecond must differ.
        newest = int(row["newest"].replace(".", "")) if row["newest"] else 0
        us = max(now, newest + 1)
        ts = f"{us // 1_000_000}.{us % 1_000_000:06d}"
        self._db.execute(
            "INSERT INTO slack (channel, ts, thread_ts, broadcast, text, blocks, attachments, metadata, arrived_ms, "
            "markup, author, only_for) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                channel,
                ts,
                thread_ts,
                int(broadcast and thread_ts is not None),
                content.text,
                _json(content.blocks),
                _json(content.attachments),
                _json(content.metadata),
                now // 1000,
                int(content.markup),
                author,
                only_for,
            ),
        )
        self._trim("slack")
        return self._with_root(channel, _message(self._row(channel, ts)))

    def update(self, channel: str, ts: str, content: Content, *, broadcast: bool) -> dict[str, Any]:
        """Replace all that an own message says."""
        self._db.execute(
            "UPDATE slack SET text = ?, blocks = ?, attachments = ?, metadata = ?, broadcast = ?, edited_ms = ? "
            "WHERE channel = ? AND ts = ?",
            (
                content.text,
                _json(content.blocks),
                _json(content.attachments),
                _json(content.metadata),
                int(broadcast),
                self._clock() // 1000,
                channel,
                ts,
            ),
        )
        return self._with_root(channel, _message(self._row(channel, ts)))

    def delete(self, channel: str, ts: str) -> None:
        """A message with replies leaves a mark that it was there."""
        if self._threads(channel, [ts]):
            self._db.execute(
                "UPDATE slack SET deleted = 1, text = ?, blocks = NULL, attachments = NULL, metadata = NULL "
                "WHERE channel = ? AND ts = ?",
                ("This message was deleted.", channel, ts),
            )
        else:
            self._db.execute("DELETE FROM slack WHERE channel = ? AND ts = ?", (channel, ts))

    def message(self, channel: str, ts: str) -> dict[str, Any] | None:
        """A message that apps can read, as Slack gives it back; a deleted one has the subtype tombstone."""
        row = self._row(channel, ts)
        return _message(row) if row and row["only_for"] is None else None

    def history(
        self, channel: str, oldest: str, latest: str | None, inclusive: bool, limit: int
    ) -> tuple[list[dict[str, Any]], bool]:
        """Messages of a channel without thread replies, newest first, and whether there are more."""
        low, high = (">=", "<=") if inclusive else (">", "<")
        rows = self._db.execute(
            f"SELECT * FROM slack WHERE channel = ? AND {_IN_CHANNEL} AND {_READABLE} "
            f"AND ts {low} ? AND ts {high} ? ORDER BY ts DESC LIMIT ?",
            (channel, oldest, latest or "9", limit + 1),
        ).fetchall()
        return self._as_thread(channel, rows[:limit]), len(rows) > limit

    def replies(self, channel: str, thread_ts: str, oldest: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
        """A thread's first message and its replies, oldest first, and whether there are more."""
        rows = self._db.execute(
            f"SELECT * FROM slack WHERE channel = ? AND (ts = ? OR thread_ts = ?) AND {_READABLE} "
            "AND (ts = ? OR ts > ?) ORDER BY ts LIMIT ?",
            (channel, thread_ts, thread_ts, thread_ts, oldest, limit + 1),
        ).fetchall()
        return self._as_thread(channel, rows[:limit]), len(rows) > limit

    def everything(self, since_ms: int, *, ephemeral: bool) -> list[dict[str, Any]]:
        """For those who look on: what apps can read, or what one person alone sees; oldest first."""
        rows = self._db.execute(
            f"SELECT * FROM slack WHERE arrived_ms >= ? AND ({_READABLE}) = ? ORDER BY arrived_ms, ts",
            (since_ms, int(not ephemeral)),
        )
        return [
            _message(row)
            | {
                "channel": row["channel"],
                "arrived_ms": row["arrived_ms"],
                "edited_ms": row["edited_ms"],
                "mrkdwn": bool(row["markup"]),
            }
            | ({"only_for": row["only_for"]} if ephemeral else {})
            for row in rows.fetchall()
        ]

    def _row(self, channel: str, ts: str) -> Any:
        return self._db.execute("SELECT * FROM slack WHERE channel = ? AND ts = ?", (channel, ts)).fetchone()

    def _as_thread(self, channel: str, rows: Sequence[sqlite3.Row]) -> list[dict[str, Any]]:
        """Messages that tell of their threads."""
        threads = self._threads(channel, [row["ts"] for row in rows])
        return [self._with_root(channel, _message(row) | threads.get(row["ts"], {})) for row in rows]

    def _threads(self, channel: str, first: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What those of these messages tell that have replies."""
        marks = ", ".join("?" * len(first))
        rows = self._db.execute(
            "SELECT thread_ts, count(*) AS replies, max(ts) AS newest FROM slack "
            f"WHERE channel = ? AND thread_ts IN ({marks}) AND ts <> thread_ts AND {_READABLE} GROUP BY thread_ts",
            (channel, *first),
        )
        return {
            row["thread_ts"]: {
                "thread_ts": row["thread_ts"],
                "reply_count": row["replies"],
                "latest_reply": row["newest"],
            }
            for row in rows.fetchall()
        }

    def _with_root(self, channel: str, message: dict[str, Any]) -> dict[str, Any]:
        """A reply that is seen in the channel brings along what it replies to."""
        if message.get("subtype") != "thread_broadcast":
            return message
        root = self._row(channel, message["thread_ts"])
        return message | ({"root": _message(root)} if root else {})


def _message(row: sqlite3.Row) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "message", "ts": row["ts"], "text": row["text"]}
    if row["thread_ts"]:
        message["thread_ts"] = row["thread_ts"]
    if row["deleted"]:
        return message | {"subtype": "tombstone", "user": "USLACKBOT", "hidden": True}
    message |= {"user": row["author"], "team": TEAM_ID}
    if row["author"] == BOT_USER:
        message |= {"bot_id": BOT_ID, "app_id": APP_ID}
    if row["broadcast"]:
        message["subtype"] = "thread_broadcast"
    for name in ("blocks", "attachments", "metadata"):
        if row[name]:
            message[name] = json.loads(row[name])
    # Slack marks no message as edited that has blocks.
    if row["edited_ms"] and not row["blocks"]:
        message["edited"] = {"user": BOT_USER, "ts": f"{row['edited_ms'] / 1000:.6f}"}
    return message


def _json(value: Any) -> str | None:
    return json.dumps(value) if value else None
