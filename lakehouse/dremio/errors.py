"""What a question that gets no answer raises, and what Dremio says of it."""

from __future__ import annotations

import re


class DremioError(Exception):
    """A question got no answer; the message is one sentence."""


class AuthError(DremioError):
    """User or password were refused."""


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


def sentence(error: BaseException) -> str:
    """The first line of an error's text, without what pyarrow and grpc add to it."""
    text = str(error)
    for tail in (". Detail:", "gRPC client debug context:"):
        text = text.partition(tail)[0]
    text = re.sub(r"^Flight returned \w+ error, with message: ", "", text)
    first = text.strip().partition("\n")[0].strip()
    return first if not first or first.endswith((".", "!", "?")) else f"{first}."


def query_error(error: Exception, sql: str) -> QueryError:
    text = str(error)

    def number(name: str) -> int | None:
        match = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
        return int(match[1]) if match else None

    message = sentence(error) or "Dremio refused the statement without a reason."
    missing = re.match(r"Object '.*' not found|.*(commit|branch|tag|snapshot)\b.*\bnot found", message, re.IGNORECASE)
    kind = NotFound if missing else QueryError
    return kind(message, sql, number("startLine"), number("startColumn"))
