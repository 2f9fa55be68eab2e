"""A file read through a source: its lines become the events that live messages of the same shape would."""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import msgspec

from lakehouse.decode import Event, Rejected, event_time
from lakehouse.sources import Source, document_of, load_sources, topic_of
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from producers.bad_lines import Bad, BadLines
from producers.joined import Partners
from producers.layout import Layout
from producers.lines import Judge, Lines, judged, key_of
from producers.opening import opened
from producers.pace import Clock, SystemClock
from producers.progress import progress
from producers.raw import FILE, LINE, Messages, RawLine

_STEP = 1000


def read_mapped(
    file: Path,
    layout: Layout,
    source: Source,
    bad_lines: BadLines | None = None,
    partners: Partners | None = None,
    clock: Clock | None = None,
) -> Lines:
    """The events of a file's lines, as `source` makes them, with the keys of live messages and amounts as given.

    Bad lines, and bad elements of lines, go to `bad_lines`; without it raises UserError naming file, line, path and
    value. `partners`: the lines of another file, whose columns they get.
    """
    clock = clock or SystemClock()
    with opened(file, layout, clock) as found, progress(f"{file.name} read", found.lines, clock) as advance:
        content = (
            found.content if partners is None else blake2b(found.content + partners.content, digest_size=32).digest()
        )
        lines = Lines(file, source.topic, content=content, noun=found.noun)
        messages: Iterable[RawLine | Bad] = Messages(found, layout, content.hex()[:16])
        if partners is not None:
            messages = partners.joined(messages)
        left_out, same, seen = 0, 0, set[int]()
        judge = load_sources().decoder(source.topic, None)
        for count, raw in enumerate(messages, start=1):
            events = (raw,) if isinstance(raw, Bad) else _events(raw, source, judge)
            left_out += not events
            for event in events:
                if isinstance(event, Bad):
                    if bad_lines is None:
                        raise event.error(file)
                    bad_lines.add(event)
                    continue
                # Hashes, and not the keys themselves: of many lines they take half the memory, and this is only told.
                mark = hash((event.event_key, event_time(event)))
                same += mark in seen
                seen.add(mark)
                _add(lines, event, raw.number)
            if count % _STEP == 0:
                advance(_STEP)
    if not lines.times and not (bad_lines and bad_lines.counts):
        more = f": source {source.name} leaves out all of its {left_out:,} {found.noun}s" if left_out else ""
        raise UserError(f"{file} holds no {found.noun} of data{more}; nothing was sent.")
    if left_out:
        lines.told.append(f"{left_out:,} {found.noun}s left out, as `select` of source {source.name} says.")
    if same:
        lines.told.append(
            f"{same:,} events are the same as others, by key and time, and are stored once; where they are not, give "
            f'source {source.name} an event_id, like {{text: "{{{FILE}}}-{{{LINE}}}"}}.'
        )
    return lines


def _events(raw: RawLine, source: Source, judge: Judge) -> tuple[Event | Bad, ...]:
    """What a line becomes."""
    return tuple(_event(raw, each, judge) for each in source.read(raw.message))


def _event(raw: RawLine, found: Event | Rejected, judge: Judge) -> Event | Bad:
    """Bad is also what ingest would not take as a plain message: the order of a guest, where none are let in."""
    refused, beside = found, ""
    if isinstance(found, Event):
        topic = topic_of(found)
        refused, beside = judged(topic, msgspec.json.encode(document_of(found)), judge), f", as {topic} is read"
        if isinstance(refused, Event):
            return found
    assert isinstance(refused, Rejected)
    says = f"{raw.place}: {refused.detail}{beside}"
    return Bad(raw.number, refused.reason, says, refused.field, raw.as_written())


def _add(lines: Lines, event: Event, number: int) -> None:
    document = document_of(event)
    del document[TOPICS[lines.topic].time]
    document.pop("produced_at", None)
    lines.times.append(event_time(event))
    lines.numbers.append(number)
    lines.keys.append(key_of(lines.topic, event))
    lines.bodies.append(msgspec.json.encode(document)[:-1])
