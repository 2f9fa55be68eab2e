"""Who may come in, and what they may do here: nobody signs in, all by one password, people of people.yaml, or of an
OpenID Connect provider."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from functools import cache
from pathlib import Path

from cachetools import TTLCache

from console.oidc import actor_of
from console.on_call.acts import Actor
from console.settings import ConsoleSettings, is_loopback
from lakehouse.passwords import fits, hash_of
from lakehouse.roster import NOBODY, Role, Roster, load_roster
from lakehouse.settings.on_call import OnCallSettings
from lakehouse.user_error import UserError

logger = logging.getLogger(__name__)

LOOK_S = 5.0
"""Between two looks whether the file of people is another; whoever is in it no more is out within a minute."""
FREE_TRIES = 5
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 300.0
REMEMBERED_S = 3600.0
EVERYONE = "everyone"
"""Whoever signs in by the one password."""


class SignIn(StrEnum):
    """How people sign in."""

    NONE = "none"
    PASSWORD = "password"
    PEOPLE = "people"
    OIDC = "oidc"


class Gate:
    """Looks at passwords, and at what a signed-in name may do. Any thread may ask.

    people: the file. A file that becomes wrong while it is in use leaves the people of before, and is logged.
    """

    def __init__(
        self,
        way: SignIn,
        people: Path,
        password: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.way = way
        self._path = people
        self._password = password
        self._monotonic = monotonic
        self._now = now
        self._lock = threading.Lock()
        self._changed: int | None = None
        self._look_at = 0.0
        self._roster: Roster = NOBODY
        self._tries: TTLCache[tuple[str, str], tuple[int, float]] = TTLCache(10_000, REMEMBERED_S, monotonic)
        self.roster()

    def roster(self) -> Roster:
        """The people now."""
        with self._lock:
            now = self._monotonic()
            if now < self._look_at:
                return self._roster
            self._look_at = now + LOOK_S
            try:
                changed = self._path.stat().st_mtime_ns if self._path.exists() else 0
                if changed != self._changed:
                    self._roster = load_roster(self._path)
                    self._changed = changed
            except (UserError, OSError) as error:
                if self._changed is None:
                    raise
                logger.error("the people of before hold: %s", error)
            return self._roster

    def wait_s(self, name: str, address: str) -> float:
        """How long a name has to wait, from an address, before it may try again; 0: not at all."""
        with self._lock:
            _, until = self._tries.get((name, address), (0, 0.0))
            _, of_address = self._tries.get(("", address), (0, 0.0))
        return max(0.0, max(until, of_address) - self._monotonic())

    def lets_in(self, name: str, password: str, address: str) -> bool:
        """Whether this password lets this name in. As long for a name that is not there as for one that is.

        After FREE_TRIES wrong ones of a name from an address, or ten times as many of an address, each further one
        waits twice as long as the one before.
        """
        if self.wait_s(name, address) > 0:
            return False
        if self.way is SignIn.PASSWORD:
            right = hmac.compare_digest(password.encode(), self._password.encode())
        else:
            person = self.roster().named(name)
            hashed = person.password if person and person.password else None
            right = fits(password, hashed or _blank()) and hashed is not None
        with self._lock:
            if right:
                self._tries.pop((name, address), None)
            else:
                for key, free in (((name, address), FREE_TRIES), (("", address), 10 * FREE_TRIES)):
                    tries = self._tries.get(key, (0, 0.0))[0] + 1
                    wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (tries - free)) if tries >= free else 0.0
                    self._tries[key] = (tries, self._monotonic() + wait_s)
        if not right:
            logger.warning("sign-in refused for %.60r from %s", name, address)
        return right

    def cookie_of(self, name: str) -> str:
        """What a cookie holds of who was let in: with another password it is nobody's."""
        if self.way is not SignIn.PEOPLE:
            return name
        person = self.roster().named(name)
        return f"{name}~{_mark(person.password or '')}" if person else name

    def actor(self, cookie: str | None) -> Actor | None:
        """Who somebody is here, by what a cookie holds; None for who is no more, or never was."""
        match self.way:
            case SignIn.NONE:
                return Actor(None, may_act=True)
            case SignIn.PASSWORD:
                return Actor(EVERYONE, may_act=True) if cookie else None
            case SignIn.OIDC:
                return actor_of(cookie, self._now()) if cookie else None
        name, _, mark = (cookie or "").partition("~")
        person = self.roster().named(name)
        if person is None or not person.password or mark != _mark(person.password):
            return None
        return Actor(person.person, person.role is Role.OPERATOR)


@cache
def _blank() -> str:
    return hash_of("")


def _mark(hashed: str) -> str:
    return hashlib.sha256(hashed.encode()).hexdigest()[:16]


def gate_of(settings: ConsoleSettings) -> Gate:
    """How people sign in, as the settings say. Raises UserError where they do not go together, or let anybody in."""
    people = OnCallSettings.load().people_file
    password = settings.password.get_secret_value()
    gate = Gate(SignIn.PEOPLE, people, password)
    named = [person for person in gate.roster().people if person.password]
    given = SignIn.PASSWORD if password else SignIn.PEOPLE if named else None
    way = SignIn(settings.auth) if settings.auth else given
    if way is None:
        if not is_loopback(settings.address):
            raise UserError(
                f"The console would listen on {settings.address}, and let anybody in: set console.password, give "
                f"somebody of {people} a password (`tillwatch password`), or write console.auth: oidc or none."
            )
        way = SignIn.NONE
    if way is SignIn.PASSWORD and not password:
        raise UserError("console.auth is password, and console.password is empty; set it.")
    if way is SignIn.PEOPLE and not named:
        raise UserError(f"console.auth is people, and nobody of {people} has a password (`tillwatch password`).")
    gate.way = way
    return gate
