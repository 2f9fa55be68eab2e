"""What a shop's messages may be beyond the contract: of guests, and in other currencies."""

from __future__ import annotations

from dataclasses import dataclass

from lakehouse.rates import Rates
from lakehouse.topics import FieldKind, Topic, TopicField


@dataclass(frozen=True)
class Customs:
    """`guests`: topics whose events may lack their user. `rates`: with them an event may name its currency; without
    (None) that field is not looked at.
    """

    rates: Rates | None = None
    guests: frozenset[str] = frozenset()

    def fields(self, topic: Topic) -> tuple[TopicField, ...]:
        """The fields that are read of a topic's messages."""
        if self.rates is not None:
            return topic.fields
        return tuple(field for field in topic.fields if field.kind is not FieldKind.CURRENCY)

    def may_lack(self, topic: Topic, field: TopicField) -> bool:
        """Whether this field may be missing, null or blank, and is '' then."""
        return field.guest and topic.name in self.guests


AS_DECLARED = Customs()
