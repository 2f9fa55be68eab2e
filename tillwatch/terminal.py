"""What demo and stack say to whoever started them, and whether they are still there."""

from __future__ import annotations

import contextlib
import os
import select
from datetime import datetime
from pathlib import Path


def say(text: str = "") -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone, which must not keep us from ending in order
        print(text, flush=True)


def note(text: str) -> None:
    say(f"  {datetime.now().astimezone():%H:%M:%S}  {text}")


def shown(path: Path) -> str:
    """A path as people read it: from here, where it lies below."""
    with contextlib.suppress(ValueError, OSError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


class Audience:
    """Whether the terminal, or the pipe that is written to, is still there.

    When `make` itself leads the terminal's session it alone gets the SIGHUP of a closed window, and waits for us.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        for number in (0, 1):
            with contextlib.suppress(OSError):
                if number == 1 or os.isatty(number):
                    self._poll.register(number, 0)

    def gone(self) -> bool:
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in self._poll.poll(0))
