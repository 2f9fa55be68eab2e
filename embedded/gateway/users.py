"""Who may sign in: names with a password, a token or both, and a pause for whoever guesses."""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from cachetools import TTLCache

from embedded.gateway.errors import ErrorKind, Refusal
from lakehouse.passwords import fits, hash_of, is_hash
from lakehouse.user_error import UserError

SHORTEST_TOKEN = 16
_HASHES_AT_ONCE = 4
"""Looked at; each takes 32 MB and 0.1 s of a core."""
_LONGEST_NAME = 64
_NAME = re.compile(rf"[^\s=,:]{{1,{_LONGEST_NAME}}}")


def pairs_of(text: str) -> dict[str, str]:
    """`NAME=SECRET, NAME=SECRET` by name. Raises ValueError, which names no secret."""
    found: dict[str, str] = {}
    for place, entry in enumerate(filter(None, map(str.strip, text.split(","))), 1):
        name, sign, secret = (part.strip() for part in entry.partition("="))
        if not sign or not secret or not _NAME.fullmatch(name):
            raise ValueError(f"entry {place} is not NAME=SECRET in a list with commas")
        if name in found:
            raise ValueError(f"entry {place} is a second '{name}'")
        found[name] = secret
    return found


class Users:
    """Users by name; a password is given plainly or as a hash of lakehouse.passwords. May be used from many threads.

    Raises UserError for a hash that cannot be looked at, and for a token that can be guessed.
    """

    def __init__(self, passwords: Mapping[str, str], tokens: Mapping[str, str] | None = None) -> None:
        self._key = secrets.token_bytes(32)
        self._plain: dict[str, bytes] = {}
        self._hashed: dict[str, str] = {}
        for name, password in passwords.items():
            if not password.startswith("scrypt:"):
                self._plain[name] = self._digest(password)
            elif is_hash(password):
                self._hashed[name] = password
            else:
                raise UserError(f"The password of the gateway's user '{name}' is no hash that can be looked at here.")
        for name, token in (tokens or {}).items():
            if len(token) < SHORTEST_TOKEN:
                raise UserError(
                    f"The token of the gateway's user '{name}' is shorter than {SHORTEST_TOKEN} characters."
                )
        self._tokens = {name: self._digest(token) for name, token in (tokens or {}).items()}
        # Nobody's, so that a name which is not there takes as long as one that is.
        self._nobody = hash_of(secrets.token_hex(16)) if self._hashed else ""
        self._lock = threading.Lock()
        self._known: dict[str, bytes] = {}
        self._looks = threading.Semaphore(_HASHES_AT_ONCE)

    def fits(self, name: str, password: str) -> bool:
        """Whether it is the user's password, or the user's token in its place."""
        given = self._digest(password)
        right = hmac.compare_digest(given, self._plain.get(name, self._digest("")))
        right = right and name in self._plain
        token = hmac.compare_digest(given, self._tokens.get(name, self._digest("")))
        return right | (token and name in self._tokens) or self._fits_hash(name, password, given)

    def of_token(self, token: str) -> str | None:
        """The user whose token it is. All are looked at, so that time tells nothing."""
        given = self._digest(token)
        found = [name for name, known in self._tokens.items() if hmac.compare_digest(given, known)]
        return found[0] if found else None

    def _fits_hash(self, name: str, password: str, given: bytes) -> bool:
        if not self._nobody:
            return False
        # Many clients sign in for each statement, and many at once after a restart.
        if self._is_known(name, given):
            return True
        with self._looks:
            if self._is_known(name, given):
                return True
            right = fits(password, self._hashed.get(name, self._nobody)) and name in self._hashed
        if right:
            with self._lock:
                self._known[name] = given
        return right

    def _is_known(self, name: str, given: bytes) -> bool:
        with self._lock:
            known = self._known.get(name, b"")
        return hmac.compare_digest(given, known)

    def _digest(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode(), hashlib.sha256).digest()


class _WrongPasswords(NamedTuple):
    """How many wrong passwords a name had, and when the next one may be looked at."""

    times: int
    next_look: float


_NONE = _WrongPasswords(0, -math.inf)


class Guesses:
    """Makes whoever guesses wait for the answer, the longer the more wrong passwords a name had; right ones never do.

    The newest `most_names` names with wrong passwords are remembered, each for `memory_s` after its last one. Passwords
    of a name that is guessed at are looked at in the order they came, one each `look_every_s`, so that more lines do
    not guess faster than that. How many wrong ones wait for their answers keeps no right one out.
    """

    free = 3
    first_s = 0.25
    longest_s = 8.0
    at_once = 4
    look_every_s = 0.25
    most_in_line = 32

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        memory_s: float = 900,
        most_names: int = 10_000,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._changed = threading.Condition()
        self._wrong: TTLCache[str, _WrongPasswords] = TTLCache(most_names, memory_s, clock)
        self._lines: dict[str, deque[object]] = {}
        self._looking: Counter[str] = Counter()

    @contextmanager
    def look(self, name: str) -> Iterator[None]:
        """For as long as a password of the name is looked at, once it is its turn.

        Raises Refusal (UNAVAILABLE) for a name that is guessed at while too many stand in line for it.
        """
        name, me = _short(name), object()
        with self._changed:
            line = self._lines.setdefault(name, deque())
            if self._wrong.get(name, _NONE).times > self.free and len(line) >= self.most_in_line:
                raise Refusal(ErrorKind.UNAVAILABLE, "Too many failed sign-ins at once: try again in a few seconds.")
            line.append(me)
            self._changed.wait_for(lambda: line[0] is me and self._looking[name] < self.at_once)
            wait_s = self._wrong.get(name, _NONE).next_look - self._clock()
        try:
            if wait_s > 0:
                self._sleep(wait_s)
        finally:
            with self._changed:
                line.popleft()
                if not line:
                    del self._lines[name]
                self._looking[name] += 1
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._looking[name] -= 1
                if not self._looking[name]:
                    del self._looking[name]
                self._changed.notify_all()

    def wrong(self, name: str) -> None:
        """The password was wrong: waits, from the fourth on."""
        name = _short(name)
        with self._changed:
            before = self._wrong.get(name, _NONE)
            count, next_look = before.times + 1, before.next_look
            if count > self.free:
                next_look = max(next_look, self._clock()) + self.look_every_s
            self._wrong[name] = _WrongPasswords(count, next_look)
        if count > self.free:
            self._sleep(min(self.longest_s, self.first_s * 2 ** min(count - self.free - 1, 10)))


def _short(name: str) -> str:
    """A name as it is remembered: nobody fills the memory with long ones."""
    return name[:_LONGEST_NAME]
