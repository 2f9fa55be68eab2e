"""What is wrong in config/: a start ends with the first mistake, `tillwatch check` goes on and tells them all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, read_text


@dataclass(frozen=True)
class Mistake:
    """One mistake: the file it is in, and the sentence that says where, what and what would do."""

    path: Path
    sentence: str


class AlreadyTold(UserError):
    """Nothing new: why it cannot go on was noted before."""


_found: list[Mistake] | None = None
_left_out: set[Path] = set()


def collect() -> list[Mistake]:
    """From now on note what is wrong and leave it out. The list grows. Before any declaration is read."""
    global _found
    _found = []
    _left_out.clear()
    return _found


def is_wrong(name: str) -> bool:
    """Whether a file that declares a topic, table or question of this name was left out: what builds on it says nothing
    new."""
    return any(
        path.parent.name in ("topics", "kpis", "questions") and (name == path.stem or _may_declare(path, name))
        for path in _left_out
    )


def is_left_out(path: Path) -> bool:
    """Whether something is wrong in this file, or in what it builds on."""
    return path in _left_out


def _may_declare(path: Path, name: str) -> bool:
    """Whether a topic's file may be that of a table: called as the topic, or named in it."""
    if path.parent.name != "topics":
        return False
    if name == f"{path.stem.removesuffix('_topic')}_processed":
        return True
    try:
        return re.search(rf"\bname: *{re.escape(name)}\b", read_text(path)) is not None
    except NotYaml:
        return False


@contextmanager
def noted(path: Path) -> Iterator[None]:
    """Let a UserError of this file through; where all are collected, note it and go on after the block."""
    try:
        yield
    except UserError as error:
        if _found is None:
            raise
        _left_out.add(path)
        mistake = Mistake(path, str(error))
        if not isinstance(error, AlreadyTold) and mistake not in _found:
            _found.append(mistake)
