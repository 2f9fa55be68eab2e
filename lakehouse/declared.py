"""Declarations in files: read into structs, and one sentence with file and line where something is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import msgspec

from lakehouse import ROOT
from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, line_of, parse_yaml, read_text


@dataclass(frozen=True)
class Declaration:
    """What a file declares under its own name. `rest` is what stands after the YAML: the query, of an SQL file."""

    path: Path
    yaml: str
    content: Any
    rest: str = ""

    @classmethod
    def of_yaml(cls, path: Path) -> Self:
        """A YAML file. Raises UserError."""
        return cls._made(path, _text(path), "")

    @classmethod
    def of_sql(cls, path: Path) -> Self:
        """An SQL file that begins with YAML in a comment; both keep their line numbers. Raises UserError."""
        text = _text(path)
        head, end, query = text.partition("*/")
        if not text.startswith("/*") or not end:
            raise UserError(
                f"{_shown(path)}, line 1: a comment /* … */ that declares the table must come first; add it."
            )
        return cls._made(path, f"  {head[2:]}", "\n" * head.count("\n") + query)

    @classmethod
    def _made(cls, path: Path, yaml: str, rest: str) -> Self:
        try:
            content = parse_yaml(yaml)
        except NotYaml as error:
            raise UserError(f"{_shown(path)} cannot be read: {error}; mend it.") from None
        if not isinstance(content, dict):
            raise UserError(f"{_shown(path)}, line 1: it holds no `key: value` lines; add them.")
        return cls(path, yaml, content, rest)

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def where(self) -> str:
        """The file, as people name it."""
        return _shown(self.path)

    def read[T](self, keys: type[T], *place: str) -> T:
        """The mapping at a place, () being all. Raises UserError where a key is missing, unknown or of another type."""
        found = self.content
        for key in place:
            found = found[key]
        try:
            return msgspec.convert(found if found is not None else {}, keys)
        except msgspec.ValidationError as error:
            raise self._invalid(str(error), keys, place) from None

    def wrong(self, what: str, *place: str | int) -> UserError:
        """What is wrong, and what would do, at a place."""
        named = f", '{place[1]}'" if len(place) > 1 and place[0] in ("fields", "columns") else ""
        return UserError(f"{self.where}, line {self.line(*place)}{named}: {what}.")

    @property
    def rest_line(self) -> int:
        """The line in which what stands after the YAML begins."""
        return 1 + len(self.rest) - len(self.rest.lstrip("\n"))

    def wrong_rest(self, what: str) -> UserError:
        """What is wrong in it, and what would do."""
        return UserError(f"{self.where}, line {self.rest_line}: {what}.")

    def line(self, *place: str | int) -> int:
        return line_of(self.yaml, *place)

    def _invalid(self, message: str, keys: object, place: tuple[str, ...]) -> UserError:
        """msgspec's message as one of ours: "Object missing required field `doc` - at `$.table`"."""
        what, _, at = message.partition(" - at ")
        if at.startswith("`key` in"):
            return self.wrong("a key here is no text; quote it", *place)
        below = [key for key in re.split(r"[.\[\]$`]+", at) if key and key != "..."]
        place = (*place, *below)
        missing = re.fullmatch(r"Object missing required field `(\w+)`", what)
        if missing:
            return self.wrong(f"the key '{missing[1]}' is missing; add it", *place)
        unknown = re.fullmatch(r"Object contains unknown field `(.+)`", what)
        if unknown:
            known = _keys_of(keys, below)
            said = f"{near(unknown[1], known)}; known are {', '.join(known)}"
            return self.wrong(f"the key '{unknown[1]}' is unknown{said}", *place, unknown[1])
        expected = re.sub("`([^`]*)`", lambda found: _words_of(found[1]), what).replace("Expected ", "expected ")
        of = [int(key) if key.isdecimal() else key for key in place]
        name = next((str(key) for key in reversed(of) if isinstance(key, str)), self.name)
        entry = f"entry {of[-1] + 1} of " if of and isinstance(of[-1], int) else ""
        return self.wrong(f"{entry}'{name}' is of another type: {expected}; correct it", *of)


_TYPES = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "object": "keys",
    "array": "a list", "null": "nothing", "date": "a day", "datetime": "a time",
}  # fmt: skip
"""What msgspec calls a type, in words."""


def _words_of(types: str) -> str:
    return " or ".join(_TYPES.get(each, each) for each in types.split(" | "))


def _keys_of(keys: object, below: Sequence[str]) -> list[str]:
    """The keys of a struct, or of one in it."""
    for name in below:
        if isinstance(keys, type) and issubclass(keys, msgspec.Struct):
            keys = next(field.type for field in msgspec.structs.fields(keys) if field.name == name)
        else:
            keys = get_args(keys)[-1]
    return [field.name for field in msgspec.structs.fields(keys)]  # type: ignore[arg-type]  # msgspec has refused a key


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except NotYaml as error:
        raise UserError(f"{_shown(path)} cannot be read: {error}; mend or restore the file.") from None


def _shown(path: Path) -> str:
    # `tillwatch demo --with` links the files of an example: the one to mend is that.
    path = path.resolve() if path.is_symlink() else path
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
