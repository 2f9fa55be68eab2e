"""What a file in notifier/channels/ declares, what an open channel does, and the ways an attempt can end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, Field, SecretStr

from lakehouse.settings.durations import Duration
from notifier.clock import HORIZON_MS
from notifier.manner import Manner
from notifier.render import Notification, as_text

if TYPE_CHECKING:
    from notifier.metrics import Metrics
    from notifier.presses import Presses


@dataclass(frozen=True)
class Sent:
    """Taken; `receipt` names the message there."""

    receipt: str


@dataclass(frozen=True)
class Broken:
    """Not taken, and not before somebody mends something: at this destination, or, `whole`, at all of the channel."""

    error: str
    whole: bool = False


@dataclass(frozen=True)
class RootGone:
    """Not taken: the message that it answers, or edits, is there no more."""

    error: str


@dataclass(frozen=True)
class Retry:
    """Not taken, may be taken later. `after_s` is what the other side asked for: until then the destination is left
    alone. shared: the limit may be one of all destinations: see AttemptLog."""

    error: str
    after_s: float | None = None
    shared: bool = True


@dataclass(frozen=True)
class Unknown:
    """It may have been taken: the answer never came, or says nothing of use."""

    error: str


@dataclass(frozen=True)
class Dead:
    """Not taken, and never will be, whoever mends what: an address that does not exist."""

    error: str


type Outcome = Sent | Retry | Unknown | Broken | RootGone | Dead


@dataclass(frozen=True)
class Absent:
    """Looked for, and not there; also where there is nowhere to look, so that it is sent again."""


@dataclass(frozen=True)
class Unreadable:
    """Could not be looked for. `after_s` is what the other side asked for: until then nothing of the channel is."""

    error: str
    after_s: float | None = None


type Finding = Sent | Absent | Unreadable


@dataclass(frozen=True)
class Sought:
    """A message that may have been taken after `since_ms` (our clock). root: the receipt of its thread's first one.

    incident_id: given for a first message that another ledger may have sent: what tells of this incident will do.
    """

    delivery_key: str
    root: str | None
    since_ms: int
    incident_id: str | None = None


class Channel(Protocol):
    """One way to reach people. Methods raise nothing: what can go wrong is in what they return."""

    @property
    def name(self) -> str:
        """That of its file."""
        ...

    @property
    def destinations(self) -> tuple[str, ...]:
        """Conversations or addresses; each gets every message."""
        ...

    @property
    def settle_s(self) -> float:
        """How long to wait before looking for a message whose answer never came."""
        ...

    @property
    def per_s(self) -> float | None:
        """Messages a second that the other side bears for long at one destination; None: no limit known."""
        ...

    @property
    def manner(self) -> Manner:
        """Which messages it has a use for."""
        ...

    def send(self, destination: str, note: Notification) -> Outcome:
        """Send it in the channel's own dress; what notifier.render makes of it is there for all.

        An edit (note.edits) takes the place of the message that it names; asked of a channel whose manner wants EDIT.
        """
        ...

    def find(self, destination: str, sought: Sought) -> Finding:
        """Look for a message that may have been taken."""
        ...

    def check(self) -> str | None:
        """Whether the other side lets us in, and takes what we send: None, or the reason why not."""
        ...


class Listener(Protocol):
    """Hears what people press, from `start` until `close`."""

    def start(self) -> None: ...

    def close(self) -> None: ...


class ChannelSettings(BaseModel):
    """Base of the fields that a channel brings to section `notifier`, and the two that all channels share.

    Every SecretStr is hidden in whatever is logged or shown; a secret NAME_password goes with the user NAME_user.
    """

    settle: Duration = Field(
        timedelta(seconds=20),
        ge=timedelta(milliseconds=100),
        le=timedelta(milliseconds=HORIZON_MS),
        description="wait before a message without an answer is looked up, as in Slack's history",
    )
    unreadable: Duration = Field(
        timedelta(minutes=2),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="a history unreadable for so long: sent again as (possible repeat)",
    )


def _show_text(note: Notification) -> Mapping[str, Any]:
    return {"text": as_text(note)}


@dataclass(frozen=True)
class DeclaredChannel[S: ChannelSettings]:
    """What a file in notifier/channels/ holds as CHANNEL.

    settings: its fields, whose names stand in no other channel. switch: the one of them that turns it on when given,
    a text or secret, empty by default.
    half: the sentence (see `half_set_up`) where the rest does not go with what is given. open: the channel of the
    same name as the file; called when it is on and nothing is half set up. secrets: what is to be hidden beside its
    SecretStr fields as they are, such as each part of one that holds several. real: whether it reaches people, and not
    a stand-in such as the sandbox. listen: what hears the buttons of its messages, where the settings ask for that.
    show: what a message looks like there, for `notifier render`: by name, texts and what becomes JSON.
    """

    settings: type[S]
    switch: str
    half: Callable[[S], str | None]
    open: Callable[[S], Channel]
    secrets: Callable[[S], Iterable[str]] = lambda settings: ()
    real: Callable[[S], bool] = lambda settings: True
    listen: Callable[[S, Channel, Presses, Metrics], Listener | None] | None = None
    show: Callable[[Notification], Mapping[str, Any]] = _show_text

    def is_on(self, settings: S) -> bool:
        """Whether the switch has a value."""
        value = getattr(settings, self.switch)
        return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


def half_set_up(given: str, missing: str, what: str) -> str:
    """The sentence about a setting that asks for another. what: what the missing one is, after 'to'."""
    return (
        f"Setting 'notifier.{given}' is given but 'notifier.{missing}' is not; "
        f"set TILLWATCH_NOTIFIER_{missing.upper()} to {what}, or remove {given}."
    )
