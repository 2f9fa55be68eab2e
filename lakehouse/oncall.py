"""The contract between the notifier and who reads and acts on incidents: its models, and a client.

Served at http://HOST:5007/api; times are UTC in ms. Fields are only added.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

import urllib3
from pydantic import BaseModel, ConfigDict, Field, ValidationError

WAIT_S = 25
"""How long a question for changes may be held open."""
PERSON_HEADER = "Tillwatch-Person"
KEY_HEADER = "Idempotency-Key"

Status = Literal["open", "resolved", "old"]
Word = Literal["resolved", "silenced", "acknowledged", "escalated", "open"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Acknowledged(_Model):
    """Who has it, since when, and until when: None, until it resolves."""

    by: str
    at: datetime
    until: datetime | None
    note: str


class Silenced(_Model):
    """The silence that mutes it."""

    id: str
    by: str
    until: datetime


class Told(_Model):
    """A place that was told of it, or not, and why."""

    channel: str
    destination: str
    state: str
    reason: str | None
    at: datetime | None
    receipt: str | None


class OnCallIncident(_Model):
    """An incident as people act on it. status comes from alerts alone, the rest from people and the notifier.

    source: table for one of the table alerts, question for one of a rule that asks, own for one of the notifier's.
    level: steps of escalation. What its newest alert says: alert_type, description, summary, value, threshold,
    runbook_url.
    """

    incident_id: str
    rule: str
    severity: str
    service_name: str | None
    owner: str | None
    source: Literal["table", "question", "own"]
    status: Status
    word: Word
    alerts: int
    starts_at: datetime
    newest_at: datetime
    resolved_at: datetime | None
    description: str
    ack: Acknowledged | None
    silenced: Silenced | None
    level: int
    told: list[Told]
    revision: int
    summary: str | None = None
    value: float | None = None
    threshold: float | None = None
    runbook_url: str | None = None
    alert_type: str = ""


class OnCallIncidents(_Model):
    """revision: that of the newest change; the ETag too."""

    revision: int
    incidents: list[OnCallIncident]


class HistoryLine(_Model):
    """What happened to an incident."""

    at: datetime
    who: str
    via: str
    action: str
    note: str


class OnCallDetail(OnCallIncident):
    """With its history, the oldest line first."""

    history: list[HistoryLine]


class AskedAck(_Asked):
    """until: when it lapses; without one, after notifier.ack_for."""

    until: datetime | None = None
    note: str = Field("", max_length=2000)


class AskedNote(_Asked):
    note: str = Field(min_length=1, max_length=2000)


class WrittenMatcher(_Asked):
    """A condition on a column of an alert; op is = != =~ or !~."""

    column: str = Field(max_length=100)
    op: Literal["=", "!=", "=~", "!~"]
    value: str = Field(max_length=1000)


class AskedSilence(_Asked):
    """At least one matcher; until, at most notifier.silence_longest from now."""

    matchers: list[WrittenMatcher] = Field(min_length=1, max_length=20)
    reason: str = Field(min_length=1, max_length=500)
    until: datetime


class OnCallSilence(_Model):
    """A silence, and who made it."""

    id: str
    matchers: list[WrittenMatcher]
    reason: str
    by: str
    created: datetime
    until: datetime
    ended: datetime | None


class AskedMark(_Asked):
    text: str = Field(min_length=1, max_length=300)
    at: datetime | None = None


class OnCallMark(_Model):
    """Something that was done, and when."""

    at: datetime
    text: str
    who: str


class OnCallDelivery(_Model):
    """One delivery. alerts: how many alert rows it tells of; receipt: what names the message there, like Slack's ts.

    route: the names of the routes that it came by; detail: what mutes it.
    """

    delivery_key: str
    incident_id: str
    thread_id: str | None
    channel: str
    destination: str
    kind: str
    state: str
    reason: str | None
    detail: str | None
    route: str | None
    alerts: int
    attempts: int
    planned_at: datetime
    not_before: datetime
    sent_at: datetime | None
    receipt: str | None
    possible_repeat: bool
    error: str | None


class OnCallDeliveries(_Model):
    """Newest planned first. counts: all deliveries of the ledger by state."""

    counts: dict[str, int]
    deliveries: list[OnCallDelivery]


class OnCallState(_Model):
    """How the notifier is. parts: what is wrong with each, null where all is well. parked: places to be mended.

    heartbeat: why the dead-man's switch was not reached, null where it was, or there is none.
    """

    revision: int
    judges: bool
    parts: dict[str, str | None]
    parked: list[dict[str, str]]
    config: str
    heartbeat: str | None = None


def word_of(status: Status, ack: object, silenced: object, level: int) -> Word:
    """The one word that is shown, the first that holds."""
    if status != "open":
        return "resolved"
    if silenced:
        return "silenced"
    if ack:
        return "acknowledged"
    return "escalated" if level else "open"


class OnCallError(Exception):
    """The notifier refused; the message is its sentence. `status` is that of HTTP."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class OnCallDown(OnCallError):
    """The notifier cannot be reached."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, 0)


class OnCall:
    """A client of the notifier's API. Any thread may call any method; each raises OnCallError.

    person: on whose behalf a `behalf` token acts.
    """

    def __init__(self, url: str, token: str, person: str | None = None, timeout_s: float = 5.0) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if person is not None:
            self._headers[PERSON_HEADER] = quote(person, safe=" @.-_")
        self._timeout_s = timeout_s
        self._http = urllib3.PoolManager(maxsize=4, retries=False)

    def close(self) -> None:
        self._http.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- reading

    def incidents(
        self,
        status: Status | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 1000,
        known: int | None = None,
        wait_s: float = 0.0,
        begins: str | None = None,
    ) -> OnCallIncidents | None:
        """Incidents, newest alert first; None where nothing has changed since revision `known`, waited for so long.

        begins: those alone whose id begins so.
        """
        asked: dict[str, Any] = {"status": status, "since": since, "until": until, "limit": limit}
        asked |= {"begins": begins, "wait": wait_s or None}
        headers = {"If-None-Match": f'"{known}"'} if known is not None else {}
        answer = self._ask("GET", "incidents", asked, headers=headers, wait_s=wait_s)
        return None if answer is None else self._read(OnCallIncidents, answer)

    def incident(self, incident_id: str, at: datetime | None = None) -> OnCallDetail:
        """One with its history, up to a moment where one is given."""
        return self._read(OnCallDetail, self._ask("GET", f"incidents/{quote(incident_id, safe='')}", {"at": at}))

    def silences(self) -> list[OnCallSilence]:
        return [self._read(OnCallSilence, one) for one in self._ask("GET", "silences")]

    def marks(self, since: datetime | None = None, until: datetime | None = None) -> list[OnCallMark]:
        return [self._read(OnCallMark, one) for one in self._ask("GET", "marks", {"since": since, "until": until})]

    def deliveries(
        self, state: str | None = None, incident: str | None = None, limit: int = 100, begins: str | None = None
    ) -> OnCallDeliveries:
        """Newest planned first. begins: those alone whose key begins so."""
        asked = {"state": state, "incident": incident, "limit": limit, "begins": begins}
        return self._read(OnCallDeliveries, self._ask("GET", "deliveries", asked))

    def state(self) -> OnCallState:
        return self._read(OnCallState, self._ask("GET", "state"))

    # ---- acting

    def ack(
        self, incident_id: str, until: datetime | None = None, note: str = "", revision: int | None = None
    ) -> OnCallDetail:
        """Take it. revision: what the caller has seen; another one since is refused with 409 and who has it."""
        asked = AskedAck(until=until, note=note)
        return self._act("POST", f"incidents/{quote(incident_id, safe='')}/ack", asked, revision)

    def unack(self, incident_id: str, revision: int | None = None) -> OnCallDetail:
        return self._act("DELETE", f"incidents/{quote(incident_id, safe='')}/ack", None, revision)

    def note(self, incident_id: str, note: str) -> OnCallDetail:
        return self._act("POST", f"incidents/{quote(incident_id, safe='')}/notes", AskedNote(note=note), None)

    def escalate(self, incident_id: str, revision: int | None = None) -> OnCallDetail:
        """Go on to the next step now."""
        return self._act("POST", f"incidents/{quote(incident_id, safe='')}/escalate", None, revision)

    def silence(self, matchers: Sequence[Mapping[str, str]], reason: str, until: datetime) -> OnCallSilence:
        asked = AskedSilence(matchers=[WrittenMatcher(**one) for one in matchers], reason=reason, until=until)
        return self._read(OnCallSilence, self._ask("POST", "silences", body=asked))

    def end_silence(self, silence_id: str) -> None:
        self._ask("DELETE", f"silences/{quote(silence_id, safe='')}")

    def mark(self, text: str, at: datetime | None = None) -> OnCallMark:
        return self._read(OnCallMark, self._ask("POST", "marks", body=AskedMark(text=text, at=at)))

    def retry(self, delivery_key: str) -> None:
        """Try a delivery again that was given up, or is parked."""
        self._ask("POST", f"deliveries/{quote(delivery_key, safe='')}/retry")

    # ---- the wire

    def _act(self, method: str, path: str, body: BaseModel | None, revision: int | None) -> OnCallDetail:
        headers = {"If-Match": f'"{revision}"'} if revision is not None else {}
        return self._read(OnCallDetail, self._ask(method, path, body=body, headers=headers))

    def _ask(
        self,
        method: str,
        path: str,
        asked: Mapping[str, Any] | None = None,
        body: BaseModel | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
    ) -> Any:
        """The answer's JSON; None where it has none. Tried twice: keys make that safe."""
        sent = {**self._headers, **(headers or {})}
        if method != "GET":
            sent[KEY_HEADER] = uuid.uuid4().hex
        data = None
        if body is not None:
            data = body.model_dump_json().encode()
            sent["Content-Type"] = "application/json"
        words = {name: _written(value) for name, value in (asked or {}).items() if value is not None}
        url = f"{self._url}/{path}" + (f"?{urlencode(words)}" if words else "")
        timeout = urllib3.Timeout(connect=2.0, read=self._timeout_s + wait_s)
        for last in (False, True):
            try:
                answer = self._http.request(method, url, body=data, headers=sent, timeout=timeout, redirect=False)
                break
            except urllib3.exceptions.HTTPError as error:
                if last:
                    raise OnCallDown(f"The notifier at {self._url} cannot be reached: {error}") from None
        if answer.status in (204, 304):
            return None
        try:
            content = json.loads(answer.data)
        except ValueError:
            raise OnCallError(f"{self._url} does not answer as the notifier does.", answer.status) from None
        if answer.status >= 300:
            detail = content.get("detail") if isinstance(content, dict) else None
            raise OnCallError(str(detail or f"The notifier answers {answer.status}."), answer.status)
        return content

    def _read[M: BaseModel](self, model: type[M], content: Any) -> M:
        try:
            return model.model_validate(content)
        except ValidationError as error:
            raise OnCallError(
                f"{self._url} does not answer as the notifier does: {error.errors()[0]['msg']}.", 0
            ) from None


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
