"""What every sink is, and how it fails."""

from typing import Protocol

from lakehouse.decode import Headers
from lakehouse.user_error import UserError


class SinkError(UserError):
    """Events could not be delivered; the message says where to, why, and what would do."""


class SinkDown(SinkError):
    """Nobody takes the events now. They are kept, and a later flush delivers them once somebody does."""


class Sink(Protocol):
    """Takes messages in order; nothing is delivered for sure before flush() has returned."""

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...
