"""Paths of tables and schemas: what a session has set, how Dremio takes a name apart, and where it looks for it."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from embedded.gateway.commits import key_of
from embedded.gateway.versions import At
from embedded.gateway.words import RESERVED
from lakehouse.tables import CATALOG

INFORMATION_SCHEMA = "INFORMATION_SCHEMA"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

type Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """What a session has set: a schema, and the version that its statements see; None: the head of main."""

    schema: Path = ()
    version: At | None = None

    def told(self) -> list[Any]:
        """As JSON."""
        version = self.version and [self.version.kind, self.version.value, self.version.as_of]
        return [self.schema, version]

    @classmethod
    def of(cls, told: Sequence[Any]) -> Context:
        """From `told`."""
        schema, version = told
        return cls(tuple(schema), version and At(version[0], version[1], as_of=version[2]))


def parsed(text: str) -> Path:
    """A path in one text, as the header `schema` has it: double quotes keep dots together, empty parts are dropped."""
    parts: list[str] = [""]
    quoted = False
    for place, letter in enumerate(text):
        if letter == '"':
            if not quoted and place and text[place - 1] == '"' and parts[-1]:
                parts[-1] += '"'  # a doubled quote is one
            quoted = not quoted
        elif letter == "." and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part for part in parts if part)


def lookups(path: Path, schema: Path, apart: bool = True) -> Iterator[Path]:
    """Where a table may stand, in order: below the session's schema, then from the root.

    apart: whether names with dots in them are taken apart.
    """
    for full in [(*schema, *path), path] if schema else [path]:
        yield canonical(full) if apart else full


def canonical(path: Path) -> Path:
    """Where the first name has a dot, all are taken apart at their dots; any other path stands as it is.

    So does Dremio: "catalog.schema"."table" is found, and catalog."schema.table" is not.
    """
    if "." not in path[0]:
        return path
    return tuple(piece for part in path for piece in _pieces(part))


def _pieces(text: str) -> list[str]:
    """The text taken apart at each dot that an even number of double quotes follows."""
    pieces, quotes = [""], text.count('"')
    for letter in text:
        quotes -= letter == '"'
        if letter == "." and quotes % 2 == 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    while pieces and not pieces[-1]:
        pieces.pop()
    return pieces


def table_key(path: Path) -> str | None:
    """What a commit knows the table of that path by (commits.key_of); None for a path of another source.

    Nessie tells capitals from small letters, Dremio does so in its tables' names only: sources' are alike in both.
    """
    return key_of(path[1:]) if len(path) > 1 and is_ours(path) else None


def information_table(path: Path) -> str | None:
    """The name of a table of INFORMATION_SCHEMA, in capitals; None for any other path."""
    if len(path) == 2 and path[0].upper() == INFORMATION_SCHEMA:
        return path[1].upper()
    return None


def is_schema(path: Path, folders: Container[Path]) -> bool:
    """Whether there is such a source, or such a folder in ours, which has these."""
    below = path[1:]
    return (is_ours(path) and (not below or below in folders)) or (path[0].upper() == INFORMATION_SCHEMA and not below)


def is_ours(path: Path) -> bool:
    """Whether the path begins with the source of tables."""
    return path[0].lower() == CATALOG


def written(path: Path) -> str:
    """The path as Dremio's messages write it."""
    return ".".join(_quoted(part) for part in path)


def _quoted(part: str) -> str:
    if not part or (_PLAIN.fullmatch(part) and part.upper() not in RESERVED):
        return part
    return '"' + part.replace('"', '""') + '"'
