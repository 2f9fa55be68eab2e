"""Where the topics are."""

from __future__ import annotations

import re
from datetime import timedelta

from pydantic import Field, ValidationInfo, field_validator

from lakehouse.settings.base import Section, Shared
from lakehouse.settings.durations import Duration


class KafkaSettings(Section, section="kafka"):
    """Where the topics are, and how they are made."""

    brokers: str = Field("", description="HOST:PORT,HOST:PORT; empty: the broker on this machine")
    partitions: int = Field(1, ge=1, le=1000, description="of a topic that is made (count)")
    replication: int = Field(1, ge=1, le=9, description="copies of each partition of a topic that is made (count)")
    min_insync: int = Field(
        1, ge=1, le=9, description="copies that must have a message before it is confirmed, of a topic that is made"
    )
    retention: Duration = Field(timedelta(days=7), description="how long a topic that is made keeps its messages")
    max_message_mb: int = Field(1, ge=1, le=64, description="largest message that a topic that is made takes (MB)")

    @field_validator("brokers")
    @classmethod
    def _brokers(cls, value: str) -> str:
        if not value:
            return f"127.0.0.1:{Shared.load().port('kafka')}"
        if not re.fullmatch(r"[^\s,:/]+:\d+(,[^\s,:/]+:\d+)*", value):
            raise ValueError("expected HOST:PORT, or several with commas between")
        return value

    @field_validator("min_insync")
    @classmethod
    def _min_insync(cls, value: int, info: ValidationInfo) -> int:
        replication = info.data.get("replication", value)
        if value > replication:
            raise ValueError(f"there are no more than {replication} copies (kafka.replication)")
        return value
