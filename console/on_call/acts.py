"""What people do about incidents, by the notifier: acknowledge, let go, silence, note, escalate, mark.

A browser can send any change of any property, so who acts and whether they may is looked at here, on the server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lakehouse.oncall import OnCall, OnCallDetail, OnCallError
from lakehouse.user_error import UserError

logger = logging.getLogger(__name__)

CONFLICT = 409
TRIES = 5

type Id = Annotated[str, Field(min_length=1, max_length=200)]
type Minutes = Annotated[int, Field(ge=1, le=7 * 24 * 60)]


class _Act(BaseModel):
    """One thing that somebody asks for. number: the browser's own, by which it knows the answer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = 0


class _Taking(_Act):
    """What concerns who has an incident. revision: the one that was on the page. had: who had it there, empty for
    nobody; None where the page does not say."""

    incident: Id
    revision: int | None = None
    had: str | None = Field(None, max_length=500)


class Acknowledge(_Taking):
    what: Literal["ack"]
    minutes: Minutes | None = None


class LetGo(_Taking):
    what: Literal["unack"]


class NoteAct(_Act):
    what: Literal["note"]
    incident: Id
    note: str = Field(min_length=1, max_length=2000)


class Escalate(_Taking):
    what: Literal["escalate"]


class SilenceAct(_Act):
    """Silences the incident's rule at its service."""

    what: Literal["silence"]
    incident: Id
    minutes: Minutes
    reason: str = Field("", max_length=500)


class EndSilence(_Act):
    what: Literal["unsilence"]
    silence: Id


class MarkAct(_Act):
    what: Literal["mark"]
    text: str = Field(min_length=1, max_length=300)


type Act = Annotated[
    Acknowledge | LetGo | NoteAct | Escalate | SilenceAct | EndSilence | MarkAct, Field(discriminator="what")
]


class _AskedAct(BaseModel):
    model_config = ConfigDict(extra="forbid")

    act: Act


@dataclass(frozen=True)
class Actor:
    """Whoever sits before the page. person: None where nobody signs in."""

    person: str | None
    may_act: bool


@dataclass(frozen=True)
class ActOutcome:
    """What became of an act: a sentence where it was refused."""

    number: int
    error: str | None = None
    detail: OnCallDetail | None = None


class Acts:
    """Does acts in threads of its own. open: a client that acts for a person, for one act."""

    def __init__(self, open: Callable[[str | None], OnCall], threads: int = 4) -> None:
        self._open = open
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="acts")

    def ask(self, said: object, actor: Actor, answer: Callable[[ActOutcome], None]) -> None:
        """Do what a browser said, and call `answer` from another thread; at once where it is refused here."""
        number = said.get("number") if isinstance(said, Mapping) else None
        number = number if isinstance(number, int) else 0
        if not actor.may_act:
            answer(ActOutcome(number, "Nothing was done: only an operator may act; you are signed in as a viewer."))
            return
        try:
            act = _AskedAct.model_validate({"act": said}).act
        except ValidationError as error:
            first = error.errors()[0]
            field = str(first["loc"][-1]) if first["loc"] else "act"
            answer(ActOutcome(number, f"Nothing was done: '{field}': {first['msg'].removeprefix('Value error, ')}."))
            return
        self._threads.submit(self._do, act, actor, answer)

    def _do(self, act: Any, actor: Actor, answer: Callable[[ActOutcome], None]) -> None:
        try:
            with self._open(actor.person) as client:
                answer(ActOutcome(act.number, None, _done(client, act)))
        except (OnCallError, UserError) as error:
            answer(ActOutcome(act.number, f"Nothing was done: {error}"))
        except Exception as error:
            logger.exception("%s failed", act.what)
            answer(
                ActOutcome(act.number, f"It is not known whether it was done ({type(error).__name__}); see the log.")
            )

    def detail(self, incident_id: str, at: datetime | None, answer: Callable[[OnCallDetail | str], None]) -> None:
        """An incident with its history, up to a moment where one is given, or a sentence; to `answer` from another
        thread."""

        def ask() -> None:
            try:
                with self._open(None) as client:
                    answer(client.incident(incident_id, at))
            except (OnCallError, UserError) as error:
                answer(str(error))
            except Exception:
                logger.exception("the history of an incident could not be read")
                answer("The history could not be read; see the console's log.")

        self._threads.submit(ask)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _taking(client: OnCall, act: _Taking, do: Callable[..., OnCallDetail]) -> OnCallDetail:
    """Do it, also where only alerts came since the page was drawn: in an outage one comes every second. Refused, as the
    notifier does, where somebody else has it by now."""
    revision = act.revision
    for _ in range(TRIES):
        try:
            return do(revision=revision)
        except OnCallError as error:
            if error.status != CONFLICT or act.had is None:
                raise
            now = client.incident(act.incident)
            if (now.ack.by if now.ack else "") != act.had:
                raise
            revision = now.revision
    return do(revision=revision)


def _done(client: OnCall, act: Any) -> OnCallDetail | None:
    now = datetime.now(UTC)
    match act:
        case Acknowledge():
            until = now + timedelta(minutes=act.minutes) if act.minutes else None
            return _taking(client, act, partial(client.ack, act.incident, until))
        case LetGo():
            return _taking(client, act, partial(client.unack, act.incident))
        case NoteAct():
            return client.note(act.incident, act.note)
        case Escalate():
            return _taking(client, act, partial(client.escalate, act.incident))
        case SilenceAct():
            found = client.incident(act.incident)
            matchers = [{"column": "rule", "op": "=", "value": found.rule}]
            if found.service_name:
                matchers.append({"column": "service_name", "op": "=", "value": found.service_name})
            client.silence(matchers, act.reason or "by the console", now + timedelta(minutes=act.minutes))
            return client.incident(act.incident)
        case EndSilence():
            client.end_silence(act.silence)
        case MarkAct():
            client.mark(act.text)
    return None
