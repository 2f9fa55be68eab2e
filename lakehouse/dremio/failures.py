"""What pyarrow raises, as one of our errors, in a sentence without what pyarrow and grpc add to it."""

from __future__ import annotations

import re

import pyarrow as pa
from pyarrow import flight

from lakehouse.dremio.errors import (
    AuthError,
    Cancelled,
    DremioError,
    NotFound,
    ProtocolError,
    QueryError,
    Timeout,
    Unavailable,
)
from lakehouse.settings.dremio import DremioSettings

# What grpc says around the reason.
_AROUND = (
    re.compile(r"Flight returned [\w ]+ error, with message: "),
    re.compile(r"failed to connect to all addresses; last error: \w+: \w+:\S+: (Failed to connect to remote host: )?"),
    re.compile(r"Stream removed \((\w+:)?"),
)


def sentence(error: BaseException) -> str:
    """The first line of an error's text, without what pyarrow and grpc add to it."""
    text = str(error)
    for tail in (". Detail:", "gRPC client debug context:"):
        text = text.partition(tail)[0]
    first = text.strip().partition("\n")[0].strip()
    for around in _AROUND:
        if match := around.match(first):
            first = first[match.end() :]
            if match[0].startswith("Stream removed"):
                first = first.rstrip(".").removesuffix(")")
    first = first.strip()
    return first if not first or first.endswith((".", "!", "?")) else f"{first}."


def refused(error: Exception, settings: DremioSettings) -> AuthError:
    """Dremio does not take who we say we are."""
    reason = sentence(error)
    told = f" ({reason.rstrip('.')})" if reason else ""
    if settings.token.get_secret_value():
        return AuthError(f"Dremio at {settings.uri} does not take the token{told}: check dremio.token.")
    return AuthError(
        f"Dremio at {settings.uri} does not let user '{settings.user}' in{told}: check dremio.user and dremio.password."
    )


def late(error: Exception, settings: DremioSettings, what: str, setting: str) -> Timeout:
    """`what` did not come in time: ours, which is `dremio.<setting>`, or that of a queue of Dremio's."""
    if "deadline exceeded" not in str(error).lower():
        return Timeout(f"Dremio at {settings.uri} gave the statement up: {sentence(error)}")
    seconds = getattr(settings, setting).total_seconds()
    return Timeout(f"Dremio at {settings.uri} {what} within {seconds:g} s (dremio.{setting}).")


def is_lost(error: Exception) -> bool:
    """Whether there was a connection, and it broke: nobody refused one, nor said that it cannot answer."""
    return not any(words in str(error) for words in ("Detail:", "failed to connect"))


def unavailable(error: Exception, settings: DremioSettings) -> Unavailable:
    """There is nobody, or somebody who cannot answer now."""
    # Only a server that answers adds a detail: it is there, and something behind it is not.
    if "Detail:" in str(error):
        return Unavailable(f"Dremio at {settings.uri} cannot answer now: {sentence(error)}")
    return Unavailable(f"Neither Dremio nor a gateway answers at {settings.uri}: {sentence(error)}")


def broken_off(error: Exception, settings: DremioSettings, rows: int) -> Unavailable:
    """There was an answer, and its end did not come."""
    reason = sentence(error) or "Dremio asks who we are."
    return Unavailable(f"The answer of Dremio at {settings.uri} broke off after {rows:,} rows: {reason}")


def failure(error: Exception, sql: str, settings: DremioSettings) -> DremioError:
    """What pyarrow raised, as one of ours: of what no second try can mend."""
    match error:
        case flight.FlightCancelledError():
            return Cancelled(f"Dremio at {settings.uri} gave the statement up: {sentence(error)}")
        case pa.ArrowNotImplementedError():
            return ProtocolError(f"{settings.uri} cannot do this: {sentence(error)}")
        case pa.ArrowInvalid() | flight.FlightUnauthorizedError() | flight.FlightInternalError():
            return query_error(error, sql)
    return ProtocolError(f"{settings.uri} does not speak as Dremio does: {sentence(error)}")


def query_error(error: Exception, sql: str) -> QueryError:
    text = str(error)

    def number(name: str) -> int | None:
        match = re.search(rf"^{name} (\d+)$", text, re.MULTILINE)
        return int(match[1]) if match else None

    message = sentence(error) or "Dremio refused the statement without a reason."
    missing = re.match(r"Object '.*' not found|.*(commit|branch|tag|snapshot)\b.*\bnot found", message, re.IGNORECASE)
    kind = NotFound if missing else QueryError
    return kind(message, sql, number("startLine"), number("startColumn"))
