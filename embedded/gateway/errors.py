"""What Dremio says when it refuses, by kind; server.py gives each kind its gRPC status."""

from __future__ import annotations

import logging
from enum import Enum, auto

logger = logging.getLogger(__name__)


class Kind(Enum):
    """Dremio's error types, as far as the gateway has them. PARSE and VALIDATION carry position and statement.

    ARGUMENT is a call that is no statement's: INVALID_ARGUMENT as theirs, with its sentence alone.
    """

    PARSE = auto()
    VALIDATION = auto()
    ARGUMENT = auto()
    PERMISSION = auto()
    UNAUTHENTICATED = auto()
    UNAVAILABLE = auto()
    INTERNAL = auto()
    CANCELLED = auto()
    UNIMPLEMENTED = auto()


class Refusal(Exception):
    """A statement that gets no answer; the reason stands in it at the offset `start`, `length` characters long."""

    def __init__(self, kind: Kind, message: str, start: int | None = None, length: int = 1) -> None:
        super().__init__(message)
        self.kind = kind
        self.start = start
        self.length = length
        self.sql: str | None = None
        """The statement, where whoever tells the client does not know it."""

    def text(self, sql: str) -> str:
        """The message as Dremio sends it: PARSE and VALIDATION add four lines of position and the statement."""
        message = str(self)
        if self.kind not in (Kind.PARSE, Kind.VALIDATION):
            return message
        sql = sql if self.sql is None else self.sql
        start = self.start or 0
        before = sql[:start]
        line = before.count("\n") + 1
        column = start - (before.rfind("\n") + 1) + 1
        return (
            f"{message}\nstartLine {line}\nstartColumn {column}\n"
            f"endLine {line}\nendColumn {column + max(self.length, 1) - 1}\nSQL Query {sql}"
        )


def validation(message: str, start: int | None = None, length: int = 1) -> Refusal:
    return Refusal(Kind.VALIDATION, message, start, length)


def object_not_found(path: list[str], start: int | None = None, length: int = 1) -> Refusal:
    """Dremio's sentence for a table, view or folder that is not there."""
    within = f" within '{'.'.join(path[:-1])}'" if len(path) > 1 else ""
    return validation(
        f"Object '{path[-1]}' not found{within}. Please check that it exists in the selected context.", start, length
    )


def no_function(name: str, start: int | None = None, length: int = 1) -> Refusal:
    """Dremio's sentence for a function that it does not have."""
    return validation(f"No match found for function signature {name.upper()}(<arguments>)", start, length)


def needs_iceberg_scan(location: str, why_not: str) -> Refusal:
    """A table of another writer, and no reader of DuckDB's for it. Which one is for whoever reads the log."""
    what = "has delete files, files of another format than Parquet, or a column whose type changed"
    logger.warning("%s %s: %s", location, what, why_not)
    return Refusal(Kind.UNIMPLEMENTED, f"UNSUPPORTED_OPERATION ERROR: a table {what}: {why_not}")


def data_read(location: str, error: Exception) -> Refusal:
    """Dremio's kind of sentence for a file that cannot be read. Which one, and why, is for whoever reads the log."""
    logger.warning("%s cannot be read: %s: %s", location, type(error).__name__, str(error).partition("\n")[0])
    return Refusal(Kind.INTERNAL, "DATA_READ ERROR: a file of a table cannot be read; the gateway's log names it")
