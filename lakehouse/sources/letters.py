"""How much one message may leave among the dead letters."""

from __future__ import annotations

import msgspec

from lakehouse.decode import Event, Rejected

MOST_LETTERS = 100
LETTER_BYTES = 16 << 20
"""Of one message, at most so many dead letters, and so many bytes in all: each keeps the message's bytes."""

type Found = tuple[Event | Rejected, ...]


def few(found: Found, size: int) -> Found:
    """As many dead letters of one message as MOST_LETTERS and LETTER_BYTES allow; the last says how many it stands for.

    `size`: bytes of the message.
    """
    most = max(1, min(MOST_LETTERS, LETTER_BYTES // max(1, size)))
    letters = [place for place, each in enumerate(found) if isinstance(each, Rejected)]
    if len(letters) <= most:
        return found
    last, left = found[letters[most - 1]], set(letters[most:])
    assert isinstance(last, Rejected)
    more = msgspec.structs.replace(last, detail=f"{last.detail}; so are {len(left):,} more elements of the message")
    kept = [each for place, each in enumerate(found) if place not in left]
    kept[letters[most - 1]] = more  # what is left out stands after it
    return tuple(kept)
