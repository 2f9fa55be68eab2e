"""Endpoints beside the page: /, /readyz, /origin and /metrics. /liveness is Panel's own."""

from __future__ import annotations

import hmac

from bokeh.server.util import check_allowlist, create_hosts_allowlist
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from console.feed.snapshot import now_utc
from console.gate import SignIn
from console.metrics import AGE_SECONDS, DREMIO, DREMIO_LAST_OK, DREMIO_LATENCY, REGISTRY, SESSIONS, WAKES
from console.running import running
from console.sign_in import cookie_of
from lakehouse.settings.base import Shared

ROUTER = APIRouter()

MISSED_LOOKS = 3


def _may_read(request: Request) -> bool:
    parts = running()
    if parts.gate.way is SignIn.NONE:
        return True
    token = parts.settings.metrics_token.get_secret_value()
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if token and hmac.compare_digest(given.encode(), token.encode()):
        return True
    return parts.gate.actor(cookie_of(request.cookies)) is not None


@ROUTER.get("/", include_in_schema=False)
async def root(request: Request) -> RedirectResponse:
    """On to the page, with what was chosen in the address; Panel's own way there drops it."""
    query = request.scope["query_string"].decode("latin-1")
    return RedirectResponse(f"app?{query}" if query else "app")


@ROUTER.get("/readyz")
async def readyz() -> JSONResponse:
    """200 while the poller gets answers; 503 when it never did, or missed three looks in a row."""
    parts = running()
    snapshot = parts.hub.snapshot
    age = None if snapshot.polled_at is None else (now_utc() - snapshot.polled_at).total_seconds()
    ready = age is not None and age <= MISSED_LOOKS * parts.poller.usual_s + 1.0
    body = {
        "ready": ready,
        "polled_s_ago": None if age is None else round(age, 3),
        "commit": snapshot.commit,
        "as_of": None if snapshot.as_of is None else snapshot.as_of.isoformat(),
        "dremio": parts.dremio.state.as_json(),
        "error": snapshot.error if snapshot.polled_at or snapshot.error else "not polled yet",
    }
    return JSONResponse(body, 200 if ready else 503)


@ROUTER.get("/origin")
async def origin(host: str) -> JSONResponse:
    """Whether a browser with `host` (and port) in its address bar may open the websocket: the server's own rule.

    The page asks when its websocket does not open, for a browser does not say why.
    """
    port = Shared.load().port("console")
    allowed = create_hosts_allowlist(running().settings.origins(port), port)
    return JSONResponse({"allowed": check_allowlist(host.lower(), allowed)})


@ROUTER.get("/metrics", responses={401: {"description": "Nobody is signed in, and no token is given."}})
async def metrics(request: Request) -> Response:
    """Prometheus text, names as in console/metrics.py. Where people sign in, for them and for metrics_token."""
    if not _may_read(request):
        return PlainTextResponse(
            "This needs `Authorization: Bearer TOKEN`, with console.metrics_token.\n",
            401,
            {"WWW-Authenticate": "Bearer"},
        )
    hub, dremio = running().hub, running().dremio.state
    age = hub.snapshot.age_s(now_utc())
    AGE_SECONDS.set(float("nan") if age is None else age)
    DREMIO.state(dremio.status)
    DREMIO_LATENCY.set(dremio.latency_s or 0.0)
    DREMIO_LAST_OK.set(dremio.last_ok_s)
    SESSIONS.set(hub.viewers)
    WAKES.set(hub.wakes)
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
