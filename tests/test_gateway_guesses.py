"""Whoever guesses passwords waits, whoever knows one does not."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager

import pytest

from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.sessions import Sessions
from embedded.gateway.users import Guesses, Users


def basic(user: str, password: str) -> dict[str, list[str]]:
    return {"authorization": ["Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()]}


class Clock:
    """Moves on by what is slept, as far as one sleeps for one's turn; who waits for an answer waits until `answer`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.answer = threading.Event()
        self.asleep = threading.Semaphore(0)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        if seconds < Guesses.longest_s:
            self.now += seconds
            return
        self.slept.append(seconds)
        self.asleep.release()
        self.answer.wait(30)


@contextmanager
def guessers(guesses: Guesses, clock: Clock, lines: int) -> Iterator[None]:
    """So many lines that each had a wrong password, and wait for the answer."""
    for _ in range(8):
        guesses.wrong("ada")
    with ThreadPoolExecutor(lines) as pool:
        for _ in range(lines):
            with guesses.look("ada"):
                pass
            pool.submit(guesses.wrong, "ada")
            clock.asleep.acquire()
        yield
        clock.answer.set()


def test_whoever_guesses_waits_longer_and_longer_and_the_right_password_never_does() -> None:
    now, waited = 0.0, list[float]()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        waited.append(seconds)

    guesses = Guesses(clock=lambda: now, sleep=sleep, memory_s=900)
    sessions = Sessions(Users({"ada": "lovelace"}), 60, guesses=guesses)

    def guess(user: str) -> None:
        with pytest.raises(Refusal, match="Invalid username or password"):
            sessions.enter(basic(user, "wrong"), handshake=True)

    for _ in range(12):
        guess("ada")
    assert waited == [0.25, 0.5, 1, 2, 4, 8, 8, 8, 8]
    sessions.enter(basic("ada", "lovelace"), handshake=True)
    guess("grace")
    assert len(waited) == 9, "each name by itself"
    now += 901
    guess("ada")
    assert len(waited) == 9, "and forgotten after a while"


@pytest.mark.parametrize("lines", [4, 40])
def test_however_many_lines_guess_the_right_password_comes_in(lines: int) -> None:
    clock = Clock()
    guesses = Guesses(clock, clock.sleep)
    sessions = Sessions(Users({"ada": "lovelace"}), 60, guesses=guesses)
    with guessers(guesses, clock, lines):
        before = clock.now
        assert sessions.enter(basic("ada", "lovelace"), handshake=True).user == "ada"
        assert clock.now - before <= guesses.look_every_s
        assert len(clock.slept) == lines, "all of them still wait"


def test_guessing_on_many_lines_is_no_faster() -> None:
    clock = Clock()
    guesses = Guesses(clock, clock.sleep)
    began = 7.75  # after eight, one after the other
    with guessers(guesses, clock, 40):
        assert clock.now - began >= 39 * guesses.look_every_s


def test_a_few_stand_in_line_and_no_other_name_waits_for_them() -> None:
    clock = Clock()
    guesses = Guesses(clock, clock.sleep)
    looked: list[Future[None]] = []

    def look() -> None:
        with guesses.look("ada"):
            pass

    with ThreadPoolExecutor(guesses.most_in_line) as pool, guessers(guesses, clock, 1), ExitStack() as looking:
        for _ in range(guesses.at_once):
            looking.enter_context(guesses.look("ada"))
        looked += [pool.submit(look) for _ in range(guesses.most_in_line)]
        while len(guesses._lines["ada"]) < guesses.most_in_line:
            wait(looked, 0.01)
        with pytest.raises(Refusal, match="Too many failed sign-ins") as caught, guesses.look("ada"):
            pass
        assert caught.value.kind is ErrorKind.UNAVAILABLE
        with guesses.look("grace"):
            pass
    assert all(one.done() and one.exception() is None for one in looked)


def test_guesses_take_no_memory() -> None:
    guesses = Guesses(sleep=lambda _: None, most_names=100)
    for number in range(1_000):
        name = f"{number}-" + "x" * 10_000
        with guesses.look(name):
            pass
        guesses.wrong(name)
    assert len(guesses._wrong) == 100
    assert max(map(len, guesses._wrong)) <= 64
    assert not guesses._lines
    assert not guesses._looking
