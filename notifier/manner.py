"""How a channel tells: which messages it has a use for, and how often."""

from __future__ import annotations

from dataclasses import dataclass

from notifier.model import MessageKind

TELLS = frozenset(
    (
        MessageKind.FIRST,
        MessageKind.JOINED,
        MessageKind.MORE,
        MessageKind.ESCALATED,
        MessageKind.REMINDER,
        MessageKind.CLEARED,
        MessageKind.RESOLVED,
    )
)
"""Of a channel whose messages people read one after the other."""


@dataclass(frozen=True)
class Manner:
    """How a channel tells. wants: the kinds of messages that it has a use for; EDIT, where a root can be edited.

    edit_every_ms: the least time between two edits of one root. digest_every_ms: between two edits of a digest, or two
    messages of one where it cannot be edited. storm_after: new threads a minute at one destination, beyond which a
    digest tells of them, where that is less than `notifier.storm_after`. takes_whole: that somebody has it can be
    told of a whole thread alone.
    """

    wants: frozenset[MessageKind] = TELLS
    edit_every_ms: int = 5_000
    digest_every_ms: int = 300_000
    storm_after: int | None = None
    takes_whole: bool = False
