"""The boards of a folder, read anew when a file changes; a wrong one keeps the last, and says why."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from console.boards.load import Board, board_files, load_board
from lakehouse.user_error import UserError

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0

type Seen = tuple[tuple[str, int, int], ...]


class BoardShelf:
    """The boards of `folder`/boards, which ask `folder`/questions. `changed` is told of each change by its thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.boards: tuple[Board, ...] = ()
        self._seen: Seen | None = None
        self._stopping = threading.Event()

    def look(self) -> bool:
        """Read what changed; whether anything did."""
        seen = self._files()
        if seen == self._seen:
            return False
        self._seen = seen
        held = {board.path: board for board in self.boards}
        boards: list[Board] = []
        for path in board_files(self.folder / "boards"):
            before = held.get(path)
            board = self._read(path, before, boards)
            if board.trouble and (before is None or before.trouble != board.trouble):
                logger.warning("%s", board.trouble)
            boards.append(board)
        self.boards = tuple(boards)
        return True

    def _read(self, path: Path, before: Board | None, others: list[Board]) -> Board:
        try:
            return load_board(path, others)
        except UserError as error:
            trouble = str(error)
        except Exception as error:
            # Whatever it is must not take the other boards along.
            logger.exception("%s could not be read", path)
            trouble = f"{path} could not be read ({type(error).__name__}); see the console's log."
        names = {one.name for one in others}
        if before is not None and before.name not in names:
            return replace(before, trouble=trouble)
        name = "board_" + re.sub(r"\W", "_", path.stem.lower())[:30]
        while name in names:
            name += "_"
        return Board(name, path, trouble=trouble)

    def _files(self) -> Seen:
        found = []
        for place, ends in (("boards", (".yaml", ".yml")), ("questions", (".sql",))):
            try:
                paths = [path for path in (self.folder / place).iterdir() if path.suffix in ends]
            except OSError:
                continue
            for path in sorted(paths):
                try:
                    stat = path.stat()
                except OSError:
                    continue
                found.append((str(path), stat.st_mtime_ns, stat.st_size))
        return tuple(found)

    def start(self, changed: Callable[[], None]) -> None:
        """Look every second, in a thread."""

        def watch() -> None:
            while not self._stopping.wait(LOOK_EVERY_S):
                try:
                    if self.look():
                        changed()
                except Exception:
                    logger.exception("the boards could not be looked at")

        threading.Thread(target=watch, name="boards", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
