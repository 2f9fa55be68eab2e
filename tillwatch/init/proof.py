"""A sample read by the sources that were written for it: what its messages become, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import msgspec

from lakehouse.decode import Event, Rejected, event_time
from lakehouse.rates import AS_GIVEN
from lakehouse.sources import document_of, sources_of
from lakehouse.texts import visible
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from tillwatch.init.choices import ORDERS
from tillwatch.init.sample import Sample

_SHOWN = 3
_ADDED_UP = {"orders_topic": "order_total", "refunds_topic": "amount"}


@dataclass
class Proof:
    """What a sample becomes. Events of one key and time are stored once: `same` counts the others.

    `refused`: messages, or elements of them, that would be dead letters, a sentence each.
    """

    topic: str
    events: list[Event] = field(default_factory=list)
    left_out: int = 0
    same: int = 0
    refused: list[str] = field(default_factory=list)

    @property
    def times(self) -> list[datetime]:
        return [event_time(event) for event in self.events]

    @property
    def ids(self) -> set[str]:
        return {self._id(event) for event in self.events}

    @property
    def first_statuses(self) -> tuple[str, ...]:
        """What orders begin with, where some come again with another status; none else."""
        states: dict[str, list[str]] = {}
        for event in self.events if self.topic == ORDERS else ():
            states.setdefault(self._id(event), []).append(event.status)
        again = any(len(set(each)) > 1 for each in states.values())
        return tuple(dict.fromkeys(each[0] for each in states.values())) if again else ()

    def counted(self, statuses: Sequence[str]) -> list[Event]:
        """The events that count, where orders.counted_statuses is this; all where it is empty."""
        return [event for event in self.events if not statuses or event.status in statuses]

    def sums(self, statuses: Sequence[str]) -> dict[str, Decimal]:
        """By currency ('' where none is named) what orders or refunds come to."""
        amount, named = _ADDED_UP.get(self.topic), TOPICS[self.topic].currency
        found: dict[str, Decimal] = {}
        for event in self.counted(statuses) if amount is not None and named is not None else ():
            code = getattr(event, str(named and named.column)) or ""
            found[code] = found.get(code, Decimal()) + getattr(event, str(amount))
        return found

    def _id(self, event: Event) -> str:
        return str(getattr(event, TOPICS[self.topic].id_field))

    def lines(self) -> Iterator[str]:
        """The first events, each as a message of ours would have it."""
        for event in self.events[:_SHOWN]:
            document = document_of(event)
            of = "  ".join(
                f"{name} {_text(value)}" for name, value in document.items() if name != "event_id" and value != ""
            )
            yield f"  {of}"


def prove(sample: Sample, text: str, where: str, names: Sequence[str], skip_bad: bool) -> Proof:
    """What the sources of these names make of it.

    Raises UserError where they are wrong, take nothing, or a message does not fit and skip_bad is not set.
    """
    sources = [sources_of(text, where, AS_GIVEN).named(name) for name in names]
    proof, seen = Proof(sources[0].topic), set[tuple[str, datetime]]()
    for message in sample.messages:
        events = [event for source in sources for event in source.read(message.value)]
        proof.left_out += not events
        for event in events:
            if isinstance(event, Rejected):
                proof.refused.append(f"{message.place}: {event.reason}, {event.detail}")
                if not skip_bad:
                    raise UserError(
                        f"{sample.file}, {proof.refused[0]}. Nothing was written; say otherwise by a flag (--help), or "
                        "leave such lines to be dead letters by --skip-bad."
                    )
                continue
            mark = (event.event_key, event_time(event))
            proof.same += mark in seen
            if mark not in seen:
                seen.add(mark)
                proof.events.append(event)
    if not proof.events:
        why = proof.refused[0] if proof.refused else "all of its messages are left out, as `select` would say"
        raise UserError(f"{sample.file} would become nothing: {why}. Nothing was written.")
    return proof


def _text(value: object) -> str:
    return visible(bytes(value).decode() if isinstance(value, msgspec.Raw) else str(value), 60)


def sums_text(sums: Mapping[str, Decimal], currency: str) -> str:
    return ", ".join(f"{amount:,.2f} {code or currency}".strip() for code, amount in sums.items())


def other_currencies(proof: Proof, currency: str) -> list[str]:
    return sorted(code for code in proof.sums(()) if code and code != currency)
