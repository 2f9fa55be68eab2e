"""What a user can mend, said in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something a user can mend; the message is one sentence: what, where, what would do."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a UserError's sentence on stderr and exit with 2, without a traceback."""
    try:
        yield
    except UserError as error:
        print(f"tillwatch: {error}", file=sys.stderr)
        raise SystemExit(2) from None
