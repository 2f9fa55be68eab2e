"""What a topic is: its fields, their kinds, and the raw table that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lakehouse.schema import Table


class FieldKind(Enum):
    """How a field is read; the value says it in words."""

    ID = "text or JSON integer, not blank"
    TEXT = "text"
    CHOICE = "one of"
    COUNT = "whole number, 1 to 2147483647"
    PRICE = "number >= 0, kept with 4 decimals, below 10^14"
    MONEY = "number, kept with 2 decimals, below 10^16"
    TIME = "ISO 8601, without an offset UTC"
    CURRENCY = "ISO 4217 code of three letters"


COLUMN_TYPES = {
    FieldKind.ID: "string",
    FieldKind.TEXT: "string",
    FieldKind.CHOICE: "string",
    FieldKind.COUNT: "int",
    FieldKind.PRICE: "decimal(18,4)",
    FieldKind.MONEY: "decimal(18,2)",
    FieldKind.TIME: "timestamptz",
    FieldKind.CURRENCY: "string",
}
AMOUNTS = (FieldKind.PRICE, FieldKind.MONEY)
NUMBERS = (FieldKind.COUNT, *AMOUNTS)


@dataclass(frozen=True)
class TopicField:
    """One JSON field of a topic, as producers send it. `required` ones are never absent.

    `column` is its name in the raw table and in an Event. `above`: an amount, as it is kept, must be more than that.
    `product`: two fields whose product, rounded once, stands for an amount that is not given. `original`: the column
    that keeps an amount as it was before it was converted. `guest`: an ID that is '' where a shop has guests.
    """

    name: str
    kind: FieldKind
    doc: str
    column: str
    required: bool = True
    choices: tuple[str, ...] = ()
    above: int | None = None
    product: tuple[str, str] | None = None
    unit: str = ""
    original: str | None = None
    guest: bool = False

    @property
    def always(self) -> bool:
        """Whether every event has a value."""
        return self.required or self.product is not None

    @property
    def words(self) -> str:
        """What is taken, in words."""
        if self.kind is FieldKind.CHOICE:
            return " ".join(self.choices)
        return self.kind.value if self.above is None else f"{self.kind.value}, above {self.above}"


EVENT_ID = TopicField(
    "event_id", FieldKind.ID, "the event's identity; without it a hash of all fields is", "event_key", required=False
)
PRODUCED_AT = TopicField("produced_at", FieldKind.TIME, "when the producer sent it", "produced_at", required=False)


@dataclass(frozen=True, eq=False)
class Topic:
    """One topic as its file declares it.

    `fields` are its own ones, then event_id and produced_at, which every topic has. `time` names the field that says
    when it happened, `message_key` the one whose value producers give the log as the message's key. `key`: the fields
    whose hash is the identity of an event without event_id, in an order that never changes.
    """

    name: str
    doc: str
    fields: tuple[TopicField, ...]
    time: str
    key: tuple[str, ...]
    message_key: str
    table: Table

    @property
    def id_field(self) -> str:
        """The field that names what the event is about."""
        return self.fields[0].name

    @property
    def stored(self) -> tuple[TopicField, ...]:
        """The fields that are columns of their own, in the columns' order; the key is not one of them."""
        return tuple(field for field in self.fields if field is not EVENT_ID)

    @property
    def currency(self) -> TopicField | None:
        """The field that says in which currency the amounts of an event are."""
        return next((field for field in self.fields if field.kind is FieldKind.CURRENCY), None)

    @property
    def originals(self) -> tuple[TopicField, ...]:
        """The amounts that are kept as they were given too, where an event names a currency."""
        return tuple(field for field in self.fields if field.original)

    @property
    def time_column(self) -> str:
        return self.field(self.time).column

    def field(self, name: str) -> TopicField:
        """Raises KeyError where the topic has no such field."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(f"{self.name} has no field {name}")
