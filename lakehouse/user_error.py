"""What a user can mend, said in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class UserError(Exception):
    """Something a user can mend; the message is one sentence: what, where, what would do."""

    exit_code: ClassVar[int] = 2


class Unreachable(UserError):
    """Nothing is wrong with what was asked: who should answer does not."""

    exit_code = 3


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a UserError's sentence on stderr and exit with its code, without a traceback."""
    try:
        yield
    except UserError as error:
        print(f"tillwatch: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
