"""What channels over HTTP share: a token that fits into a header, what a lost call means, what Retry-After asks; and a
POST, for those whose other side has no client of its own."""

from __future__ import annotations

import errno
import math
import re
import socket
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.error import URLError
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import urllib3
from pydantic import SecretStr
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError, ProxySchemeUnknown, SSLError

from lakehouse.user_error import UserError
from notifier.channel import Broken, Outcome, Retry, Sent, Unknown
from notifier.text import line

RETRY_AFTER_CAP_S = 300.0
RETRY_AFTER_LEAST_S = 0.2
ANSWER_LIMIT = 64 << 10
"""Bytes of an answer that are read at most."""

_NOT_SENT = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN)
_NO_CONNECTION = (NewConnectionError, ConnectTimeoutError, ProxyError, SSLError)
"""What urllib3 raises before it has sent anything."""
_RAISED = (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError)


def header_token(value: SecretStr) -> SecretStr:
    """The token as it is. Raises ValueError where no header takes it."""
    if not re.fullmatch(r"[!-~]*", value.get_secret_value()):
        raise ValueError("a token goes into a header: it has only ASCII and no blank")
    return value


def is_address(url: str) -> bool:
    """Whether it is an address of the web that can be posted to."""
    try:
        return bool(re.fullmatch(r"https?://[!-~]+", url) and urllib3.util.parse_url(url).host)
    except ValueError:
        return False


def retry_after_s(value: str | None, now: float, without: float = 1.0) -> float:
    """Seconds from a Retry-After header: a number, a fraction or an HTTP date; `without` one, five minutes at most.

    Never at once, as no other failure is tried again at once.
    """
    seconds = without
    try:
        seconds = float(value or without)
    except ValueError:
        try:
            moment = parsedate_to_datetime(str(value))
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            pass
    if not math.isfinite(seconds):
        seconds = RETRY_AFTER_CAP_S
    return min(max(seconds, RETRY_AFTER_LEAST_S), RETRY_AFTER_CAP_S)


def lost(who: str, error: Exception) -> Retry | Unknown:
    """What became of a call of urllib's or urllib3's that raised: not sent, or nobody knows. who: whom it was for."""
    reason = _reason(error)
    # What http.client says when a proxy opens no way there (407 and the like).
    unsent = isinstance(error, _NO_CONNECTION) or str(reason).startswith("Tunnel connection failed")
    if isinstance(error, URLError):
        no_way = isinstance(reason, OSError) and reason.errno in _UNREACHABLE
        unsent = unsent or no_way or isinstance(reason, _NOT_SENT)
    if unsent:
        return Retry(f"{who} cannot be reached: {words(error)}.")
    return Unknown(f"{who}'s answer was lost: {words(error)}.")


def words(error: Exception) -> str:
    """Why a call failed, on one line, without a full stop."""
    reason = _reason(error)
    return line(str(reason), 300).rstrip(".") or type(reason).__name__


def _reason(error: Exception) -> BaseException | str:
    """What lies at the bottom: both libraries wrap it."""
    if isinstance(error, URLError):
        return error.reason
    while isinstance(error, urllib3.exceptions.HTTPError):
        inner = next((part for part in (*error.args, error.__cause__) if isinstance(part, Exception)), None)
        if inner is None:
            break
        error = inner
    return error


class Poster:
    """Posts to one address, and says what became of it. TLS is checked, no redirect followed, nothing tried twice.

    who: whom it is for, as sentences begin. timeout_s: for the connection, and for each wait for an answer. taken: the
    statuses that say so. limited_s: what a 429 without Retry-After asks for.
    """

    def __init__(
        self,
        who: str,
        url: str,
        timeout_s: float,
        *,
        taken: Collection[int] = range(200, 300),
        limited_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._who = who
        self._url = url
        self._timeout_s = timeout_s
        self._taken = taken
        self._limited_s = limited_s
        self._clock = clock
        login = urllib3.util.parse_url(url).auth
        self._headers = {"User-Agent": "tillwatch", **_basic(login, "authorization")}
        self._http = _client(url)

    def post(self, body: bytes, headers: Mapping[str, str], receipt: str) -> Outcome:
        """Sent(receipt) where it was taken. A refusal is of this address alone, and can be mended."""
        try:
            status, after, text = self._ask("POST", body, {"Content-Type": "application/json", **headers})
        except _RAISED as error:
            return lost(self._who, error)
        if status in self._taken:
            return Sent(receipt)
        said = f"{self._who} answered {status}{': ' if text else ''}{text.rstrip('.')}."
        if status == 429:
            return Retry(said, retry_after_s(after, self._clock(), self._limited_s), shared=False)
        if status == 408 or status >= 500:
            return Retry(said, retry_after_s(after, self._clock()) if after else None, shared=False)
        if 300 <= status < 400:
            return Broken(
                f"{self._who} answered {status}, a redirect, which is not followed; give the address that it leads to."
            )
        return Broken(said) if status >= 400 else Unknown(said)

    def reach(self) -> str | None:
        """Why nobody answers there; None where somebody does, whatever the answer: few take anything but a POST."""
        try:
            status, _, _ = self._ask("HEAD", None, {})
        except _RAISED as error:
            return f"{self._who} does not answer: {words(error)}."
        return f"{self._who} does not answer: {status}." if status in (502, 503, 504) else None

    def _ask(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, str | None, str]:
        """Status, Retry-After, and what the answer says, on one line."""
        response = self._http.request(
            method,
            self._url,
            body=body,
            headers={**self._headers, **headers},
            timeout=urllib3.Timeout(connect=self._timeout_s, read=self._timeout_s),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            read = self._start_of(response)
        finally:
            # What was not read of a long answer must not come before the next.
            response.close()
        return response.status, response.headers.get("Retry-After"), line(read.decode(errors="replace"), 200)

    def _start_of(self, response: urllib3.BaseHTTPResponse) -> bytes:
        read = b""
        until = time.monotonic() + self._timeout_s
        try:
            while len(read) < ANSWER_LIMIT and time.monotonic() < until:
                piece = response.read1(ANSWER_LIMIT - len(read))
                if not piece:
                    break
                read += piece
        except _RAISED:
            pass  # the status has come, and it counts
        return read


def _client(url: str) -> urllib3.PoolManager:
    """Through the proxy that the environment names for this address, where it names one. Raises UserError."""
    parts = urllib3.util.parse_url(url)
    proxy = None if proxy_bypass(parts.host or "") else getproxies().get(parts.scheme or "")
    if not proxy:
        return urllib3.PoolManager()
    try:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        login = urllib3.util.parse_url(proxy).auth
        return urllib3.ProxyManager(proxy, proxy_headers=_basic(login, "proxy-authorization"))
    except (ProxySchemeUnknown, ValueError):
        raise UserError(
            f"The proxy that {parts.scheme}_proxy names in the environment is none that can be used; expected "
            f"http://HOST:PORT. Correct it, or list {parts.host} in no_proxy."
        ) from None


def _basic(login: str | None, header: str) -> dict[str, str]:
    """The header of a user and password that stood in an address."""
    if not login:
        return {}
    return {header: urllib3.make_headers(basic_auth=unquote(login))["authorization"]}
