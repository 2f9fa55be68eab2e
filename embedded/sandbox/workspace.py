"""The sandbox's Slack workspace: who is in it, what our app may do, and which conversations it is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

TEAM_ID = "T0SANDBOX"
TEAM_DOMAIN = "sandbox"
APP_ID = "A0SANDBOX"
BOT_ID = "B0SANDBOX"
BOT_USER = "U0SANDBOX"
BOT_NAME = "tillwatch"

SCOPES = (
    "chat:write",
    "channels:read",
    "channels:history",
    "groups:read",
    "groups:history",
    "im:read",
    "im:history",
    "users:read",
)
"""What the bot's token may do."""


@dataclass(frozen=True)
class SlackMember:
    """Somebody who reads along and presses buttons."""

    user_id: str
    name: str
    about: str


PEOPLE = (
    SlackMember("U0ADA", "ada", "on call"),
    SlackMember("U0BOB", "bob", "on call"),
    SlackMember("U0EVE", "eve", "in the workspace, on call nowhere"),
)


class Conversation(BaseModel):
    """Of a conversation, what decides whether our app may read it and write to it."""

    model_config = ConfigDict(extra="forbid")

    is_member: bool = True
    is_archived: bool = False


class WorkspaceState(BaseModel):
    """What can be set: the token's scopes, and conversations that are not as all others are."""

    model_config = ConfigDict(extra="forbid")

    scopes: Sequence[str] = SCOPES
    channels: dict[str, Conversation] = {}


class Workspace:
    """In memory: a restart has the token's scopes and the membership back."""

    def __init__(self) -> None:
        self.state = WorkspaceState()

    def channel(self, channel_id: str) -> Conversation:
        return self.state.channels.get(channel_id) or Conversation()

    def may(self, *scopes: str) -> bool:
        """Whether the token has one of these scopes."""
        return bool(set(scopes) & set(self.state.scopes))


def channel_name(channel_id: str) -> str:
    """What people call a conversation: C0ONCALL is #oncall."""
    return channel_id[1:].lstrip("0").lower() or channel_id.lower()


def person(user_id: str) -> SlackMember:
    """Somebody of the workspace, or somebody nobody knows, whose id is all that is known."""
    return next((known for known in PEOPLE if known.user_id == user_id), SlackMember(user_id, user_id.lower(), ""))


def conversation(channel_id: str, channel: Conversation) -> dict[str, Any]:
    """Slack's conversation object."""
    kind = channel_id[0]
    return {
        "id": channel_id,
        "name": channel_name(channel_id),
        "is_channel": kind == "C",
        "is_group": kind == "G",
        "is_im": kind == "D",
        "is_mpim": False,
        "is_private": kind != "C",
        "is_archived": channel.is_archived,
        "is_member": channel.is_member,
        "context_team_id": TEAM_ID,
    }
