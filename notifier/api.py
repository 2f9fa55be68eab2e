"""The notifier over HTTP: health, metrics, and what the ledger holds. Read only.

With a token, /api/ asks for it; health and metrics are for probes, which have none.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from notifier.clock import from_ms
from notifier.daemon import Daemon
from notifier.ledger_file import LedgerError
from notifier.ledger_rows import Delivery, KnownIncident
from notifier.model import DeliveryState, MessageKind


class DeliveryOut(BaseModel):
    """One delivery. alerts: how many alert rows it tells of; receipt: what names the message there, like Slack's ts.

    route: the names of the routes that it came by, the outermost first; detail: what mutes it, by its name.
    """

    delivery_key: str
    incident_id: str
    channel: str
    destination: str
    kind: MessageKind
    state: DeliveryState
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


class DeliveriesOut(BaseModel):
    """Newest planned first. counts: all deliveries of the ledger by state."""

    counts: dict[DeliveryState, int]
    deliveries: list[DeliveryOut]


class IncidentOut(BaseModel):
    """One incident as the notifier saw it. alerts: its FIRING rows."""

    incident_id: str
    rule: str
    severity: str
    service_name: str | None
    status: Literal["FIRING", "RESOLVED"]
    alerts: int
    starts_at: datetime
    newest_at: datetime
    resolved_at: datetime | None
    description: str


class ReadyOut(BaseModel):
    """parts: what is wrong with each, null where all is well."""

    status: Literal["ready", "degraded"]
    parts: dict[str, str | None]


Limit = Annotated[int, Query(ge=1, le=1000)]


def create_app(daemon: Daemon, token: str = "") -> FastAPI:
    """The application over a running daemon; with a token, only who knows it reads the ledger."""
    # No docs pages: they load scripts from elsewhere. /openapi.json is there.
    app = FastAPI(title="tillwatch notifier", version="1", docs_url=None, redoc_url=None)

    @app.exception_handler(LedgerError)
    def no_ledger(_request: Request, error: LedgerError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 503)

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

    def known(given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]) -> None:
        if token and (given is None or not secrets.compare_digest(given.credentials.encode(), token.encode())):
            raise HTTPException(
                401,
                "This needs the token of notifier.api_token: `Authorization: Bearer TOKEN`.",
                {"WWW-Authenticate": "Bearer"},
            )

    api = APIRouter(
        prefix="/api", dependencies=[Depends(known)], responses={401: {"description": "No token, or a wrong one."}}
    )

    @api.get("/deliveries")
    def deliveries(
        state: DeliveryState | None = None, incident: str | None = None, limit: Limit = 100
    ) -> DeliveriesOut:
        """What was sent, waits, failed or was muted."""
        counts = dict.fromkeys(DeliveryState, 0)
        for (_, held), count in daemon.ledger.counts().items():
            counts[DeliveryState(held)] += count
        rows = daemon.ledger.deliveries(state, incident, limit)
        return DeliveriesOut(counts=counts, deliveries=[_delivery(row) for row in rows])

    @api.get("/incidents")
    def incidents(limit: Limit = 100) -> list[IncidentOut]:
        """Incidents the notifier has seen, newest alert first."""
        return [_incident(row) for row in daemon.ledger.incidents(limit)]

    app.include_router(api)
    return app


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def _delivery(row: Delivery) -> DeliveryOut:
    return DeliveryOut(
        delivery_key=row.delivery_key,
        incident_id=row.incident_id,
        channel=row.channel,
        destination=row.destination,
        kind=row.kind,
        state=row.state,
        reason=row.reason,
        detail=row.detail,
        route=row.route,
        alerts=row.alert_count,
        attempts=row.attempts,
        planned_at=from_ms(row.planned_ms),
        not_before=from_ms(row.not_before_ms),
        sent_at=_time(row.sent_ms),
        receipt=row.receipt,
        possible_repeat=row.possible_repeat,
        error=row.error,
    )


def _incident(row: KnownIncident) -> IncidentOut:
    return IncidentOut(
        incident_id=row.incident_id,
        rule=row.rule,
        severity=row.severity,
        service_name=row.service_name,
        status="FIRING" if row.status == "FIRING" else "RESOLVED",
        alerts=row.alerts,
        starts_at=from_ms(row.starts_ms),
        newest_at=from_ms(row.newest_ms),
        resolved_at=_time(row.resolved_ms),
        description=row.description,
    )
