"""What the messages of a sample hold, by the paths that a map would name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from lakehouse.sources.envelope import Envelope
from tillwatch.init.names import NAMES, OF_LINES, rank

DEEPEST = 8
MOST_COLUMNS = 2_000
OURS = ("_line", "_file")
"""What replay adds to a line."""

_PLAIN = re.compile(r"[^.\[\]'{}]+")
_WORD = re.compile(r"[A-ZÄÖÜ]+(?![a-zäöüß])|[A-ZÄÖÜ]?[^\W\d_A-ZÄÖÜ]+|\d+")
WRAPPED = {Envelope.DEBEZIUM: "after.", Envelope.CLOUDEVENTS: "data."}
"""What the paths to the shop's own data begin with."""


@dataclass
class SampleColumn:
    """What stands at a path: a value of each message, or of each element of a list; None where there is nothing.

    `words`: the name in small letters, apart by blanks, without what all paths of the sample begin with.
    """

    path: str
    words: str
    values: list[object] = field(default_factory=list)

    @property
    def of_elements(self) -> bool:
        return "[]" in self.path

    @cached_property
    def given(self) -> list[str]:
        """The values that are there, as text."""
        return [str(value) for value in self.values if value is not None]

    @cached_property
    def distinct(self) -> list[str]:
        return list(dict.fromkeys(self.given))

    @property
    def full(self) -> bool:
        return bool(self.values) and len(self.given) == len(self.values)


@dataclass(frozen=True)
class SampleColumns:
    """Those of a sample: of the messages, and of the elements of the list in them that looks like an order's lines.

    `sizes`: how many elements each message has.
    """

    of_messages: Mapping[str, SampleColumn]
    of_elements: Mapping[str, SampleColumn]
    path: str = ""
    sizes: Sequence[int] = ()

    def __iter__(self) -> Iterator[SampleColumn]:
        yield from self.of_messages.values()
        yield from self.of_elements.values()

    @property
    def by_path(self) -> dict[str, SampleColumn]:
        return {column.path: column for column in self}


def columns_of(documents: Sequence[object], envelope: Envelope) -> SampleColumns:
    """The columns of messages without their envelope, and of one list in them: that which most looks like lines."""
    flat = [_flat(document, "") for document in documents]
    found = _table([scalars for scalars, _ in flat], WRAPPED.get(envelope, ""))
    names: dict[str, set[str]] = defaultdict(set)
    for _, held in flat:
        for path, elements in held.items():
            names[path] |= {name for element in elements for name in _flat(element, "")[0]}
    path = max(names, key=lambda each: (_likeness(names[each]), len(names[each])), default="")
    if not path or not _likeness(names[path]):
        return SampleColumns(found, {})
    of_each = [held.get(path, []) for _, held in flat]
    rows = [_flat(element, f"{path}[].")[0] for elements in of_each for element in elements]
    return SampleColumns(found, _table(rows, f"{path}[]."), path, [len(elements) for elements in of_each])


def _likeness(names: Iterable[str]) -> int:
    """How many fields of a line of an order have a name among these."""
    words = [words_of(name) for name in names]
    patterns = [NAMES["orders_topic"][name] for name in OF_LINES]
    return sum(any(rank(each, pattern) is not None for each in words) for pattern in patterns)


def _table(rows: Iterable[Mapping[str, object]], prefix: str) -> dict[str, SampleColumn]:
    rows = list(rows)
    paths = dict.fromkeys(path for row in rows for path in row)
    return {
        path: SampleColumn(path, words_of(path.removeprefix(prefix)), [_value(row.get(path)) for row in rows])
        for path in list(paths)[:MOST_COLUMNS]
    }


def _value(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _flat(document: object, prefix: str, depth: int = 0) -> tuple[dict[str, object], dict[str, list[object]]]:
    """Values by path, and lists of objects by path."""
    scalars: dict[str, object] = {}
    lists: dict[str, list[object]] = {}
    if not isinstance(document, dict) or depth > DEEPEST:
        return scalars, lists
    for name, value in document.items():
        step = step_of(name)
        if step is None or (not prefix and name in OURS):
            continue
        path = prefix + step
        if isinstance(value, dict):
            inner, held = _flat(value, f"{path}.", depth + 1)
            scalars |= inner
            lists |= held
        elif isinstance(value, list):
            if value and all(isinstance(element, dict) for element in value):
                lists[path] = value
        else:
            scalars[path] = value
    return scalars, lists


def step_of(name: str) -> str | None:
    """A name as a step of a path; None where no path can have it."""
    if "'" in name or "{" in name or "}" in name or not name.strip():
        return None
    return name if _PLAIN.fullmatch(name) and name == name.strip() else f"'{name}'"


def in_number(path: str) -> str:
    """A path as arithmetic has it: names that are no words stand in quotes."""
    return re.sub(
        r"'[^']*'|[^.\[\]']+",
        lambda found: (
            found[0] if found[0].startswith("'") or re.fullmatch(r"[^\W\d]\w*", found[0]) else f"'{found[0]}'"
        ),
        path,
    )


def words_of(name: str) -> str:
    """`Lineitem quantity`, `InvoiceNo` and `customer.id` as small words: "lineitem quantity", "invoice no"."""
    return " ".join(word.lower() for word in _WORD.findall(name))
