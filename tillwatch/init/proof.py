"""A sample read by the sources that were written for it: what its messages become, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import msgspec

from lakehouse.decode import Event, Rejected, event_time
from lakehouse.rates import AS_GIVEN
from lakehouse.sources import document_of, sources_of, topic_of
from lakehouse.texts import visible
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from tillwatch.init.sample import Sample

_ADDED_UP = {"orders_topic": "order_total", "refunds_topic": "amount"}


@dataclass
class Proof:
    """What a sample becomes. Events of one key and time are stored once: `same` counts the others.

    `sums`: by currency ('' where none is named) what orders or refunds come to. `refused`: messages, or elements of
    them, that would be dead letters, a sentence each.
    """

    topic: str
    first: list[Event] = field(default_factory=list)
    events: int = 0
    ids: set[str] = field(default_factory=set)
    left_out: int = 0
    same: int = 0
    times: list[datetime] = field(default_factory=list)
    sums: dict[str, Decimal] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The first events, each as a message of ours would have it; and what all of them come to."""
        for event in self.first:
            document = document_of(event)
            of = "  ".join(f"{name} {_text(value)}" for name, value in document.items() if name != "event_id")
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
            _add(proof, event, seen)
    if not proof.events:
        why = proof.refused[0] if proof.refused else "all of its messages are left out, as `select` would say"
        raise UserError(f"{sample.file} would become nothing: {why}. Nothing was written.")
    return proof


def _add(proof: Proof, event: Event, seen: set[tuple[str, datetime]]) -> None:
    mark = (event.event_key, event_time(event))
    if mark in seen:
        proof.same += 1
        return
    seen.add(mark)
    proof.events += 1
    proof.times.append(event_time(event))
    proof.ids.add(str(getattr(event, TOPICS[proof.topic].id_field)))
    if len(proof.first) < 3:
        proof.first.append(event)
    amount = _ADDED_UP.get(topic_of(event))
    if amount is not None:
        named = TOPICS[proof.topic].currency
        code = (getattr(event, named.column) if named is not None else None) or ""
        proof.sums[code] = proof.sums.get(code, Decimal()) + getattr(event, amount)


def _text(value: object) -> str:
    return visible(bytes(value).decode() if isinstance(value, msgspec.Raw) else str(value), 60)


def sums_text(proof: Proof, currency: str) -> str:
    return ", ".join(f"{amount:,.2f} {code or currency}".strip() for code, amount in proof.sums.items())


def other_currencies(proof: Proof, currency: str) -> list[str]:
    return sorted(code for code in proof.sums if code and code != currency)
