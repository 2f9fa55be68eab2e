"""The fast way of a source: what its paths need is decoded, and no more; the way from there is written as source."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypedDict

import msgspec

from lakehouse.decode import Event
from lakehouse.decode.amounts import amount_lines
from lakehouse.decode.document import JsonNumber
from lakehouse.decode.fast import compiled, event_lines, event_names
from lakehouse.decode.values import SCALES
from lakehouse.sources.envelope import Envelope
from lakehouse.sources.fields import Mapped
from lakehouse.sources.path import ABSENT, EVERY, Path, Step
from lakehouse.sources.plan import SourcePlan
from lakehouse.topics import FieldKind, TopicField
from lakehouse.topics.topic import EVENT_ID

_WHOLE = re.compile(r"(\d{1,10})(?:\.0{1,20})?", re.ASCII)


# Decoding ------------------------------------------------------------------------------------------------------------


def fast_parse(plan: SourcePlan, of_data: bool = False) -> Callable[[bytes], Any]:
    """What decodes a message as far as the paths go; `of_data`: the data of a CloudEvent alone."""
    read = {path.steps for path in plan.paths}
    if plan.path is not None:
        read.add(plan.path.steps)
    match plan.envelope:
        case _ if of_data:
            read = {steps[1:] for steps in read if steps[0] == "data"}
        case Envelope.CLOUDEVENTS:
            read |= {("specversion",), ("data_base64",)}
        case Envelope.CONNECT | Envelope.DEBEZIUM:
            read = {*read, ("op",), *(("payload", *steps) for steps in read), ("payload", "op")}
        case Envelope.PLAIN:
            pass
    kind = _type(read)
    return msgspec.json.Decoder(kind, float_hook=JsonNumber).decode


def _type(read: set[tuple[Step, ...]]) -> Any:
    """The type that holds what stands at these paths; Any from where one of them takes all."""
    steps = {path[0] for path in read if path}
    if not steps or () in read or any(isinstance(step, int) and step != EVERY for step in steps):
        return Any
    if steps == {EVERY}:
        return list[_or_null({path[1:] for path in read})]  # type: ignore[misc]
    if EVERY in steps:
        return Any
    fields = {str(step): _or_null({path[1:] for path in read if path[0] == step}) for step in steps}
    return TypedDict("Part", fields, total=False)  # type: ignore[operator]


def _or_null(read: set[tuple[Step, ...]]) -> Any:
    kind = _type(read)
    return kind if kind is Any else kind | None


# From there to events ------------------------------------------------------------------------------------------------


def fast_reader(plan: SourcePlan, most: int) -> Callable[[Any], tuple[Event, ...] | None]:
    """What makes events of a decoded message; raises, or gives None, where it must be looked at carefully."""
    topic, levels = plan.topic, len(plan.every)
    names: dict[str, Any] = {
        **event_names(topic, plan.customs),
        "ABSENT": ABSENT,
        "datetime": datetime,
        "whole": _whole,
        **{f"get_{name}": field.get for name, field in plan.fields.items()},
        **{f"select_{level}": plan.select(level) for level in range(levels + 1)},
        **{f"list_{level}": get for level, get in enumerate(plan.every, start=1)},
    }
    source = [*amount_lines(topic, plan.customs), "def read(root):", "    at_0 = (root,)"]
    if plan.select(0):
        source += ["    if not select_0(at_0):", "        return ()"]
    if levels:
        source += ["    seen, found = 0, []"]
    indent = "    "
    for level in range(1, levels + 1):
        source += [
            f"{indent}held_{level} = list_{level}(at_{level - 1})",
            f"{indent}if type(held_{level}) is not list or seen + len(held_{level}) > {most}:",
            f"{indent}    return None",
            f"{indent}seen += len(held_{level})",
            f"{indent}for n_{level}, e_{level} in enumerate(held_{level}):",
        ]
        indent += "    "
        source.append(f"{indent}at_{level} = (*at_{level - 1}, e_{level})")
        if plan.select(level):
            source += [f"{indent}if not select_{level}(at_{level}):", f"{indent}    continue"]
    source += [f"{indent}{line}" for line in _event_lines(plan)]
    if levels:
        source += [f"{indent}found.append(event)", "    return tuple(found)"]
    else:
        source.append("    return (event,)")
    read: Callable[[Any], tuple[Event, ...] | None] = compiled("read", source, names, plan.name)
    return read


def _event_lines(plan: SourcePlan) -> Iterator[str]:
    topic, levels = plan.topic, len(plan.every)
    numbers = ".".join(f"{{n_{level}}}" for level in range(1, levels + 1))
    for field in plan.customs.fields(topic):
        found = plan.fields.get(field.name)
        if found is not None:
            yield from _given_lines(field, found, levels, plan.customs.may_lack(topic, field))
    if plan.placed and "event_id" in plan.fields:
        yield f"if {_given(EVENT_ID)} and {_given(EVENT_ID)}.strip():"
        yield f'    {_given(EVENT_ID)} = f"{{{_given(EVENT_ID)}}}:{numbers}"'
    ready = {name for name, found in plan.fields.items() if found.is_time}

    def given(field: TopicField) -> str:
        return _given(field) if field.name in plan.fields else "None"

    def amount(field: TopicField) -> str:
        name = given(field)
        return f"{name}.encode()" if field.required else f"{name} and {name}.encode()"

    place = f'f"{numbers}"' if plan.placed else ""
    yield from event_lines(topic, given, amount, place=place, ready=ready, customs=plan.customs)


def _given(field: TopicField) -> str:
    return f"g_{field.name}"


def _given_lines(field: TopicField, found: Mapped, levels: int, may_lack: bool) -> Iterator[str]:
    """Lines that bring a field's value into a local variable, as msgspec would give it of a plain message."""
    name, needed = _given(field), field.required and not may_lack
    yield f"{name} = {_origin(field, needed, found, levels)}"
    inset = ""
    if not needed:
        yield f"if {name} is ABSENT or {name} is None:"
        yield f"    {name} = None"
        yield "else:"
        inset = "    "
    for line in _typed_lines(field, name, found.is_time):
        yield inset + line


def _origin(field: TopicField, needed: bool, found: Mapped, levels: int) -> str:
    """Where only the way is to be gone, it is gone here: a call for each value would take as long as all else."""
    path = found.path
    if needed and path is not None and _names_only(path):
        begin = "root" if path.lists == 0 else f"e_{path.lists}"
        return begin + "".join(f"[{step!r}]" for step in path.tail())
    return f"get_{field.name}(at_{levels})"


def _names_only(path: Path) -> bool:
    return all(isinstance(step, str) for step in path.tail())


def _typed_lines(field: TopicField, name: str, is_time: bool) -> Iterator[str]:
    match field.kind:
        case FieldKind.ID:
            yield f"if type({name}) is int:"
            yield f"    {name} = str({name})"
            wrong = f"type({name}) is not str"
        case FieldKind.COUNT:
            yield f"if type({name}) is not int:"
            yield f"    {name} = whole({name})"
            wrong = f"{name} is None"
        case FieldKind.TIME if is_time:
            wrong = f"type({name}) is not datetime"
        case FieldKind.TEXT | FieldKind.CHOICE | FieldKind.CURRENCY | FieldKind.TIME:
            wrong = f"type({name}) is not str"
        case _:
            assert field.kind in SCALES
            yield f"if type({name}) is int:"
            yield f"    {name} = str({name})"
            wrong = f"not isinstance({name}, str)"
    yield f"if {wrong}:"
    yield "    return None"


def _whole(value: object) -> int | None:
    """A count that is written as text or as 3.0."""
    found = _WHOLE.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) if found else None
