"""What is wrong in config/: a start ends with the first mistake, `tillwatch check` goes on and tells them all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lakehouse.user_error import UserError


@dataclass(frozen=True)
class Mistake:
    """One mistake: the file it is in, and the sentence that says where, what and what would do."""

    path: Path
    sentence: str


class Told(UserError):
    """Nothing new: why it cannot go on was noted before."""


_found: list[Mistake] | None = None


def collect() -> list[Mistake]:
    """From now on note what is wrong and leave it out. The list grows. Before any declaration is read."""
    global _found
    _found = []
    return _found


def is_wrong(path_name: str) -> bool:
    """Whether a file of this name, without its ending, was found wrong: what builds on it says nothing new."""
    return any(mistake.path.stem == path_name for mistake in _found or ())


@contextmanager
def noted(path: Path) -> Iterator[None]:
    """Let a UserError of this file through; where all are collected, note it and go on after the block."""
    try:
        yield
    except UserError as error:
        if _found is None:
            raise
        mistake = Mistake(path, str(error))
        if not isinstance(error, Told) and mistake not in _found:
            _found.append(mistake)
