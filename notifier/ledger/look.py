"""A look into a ledger that a notifier may be writing just now: nothing is locked, nothing is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from lakehouse.user_error import UserError
from notifier.ledger.file import BUSY_S, HEAD


@contextmanager
def look(path: Path) -> Iterator[sa.Connection]:
    """Reads as of one moment. Raises UserError where there is none, or none that can be read."""
    if not path.exists():
        raise UserError(f"There is no ledger {path}; set TILLWATCH_DATA_DIR to the notifier's data directory.")
    engine = sa.create_engine("sqlite://", creator=lambda: _open(path), poolclass=sa.pool.NullPool)
    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:
            held = db.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            if held != HEAD:
                raise UserError(
                    f"The ledger {path} was written by another version of tillwatch (revision {held}); "
                    "start the notifier of this one, or ask that version."
                )
            db.exec_driver_sql("BEGIN")
            yield db
    except sa.exc.DatabaseError as error:
        raise UserError(
            f"The ledger {path} cannot be read: {error.orig}; it has to be the notifier's own, and yours to read."
        ) from None
    finally:
        engine.dispose()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_S)
    connection.isolation_level = None
    return connection
