"""What Dremio says when it refuses, by kind; server.py gives each kind its gRPC status."""

from __future__ import annotations

import logging
from enum import Enum, auto

logger = logging.getLogger(__name__)


class ErrorKind(Enum):
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

    def __init__(self, kind: ErrorKind, message: str, start: int | None = None, length: int = 1) -> None:
        super().__init__(message)
        self.kind = kind
        self.start = start
        self.length = length
        self.sql: str | None = None
        """The statement, where whoever tells the client does not know it."""

    def text(self, sql: str) -> str:
        """The message as Dremio sends it: PARSE and VALIDATION add four lines of position and the statement.

        It is cut to what clients take: Java's read at most 8 KB of a call's end, where the text stands twice.
        """
        message = _cut(str(self), _MESSAGE_BYTES)
        if self.kind not in (ErrorKind.PARSE, ErrorKind.VALIDATION):
            return message
        sql = sql if self.sql is None else self.sql
        start = self.start or 0
        before = sql[:start]
        line = before.count("\n") + 1
        column = start - (before.rfind("\n") + 1) + 1
        head = (
            f"{message}\nstartLine {line}\nstartColumn {column}\n"
            f"endLine {line}\nendColumn {column + max(self.length, 1) - 1}\nSQL Query "
        )
        return head + _cut(sql, _TEXT_BYTES - sum(map(_sent_bytes, head)))


_TEXT_BYTES = 6_800
_MESSAGE_BYTES = 2_500
_MORE = "…"


def _sent_bytes(letter: str) -> float:
    """What a letter takes of a call's end: once percent-encoded, once as base64."""
    size = len(letter.encode(errors="replace"))
    return size * 4 / 3 + (1 if " " <= letter <= "~" and letter != "%" else 3 * size)


def _cut(text: str, most: float) -> str:
    """The text as far as it fits into so many bytes of a call's end."""
    taken, left = 0.0, most - _sent_bytes(_MORE)
    for place, letter in enumerate(text[: int(most)]):
        taken += _sent_bytes(letter)
        if taken > left:
            return text[:place] + _MORE
    return text


class TooDeep(Refusal):
    """A statement that is nested too deeply for whoever reads it."""

    def __init__(self, start: int = 0) -> None:
        super().__init__(ErrorKind.PARSE, "Failure parsing the query: it is nested too deeply.", start)


def validation(message: str, start: int | None = None, length: int = 1) -> Refusal:
    return Refusal(ErrorKind.VALIDATION, message, start, length)


def object_not_found(path: list[str], start: int | None = None, length: int = 1) -> Refusal:
    """Dremio's sentence for a table, view or folder that is not there."""
    within = f" within '{'.'.join(path[:-1])}'" if len(path) > 1 else ""
    return validation(
        f"Object '{path[-1]}' not found{within}. Please check that it exists in the selected context.", start, length
    )


def no_function(name: str, start: int | None = None, length: int = 1) -> Refusal:
    """Dremio's sentence for a function that it does not have."""
    return validation(f"No match found for function signature {name.upper()}(<arguments>)", start, length)


def out_of_memory() -> Refusal:
    """Dremio's sentence for a statement that wants more memory than it may have."""
    return Refusal(
        ErrorKind.UNAVAILABLE,
        "RESOURCE ERROR: Query was cancelled because it exceeded the memory limits set by the administrator.",
    )


def out_of_time(limit_s: float, planning: bool) -> Refusal:
    """What Dremio says of a statement that takes too long; planning, it is an error of the planner."""
    if planning:
        return Refusal(
            ErrorKind.INTERNAL, f"PLAN ERROR: Query was cancelled because planning time exceeded {limit_s:g} seconds"
        )
    return Refusal(ErrorKind.CANCELLED, f"Query was cancelled because it exceeded the runtime limit of {limit_s:g} s")


def too_many_rows(most: int) -> Refusal:
    return Refusal(
        ErrorKind.UNAVAILABLE, f"RESOURCE ERROR: Query was cancelled because its answer has more than {most:,} rows."
    )


def cancelled(reason: str) -> Refusal:
    return Refusal(ErrorKind.CANCELLED, f"Query cancelled: {reason}")


def needs_iceberg_scan(location: str, why_not: str) -> Refusal:
    """A table of another writer, and no reader of DuckDB's for it. Which one is for whoever reads the log."""
    what = "has delete files, files of another format than Parquet, or a column whose type changed"
    logger.warning("%s %s: %s", location, what, why_not)
    return Refusal(ErrorKind.UNIMPLEMENTED, f"UNSUPPORTED_OPERATION ERROR: a table {what}: {why_not}")


def data_read(location: str, error: Exception) -> Refusal:
    """Dremio's kind of sentence for a file that cannot be read. Which one, and why, is for whoever reads the log."""
    logger.warning("%s cannot be read: %s: %s", location, type(error).__name__, str(error).partition("\n")[0])
    return Refusal(ErrorKind.INTERNAL, "DATA_READ ERROR: a file of a table cannot be read; the gateway's log names it")
