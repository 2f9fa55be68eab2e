"""Where a notifier's process may end: found as it runs, at each commit of its ledger and at each call of a channel.

A commit has two points: `before` (nothing is written) and `after` (it is, and nothing that follows has happened). A
call of a channel has three: `before` (nothing is on the wire), `taken` (the other side has it, and its answer is never
read) and `answered` (the channel knows, and the ledger does not). A commit has the name of the function that has opened
its transaction, so a new one is a point by itself.
"""

from __future__ import annotations

import contextlib
import http.client
import smtplib
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType, MappingProxyType
from typing import Any
from unittest.mock import patch

from sqlalchemy.engine.default import DefaultDialect

from notifier.channel import Broken, Channel, Finding, Outcome, Sought, Unknown
from notifier.ledger import file
from notifier.manner import Manner
from notifier.render import Notification

_FILE = file.__file__


class Crash(BaseException):
    """The process is gone. No BaseException of another kind, so nothing in the product catches it."""


@dataclass(frozen=True, order=True)
class Point:
    """What was done, and how far it had come."""

    what: str
    when: str

    def __str__(self) -> str:
        return f"{self.what}: {self.when}"


class Points:
    """Counts the points that are passed, and crashes at some, each once: when it is passed for the nth time.

    loses: so many messages are taken, and their answers lost, without a crash: what follows then has points of its own.
    shut: the channel that takes nothing until somebody mends it.
    """

    def __init__(self, crash_at: Mapping[Point, int] = MappingProxyType({}), loses: int = 0) -> None:
        self.passed: Counter[Point] = Counter()
        self.crashed: set[Point] = set()
        self.loses = loses
        self.shut: str | None = None
        self._crash_at = crash_at
        self._calling = ""
        self._thread = threading.get_ident()

    def reach(self, what: str, when: str) -> None:
        point = Point(what, when)
        self.passed[point] += 1
        if self._crash_at.get(point) == self.passed[point]:
            self.crashed.add(point)
            raise Crash(str(point))

    @contextmanager
    def calling(self, what: str) -> Iterator[None]:
        """A call of a channel."""
        self.reach(what, "before")
        self._calling = what
        try:
            yield
        finally:
            self._calling = ""
        self.reach(what, "answered")

    def _answer_is_here(self) -> None:
        if self._calling and threading.get_ident() == self._thread:
            self.reach(self._calling, "taken")

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While commits and answers are seen."""
        commit: Any = DefaultDialect.do_commit
        begin, data = http.client.HTTPResponse.begin, smtplib.SMTP.data

        def do_commit(dialect: DefaultDialect, connection: Any) -> None:
            what = _committing()
            if what:
                self.reach(what, "before")
            commit(dialect, connection)
            if what:
                self.reach(what, "after")

        def begin_answer(response: http.client.HTTPResponse) -> None:
            # Its first byte: whoever answers has done what it was asked for.
            response.fp.peek(1)
            self._answer_is_here()
            begin(response)

        def mail_data(server: smtplib.SMTP, message: Any) -> tuple[int, bytes]:
            answer = data(server, message)
            self._answer_is_here()
            return answer

        with ExitStack() as patches:
            patches.enter_context(patch.object(DefaultDialect, "do_commit", do_commit))
            patches.enter_context(patch.object(http.client.HTTPResponse, "begin", begin_answer))
            patches.enter_context(patch.object(smtplib.SMTP, "data", mail_data))
            yield


def _committing() -> str | None:
    """The function that has opened the transaction which is committed; None where that is none of the ledger's."""
    frame: FrameType | None = sys._getframe(2)
    ours = False
    while frame is not None:
        code = frame.f_code
        if code.co_filename == _FILE:
            ours = True
        elif ours and code.co_filename != contextlib.__file__:
            return f"ledger {'open' if code.co_name == '__init__' else code.co_name}"
        frame = frame.f_back
    return None


@dataclass
class Watched:
    """A channel whose calls are points."""

    channel: Channel
    points: Points

    @property
    def name(self) -> str:
        return self.channel.name

    @property
    def destinations(self) -> tuple[str, ...]:
        return self.channel.destinations

    @property
    def settle_s(self) -> float:
        return self.channel.settle_s

    @property
    def per_s(self) -> float | None:
        return self.channel.per_s

    @property
    def manner(self) -> Manner:
        return self.channel.manner

    def send(self, destination: str, note: Notification) -> Outcome:
        with self.points.calling(f"{self.name} {'edit' if note.edits else 'send'}"):
            shut = self.points.shut == self.name
            outcome = Broken("not in channel") if shut else self.channel.send(destination, note)
        if self.points.loses:
            self.points.loses -= 1
            return Unknown("taken, and the answer lost")
        return outcome

    def find(self, destination: str, sought: Sought) -> Finding:
        with self.points.calling(f"{self.name} find"):
            return self.channel.find(destination, sought)

    def check(self) -> str | None:
        return "not in channel" if self.points.shut == self.name else self.channel.check()
