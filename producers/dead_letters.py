"""Rejected messages, from the table dead_letters: shown for people to correct, and sent again.

What is sent again keeps its identity: an event without an event_id gets one made from the bytes that were rejected.
So a letter that is sent twice, corrected or not, or that came twice, is stored once. Of a message that a source reads
(config/sources.yaml) the source says what its events are called, and it goes back as it came, whole: those of its
elements that are stored already are duplicates.
"""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from lakehouse.decode import Event, Message, Reason, Rejected, event_time
from lakehouse.dremio.statement import Fragment
from lakehouse.sinks import Sink
from lakehouse.sources import load_sources, topic_of
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from producers.lines import END_OF_TIME, key_of
from producers.pace import Clock, deliver

MOST = 10_000
"""Letters that one command reads: they are held in memory."""

_ID = re.compile(r"(?P<topic>[\w.-]+):(?P<partition>\d+):(?P<offset>\d+)")
_BATCH = 1_000
_json = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class AsksForLetters(Protocol):
    """As much of lakehouse.dremio.client.Dremio as is needed."""

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table: ...


@dataclass(frozen=True)
class Letter:
    """A rejected message; received_at is the log's time (UTC)."""

    topic: str
    partition: int
    offset: int
    received_at: datetime
    reason: str
    detail: str
    payload: bytes | None

    @property
    def id(self) -> str:
        """Where it was in the log: TOPIC:PARTITION:OFFSET."""
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def event_id(self) -> str:
        """What its event is called that has no event_id of its own; the same bytes are the same event."""
        digest = blake2b(self.topic.encode() + b"\0" + (self.payload or b""), digest_size=16)
        return f"dead-letter-{digest.hexdigest()}"


@dataclass(frozen=True)
class Chosen:
    """Which letters: by what they say, received in [since, until). `topics`: of the log."""

    since: datetime
    until: datetime
    topics: tuple[str, ...] = field(default_factory=lambda: load_sources().log_topics)
    reasons: tuple[str, ...] = tuple(Reason)

    def binds(self) -> dict[str, Any]:
        return {
            "since": self.since,
            "until": self.until,
            "topics": list(self.topics),
            "reasons": [str(reason) for reason in self.reasons],
        }


def counted(dremio: AsksForLetters, chosen: Chosen) -> list[dict[str, Any]]:
    """topic, reason, letters (count) and newest_at of the chosen letters, the most frequent first."""
    rows: list[dict[str, Any]] = dremio.ask(
        "dead_letters_by_reason", **chosen.binds(), matches=Fragment("(1 = 1)", {})
    ).to_pylist()
    return rows


def newest(dremio: AsksForLetters, chosen: Chosen, most: int) -> list[Letter]:
    """At most `most` of the chosen letters, the newest first."""
    return _letters(dremio.ask("dead_letters", most=most, **chosen.binds()))


def every(dremio: AsksForLetters, chosen: Chosen) -> list[Letter]:
    """All chosen letters, the oldest first. Raises UserError for more than MOST."""
    found = newest(dremio, chosen, MOST + 1)
    if len(found) > MOST:
        raise UserError(f"Over {MOST:,} dead letters are chosen; choose fewer by --reason, --topic or --since.")
    return found[::-1]


def by_id(dremio: AsksForLetters, ids: Sequence[str]) -> list[Letter]:
    """The letters with these ids. Raises UserError for one that is not there."""
    places: dict[tuple[str, int], list[int]] = defaultdict(list)
    for text in ids:
        topic, partition, offset = _place(text)
        places[topic, partition].append(offset)
    found = []
    for (topic, partition), offsets in places.items():
        found += _letters(dremio.ask("dead_letters_at", topic=topic, partition=partition, offsets=offsets))
    missing = set(ids) - {letter.id for letter in found}
    if missing:
        raise UserError(f"There is no dead letter {min(missing)}; `producers dead-letters list` shows which there are.")
    return found


def _place(text: str) -> tuple[str, int, int]:
    found = _ID.fullmatch(text)
    topics = load_sources().log_topics
    if found is None or found["topic"] not in topics:
        raise UserError(f"'{text}' names no dead letter; expected TOPIC:PARTITION:OFFSET like {topics[0]}:0:17.")
    return found["topic"], int(found["partition"]), int(found["offset"])


def _letters(table: pa.Table) -> list[Letter]:
    return [
        Letter(
            row["topic"],
            row["source_partition"],
            row["source_offset"],
            row["received_at"],
            row["reason"],
            row["detail"],
            row["payload"],
        )
        for row in table.to_pylist()
    ]


# As text, and back ---------------------------------------------------------------------------------------------------


def line(letter: Letter) -> str:
    """A letter as one line of JSON, for an editor and for `corrected`.

    `event` is the message where it is a JSON object, digit by digit as it came; else `payload` is its text, or
    `payload_base64` its bytes.
    """
    document: dict[str, Any] = {
        "dead_letter": letter.id,
        "event_id": letter.event_id,
        "reason": letter.reason,
        "detail": letter.detail,
        "received_at": letter.received_at.isoformat(),
    }
    try:
        _json(letter.payload or b"")
        document["event"] = msgspec.Raw(b" ".join((letter.payload or b"").splitlines()))
    except (msgspec.MsgspecError, ValueError):
        try:
            document["payload"] = None if letter.payload is None else letter.payload.decode()
        except UnicodeDecodeError:
            document["payload_base64"] = base64.b64encode(letter.payload or b"").decode()
    return msgspec.json.encode(document).decode()


class _Corrected(msgspec.Struct):
    dead_letter: str
    event_id: str
    event: msgspec.Raw = msgspec.Raw()  # empty where there is none
    payload: str | None = None
    payload_base64: bytes | None = None


_corrected = msgspec.json.Decoder(_Corrected).decode


@dataclass(frozen=True)
class Again:
    """A message to be sent again, and the letter that it comes from."""

    id: str
    topic: str
    payload: bytes | None


def as_it_was(letter: Letter) -> Again:
    """The message of a letter, with an event_id where it is a plain one."""
    return Again(letter.id, letter.topic, _identified(letter.topic, letter.payload, letter.event_id))


def corrected(text: str, name: str) -> Iterator[Again]:
    """The messages in a file that `line` wrote and somebody corrected: JSON objects, on one line each or not.

    Raises UserError naming the file and the line.
    """
    place = 0
    while (begin := _skip_blanks(text, place)) < len(text):
        where = f"{name}, line {text.count(chr(10), 0, begin) + 1}"
        try:
            _, place = _editable.raw_decode(text, begin)
            found = _corrected(text[begin:place].encode())
            if bytes(found.event) and (found.payload, found.payload_base64) != (None, None):
                raise ValueError("event and payload are both there; leave one out")
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise UserError(
                f"{where}: not a dead letter as `dead-letters show` writes it: {error}. Nothing was sent."
            ) from None
        topic, _, _ = _place(found.dead_letter)
        payload: bytes | None
        if bytes(found.event):
            payload = bytes(found.event)
        elif found.payload_base64 is not None:
            payload = found.payload_base64
        else:
            payload = None if found.payload is None else found.payload.encode()
        yield Again(found.dead_letter, topic, _identified(topic, payload, found.event_id))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a name that stands there twice was meant once, and nobody knows which."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"'{next(name for name in names if names.count(name) > 1)}' stands there twice")
    return dict(pairs)


# Long numbers stay text: they are not read here.
_editable = json.JSONDecoder(object_pairs_hook=_once, parse_int=str)


def refuse_two(messages: Iterable[Again]) -> None:
    """Raises UserError where two corrected letters say two things of one event: only one of them would be stored."""
    seen: dict[tuple[str, str, datetime], tuple[str, Event]] = {}
    for message in messages:
        for event in _read(message, END_OF_TIME, None):
            if isinstance(event, Rejected):
                continue
            event = msgspec.structs.replace(event, produced_at=None)
            first, known = seen.setdefault((topic_of(event), event.event_key, event_time(event)), (message.id, event))
            if event != known:
                raise UserError(
                    f"{first} and {message.id} have the event_id '{event.event_key}', one time and other values: only "
                    "one of them would be stored. Nothing was sent; correct one, or its event_id."
                )


def _read(message: Again, now: datetime, max_event_age: timedelta | None) -> tuple[Event | Rejected, ...]:
    return load_sources().decoder(message.topic, max_event_age)(Message(message.payload, now))


def _skip_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _identified(topic: str, payload: bytes | None, event_id: str) -> bytes | None:
    """The payload, with an event_id where it is a plain message that has none."""
    if load_sources().of(topic):
        return payload
    try:
        fields = _json(payload or b"")
        given = msgspec.json.decode(fields.get("event_id", b"null"))
    except (msgspec.MsgspecError, ValueError):
        return payload
    if given is not None and not (isinstance(given, str) and not given.strip()):
        return payload
    return msgspec.json.encode({**fields, "event_id": event_id})


# Sending -------------------------------------------------------------------------------------------------------------


def judged(
    messages: Iterable[Again], now: datetime, max_event_age: timedelta | None
) -> tuple[list[tuple[Again, bytes]], list[tuple[Again, Rejected]]]:
    """Those that are events now, each once and with its key on Kafka, and those that would only be rejected once more.

    Also where that is but one element of them.
    """
    good: dict[Again, bytes] = {}
    bad: dict[Again, Rejected] = {}
    for message in messages:
        found = _read(message, now, max_event_age)
        rejected = next((each for each in found if isinstance(each, Rejected)), None)
        if rejected is not None:
            bad[message] = rejected
        elif found:
            (event, *_) = found
            assert isinstance(event, Event)
            good[message] = key_of(topic_of(event), event)
        else:
            bad[message] = Rejected(Reason.BAD_VALUE, "a source leaves it out")
    return list(good.items()), list(bad.items())


def send(messages: Sequence[tuple[Again, bytes]], sink: Sink, clock: Clock, stop: Stop) -> int:
    """How many were sent. Raises SinkError."""
    for number, (message, key) in enumerate(messages, start=1):
        sink.send(message.topic, key, message.payload)
        if number % _BATCH == 0 or number == len(messages):
            deliver(sink, clock, stop)
            if stop.is_set():
                return number
    return len(messages)
