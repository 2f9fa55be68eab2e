"""The topics, one YAML file each: what producers send, and the raw table in which it is kept.

The shipped ones lie here, a shop's own in config/topics.

A file says all of a topic; readers of messages, tables, both engines, docs/contract.md and checks follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lakehouse.own import own_files
from lakehouse.topics.load import load_topics
from lakehouse.topics.topic import FieldKind, Topic, TopicField
from lakehouse.user_error import exit_on_user_error

__all__ = ["TOPICS", "FieldKind", "Topic", "TopicField", "choices_of", "load_topics"]

with exit_on_user_error():
    TOPICS: Mapping[str, Topic] = load_topics(Path(__file__).parent.glob("*.yaml"), own_files("topics", ".yaml"))


def choices_of(topic: str, field: str) -> tuple[str, ...]:
    """The values that a field of the kind CHOICE may have, in their order. Raises KeyError for an unknown name."""
    return TOPICS[topic].field(field).choices
