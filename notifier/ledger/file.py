"""The ledger's file: one process holds it, its tables are brought up to date, its faults are told in one sentence."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from lakehouse.user_error import UserError
from notifier.clock import Clock
from notifier.ledger.rows import CURSOR

logger = logging.getLogger("notifier")

NAME = "ledger.db"
"""Of the file, in the data directory."""
HEAD = "0005"
"""Newest revision in migrations/versions."""

BUSY_S = 10.0
"""How long a statement waits for a lock of somebody else."""
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


class LedgerError(UserError):
    """The ledger could not be read or written just now; the message is one sentence."""


class _Together(threading.local):
    """The transaction that a thread has under way, and what it does after that."""

    def __init__(self) -> None:
        self.db: sa.Connection | None = None
        self.later: list[Callable[[], object]] = []


class LedgerFile:
    """Opened, proven to be whole and writable, and locked until `close`. Raises UserError where it is not.

    error: the sentence while the file cannot be read or written. damaged: True once the file itself is broken.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.error: str | None = None
        self.damaged = False
        self._held: sqlite3.Connection | None = None
        self._together = _Together()
        # SQLite has threads sleep, and ever longer, until its own lock is free: up to 0.1 s after it was.
        self._writing = threading.Lock()
        self._inode = 0
        self._path = path
        self._lock = _locked(path)
        # Looked up before anything is written: a look through SQLite may move it.
        written_ms = _written_ms(path)
        self._engine = _engine(path, pool_size=1)
        # Of its own: a connection that is set to another isolation level at each use is asked twice as often.
        self._reading = _engine(path, pool_size=3, isolation_level="AUTOCOMMIT")
        sa.event.listen(self._engine, "begin", _on_begin)
        try:
            self._prove()
            self._migrate(clock, written_ms)
            self._try_to_write()
            self.keep()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._dispose()
        if self._held is not None:
            self._held.close()
        self._lock.close()

    def _dispose(self) -> None:
        self._engine.dispose()
        self._reading.dispose()

    def keep(self) -> None:
        """Hold the file open, whatever becomes of its name; see `restore`."""
        held = sqlite3.connect(self._path, timeout=BUSY_S, check_same_thread=False)
        # Only what was read is open.
        held.execute("SELECT count(*) FROM alembic_version").fetchone()
        self._held, self._inode = held, self._path.stat().st_ino

    def is_gone(self) -> bool:
        """Whether somebody has deleted the file, moved it away or put another in its place."""
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def restore(self) -> None:
        """Write the file anew from what is open still. Raises LedgerError where that fails."""
        assert self._held is not None  # held since the start
        part = self._path.with_suffix(".part")
        try:
            part.unlink(missing_ok=True)
            with closing(sqlite3.connect(part)) as copy:
                self._held.backup(copy)
            self._dispose()
            for name in ("-wal", "-shm"):
                self._path.with_name(self._path.name + name).unlink(missing_ok=True)
            part.replace(self._path)
            self._held.close()
            self.keep()
        except (OSError, sqlite3.Error) as error:
            self.damaged = True
            self._fail(f"it was deleted, and cannot be written anew: {error}")
        logger.error("the ledger %s was deleted or replaced while it is in use; it is written anew", self._path)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction; within `together`, a part of that. Raises LedgerError."""
        if self._together.db is not None:
            with self._telling(), self._together.db.begin_nested():
                yield self._together.db
            return
        with self._telling(), self._writing, self._engine.begin() as db:
            yield db
        if self.error is not None:
            logger.info("the ledger can be written again")
            self.error = None

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Reads; each statement sees what is committed then, and what `together` has written. Raises LedgerError."""
        if self._together.db is not None:
            with self._telling():
                yield self._together.db
            return
        with self._telling(), self._reading.connect() as db:
            yield db

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that this thread reads and writes meanwhile is one transaction. Raises LedgerError."""
        if self._together.db is not None:
            yield
            return
        later: list[Callable[[], object]] = []
        try:
            with self.write() as db:
                self._together.db, self._together.later = db, later
                yield
        finally:
            self._together.db, self._together.later = None, []
        for do in later:
            do()

    def then(self, do: Callable[[], object]) -> None:
        """Do it when what this thread has written can be read by others: now, or at the end of `together`."""
        if self._together.db is None:
            do()
        else:
            self._together.later.append(do)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Makes one sentence of what SQLite says, and logs it once while it stays the same."""
        try:
            yield
        except sa.exc.DatabaseError as caught:
            if type(caught) not in (sa.exc.DatabaseError, sa.exc.OperationalError):
                raise
            name = getattr(caught.orig, "sqlite_errorname", None) or ""
            self.damaged = self.damaged or name.startswith(_DAMAGED)
            self._fail(str(caught.orig))

    def _fail(self, reason: str) -> None:
        error = f"The ledger {self._path} cannot be used: {reason}; free it, make room, or let it be written."
        if self.damaged:
            error = (
                f"The ledger {self._path} is damaged: {reason}; restore a copy that --save-ledger made, or move it "
                "away: a new one tells again what was published in the last hour."
            )
        if error != self.error:
            self.error = error
            logger.error("%s", error)
        raise LedgerError(error) from None

    def _prove(self) -> None:
        """Every page is read: better no start than a stop at the first alert."""
        with self.read() as db:
            found = db.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            self.damaged = True
            self._fail(" ".join(str(found).replace("*", "").split()))

    def _try_to_write(self) -> None:
        with self.write() as db:
            db.execute(sa.update(CURSOR).values(id=1))

    def _migrate(self, clock: Clock, written_ms: int | None) -> None:
        with self.read() as db:
            tables = sa.inspect(db).get_table_names()
            held = (
                db.scalar(sa.text("SELECT version_num FROM alembic_version")) if "alembic_version" in tables else None
            )
        if held == HEAD:
            return
        # Imported here: it costs 8 MB, and only a new or an older ledger needs it.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        # A % would begin a name to fill in.
        config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations").replace("%", "%%"))
        with self.write() as db:
            config.attributes["connection"] = db
            try:
                command.upgrade(config, "head")
                # An older version wrote no birth, and its ledger may never have looked for alerts.
                born_ms = clock() if held is None or written_ms is None else min(written_ms, clock())
                db.execute(sa.update(CURSOR).where(CURSOR.c.born_ms.is_(None)).values(born_ms=born_ms))
            except CommandError:
                raise UserError(
                    f"The ledger {self._path} was written by another version of tillwatch (revision {held}); "
                    "run that version, or move the file away."
                ) from None


def _written_ms(path: Path) -> int | None:
    """When a file was last written, by our clock; None where there is none.

    Not its ctime: that moves when the file is only renamed, given away or brought back from an archive.
    """
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return None


def _locked(path: Path) -> IO[str]:
    lock = path.with_suffix(".lock")
    try:
        held = lock.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"The ledger {path} cannot be used: {error.strerror}; set TILLWATCH_DATA_DIR.") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.seek(0)
        holder = held.read().strip() or "unknown"
        held.close()
        raise UserError(
            f"The ledger {path} is held by another notifier (process {holder}); end it or set TILLWATCH_DATA_DIR."
        ) from None
    try:
        held.truncate(0)
        held.write(f"{os.getpid()}\n")
        held.flush()
    except OSError as error:
        raise UserError(f"The ledger {path} cannot be used: {error.strerror}; make room.") from None
    return held


def _engine(path: Path, **options: Any) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path))
    arguments = {"timeout": BUSY_S, "check_same_thread": False}
    engine = sa.create_engine(url, connect_args=arguments, max_overflow=40, pool_use_lifo=True, **options)
    sa.event.listen(engine, "connect", _on_connect)
    return engine


def _on_connect(connection: Any, _record: Any) -> None:
    # Transactions are begun by _on_begin, not by the driver.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    # 1 MB of pages for each connection, not 2: the system keeps them too.
    connection.execute("PRAGMA cache_size=-1000")


def _on_begin(connection: sa.Connection) -> None:
    # Take the write lock first: a transaction that reads before it writes could not get it later.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
