"""Small data files, kept as rows in DuckDB's memory.

A question over the last minutes meets a few dozen small files, and opening a file costs DuckDB as much as a thousand of
its rows. Files never change, so a file that is asked for again is read once more and then answered from memory. One
table in memory holds the rows of all such files of one Iceberg table; the column __file tells them apart, so that every
commit sees its own files.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from embedded.gateway.snapshots import DataFile

_LARGEST_FILE_ROWS = 50_000
# Loading costs as much as reading a file three times, and hardly more for several at once.
_ASKED = 3
_TOGETHER = 4
_ASKED_MOST = 12
_STALE_S = 60.0
_FEW_ROWS = 10_000


@dataclass
class _Board:
    """The rows of one Iceberg table's files; `leases` counts statements that read it."""

    name: str
    numbers: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)
    leases: int = 0
    replaced: bool = False
    loading: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class HeldAnswer:
    """Where to read files: `numbers` of `table` in memory, and `rest` from their files."""

    table: str
    numbers: list[int]
    rest: list[DataFile]


type Reading = Callable[[list[DataFile]], AbstractContextManager[str]]
"""Makes files readable for as long as it lasts; gives the table expression that reads them."""


class Shelf:
    """At most about `most_rows` rows in memory; 0 keeps none. `execute` runs DuckDB's SQL."""

    def __init__(
        self, execute: Callable[[str], None], most_rows: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._execute = execute
        self._most_rows = most_rows
        self._clock = clock
        self._lock = threading.Lock()
        self._boards: dict[str, _Board] = {}
        self._asked: dict[str, int] = {}
        self._names = (f"shelf_{number}" for number in itertools.count())
        self._next_file = itertools.count()

    @contextmanager
    def holding(
        self, key: str, columns: str, empty: str, files: list[DataFile], reading: Reading
    ) -> Iterator[HeldAnswer]:
        """Files of the table that `key` names, in memory as far as worth it, for as long as a statement reads them.

        `columns` are the select items that read them, `empty` is a table expression with those columns.
        """
        board = self._board(key)
        if board is None:
            yield HeldAnswer("", [], files)
            return
        try:
            self._load(board, columns, empty, files, reading)
            with self._lock:
                now = self._clock()
                here = [file for file in files if file.path in board.numbers]
                board.used.update((file.path, now) for file in here)
                numbers = [board.numbers[file.path] for file in here]
                rest = [file for file in files if file.path not in board.numbers]
            yield HeldAnswer(board.name, numbers, rest)
        finally:
            self._return(board)
        self._make_room()

    def _board(self, key: str) -> _Board | None:
        if not self._most_rows:
            return None
        with self._lock:
            if key not in self._boards:
                self._boards[key] = _Board(next(self._names))
            board = self._boards[key]
            board.leases += 1
            return board

    def _load(self, board: _Board, columns: str, empty: str, files: list[DataFile], reading: Reading) -> None:
        """Bring files into memory that were asked for before, unless another thread does so now."""
        if not board.loading.acquire(blocking=False):
            return
        try:
            with self._lock:
                wanted = self._worth_it(board, files)
            if not wanted:
                return
            if not board.numbers:
                self._execute(f"CREATE TABLE IF NOT EXISTS {board.name} AS SELECT 0 AS __file, * FROM {empty}")
            first = next(self._next_file)
            for _ in wanted[1:]:
                next(self._next_file)
            with reading(wanted) as source:
                self._execute(f"INSERT INTO {board.name} SELECT {first} + file_index, {columns} FROM {source}")
            with self._lock:
                for number, file in enumerate(wanted, first):
                    board.numbers[file.path] = number
                    board.rows[file.path] = file.rows
                    self._asked.pop(file.path, None)
        finally:
            board.loading.release()

    def _worth_it(self, board: _Board, files: list[DataFile]) -> list[DataFile]:
        room = self._most_rows - self._rows()
        wanted: list[DataFile] = []
        at_once = False
        if len(self._asked) > 20_000:
            self._asked.clear()
        for file in files:
            if file.path in board.numbers or file.rows > min(_LARGEST_FILE_ROWS, self._most_rows // 4):
                continue
            asked = self._asked.get(file.path, 0) + 1
            self._asked[file.path] = asked
            if asked >= _ASKED and file.rows <= room:
                wanted.append(file)
                room -= file.rows
                at_once = at_once or asked >= _ASKED_MOST
        return wanted if at_once or len(wanted) >= _TOGETHER else []

    def _rows(self) -> int:
        return sum(sum(board.rows.values()) for board in self._boards.values())

    def _return(self, board: _Board) -> None:
        with self._lock:
            board.leases -= 1
            drop = board.replaced and not board.leases
        if drop:
            self._execute(f"DROP TABLE IF EXISTS {board.name}")

    def _make_room(self) -> None:
        """Let go of what was not asked for in a minute, merged files say, when it is half of all or room is short."""
        with self._lock:
            old = self._clock() - _STALE_S
            stale = {
                key: sum(rows for path, rows in board.rows.items() if board.used.get(path, 0) < old)
                for key, board in self._boards.items()
            }
            rows = self._rows()
            if rows < 0.75 * self._most_rows and sum(stale.values()) < max(_FEW_ROWS, rows / 2):
                return
            key = max(stale, key=lambda name: stale[name])
            if not stale[key]:
                return
            board = self._boards[key]
        if not board.loading.acquire(blocking=False):
            return
        try:
            with self._lock:
                kept = {path: number for path, number in board.numbers.items() if board.used.get(path, 0) >= old}
                new = _Board(
                    next(self._names),
                    kept,
                    {path: board.rows[path] for path in kept},
                    {path: board.used[path] for path in kept},
                )
            numbers = ", ".join(map(str, kept.values())) or "-1"
            self._execute(f"CREATE TABLE {new.name} AS SELECT * FROM {board.name} WHERE __file IN ({numbers})")
            with self._lock:
                self._boards[key] = new
                board.replaced = True
                board.leases += 1
        finally:
            board.loading.release()
        self._return(board)
