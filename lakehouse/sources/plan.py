"""What a source says, read and checked: the plan by which both ways of reading work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from lakehouse.decode import AS_DECLARED, Customs
from lakehouse.sources.conditions import Condition
from lakehouse.sources.envelope import Compression, Envelope
from lakehouse.sources.fields import Mapped
from lakehouse.sources.path import Getter, Path, Scope
from lakehouse.topics import Topic


@dataclass(frozen=True)
class SourcePlan:
    """What one source says.

    `path`: that of the elements which become events; `every` reads the list of each `[]` of it, `lists` is what it is
    called. `selected`: conditions on the message, then on the element of each list.
    """

    name: str
    topic: Topic
    envelope: Envelope
    registry: bool
    compression: Compression
    selected: tuple[tuple[Condition, ...], ...]
    path: Path | None
    every: tuple[Getter, ...]
    lists: tuple[str, ...]
    fields: Mapping[str, Mapped]
    paths: tuple[Path, ...]
    customs: Customs = AS_DECLARED

    @cached_property
    def placed(self) -> bool:
        """Whether a message holds several events whose event_id says nothing of the element."""
        named = self.fields.get("event_id")
        return bool(self.every) and (named is None or named.lists < len(self.every))

    def select(self, level: int) -> Callable[[Scope], bool] | None:
        """Whether a message, or an element, becomes events; None where all do."""
        tests = self.selected[level]
        if len(tests) < 2:
            return tests[0] if tests else None
        return lambda scope: all(test(scope) for test in tests)
