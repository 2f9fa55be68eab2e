"""Ways to reach people: one file each, with the four ways an attempt can end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from notifier.render import Message


@dataclass(frozen=True)
class Sent:
    """Taken; `receipt` names the message there."""

    receipt: str


@dataclass(frozen=True)
class Retry:
    """Not taken, may be taken later. `after_s` is what the other side asked for; it then parks the whole channel."""

    error: str
    after_s: float | None = None


@dataclass(frozen=True)
class Unknown:
    """It may have been taken: the answer never came, or says nothing of use."""

    error: str


@dataclass(frozen=True)
class Dead:
    """Not taken, and never will be, whoever mends what: an address that does not exist."""

    error: str


type Outcome = Sent | Retry | Unknown | Dead


@dataclass(frozen=True)
class Absent:
    """Looked for, and not there."""


@dataclass(frozen=True)
class Unreadable:
    """Could not be looked for. `after_s` as for Retry."""

    error: str
    after_s: float | None = None


type Finding = Sent | Absent | Unreadable


class Channel(Protocol):
    """One way to reach people. Methods raise nothing: what can go wrong is in what they return."""

    @property
    def name(self) -> str: ...

    @property
    def destinations(self) -> tuple[str, ...]: ...

    @property
    def settle_s(self) -> float:
        """How long to wait before looking for a message whose answer never came."""
        ...

    @property
    def per_s(self) -> float | None:
        """Messages a second the other side bears for long; None: no limit known."""
        ...

    def send(self, destination: str, note: Message) -> Outcome: ...

    def find(self, destination: str, delivery_key: str, root: str | None, since_ms: int) -> Finding:
        """Look for a message that may have been taken after `since_ms` (our clock)."""
        ...

    def check(self) -> str | None:
        """Whether the other side lets us in: None, or the reason why not."""
        ...
