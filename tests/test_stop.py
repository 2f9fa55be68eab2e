"""A process that is told to end, ends, whatever it was about when it was told."""

from __future__ import annotations

import os
import signal
import threading
import time

from lakehouse.stop import Stop


def test_everybody_who_waits_is_woken() -> None:
    stop, woken = Stop(), []
    waiting = [threading.Thread(target=lambda: woken.append(stop.wait(30))) for _ in range(3)]
    for thread in waiting:
        thread.start()
    assert not stop.wait(0.01)
    stop.set()
    for thread in waiting:
        thread.join(10)
    assert woken == [True, True, True]
    assert stop.is_set()


def test_a_signal_at_any_moment_of_a_wait_is_heard() -> None:
    """With an Event it hangs sooner or later: its handler meets the lock that the interrupted wait holds."""
    before = signal.getsignal(signal.SIGUSR1)
    try:
        for number in range(300):
            stop = Stop()
            signal.signal(signal.SIGUSR1, lambda *_, stop=stop: stop.set())
            after = threading.Timer(number % 30 / 10_000, os.kill, (os.getpid(), signal.SIGUSR1))
            after.start()
            end = time.monotonic() + 10
            while not stop.wait(0.00005):
                assert time.monotonic() < end
            after.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_that_wakes_nobody_is_heard() -> None:
    """Another thread gets it, as one does that comes between the main thread's last look and its sleep."""
    before = signal.getsignal(signal.SIGUSR1)
    too_long, done = threading.Event(), threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        stop = Stop()
        signal.signal(signal.SIGUSR1, lambda *_: stop.set())
        assert other.ident is not None
        after = threading.Timer(0.2, signal.pthread_kill, (other.ident, signal.SIGUSR1))
        too_late = threading.Timer(20, too_long.set)
        after.start()
        too_late.start()
        assert stop.wait(40)
        assert not too_long.is_set()
        too_late.cancel()
    finally:
        done.set()
        signal.signal(signal.SIGUSR1, before)
