"""What a user can mend, said in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Self


class UserError(Exception):
    """Something a user can mend; the message is one sentence: what, where, what would do.

    sentences: it, and those of all else that was found wrong with it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, sentence: str, *others: str) -> None:
        super().__init__(sentence)
        self.sentences = (sentence, *others)

    @classmethod
    def of(cls, sentences: Iterable[str]) -> Self:
        """All that is wrong, each told once."""
        return cls(*dict.fromkeys(sentences))


class Unreachable(UserError):
    """Nothing is wrong with what was asked: who should answer does not."""

    exit_code = 3


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a UserError's sentence on stderr and exit with its code, without a traceback."""
    try:
        yield
    except UserError as error:
        more = len(error.sentences) - 1
        told = f" ({more} more: `tillwatch check` lists {'it' if more == 1 else 'them'})" if more else ""
        print(f"tillwatch: {error}{told}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
