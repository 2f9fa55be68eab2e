"""A source, compiled once: from a message's bytes to its events.

As with plain messages there are two ways that agree: a fast one, whose source is written from the map, and a careful
one, which looks at what the fast one does not take, and alone says that something is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lakehouse.decode import Event, Headers, Reason, Rejected
from lakehouse.decode.careful import read_values
from lakehouse.decode.document import JsonInteger, json_type, parse_document
from lakehouse.sources.envelope import (
    NOTHING,
    Envelope,
    attributes,
    body,
    structured,
    unwrapped,
)
from lakehouse.sources.fast import fast_parse, fast_reader
from lakehouse.sources.letters import Found, few
from lakehouse.sources.path import ABSENT, EVERY, Scope, numbered
from lakehouse.sources.plan import SourcePlan
from lakehouse.topics import Topic

MOST_ELEMENTS = 10_000
"""Of the lists in one message."""

UNUSUAL = (
    msgspec.MsgspecError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    RecursionError,
)
"""What the fast way raises where it does not take a message."""

BRACE = ord("{")


class _Refused(Exception):
    def __init__(self, rejected: Rejected) -> None:
        super().__init__(rejected.detail)
        self.rejected = rejected


class Reader:
    """Reads the messages of a source, by `read`: events and dead letters in the order of their places.

    Nothing where a message is left out.
    """

    def __init__(self, plan: SourcePlan) -> None:
        self._plan = plan
        self._parse = fast_parse(plan)
        self._parse_data = fast_parse(plan, of_data=True)
        self._fast = fast_reader(plan, MOST_ELEMENTS)
        self.read: Callable[[bytes | None, Headers], Found] = self._quickly()

    def _quickly(self) -> Callable[[bytes | None, Headers], Found]:
        plan, parse, fast = self._plan, self._parse, self._fast
        unpacked, other = self._unwrapped, self._otherwise
        plain, bare = plan.envelope is Envelope.PLAIN, not plan.registry
        told_by_headers = plan.envelope is Envelope.CLOUDEVENTS

        def read(value: bytes | None, headers: Headers = ()) -> Found:
            # As with plain messages: what is skipped over is not looked at for its UTF-8 and surrogates.
            if value and bare and value[0] == BRACE and b"\\u" not in value and (value.isascii() or is_utf8(value)):
                if told_by_headers and headers and attributes(headers) is not None:
                    return other(value, headers)
                try:
                    found = fast(parse(value)) if plain else unpacked(parse(value))
                except UNUSUAL:
                    found = None
                if found is not None:
                    return found
            return other(value, headers)

        return read

    def _otherwise(self, value: bytes | None, headers: Headers) -> Found:
        """What is to be unpacked first, or is not to be read the fast way."""
        plan = self._plan
        if plan.envelope is Envelope.CLOUDEVENTS:
            told = attributes(headers)
            if told is not None:
                return self._cloud_event(told, value)
        elif plan.envelope is not Envelope.PLAIN and value is None:
            return ()
        held = body(value, plan.registry, plan.compression) if value else value
        if isinstance(held, Rejected):
            return (held,)
        if held and held is not value:
            found = self._from_fast(held, lambda: self._parse(held))
            if found is not None:
                return found
        return self.carefully(parse_document(held, self._of_lists))

    def carefully(self, document: object) -> Found:
        """The same of a document as `parse_document` gives it."""
        if isinstance(document, Rejected):
            return (document,)
        plan = self._plan
        root = unwrapped(document, plan.envelope)
        if isinstance(root, Rejected):
            return (root,)
        if root is NOTHING or not _passes(plan, 0, (root,)):
            return ()
        found: list[Event | Rejected] = []
        try:
            for scope, place in self._scopes((root,), "", [0]):
                if not isinstance(scope, Rejected):
                    found.append(read_values(*self._values(scope, place), plan.customs))
                else:
                    found.append(scope)
        except _Refused as error:
            return (error.rejected,)
        return tuple(found)

    @property
    def _of_lists(self) -> bool:
        return self._plan.path is not None and self._plan.path.head(1) == (EVERY,)

    def _from_fast(self, payload: bytes, parsed: Callable[[], Any]) -> Found | None:
        if b"\\u" in payload or not is_utf8(payload):
            return None
        try:
            return self._unwrapped(parsed())
        except UNUSUAL:
            return None

    def _unwrapped(self, document: object) -> Found | None:
        root = unwrapped(document, self._plan.envelope)
        if isinstance(root, Rejected):
            return None
        return () if root is NOTHING else self._fast(root)

    def _cloud_event(self, told: dict[str, str], value: bytes | None) -> Found:
        """A CloudEvent whose attributes are headers."""
        plan = self._plan
        data = body(value, plan.registry, plan.compression) if value else b""
        if isinstance(data, Rejected):
            return (data,)
        whole: dict[str, Any] = dict(told)
        found = self._from_fast(data, lambda: whole | {"data": self._parse_data(data)}) if data else None
        return self.carefully(_with_data(told, data)) if found is None else found

    def kept(self, value: bytes | None, headers: Headers) -> bytes | None:
        """What a dead letter keeps in place of the message's bytes, where its headers say a part; else None."""
        told = attributes(headers) if headers and self._plan.envelope is Envelope.CLOUDEVENTS else None
        return None if told is None else structured(told, value)

    # Elements ------------------------------------------------------------------------------------------------------

    def _scopes(self, scope: Scope, place: str, seen: list[int]) -> Iterator[tuple[Scope | Rejected, str]]:
        """What paths begin at for each event, and its place. Raises _Refused for more than MOST_ELEMENTS."""
        plan = self._plan
        level = len(scope) - 1
        if level == len(plan.every):
            yield scope, place
            return
        assert plan.path is not None
        held = plan.every[level](scope)
        name = numbered(plan.lists[level], place) or "the message"
        if held is None or held is ABSENT:
            absence = "null" if held is None else "missing"
            yield Rejected(Reason.MISSING_FIELD, f"{name} is {absence}"), place
            return
        if type(held) is not list:
            yield Rejected(Reason.BAD_TYPE, f"{name} is {json_type(held)}, expected a list"), place
            return
        seen[0] += len(held)
        if seen[0] > MOST_ELEMENTS:
            raise _Refused(
                Rejected(Reason.BAD_VALUE, f"{name} has {len(held):,} elements; a message may have {MOST_ELEMENTS:,}")
            )
        for number, element in enumerate(held):
            inner = (*scope, element)
            if _passes(plan, level + 1, inner):
                yield from self._scopes(inner, f"{place}.{number}" if place else str(number), seen)

    def _values(self, scope: Scope, place: str) -> tuple[Topic, Mapping[str, Any], Callable[[str], str], str]:
        """What `read_values` takes."""
        plan = self._plan
        values: dict[str, Any] = {}
        for name, field in plan.fields.items():
            value = field.get(scope)
            if value is not ABSENT:
                values[name] = value
        given = values.get("event_id")
        if plan.placed and isinstance(given, str) and type(given) in (str, JsonInteger) and given.strip():
            values["event_id"] = f"{'0' if given == '-0' else given}:{place}"

        def called(name: str) -> str:
            field = plan.fields.get(name)
            if field is None or (field.words == name and not place):
                return name
            words = field.words
            for path in field.paths:
                words = words.replace(path.text, path.at(place))
            return f"{name} ({words})"

        return plan.topic, values, called, place if plan.placed else ""


def _passes(plan: SourcePlan, level: int, scope: Scope) -> bool:
    return all(test(scope) for test in plan.selected[level])


def _with_data(told: Mapping[str, str], data: bytes) -> dict[str, Any] | Rejected:
    """A CloudEvent as one document."""
    if not data:
        return dict(told)
    held = parse_document(data, of_lists=True)
    return held if isinstance(held, Rejected) else {**told, "data": held}


def is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def finished(found: Found, readers: Sequence[Reader], value: bytes | None, headers: Headers) -> Found:
    """What a message is in the end, whatever it holds: few dead letters, each with all that can be sent again."""
    if not any(isinstance(each, Rejected) for each in found):
        return found
    kept = next((kept for reader in readers if (kept := reader.kept(value, headers)) is not None), None)
    if kept is not None:
        found = tuple(
            msgspec.structs.replace(each, kept=kept) if isinstance(each, Rejected) else each for each in found
        )
    return few(found, len(value or b""))
