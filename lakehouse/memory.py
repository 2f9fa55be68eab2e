"""How a long-running process with many threads keeps its memory small."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX = -8  # malloc.h


def few_arenas(most: int = 2) -> None:
    """Let glibc's malloc keep so many arenas instead of eight a core: with many threads memory creeps up else.

    Does nothing where malloc is another one.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, most)


def give_back() -> None:
    """Return to the system what malloc holds and nobody uses; milliseconds. Does nothing where malloc is another."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
