"""PagerDuty's Events API v2: checks events as it does, and keeps its state of incidents.

https://developer.pagerduty.com/docs/events-api-v2-overview
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from embedded.sandbox import breaking
from embedded.sandbox.faults import Fault
from embedded.sandbox.inbox import Inbox

ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")
ROUTING_KEY_LENGTH = 32
SUMMARY_LIMIT = 1024
DEDUP_KEY_LIMIT = 255
EVENT_LIMIT = 512_000
"""Bytes."""

_LIMITED = {
    "status": "throttle exceeded",
    "message": "Requests for this service are arriving too quickly.  Please retry later.",
}


def router(inbox: Inbox) -> APIRouter:
    """POST /v2/enqueue."""
    api = APIRouter()

    @api.post("/v2/enqueue", include_in_schema=False)
    async def enqueue(request: Request) -> Response:
        body = await request.body()
        event = _read(body)
        action = str(event.get("event_action", "")) if isinstance(event, dict) else ""
        fault = inbox.faults.next_of_method("pagerduty", action, "*")
        answer = await breaking.instead(fault, _LIMITED)
        if answer is None and len(body) > EVENT_LIMIT:
            return _refusal("invalid event", "Event object is invalid", f"larger than {EVENT_LIMIT} bytes", code=413)
        if answer is None:
            answer = _answered(event, fault)
            await breaking.afterwards(fault, request)
        return answer

    def _answered(event: Any, fault: Fault | None) -> Response:
        if event is None or not isinstance(event, dict):
            what = "Event object format is unrecognized"
            return _refusal("Unrecognized object", what, "JSON parse error" if event is None else "not an object")
        api_error = fault.error if fault and fault.kind == "api_error" else ""
        errors = [api_error] if api_error else errors_of(event)
        if errors:
            inbox.pagerduty.refuse(event, errors)
            return _refusal("invalid event", "Event object is invalid", *errors)
        dedup_key = event.get("dedup_key") or uuid4().hex
        inbox.pagerduty.take(event, dedup_key)
        return JSONResponse(
            {"status": "success", "message": "Event processed", "dedup_key": dedup_key}, status_code=202
        )

    return api


def errors_of(event: Mapping[str, Any]) -> list[str]:
    """What is wrong with an event; nothing where all is well."""
    errors: list[str] = []
    key, action, dedup_key = event.get("routing_key"), event.get("event_action"), event.get("dedup_key")
    if not key:
        errors.append("'routing_key' cannot be blank")
    elif not isinstance(key, str) or len(key) != ROUTING_KEY_LENGTH:
        errors.append(f"Length of 'routing_key' is incorrect (should be {ROUTING_KEY_LENGTH} characters)")
    if not action:
        errors.append("'event_action' is missing or blank")
    elif action not in ACTIONS:
        errors.append(f"'event_action' is invalid (must be one of {', '.join(ACTIONS)})")
    elif action != "trigger" and not dedup_key:
        errors.append(f"'dedup_key' is missing or blank; {action} needs it")
    if dedup_key is not None and not (isinstance(dedup_key, str) and len(dedup_key) <= DEDUP_KEY_LIMIT):
        errors.append(f"'dedup_key' is invalid (must be a string of at most {DEDUP_KEY_LIMIT} characters)")
    if action == "trigger":
        errors += _errors_of_payload(event.get("payload"))
    for name, needed in (("links", "href"), ("images", "src")):
        items = event.get(name, [])
        if not isinstance(items, list) or not all(isinstance(one, dict) and one.get(needed) for one in items):
            errors.append(f"'{name}' is invalid (must be an array of objects with '{needed}')")
    return errors


def _errors_of_payload(payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or not an object"]
    errors = [
        f"'payload.{name}' is missing or blank"
        for name in ("summary", "source", "severity")
        if not isinstance(payload.get(name), str) or not payload[name].strip()
    ]
    if len(str(payload.get("summary", ""))) > SUMMARY_LIMIT:
        errors.append(f"'payload.summary' is too long (maximum is {SUMMARY_LIMIT} characters)")
    if payload.get("severity") and payload["severity"] not in SEVERITIES:
        errors.append(f"'payload.severity' is invalid (must be one of {', '.join(SEVERITIES)})")
    if "timestamp" in payload and not _is_moment(payload["timestamp"]):
        errors.append("'payload.timestamp' is invalid (must be ISO 8601)")
    if not isinstance(payload.get("custom_details", {}), dict):
        errors.append("'payload.custom_details' is invalid (must be an object)")
    return errors


def _is_moment(value: Any) -> bool:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


def _read(body: bytes) -> Any:
    """The event; None where it is no JSON."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def _refusal(status: str, message: str, *errors: str, code: int = 400) -> Response:
    return JSONResponse({"status": status, "message": message, "errors": list(errors)}, status_code=code)
