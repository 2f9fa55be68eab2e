"""What runs once a process for boards: the shelf, and who asks for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from console.boards.board_page import BoardDesk
from console.boards.feed import AsksSql, BoardFeed
from console.boards.ranged import AsksQuestions
from console.boards.shelf import BoardShelf
from console.boards.tab import tab_of
from console.catalogue import put
from console.feed.asker import Asker
from console.feed.hub import Viewer

THREADS = 6
"""Of questions over a range: a slow one keeps one of them."""


class Boards:
    """The boards beside the settings file `folder` holds. What they ask never waits for what the console asks, nor
    that for them."""

    def __init__(self, folder: Path, dremio: AsksSql, currency: str) -> None:
        self.shelf = BoardShelf(folder)
        self.feed = BoardFeed(dremio)
        self._questions = AsksQuestions(dremio)
        self.asker = Asker(self._questions, threads=THREADS)
        self._currency = currency
        self._troubles: dict[str, str] = {}
        self.look()

    def look(self) -> bool:
        """Read what changed of the files, and put it in place; whether anything did."""
        if not self.shelf.look():
            return False
        self._put()
        return True

    def trouble(self, board: str) -> str:
        """Why the file of a board is not what is shown; empty: it is."""
        return self._troubles.get(board, "")

    def desk(self, viewer: Viewer) -> BoardDesk:
        """Who asks on behalf of a page."""
        return BoardDesk(self.feed, self.asker, self.trouble, viewer)

    def start(self, wake: Callable[[], None]) -> None:
        """Look every second; `wake` tells all pages of a change."""

        def changed() -> None:
            self._put()
            wake()

        self.shelf.start(changed)

    def _put(self) -> None:
        for board in self.shelf.boards:
            for question in (board.questions or {}).values():
                self._questions.learn(question)
        self._troubles = {board.name: board.trouble for board in self.shelf.boards if board.trouble}
        put((tab_of(board, self._currency), board.edition or "none") for board in self.shelf.boards)

    def close(self) -> None:
        self.shelf.stop()
        self.feed.close()
        self.asker.close()
