"""The notifier over HTTP: health, metrics, and what people do with incidents; models in lakehouse/oncall.py.

Everything but health and metrics asks for a token, on this machine too: a page in a browser can reach it as well.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from lakehouse.oncall import (
    KEY_HEADER,
    WAIT_S,
    AskedAck,
    AskedMark,
    AskedNote,
    AskedSilence,
    OnCallDeliveries,
    OnCallDetail,
    OnCallIncidents,
    OnCallMark,
    OnCallSilence,
    OnCallState,
    Status,
)
from lakehouse.settings.durations import write_duration
from notifier.asking import By, Key, Match, refuse, token_of
from notifier.changes import Changes
from notifier.clock import from_ms, to_ms, wall_ms
from notifier.daemon import Daemon
from notifier.guard import Guard
from notifier.ledger.file import LedgerError
from notifier.ledger.people import StoredAnswer
from notifier.model import DeliveryState
from notifier.outgoing import Outgoing
from notifier.people import NoIncident, Stale
from notifier.routing.matchers import make_matcher
from notifier.tokens import Tokens


class ReadyOut(BaseModel):
    """parts: what is wrong with each, null where all is well."""

    status: Literal["ready", "degraded"]
    parts: dict[str, str | None]


Limit = Annotated[int, Query(ge=1, le=10_000)]
Begins = Annotated[str | None, Query(max_length=1000)]


def create_app(daemon: Daemon, tokens: Tokens) -> FastAPI:
    """The application over a running daemon."""
    # No docs pages: they load scripts from elsewhere. /openapi.json is there, for who has a token.
    app = FastAPI(title="tillwatch notifier", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.tokens = tokens
    out = Outgoing(daemon.ledger)
    changes: Changes[tuple[int, bytes]] = Changes(daemon.ledger.revision)

    app.add_middleware(Guard, hosts=lambda: daemon.settings.hosts)

    @app.exception_handler(LedgerError)
    def no_ledger(_request: Request, error: LedgerError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503)

    @app.exception_handler(NoIncident)
    def no_incident(_request: Request, error: NoIncident) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 404)

    @app.exception_handler(Stale)
    def stale(_request: Request, error: Stale) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 409)

    @app.exception_handler(RequestValidationError)
    def wrong(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return JSONResponse(
            {"detail": f"'{field}': {first['msg'].removeprefix('Value error, ')}.", "field": field}, 422
        )

    @app.get("/-/healthy", response_class=PlainTextResponse)
    def healthy() -> Response:
        """200 while looks for commits end or move on in time, also when nobody answers."""
        stalled_s = daemon.health.stalled_s()
        if stalled_s > 0:
            return PlainTextResponse(f"No look for commits has ended for {daemon.health.age_s():.0f} s.\n", 503)
        return PlainTextResponse("ok\n")

    @app.get("/-/ready", responses={503: {"model": ReadyOut}})
    def ready() -> ReadyOut:
        """200 when the data and every channel answer, else 503 and which does not."""
        parts = daemon.readiness()
        degraded = any(parts.values())
        answer = ReadyOut(status="degraded" if degraded else "ready", parts=parts)
        if degraded:
            return JSONResponse(answer.model_dump(), 503)  # type: ignore[return-value]
        return answer

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """For Prometheus."""
        daemon.refresh_metrics()
        return Response(generate_latest(daemon.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(token_of)])
    def addresses() -> JSONResponse:
        """Every address, and what it takes and gives."""
        return JSONResponse(app.openapi())

    api = APIRouter(
        prefix="/api", dependencies=[Depends(token_of)], responses={401: {"description": "No token, or a wrong one."}}
    )

    # ---- reading

    @api.get(
        "/incidents", response_model=OnCallIncidents, responses={304: {"description": "Nothing has changed since."}}
    )
    async def incidents(
        status: Status | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: Limit = 1000,
        wait: Annotated[float, Query(ge=0, le=WAIT_S)] = 0,
        begins: Begins = None,
        known: Annotated[str | None, Header(alias="If-None-Match", max_length=40)] = None,
    ) -> Response:
        """Incidents, newest alert first; of these alone, whose id begins so. With If-None-Match and wait: answered when
        something has changed."""
        revision = _tag(known)
        if revision is not None and not await changes.since(revision, wait):
            return Response(status_code=304, headers={"ETag": f'"{revision}"'})
        asked = (status, _ms(since), _ms(until), limit, begins)

        def make() -> tuple[int, bytes]:
            found = out.incidents(*asked)
            return found.revision, found.model_dump_json().encode()

        newest, body = await changes.answer(asked, make)
        return Response(body, media_type="application/json", headers={"ETag": f'"{newest}"'})

    @api.get("/incidents/{incident_id}")
    def incident(incident_id: str, at: datetime | None = None) -> OnCallDetail:
        """One with its history, up to a moment where one is given."""
        return out.incident(incident_id, _ms(at))

    @api.get("/deliveries")
    def deliveries(
        state: DeliveryState | None = None, incident: str | None = None, limit: Limit = 100, begins: Begins = None
    ) -> OnCallDeliveries:
        """What was sent, waits, failed or was muted; of these alone, whose key begins so."""
        return out.deliveries(state, incident, limit, begins)

    @api.get("/silences")
    def silences() -> list[OnCallSilence]:
        """Silences, those that are over too; the newest first."""
        return [out.silence(one) for one in daemon.ledger.people.silences()]

    @api.get("/marks")
    def marks(since: datetime | None = None, until: datetime | None = None, limit: Limit = 100) -> list[OnCallMark]:
        """What was done, the newest first."""
        found = daemon.ledger.people.marks(_ms(since) or 0, _ms(until), limit)
        return [OnCallMark(at=from_ms(one.at_ms), text=one.text, who=one.who) for one in found]

    @api.get("/state")
    def state() -> OnCallState:
        """How the notifier is."""
        return daemon.state()

    # ---- acting

    async def once(request: Request, key: str | None, act: Callable[[], BaseModel | None]) -> Response:
        """Do it once for each Idempotency-Key: a request that comes again is answered as before."""
        body = await request.body()
        digest = hashlib.sha256(b"\0".join((request.method.encode(), request.url.path.encode(), body))).hexdigest()

        def answer() -> StoredAnswer:
            found = act()
            return (
                StoredAnswer(digest, 204, "") if found is None else StoredAnswer(digest, 200, found.model_dump_json())
            )

        said = await asyncio.to_thread(daemon.ledger.once, key, answer, wall_ms())
        if said.request != digest:
            refuse(422, f"The {KEY_HEADER} was used for another request; take a new one.")
        return Response(said.answer, said.status, media_type="application/json")

    @api.post("/incidents/{incident_id}/ack", response_model=OnCallDetail)
    async def ack(
        incident_id: str, request: Request, doer: By, asked: AskedAck, key: Key = None, match: Match = None
    ) -> Response:
        """Take it: nobody else is called. 409 where it has changed since If-Match."""

        def act() -> OnCallDetail:
            daemon.people.take(incident_id, doer, _ahead(asked.until), asked.note, _tag(match))
            return out.incident(incident_id)

        return await once(request, key, act)

    @api.delete("/incidents/{incident_id}/ack", response_model=OnCallDetail)
    async def unack(incident_id: str, request: Request, doer: By, key: Key = None, match: Match = None) -> Response:
        """Let it go: others are called again."""

        def act() -> OnCallDetail:
            daemon.people.let_go(incident_id, doer, _tag(match))
            return out.incident(incident_id)

        return await once(request, key, act)

    @api.post("/incidents/{incident_id}/notes", response_model=OnCallDetail)
    async def note(incident_id: str, request: Request, doer: By, asked: AskedNote, key: Key = None) -> Response:
        """A line of its history."""

        def act() -> OnCallDetail:
            daemon.people.note(incident_id, doer, asked.note)
            return out.incident(incident_id)

        return await once(request, key, act)

    @api.post("/incidents/{incident_id}/escalate", response_model=OnCallDetail)
    async def escalate(incident_id: str, request: Request, doer: By, key: Key = None, match: Match = None) -> Response:
        """The next step of its route, now."""

        def act() -> OnCallDetail:
            daemon.people.escalate(incident_id, doer, _tag(match))
            return out.incident(incident_id)

        return await once(request, key, act)

    @api.post("/silences", response_model=OnCallSilence)
    async def silence(request: Request, doer: By, asked: AskedSilence, key: Key = None) -> Response:
        """Mute what matches all of it until a time."""

        def act() -> OnCallSilence:
            until = _ahead(asked.until)
            assert until is not None
            longest = daemon.settings.silence_longest
            if until > datetime.now(until.tzinfo) + longest:
                refuse(422, f"'until' is over {write_duration(longest)} away; choose an earlier time.")
            try:
                matchers = [make_matcher(one.column, one.op, one.value) for one in asked.matchers]
            except ValueError as error:
                refuse(422, f"'matchers': {error}.")
            return out.silence(daemon.people.silence(matchers, asked.reason, until, doer))

        return await once(request, key, act)

    @api.delete("/silences/{silence_id}", status_code=204)
    async def end_silence(silence_id: str, request: Request, doer: By, key: Key = None) -> Response:
        """End it before its time; one that is over is no error."""

        def act() -> None:
            daemon.people.end_silence(silence_id, doer)

        return await once(request, key, act)

    @api.post("/marks", response_model=OnCallMark)
    async def mark(request: Request, doer: By, asked: AskedMark, key: Key = None) -> Response:
        """Note that something was done."""

        def act() -> OnCallMark:
            made = daemon.people.mark(asked.text, asked.at, doer)
            return OnCallMark(at=from_ms(made.at_ms), text=made.text, who=made.who)

        return await once(request, key, act)

    @api.post("/deliveries/{delivery_key}/retry", status_code=204)
    async def retry(delivery_key: str, request: Request, doer: By, key: Key = None) -> Response:
        """Try it again now: one that was given up, is parked, or waits for its next attempt."""

        def act() -> None:
            if not daemon.retry(delivery_key, doer):
                refuse(404, "There is no delivery of that key that could be tried again.")

        return await once(request, key, act)

    app.include_router(api)
    return app


def _tag(given: str | None) -> int | None:
    """The revision of an ETag."""
    if given is None:
        return None
    found = re.fullmatch(r'\s*(?:W/)?"?(\d{1,18})"?\s*', given)
    if found is None:
        refuse(422, 'A revision is written as it was answered: "42".')
    return int(found[1])


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(_aware(moment))


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        refuse(422, "A time has its zone: 2027-01-31T22:00:00Z.")
    return moment


def _ahead(moment: datetime | None) -> datetime | None:
    if moment is not None and _aware(moment) <= datetime.now(moment.tzinfo) + timedelta(0):
        refuse(422, "'until' is over already; choose a later time.")
    return moment
