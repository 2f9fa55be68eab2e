"""How a KPI's query is given up, whatever runs it."""

from __future__ import annotations

import threading

import pytest

from pipeline.batch.limit import TookTooLong, time_limit


def test_what_does_not_hear_the_first_call_is_stopped_by_a_later_one() -> None:
    calls = threading.Semaphore(0)

    def query() -> None:
        for _ in range(3):  # it is planned, then between two jobs: only the third call finds something to stop
            assert calls.acquire(timeout=60)
        raise RuntimeError("cancelled")

    with pytest.raises(TookTooLong, match=r"^it took over 0\.01 s$"), time_limit(0.01, calls.release):
        query()


def test_what_comes_after_it_is_never_stopped_for_it() -> None:
    over = False
    called_late: list[bool] = []
    heard = threading.Event()

    def stop() -> None:
        called_late.append(over)
        heard.set()

    with time_limit(0.01, stop):
        assert heard.wait(60)
    over = True
    assert not any(thread.name == "kpi-limit" for thread in threading.enumerate())
    assert not any(called_late)


def test_what_fails_in_time_fails_by_its_own_words() -> None:
    with pytest.raises(ValueError, match="no number"), time_limit(60, list):
        raise ValueError("no number")
