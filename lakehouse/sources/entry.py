"""A place in config/sources.yaml: read with checks, or one sentence with file, line, key, value and a near name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from lakehouse.texts import near, visible
from lakehouse.user_error import UserError
from lakehouse.yaml_file import line_of

_LONGEST = 1_000  # letters of a sentence


@dataclass(frozen=True)
class Entry:
    """What stands at a place of a file's YAML. `where` is the file, as people name it."""

    where: str
    yaml: str
    place: tuple[str | int, ...]
    value: object

    @property
    def name(self) -> str:
        """The key, or the key of the list that it is in."""
        return next((part for part in reversed(self.place) if isinstance(part, str)), "")

    def wrong(self, what: str) -> UserError:
        source = f", '{self.place[0]}'" if self.place else ""
        return UserError(f"{self.where}, line {line_of(self.yaml, *self.place)}{source}: {visible(what, _LONGEST)}.")

    def under(self, key: str | int, value: object) -> Entry:
        return Entry(self.where, self.yaml, (*self.place, key), value)

    def keys(self, known: Iterable[str], what: str = "key") -> dict[str, Entry]:
        """The entries of a mapping with no other keys than the known ones."""
        known = tuple(known)
        found = self.mapping()
        for name in found:
            if name not in known:
                raise found[name].wrong(f"the {what} '{name}' is unknown{near(name, known)}; known are {_list(known)}")
        return found

    def mapping(self) -> dict[str, Entry]:
        """The entries of a mapping, not empty, by their names."""
        if not isinstance(self.value, dict) or not self.value:
            raise self.wrong(f"'{self.name}' holds no `key: value` lines; add them")
        found = {str(key): self.under(str(key), value) for key, value in self.value.items()}
        if len(found) < len(self.value):
            raise self.wrong(f"'{self.name}' has a key twice, as text and as number; leave one out")
        return found

    def text(self) -> str:
        if type(self.value) is int:
            return str(self.value)
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.wrong(
                f"'{self.name}' is {self._shown}; expected text, in quotes where YAML takes it for another"
            )
        return self.value

    def texts(self) -> list[str]:
        """A text, or a list of them."""
        return [entry.text() for entry in self.each()]

    def each(self) -> list[Entry]:
        """The entries of a list, or the one that stands there alone."""
        if not isinstance(self.value, list):
            return [self]
        if not self.value:
            raise self.wrong(f"'{self.name}' is an empty list; fill it or leave it out")
        return [self.under(number, value) for number, value in enumerate(self.value)]

    def one_of(self, known: Iterable[str]) -> str:
        known = tuple(known)
        text = self.text()
        if text not in known:
            raise self.wrong(f"'{self.name}' is '{text}'{near(text, known)}; expected one of {_list(known)}")
        return text

    def choice[E: StrEnum](self, kind: type[E]) -> E:
        return kind(self.one_of([member.value for member in kind]))

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong(f"'{self.name}' is {self._shown}; expected true or false")
        return self.value

    def count(self, most: int) -> int:
        if type(self.value) is not int or not 0 <= self.value <= most:
            raise self.wrong(f"'{self.name}' is {self._shown}; expected a whole number, 0 to {most}")
        return self.value

    def number(self) -> Decimal:
        if type(self.value) not in (int, float):
            raise self.wrong(f"'{self.name}' is {self._shown}; expected a number")
        found = Decimal(str(self.value))
        if not found.is_finite():
            raise self.wrong(f"'{self.name}' is {self._shown}; expected a number")
        return found

    @property
    def _shown(self) -> str:
        match self.value:
            case None:
                return "empty"
            case bool():
                return str(self.value).lower()
            case dict():
                return "a mapping"
            case list():
                return "a list"
            case _:
                return f"'{self.value}'"


def _list(known: Sequence[str]) -> str:
    return ", ".join(known)
