"""`sandbox:` in config/tillwatch.yaml."""

from __future__ import annotations

from pydantic import Field, SecretStr

from lakehouse.settings.base import Section


class SandboxSettings(Section, section="sandbox"):
    """The stand-in for Slack, the mail server, PagerDuty and a receiver of webhooks."""

    host: str = Field("127.0.0.1", description="address it listens on")
    keep_messages: int = Field(
        5000, ge=10, description="how many Slack messages, emails, PagerDuty events and webhooks are kept, of each"
    )
    webhook_secret: SecretStr = Field(
        SecretStr(""), description="what webhooks' signatures are checked with; empty: they are not"
    )
