"""A button that somebody pressed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(eq=False)
class SandboxPress:
    """Somebody pressed a button.

    sent: how often the app was told. late: it did not take it in time, and a person sees a warning. deaf: its
    acknowledgement is not taken. answered, heard: one came, one was taken.
    """

    envelope_id: str
    payload: Mapping[str, Any]
    pressed_ms: int
    base_url: str
    sent: int = 0
    late: bool = False
    deaf: bool = False
    acknowledged_ms: int | None = None
    answers: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def told(self) -> dict[str, Any]:
        """For those who look on."""
        action = self.payload["actions"][0]
        return {
            "envelope_id": self.envelope_id,
            "channel": self.payload["channel"]["id"],
            "ts": self.payload["message"]["ts"],
            "action_id": action["action_id"],
            "label": action["text"]["text"],
            "user": self.payload["user"]["id"],
            "pressed_ms": self.pressed_ms,
            "sent": self.sent,
            "late": self.late,
            "acknowledged_ms": self.acknowledged_ms,
        }
