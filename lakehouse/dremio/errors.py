"""What a question that gets no answer raises."""

from __future__ import annotations


class DremioError(Exception):
    """A question got no answer; the message is one sentence."""


class AuthError(DremioError):
    """User and password, or the token, were refused."""


class QueryError(DremioError):
    """Dremio cannot run this statement, now or later. `line` and `column` (from 1) say where, when it tells."""

    def __init__(self, message: str, sql: str = "", line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.sql = sql
        self.line = line
        self.column = column


class NotFound(QueryError):
    """A table (or a branch, commit or snapshot) is not there, or not yet."""


class Unavailable(DremioError):
    """Nobody answers at the address, or the server cannot take the question now."""


class Timeout(DremioError):
    """No answer within the time given."""


class Cancelled(DremioError):
    """The server gave up the question while it ran."""


class ProtocolError(DremioError):
    """The answer is not what was agreed: schema, size, or a server that is no Dremio."""


class TooLarge(ProtocolError):
    """The answer has more rows or bytes than a client takes: ask for less."""
