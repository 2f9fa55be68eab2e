"""`sandbox:` in config/tillwatch.yaml."""

from __future__ import annotations

from pydantic import Field

from lakehouse.settings.base import Section


class SandboxSettings(Section, section="sandbox"):
    """The stand-in for Slack and the mail server."""

    host: str = Field("127.0.0.1", description="address it listens on")
    keep_messages: int = Field(5000, ge=10, description="how many Slack messages, and how many emails, are kept")
