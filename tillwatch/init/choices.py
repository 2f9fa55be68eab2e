"""What is said of a sample, by flags and answers, and what is chosen in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from lakehouse.topics import TOPICS
from tillwatch.init.numbers import Signs
from tillwatch.init.times import TimeForm

NOTHING = "-"
"""The answer that no column says it."""
EACH_LINE = "_line"
"""As the id: each line of a file is one."""
ORDERS = "orders_topic"

_FLAGS = {"order_total": "--total", "amount": "--total", "user_id": "--customer"}


class MessageShape(Enum):
    """What a message is, and where the amount of an order stands."""

    ORDER = "a message is an order"
    FIRST = "a line is of an order, whose total stands on the first of them"
    REPEATED = "a line is of an order, whose total stands on each of them"
    LINE = "a message is a line of an order"
    EACH = "each element of a list is a line of an order"
    WHOLE = "a message is an order with its total, and has a list of lines"

    @property
    def grain(self) -> str:
        return "line" if self in (MessageShape.LINE, MessageShape.EACH) else "order"


@dataclass(frozen=True)
class Given:
    """What was said. `paths`: by field, NOTHING where no column says it; `constants`: by field a value for all."""

    topic: str | None = None
    paths: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    form: str | None = None
    zone: str | None = None
    grain: str | None = None
    currency: str | None = None
    minor: int | None = None
    decimal: str | None = None


@dataclass(frozen=True)
class Choices:
    """How the messages of a sample become events of a topic.

    `paths`: by field, the likeliest first; `clock`: the column of the time of day, where it has one of its
    own. `line_total`: the amount of an element where `paths` has that of the whole.
    `events`: what names an event, `lines`: what tells the lines of an order apart. `notes`: what was not sure.
    """

    topic: str
    paths: Mapping[str, tuple[str, ...]]
    constants: Mapping[str, str]
    form: TimeForm | None
    clock: str
    zone: str
    signs: Signs
    minor: Mapping[str, int]
    currency: str
    shape: MessageShape
    list_path: str = ""
    line_total: str = ""
    events: str = ""
    lines: str = ""
    notes: tuple[str, ...] = ()

    def path(self, name: str) -> str | None:
        return self.paths[name][0] if name in self.paths else None

    @property
    def id_field(self) -> str:
        return TOPICS[self.topic].id_field

    @property
    def time_field(self) -> str:
        return TOPICS[self.topic].time


def flag(topic: str, name: str) -> str:
    """What says which column a field is, like `--id` or `--map url=`."""
    if name == TOPICS[topic].id_field:
        return "--id"
    if name == TOPICS[topic].time:
        return "--time"
    return _FLAGS.get(name, f"--map {name}=")


def short(topic: str) -> str:
    """What people call a topic: orders."""
    return topic.removesuffix("_topic")
