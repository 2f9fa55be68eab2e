"""The webhook's side: every delivery as it came, with what the receiver makes of its signature."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Literal

type Verdict = Literal["right", "wrong", "stale", "missing", "unchecked"]

TOLERANCE_S = 300
"""How far the time of a signature may be from ours: an older one may be somebody's copy."""

_TABLE = """
CREATE TABLE IF NOT EXISTS webhook (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, delivery TEXT NOT NULL, repeated INTEGER NOT NULL,
    signature TEXT NOT NULL, headers TEXT NOT NULL, body TEXT NOT NULL, arrived_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS webhook_deliveries ON webhook (name, delivery);
"""


def verdict(header: str | None, body: bytes, secret: str, now_s: int) -> Verdict:
    """What `Tillwatch-Signature: t=SECONDS,v1=HEX` is worth. One v1 of several is enough."""
    if not secret:
        return "unchecked"
    if not header:
        return "missing"
    pairs = [pair.strip().partition("=")[::2] for pair in header.split(",")]
    moment = next((value for name, value in pairs if name == "t"), "")
    meant = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not any(name == "v1" and hmac.compare_digest(value.encode(), meant.encode()) for name, value in pairs):
        return "wrong"
    return "right" if moment.isascii() and moment.isdigit() and abs(now_s - int(moment)) <= TOLERANCE_S else "stale"


class DeliveryTable:
    """In a table of the sandbox's database."""

    def __init__(self, db: sqlite3.Connection, trim: Callable[[str], None], clock: Callable[[], int]) -> None:
        self._db = db
        self._trim = trim
        self._clock = clock
        self._db.executescript(_TABLE)

    def take(self, name: str, headers: Mapping[str, str], body: bytes, secret: str) -> None:
        """Keep a delivery. headers: by their names in lower case."""
        now = self._clock()
        delivery = headers.get("tillwatch-delivery", "")
        known = self._db.execute(
            "SELECT 1 FROM webhook WHERE name = ? AND delivery = ? AND delivery <> ''", (name, delivery)
        ).fetchone()
        self._db.execute(
            "INSERT INTO webhook (name, delivery, repeated, signature, headers, body, arrived_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                name,
                delivery,
                int(known is not None),
                verdict(headers.get("tillwatch-signature"), body, secret, now // 1_000_000),
                json.dumps(dict(headers)),
                body.decode(errors="replace"),
                now // 1000,
            ),
        )
        self._trim("webhook")

    def everything(self, since_ms: int) -> list[dict[str, Any]]:
        """What arrived at or after `since_ms`, oldest first. repeated: its id had come before to the same name."""
        rows = self._db.execute("SELECT * FROM webhook WHERE arrived_ms >= ? ORDER BY id", (since_ms,))
        return [
            dict(row) | {"repeated": bool(row["repeated"]), "headers": json.loads(row["headers"])}
            for row in rows.fetchall()
        ]
