"""What systemd is told of us, by the socket that it names; nothing where it did not start us. See sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from notifier.text import line

logger = logging.getLogger("notifier")

TURN_S = 1.0


class Systemd:
    """One message a call, which waits for a second at most and raises nothing.

    turn_s: how often `watch` has to be called, at least.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # @ stands for the zero byte that an abstract socket's name begins with.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._monotonic = monotonic
        self._watched_s = _watched_s(environment)
        self.turn_s = TURN_S if self._watched_s is None else min(TURN_S, self._watched_s / 2)
        self._ready = False
        self._status = ""
        self._alive_at = float("-inf")

    def watch(self, ready: bool, alive: bool, parts: Mapping[str, str | None]) -> None:
        """Say how we are. ready: whether we are up; alive: whether we work; parts: what is wrong with each."""
        if not ready:
            return
        wrong = next((f"{name}: {error}" for name, error in parts.items() if error), None)
        status = f"Degraded, {wrong}" if wrong else "Ready"
        if not self._ready:
            self._ready = self._tell("READY=1", f"STATUS={line(status, 300)}")
        elif status != self._status:
            self._tell(f"STATUS={line(status, 300)}")
        self._status = status
        # At half the time that it waits, so that one may be lost.
        if alive and self._watched_s is not None and self._monotonic() - self._alive_at >= self._watched_s / 2:
            self._alive_at = self._monotonic()
            self._tell("WATCHDOG=1")

    def reloading(self) -> None:
        """Settings are read again; `reloaded` has to follow."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=Reading settings and routes")

    def reloaded(self) -> None:
        """They are read, whether or not they were right; the status follows."""
        self._ready, self._status = self._tell("READY=1"), ""

    def stopping(self) -> None:
        self._tell("STOPPING=1", "STATUS=Ending")

    def _tell(self, *lines: str) -> bool:
        """Whether it need not be told again."""
        if not self._address:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(1.0)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            logger.warning("systemd could not be told %s: %s", lines[0], error)
            return False
        return True


def _watched_s(environment: Mapping[str, str]) -> float | None:
    """How long systemd waits for a sign of life, in seconds; None where it does not, or not for one of ours."""
    given, whose = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not given.isdecimal() or int(given) == 0 or (whose and whose != str(os.getpid())):
        return None
    return int(given) / 1e6
