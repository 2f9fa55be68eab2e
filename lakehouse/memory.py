"""How a long-running process with many threads keeps its memory small."""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def few_arenas(most: int = 2) -> None:
    """Let glibc's malloc keep so many arenas instead of eight a core: with many threads memory creeps up else.

    Does nothing where malloc is another one.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, most)


def large_ones_apart(from_bytes: int = 128 * 1024) -> None:
    """Let glibc's malloc map what is as large as that, and give it back when it is freed, for good.

    It raises that bound by itself each time a larger one is freed, up to 32 MB; large buffers then lie between small
    ones that stay, and memory creeps up by the number of answers. Does nothing where malloc is another one.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, from_bytes)
        libc.mallopt(_M_TRIM_THRESHOLD, from_bytes)


def give_back() -> None:
    """Return to the system what malloc holds and nobody uses; milliseconds. Does nothing where malloc is another."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
