"""What channels over HTTP share: a token that fits into a header, what a lost call means, what Retry-After asks."""

from __future__ import annotations

import errno
import math
import re
import socket
import ssl
from datetime import UTC
from email.utils import parsedate_to_datetime
from urllib.error import URLError

from pydantic import SecretStr

from notifier.channel import Retry, Unknown
from notifier.text import line

RETRY_AFTER_CAP_S = 300.0

_NOT_SENT = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN)


def header_token(value: SecretStr) -> SecretStr:
    """The token as it is. Raises ValueError where no header takes it."""
    if not re.fullmatch(r"[!-~]*", value.get_secret_value()):
        raise ValueError("a token goes into a header: it has only ASCII and no blank")
    return value


def retry_after_s(value: str | None, now: float) -> float:
    """Seconds from a Retry-After header: a number, a fraction or an HTTP date; 1 s without, at most five minutes."""
    seconds = 1.0
    try:
        seconds = float(value or 1.0)
    except ValueError:
        try:
            moment = parsedate_to_datetime(str(value))
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            pass
    if not math.isfinite(seconds):
        seconds = RETRY_AFTER_CAP_S
    return min(max(seconds, 0.5), RETRY_AFTER_CAP_S)


def lost(who: str, error: Exception) -> Retry | Unknown:
    """What became of a call of urllib's that raised: not sent, or nobody knows. who: whom it was for."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(error, URLError) and (
        isinstance(reason, _NOT_SENT)
        or (isinstance(reason, OSError) and reason.errno in _UNREACHABLE)
        # What http.client says when a proxy opens no way there (407 and the like).
        or str(reason).startswith("Tunnel connection failed")
    ):
        return Retry(f"{who} cannot be reached: {words(error)}.")
    return Unknown(f"{who}'s answer was lost: {words(error)}.")


def words(error: Exception) -> str:
    """Why a call failed, on one line, without a full stop."""
    reason = error.reason if isinstance(error, URLError) else error
    return line(str(reason), 300).rstrip(".") or type(reason).__name__
