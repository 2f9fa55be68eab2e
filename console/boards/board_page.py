"""What boards ask of the page they stand on, and what a panel says beside its figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from console.boards.feed import LIVE_ROWS, LiveAsk, Told
from console.drill.tab import TabPage
from console.feed.asker import Got, Want
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

    def told(self, ask: LiveAsk, snapshot: FeedSnapshot) -> Told:
        """What is known of a tile's or a live chart's question."""

    def board_answer(self, wanted: Want) -> Got | None:
        """The answer to a question over the range, or None while it is being asked."""

    def board_forget(self, wants: Iterable[Want]) -> None:
        """These are no longer waited for."""

    def trouble(self, board: str) -> str:
        """Why the file of a board is not what is shown; empty: it is."""


def known(page: BoardPage, ask: LiveAsk, snapshot: FeedSnapshot) -> Told | None:
    """What is known of a question; None where a moment is held of which there is no past."""
    return None if ask.question.outside and page.frozen else page.told(ask, snapshot)


def panel_part(error: str, *, left_out: bool = False, read_at: str | None = None, full: bool = False) -> Part:
    """What stands in a panel beside its figures: why they are not the newest, or not all."""
    words = [visible(error, REASON_LETTERS)] if error else []
    if left_out:
        words.append(LEFT_OUT)
    if full:
        words.append(f"The question has more than {exactly(LIVE_ROWS)} rows; shown are the first of them.")
    return {"words": " ".join(words), "failed": bool(error), "read_at": read_at}
