"""config/sources.yaml read into sources, or one sentence that says what is wrong in which line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lakehouse import ROOT
from lakehouse.decode import Customs
from lakehouse.mistakes import AlreadyTold, is_wrong, noted
from lakehouse.rates import Rates
from lakehouse.sources.conditions import Condition, condition
from lakehouse.sources.entry import Entry
from lakehouse.sources.envelope import Compression, Envelope
from lakehouse.sources.fields import OF_NUMBERS, Habits, Mapped, PathReader, habits, mapped
from lakehouse.sources.path import Getter, Path, getter, parse_path
from lakehouse.sources.plan import SourcePlan
from lakehouse.texts import near
from lakehouse.topics import TOPICS, Topic
from lakehouse.topics.topic import EVENT_ID
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, parse_yaml

HABITS = ("zone", "doubtful", *OF_NUMBERS, "sign")
KEYS = ("reads", "topic", "envelope", "registry", "compression", "select", "each", "event_id", "map", "guests", *HABITS)

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_LOG_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True)
class DeclaredSource:
    """A source as its file declares it: the log's topics that it reads, and how."""

    reads: tuple[str, ...]
    plan: SourcePlan


def read_sources(text: str, where: str, rates: Rates | None = None) -> Iterator[DeclaredSource]:
    """The sources of a file's text; `where` is the file, as people name it. Raises UserError."""
    try:
        content = parse_yaml(text)
    except NotYaml as error:
        raise UserError(f"{where} cannot be read: {error}; mend it.") from None
    if content is None:
        return
    whole = Entry(where, text, (), content)
    if not isinstance(content, dict):
        raise UserError(f"{where}, line 1: it holds no `name:` lines with sources under them; add them.")
    for name, entry in whole.mapping().items():
        with noted(ROOT / where):
            if not _NAME.fullmatch(name):
                raise entry.wrong(f"'{name}' is no name of a source; use letters, digits, _ . and -")
            yield _source(name, entry, rates)


def _source(name: str, entry: Entry, rates: Rates | None) -> DeclaredSource:
    keys = entry.keys(KEYS)
    topic = _topic(name, entry, keys)
    reads = _reads(name, entry, keys)
    customs = Customs(rates, _guests(topic, keys))
    every = _every(keys)

    told: set[str] = set()

    def path_of(at: Entry) -> Path:
        return _path(at, every, told)

    held = habits({key: found for key, found in keys.items() if key in HABITS}, Habits())
    fields = _fields(topic, entry, keys, path_of, held, customs)
    lists = _heads(every)
    selected, read = _selected(keys, path_of, len(lists), held)
    plan = SourcePlan(
        name=name,
        topic=topic,
        envelope=keys["envelope"].choice(Envelope) if "envelope" in keys else Envelope.PLAIN,
        registry=keys["registry"].flag() if "registry" in keys else False,
        compression=keys["compression"].choice(Compression) if "compression" in keys else Compression.AUTO,
        selected=selected,
        path=every,
        every=tuple(getter(path) for path in lists),
        lists=tuple(path.text for path in lists),
        fields=fields,
        paths=(*read, *(path for field in fields.values() for path in field.paths)),
        customs=customs,
    )
    return DeclaredSource(reads, plan)


def _topic(name: str, entry: Entry, keys: Mapping[str, Entry]) -> Topic:
    wanted = str(keys["topic"].value) if "topic" in keys else name
    if wanted not in TOPICS and is_wrong(wanted):
        raise AlreadyTold(f"{wanted} is left out")
    if "topic" in keys:
        return TOPICS[keys["topic"].one_of(TOPICS)]
    if name not in TOPICS:
        hint = near(name, TOPICS)
        raise entry.wrong(f"the key 'topic' is missing{hint}; add it with one of {', '.join(TOPICS)}")
    return TOPICS[name]


def _guests(topic: Topic, keys: Mapping[str, Entry]) -> frozenset[str]:
    """The topic, where its events may lack their user."""
    if "guests" not in keys or not keys["guests"].flag():
        return frozenset()
    if not any(field.guest for field in topic.fields):
        raise keys["guests"].wrong(
            f"'guests' goes with topics that have a user, which {topic.name} has not; leave it out"
        )
    return frozenset((topic.name,))


def _reads(name: str, entry: Entry, keys: Mapping[str, Entry]) -> tuple[str, ...]:
    entries = keys["reads"].each() if "reads" in keys else [entry]
    found = [each.text() for each in entries] if "reads" in keys else [name]
    for each, read in zip(entries, found, strict=True):
        if not _LOG_TOPIC.fullmatch(read):
            raise each.wrong(f"'reads' is '{read}', no name of a topic; use letters, digits, . _ and -")
        if found.count(read) > 1:
            raise each.wrong(f"'reads' names '{read}' twice; leave one out")
    return tuple(found)


# Paths ---------------------------------------------------------------------------------------------------------------


def _every(keys: Mapping[str, Entry]) -> Path | None:
    """The path of the elements that become events."""
    if "each" not in keys:
        return None
    entry = keys["each"]
    text = entry.text().removesuffix("[]")
    found = parse_path(f"{text}[]")
    if found is None:
        raise entry.wrong(f"'each' is '{text}', no path; write one like items, or data.orders[].items")
    return found


def _heads(every: Path | None) -> tuple[Path, ...]:
    """The path of the list of each `[]`."""
    if every is None:
        return ()
    found = []
    for level in range(1, every.lists + 1):
        text = "[]".join(every.text.split("[]")[:level])
        found.append(Path(text, every.head(level)[:-1]))
    return tuple(found)


def _path(entry: Entry, every: Path | None, told_of: set[str]) -> Path:
    """told_of: the lists of which it was told that they are not those of `each`."""
    text = entry.text()
    found = parse_path(text)
    if found is None:
        raise entry.wrong(
            f"'{text}' is no path; write one like customer.id, items[].sku or lines[0].price, and names with . [ ] or "
            "blanks around them in quotes of their own: \"'a.b'.c\""
        )
    if found.lists and (every is None or found.head(found.lists) != every.head(found.lists)):
        of = text[: text.rindex("[]")]
        if of in told_of:
            raise AlreadyTold(f"{of} was told")
        told_of.add(of)
        told = f"write `each: {of}` for an event of each element"
        if every is not None:
            told = f"`each` is {every.text.removesuffix('[]')}: correct one"
        raise entry.wrong(f"'{text}' goes through every element of {of}; {told}, or {of}[0] for the first")
    return found


# Select, map ---------------------------------------------------------------------------------------------------------


def _selected(
    keys: Mapping[str, Entry], path_of: PathReader, lists: int, held: Habits
) -> tuple[tuple[tuple[Condition, ...], ...], list[Path]]:
    """Conditions on the message, then on the element of each list; and the paths they read."""
    found: list[list[Condition]] = [[] for _ in range(lists + 1)]
    read: list[Path] = []
    if "select" in keys:
        for text, wanted in keys["select"].mapping().items():
            own: list[Path] = []

            def get(entry: Entry, own: list[Path] = own) -> Getter:
                own.append(path_of(entry))
                return getter(own[-1])

            first = get(Entry(wanted.where, wanted.yaml, wanted.place, text))
            test = condition(first, wanted, get, None if held.is_plain else held.number)
            found[max(path.lists for path in own)].append(test)
            read += own
    return tuple(map(tuple, found)), read


def _fields(
    topic: Topic, entry: Entry, keys: Mapping[str, Entry], path_of: PathReader, held: Habits, customs: Customs
) -> Mapping[str, Mapped]:
    """What fills each of the topic's fields."""
    known = {field.name: field for field in topic.fields if field is not EVENT_ID}
    if "map" in keys:
        if EVENT_ID.name in (inner := keys["map"].mapping()):
            raise inner[EVENT_ID.name].wrong("'event_id' stands beside `map:`, not in it; move it")
        entries = keys["map"].keys(known, f"field of {topic.name}")
    else:
        # As ours are called: then a source says only how they are wrapped and written.
        entries = {name: entry.under(name, name) for name in known}
    found: dict[str, Mapped] = {}
    for name, each in entries.items():
        with noted(ROOT / entry.where):
            found[name] = mapped(known[name], each, path_of, held)
    if len(found) < len(entries):
        raise AlreadyTold(f"fields of {topic.name} are wrong")
    needed = (field.name for field in known.values() if field.required and not customs.may_lack(topic, field))
    missing = next((name for name in needed if name not in found), None)
    if missing is not None:
        raise keys["map"].wrong(f"the field '{missing}' is missing, which {topic.name} needs; add it")
    if "event_id" in keys:
        found[EVENT_ID.name] = mapped(EVENT_ID, keys["event_id"], path_of, held)
    elif "map" not in keys:
        found[EVENT_ID.name] = mapped(EVENT_ID, entry.under(EVENT_ID.name, EVENT_ID.name), path_of, held)
    return found
