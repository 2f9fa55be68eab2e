"""What boards ask of the page they stand on, and what a panel says beside its figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from console.boards.feed import LIVE_ROWS, BoardAnswer, BoardFeed, LiveAsk
from console.drill.tab import TabPage
from console.feed.asker import Asker, Got, Want
from console.feed.hub import Viewer
from console.feed.numbers import exactly
from console.feed.snapshot import FeedSnapshot
from console.live_chart import Events
from console.parts import Part
from lakehouse.texts import REASON_LETTERS, visible

LEFT_OUT = (
    "Left out while a moment is held: this reads a table that tillwatch does not write, of which no past is kept."
)


class BoardPage(TabPage, Protocol):
    """What a board may ask of its page, beside what any tab may."""

    @property
    def frozen(self) -> bool:
        """Whether a moment is shown in place of now."""

    @property
    def events(self) -> Events:
        """What happened in the hour of the live charts."""

    @property
    def boards(self) -> BoardDesk:
        """Who asks for boards, on behalf of the page."""


class BoardDesk:
    """One page before what all pages ask for boards. `trouble` says why the file of a board is not what is shown, and
    nothing where it is."""

    def __init__(self, feed: BoardFeed, asker: Asker, trouble: Callable[[str], str], viewer: Viewer) -> None:
        self._feed = feed
        self._asker = asker
        self._viewer = viewer
        self.trouble = trouble

    def told(self, ask: LiveAsk, snapshot: FeedSnapshot, *, frozen: bool) -> BoardAnswer:
        """What is known of a tile's or a live chart's question."""
        return self._feed.get(ask, snapshot, self._viewer, frozen=frozen)

    def answer(self, wanted: Want) -> Got | None:
        """The answer to a question over the range, or None while it is being asked."""
        return self._asker.get(wanted, self._viewer)

    def forget(self, wanted: Want) -> None:
        """This is no longer waited for."""
        self._asker.forget((wanted,), self._viewer)

    def leave(self) -> None:
        """The page is closed: it waits for nothing."""
        self._asker.leave(self._viewer)


def known(page: BoardPage, ask: LiveAsk, snapshot: FeedSnapshot) -> BoardAnswer | None:
    """What is known of a question; None where a moment is held of which there is no past."""
    if ask.question.outside and page.frozen:
        return None
    return page.boards.told(ask, snapshot, frozen=page.frozen)


def panel_part(error: str, *, left_out: bool = False, read_at: str | None = None, full: bool = False) -> Part:
    """What stands in a panel beside its figures: why they are not the newest, or not all."""
    words = [visible(error, REASON_LETTERS)] if error else []
    if left_out:
        words.append(LEFT_OUT)
    if full:
        words.append(f"The question has more than {exactly(LIVE_ROWS)} rows; shown are the first of them.")
    return {"words": " ".join(words), "failed": bool(error), "read_at": read_at}
