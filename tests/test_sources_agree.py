"""The fast way and the careful one agree on every message, whatever stands in the place of a value."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from lakehouse.decode import Event, Rejected
from lakehouse.decode.document import parse_document
from lakehouse.sources import Source, sources_of
from lakehouse.sources.envelope import attributes
from lakehouse.sources.letters import few
from tests.source_cast import YAML, kinds, order, packed

SOURCES = sources_of(YAML, "config/sources.yaml")
OTHERS = sources_of(
    json.dumps(
        {
            "ours": {"topic": "orders_topic", "zone": "Europe/Berlin", "select": {"status": {"given": True}}},
            "lists": {
                "topic": "orders_topic",
                "each": "a[].b",
                "event_id": {"first": ["a[].b[].event_id", "event_id"]},
                "map": {name: f"a[].b[].{name}" for name in order("e", "1") if name != "event_id"}
                | {"produced_at": "sent", "order_total": {"number": "a[].b[].price * 2"}},
            },
        }
    ),
    "sources.yaml",
)
ODD: list[Any] = [
    *(
        None,
        "",
        " ",
        "x",
        "7",
        "-7",
        "1e3",
        "1,5",
        "1.234,5",
        "NaN",
        "\U0001f600",
        "2024-11-27",
        "2024-11-27T09:14+01:00",
    ),
    *(0, -0.0, 1, -1, 7, 2**31, 10**18, 10**30, 1.5, 2.0, 1e-30, 1e300, True, False),
    *([], {}, [1], {"id": 1}, [{"sku": "x"}]),
]
ROUNDS = 300


def samples() -> Iterator[tuple[str, Source, Any]]:
    for name, kind in kinds().items():
        if not attributes(kind.headers) and name not in ("gzip", "registry bytes"):
            (source,) = SOURCES.of(kind.log_topic)
            yield name, source, json.loads(kind.value)
    plain = order("e", "1")
    yield "ours", OTHERS.named("ours"), plain | {"produced_at": plain["order_time"], "order_total": 25}
    inner = {"b": [plain, order("f", "2", price=0.1)]}
    yield "lists in lists", OTHERS.named("lists"), {"event_id": "m", "sent": plain["order_time"], "a": [inner, inner]}


SAMPLES = list(samples())


def places(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a document."""
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield (*place, key)
            yield from places(value, (*place, key))


def changed(document: Any, draw: random.Random) -> Any:
    """The document with one to three values replaced or left out."""
    made = copy.deepcopy(document)
    for _ in range(draw.randint(1, 3)):
        (*way, last) = draw.choice(list(places(made)))
        held = made
        for key in way:
            held = held[key]
        if draw.random() < 0.2:
            del held[last]
        else:
            held[last] = copy.deepcopy(draw.choice(ODD))
        if not made:
            return made
    return made


@pytest.mark.parametrize(("source", "document"), [sample[1:] for sample in SAMPLES], ids=[name for name, *_ in SAMPLES])
def test_both_ways_say_the_same(source: Source, document: Any) -> None:
    draw = random.Random(25)
    events = rejected = 0
    for _ in range(ROUNDS):
        message = packed(changed(document, draw))
        found = source.read(message)
        carefully = few(source.reader.carefully(parse_document(message)), len(message))
        assert found == carefully, message
        events += sum(isinstance(each, Event) for each in found)
        rejected += sum(isinstance(each, Rejected) for each in found)
    assert events
    assert rejected
