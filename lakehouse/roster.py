"""config/people.yaml: who is on duty here, what they may do, and how they are known elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lakehouse.checked_file import CheckedFile
from lakehouse.passwords import is_hash


class Role(StrEnum):
    """What somebody may do; an operator may also act."""

    VIEWER = "viewer"
    OPERATOR = "operator"


def _like(pattern: str, expected: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {expected}")
        return text

    return AfterValidator(check)


type _Name = Annotated[str, _like(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}", "a short name of letters, digits, . _ and -")]
type _Email = Annotated[str, _like(r"[^\s@<>,;]{1,64}@[A-Za-z0-9.-]{1,253}", "an address like ada@shop.example")]


def _password(text: str) -> str:
    if not is_hash(text):
        raise ValueError("expected a hash as `tillwatch password` makes it, scrypt:32768:8:1$SALT$HEX")
    return text


type _SlackId = Annotated[str, _like(r"[TE][A-Z0-9]{2,}/[UW][A-Z0-9]{2,}", "TEAM/USER, like T0SHOP/U0ADA")]


class Person(BaseModel):
    """Somebody. slack: TEAM/USER, the ids of both: names can be chosen by anybody. password: its hash."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    person: _Name
    role: Role
    email: _Email | None = None
    slack: _SlackId | None = None
    password: Annotated[str, AfterValidator(_password)] | None = Field(None, repr=False)


class _People(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    people: tuple[Person, ...]


@dataclass(frozen=True)
class Roster:
    """The people of the file, in its order."""

    people: tuple[Person, ...] = ()

    def named(self, name: str) -> Person | None:
        return next((person for person in self.people if person.person == name), None)

    def in_slack(self, team: str, user: str) -> Person | None:
        """Whom Slack knows by these ids."""
        return next((person for person in self.people if person.slack == f"{team}/{user}"), None)


NOBODY = Roster()


def load_roster(path: Path) -> Roster:
    """What the file says; nobody where there is none. Raises UserError for whatever is wrong in it."""
    if not path.exists():
        return NOBODY
    file = CheckedFile(path, "notifier.people", {"people": Person})
    people = file.read(_People, "people").people
    for field in ("person", "slack"):
        # Who has none is told apart by the place.
        file.once("people", [getattr(each, field) or f" {place}" for place, each in enumerate(people)], field)
    return Roster(people)
