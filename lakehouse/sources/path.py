"""Paths into a message: `customer.id`, `items[].sku`, `lines[0].price`, `'Lineitem name'`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

EVERY: Final = -1
"""The step `[]`: every element of a list."""

type Step = str | int
type Scope = tuple[object, ...]
"""What paths begin at: the message, then the element of each list on the way that `each` names."""

type Getter = Callable[[Scope], object]

_STEP = re.compile(r"(?P<dot>^|\.)(?:'(?P<quoted>[^']+)'|(?P<name>[^.\[\]'{}]+))|\[(?P<index>\d{0,5})\]")


class _Absent:
    """What a getter gives where there is nothing, not even null."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


@dataclass(frozen=True)
class Path:
    text: str
    steps: tuple[Step, ...]

    @property
    def lists(self) -> int:
        """How many times it goes through every element of a list."""
        return self.steps.count(EVERY)

    def head(self, lists: int) -> tuple[Step, ...]:
        """The steps up to and with the n-th `[]`; () of none."""
        return self.steps[: self._after(lists)]

    def tail(self) -> tuple[Step, ...]:
        """The steps after the last `[]`."""
        return self.steps[self._after(self.lists) :]

    def _after(self, lists: int) -> int:
        places = [place for place, step in enumerate(self.steps) if step == EVERY]
        return places[lists - 1] + 1 if lists else 0

    def at(self, place: str) -> str:
        """The path as text, with the numbers of the elements: `items[3].sku`."""
        return numbered(self.text, place)


def numbered(text: str, place: str) -> str:
    """A path's text with the numbers of elements in its `[]`."""
    numbers = iter(place.split("."))
    return re.sub(r"\[\]", lambda _: f"[{next(numbers, '')}]", text)


def parse_path(text: str) -> Path | None:
    """None where the text is no path."""
    steps: list[Step] = []
    end = 0
    while end < len(text):
        found = _STEP.match(text, end)
        if found is None or (found["dot"] == "" and found.start() > 0):
            return None
        if found["index"] is not None:
            steps.append(int(found["index"]) if found["index"] else EVERY)
        else:
            name = found["quoted"] or found["name"]
            if not found["quoted"] and name != name.strip():
                return None
            steps.append(name)
        end = found.end()
    return Path(text, tuple(steps)) if steps else None


def getter(path: Path) -> Getter:
    """What reads a path, which may go through as many `[]` as the scope has elements; ABSENT where there is nothing."""
    level, steps = path.lists, path.tail()
    if len(steps) == 1 and isinstance(steps[0], str):
        (name,) = steps

        def get_name(scope: Scope) -> object:
            held = scope[level]
            return held.get(name, ABSENT) if type(held) is dict else ABSENT

        return get_name

    def get(scope: Scope) -> object:
        held = scope[level]
        for step in steps:
            if isinstance(step, str):
                held = held.get(step, ABSENT) if type(held) is dict else ABSENT
            else:
                held = held[step] if type(held) is list and step < len(held) else ABSENT
        return held

    return get
