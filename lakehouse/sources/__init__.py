"""config/sources.yaml: how messages of another shape become events. docs/your-shop.md tells what it may hold.

    sources = load_sources()                       # Sources; without the file, what it always was: plain messages
    source = sources.named("shop_orders")          # Source; UserError with a near name
    source.read(value, headers) -> tuple[Event | Rejected, ...]
    document_of(event) -> dict                     # its fields as a plain message of its topic has them
    sources.decoder("shop.public.orders", max_event_age)(message) -> tuple[Event | Rejected, ...]

`read` and `decoder` never raise on a message, whatever it holds. `read` gives what a message holds in the order of its
elements, whenever that happened; `decoder` judges times too, as `lakehouse.decode.decode` does for plain messages. An
empty tuple: the message is left out, as `select` says. `topic_of` tells the topic of an event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec

from lakehouse import ROOT
from lakehouse.decode import EVENT_TYPES, MAX_LEAD, Event, Headers, Logged, Rejected, decoder, event_time, in_time
from lakehouse.decode.customs import Customs
from lakehouse.rates import AS_GIVEN, Rates
from lakehouse.sources.letters import Found
from lakehouse.sources.load import read_sources
from lakehouse.sources.reading import Reader, finished
from lakehouse.texts import near
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, read_text

__all__ = ["FILE", "Found", "Source", "Sources", "document_of", "load_sources", "topic_of"]

FILE = "sources.yaml"

type Decode = Callable[[Logged], Found]

_TOPICS_OF: Mapping[type[Event], str] = {kind: name for name, kind in EVENT_TYPES.items()}


@dataclass(frozen=True)
class Source:
    """One source: the log's topics that it `reads`, and the topic of ours that its events are of."""

    name: str
    reads: tuple[str, ...]
    topic: str
    reader: Reader

    def read(self, value: bytes | None, headers: Headers = ()) -> Found:
        """The events in a message, whenever they happened, and why it, or an element of it, is none."""
        return finished(self.reader.read(value, headers), [self.reader], value, headers)


class Sources:
    """All sources, and the topics of the log that they and we read. Made by `sources_of`; goes through pickle as text.

    A topic of ours that no source reads is read as it always was, also where sources feed it from elsewhere. `rates`:
    with them events may name their currency, also those of plain messages.
    """

    def __init__(self, text: str, where: str, rates: Rates | None) -> None:
        self._text, self._where, self._rates = text, where, rates
        self.sources: dict[str, Source] = {}
        for declared in read_sources(text, where, rates):
            plan = declared.plan
            self.sources[plan.name] = Source(plan.name, declared.reads, plan.topic.name, Reader(plan))

    def __reduce__(self) -> tuple[Callable[[str, str, Rates | None], Sources], tuple[str, str, Rates | None]]:
        return sources_of, (self._text, self._where, self._rates)

    def named(self, name: str) -> Source:
        """Raises UserError where there is no such source."""
        if name not in self.sources:
            known = f"; there are {', '.join(self.sources)}" if self.sources else f"; {self._where} has none"
            raise UserError(f"'{name}' is no source{near(name, self.sources)}{known}.")
        return self.sources[name]

    @cached_property
    def feeds(self) -> Mapping[str, tuple[str, ...]]:
        """By topic of the log, the topics of ours that its messages become events of; our own ones come first."""
        found: dict[str, list[str]] = {name: [] for name in TOPICS}
        for source in self.sources.values():
            for read in source.reads:
                fed = found.setdefault(read, [])
                if source.topic not in fed:
                    fed.append(source.topic)
        return {read: tuple(fed or [read]) for read, fed in found.items()}

    @property
    def log_topics(self) -> tuple[str, ...]:
        """All that is to be read."""
        return tuple(self.feeds)

    def of(self, log_topic: str) -> tuple[Source, ...]:
        """Those that read a topic of the log; none where its messages are plain ones."""
        return tuple(source for source in self.sources.values() if log_topic in source.reads)

    def fed_by(self, topic: str) -> tuple[str, ...]:
        """The log's topics whose messages become events of one of ours."""
        return tuple(read for read, fed in self.feeds.items() if topic in fed)

    def decoder(self, log_topic: str, max_event_age: timedelta | None) -> Decode:
        """What reads the messages of a topic of the log, and judges when they happened; None keeps any age.

        Raises KeyError for one that is not read.
        """
        readers = [source.reader for source in self.of(log_topic)]
        if not readers:
            return decoder(self.feeds[log_topic][0], max_event_age, Customs(self._rates))
        return _decoder(readers, max_event_age)


def sources_of(text: str, where: str, rates: Rates | None = None) -> Sources:
    """The sources of a file's text; the same object for the same text and rates. Raises UserError."""
    return _sources_of(text, where, rates)


@lru_cache(maxsize=8)
def _sources_of(text: str, where: str, rates: Rates | None) -> Sources:
    return Sources(text, where, rates)


def load_sources(path: Path | None = None, *, as_given: bool = False) -> Sources:
    """Those of a file; of sources.yaml beside the settings file, where there may be none. Raises UserError.

    They convert by the shop's rates; `as_given`: amounts stay in the currency that their event names, for whoever sends
    them on as messages.
    """
    # Here, not above: workers of Spark's executors have no use for settings.
    from lakehouse.settings.rates import load_rates
    from lakehouse.settings.sources import config_path

    rates = AS_GIVEN if as_given else load_rates()
    held = path or config_path().parent / FILE
    where = str(held.relative_to(ROOT)) if held.is_relative_to(ROOT) else str(held)
    if path is None and not held.exists():
        return sources_of("", where, rates)
    try:
        return sources_of(read_text(held), where, rates)
    except NotYaml as error:
        raise UserError(f"{where} cannot be read: {error}; mend or restore the file.") from None


def _decoder(readers: list[Reader], max_event_age: timedelta | None) -> Decode:
    read = readers[0].read if len(readers) == 1 else _all_of(readers)
    youngest, oldest = -MAX_LEAD, timedelta.max if max_event_age is None else max_event_age

    def decode_one(message: Logged) -> Found:
        found, received_at = read(message.value, message.headers), message.received_at
        if len(found) == 1:
            (event,) = found
            if isinstance(event, Event) and youngest <= received_at - event_time(event) <= oldest:
                return found
        judged = tuple(
            event if isinstance(event, Rejected) else in_time(event, received_at, max_event_age) for event in found
        )
        return finished(judged, readers, message.value, message.headers)

    return decode_one


def _all_of(readers: list[Reader]) -> Callable[[bytes | None, Headers], Found]:
    """What several sources say of a message; what is wrong with it as a whole is said once."""

    def read_all(value: bytes | None, headers: Headers) -> Found:
        found: list[Event | Rejected] = []
        for reader in readers:
            found += [each for each in reader.read(value, headers) if isinstance(each, Event) or each not in found]
        return tuple(found)

    return read_all


def topic_of(event: Event) -> str:
    """The topic of ours that an event is of."""
    return _TOPICS_OF[type(event)]


def document_of(event: Event) -> dict[str, Any]:
    """An event as a plain message of its topic has it, its key as event_id: read again, it is the same event."""
    columns = ((field.name, getattr(event, field.column)) for field in TOPICS[topic_of(event)].stored)
    return {"event_id": event.event_key, **{name: _as_json(value) for name, value in columns if value is not None}}


def _as_json(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Decimal():
            return msgspec.Raw(format(value, "f").encode())
        case _:
            return value
