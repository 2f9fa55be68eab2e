"""Any address that takes what Alertmanager posts: its webhook's body, version 4, signed.

The body's fields are those of prometheus.io/docs/alerting/latest/configuration/#webhook_config; "tillwatch" is beside
them. A receiver knows a repeat by the header Tillwatch-Delivery, and us by the header Tillwatch-Signature.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import urllib3
from pydantic import Field, SecretStr, field_validator

from notifier.channel import Absent, ChannelSettings, DeclaredChannel, Finding, Outcome, Sought, half_set_up
from notifier.clock import from_ms
from notifier.http import Poster, is_address
from notifier.manner import TELLS, Manner
from notifier.model import MessageKind
from notifier.named import read_named
from notifier.render import BODY_LIMIT, Notification, ToldIncident
from notifier.text import line, plain

SHORTEST_SECRET = 16
SHORTEST_TOKEN = 12
"""A part of a path that is so long may be what lets us in; a shorter one is a word."""
SHORTEST_VALUE = 8
"""The same after its question mark, where words are seldom."""
ENDLESS = "0001-01-01T00:00:00Z"
"""When an alert ends that is firing still."""
COLUMNS = {
    "alertname": "rule",
    "severity": "severity",
    "service": "service_name",
    "incident_id": "incident_id",
    "owner": "owner",
}
"""The column of each label; of the incident, for it has the worst severity of its alerts."""


def _host(url: str) -> str:
    return urllib3.util.parse_url(url).host or ""


def _addresses(value: SecretStr) -> dict[str, str]:
    return read_named(value, is_address, "an address like https://HOST/PATH, a comma in it written %2C", _host)


def _url(value: SecretStr) -> SecretStr:
    _addresses(value)
    return value


def _secret(value: SecretStr) -> SecretStr:
    secrets = _split(value)
    if len(secrets) > 2:
        raise ValueError("expected one secret, or NEW, OLD while one is replaced")
    if any(len(secret) < SHORTEST_SECRET for secret in secrets):
        raise ValueError(f"a secret has at least {SHORTEST_SECRET} characters, none of them a comma")
    return value


def _split(value: SecretStr) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, value.get_secret_value().split(","))))


class WebhookSettings(ChannelSettings):
    """Addresses; without one the webhook is off."""

    webhook_url: SecretStr = Field(
        SecretStr(""),
        description="address that takes Alertmanager's webhooks, or NAME=URL, NAME=URL; it may hold a token: better "
        "given as *_FILE; empty: no webhook",
    )
    webhook_secret: SecretStr = Field(
        SecretStr(""),
        description="what bodies are signed with, 16 characters at least; NEW, OLD while it is replaced; empty: not",
    )
    webhook_timeout_s: float = Field(10.0, gt=0, le=60, description="for one call of a webhook, in seconds")

    _webhook_url = field_validator("webhook_url")(_url)
    _webhook_secret = field_validator("webhook_secret")(_secret)


class Webhook:
    """Addresses by their names. The receipt is the delivery's key, which every attempt repeats."""

    name = "webhook"
    # There is nowhere to look a message up; whoever takes it drops what comes again.
    settle_s = 1.0
    per_s = None
    manner = Manner(TELLS | {MessageKind.TAKEN})

    def __init__(
        self,
        addresses: dict[str, str],
        secrets: Sequence[str] = (),
        *,
        timeout_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.destinations = tuple(addresses)
        self._secrets = secrets
        self._clock = clock
        self._posters = {
            name: Poster(f"Webhook {name}", url, timeout_s, clock=clock) for name, url in addresses.items()
        }

    def send(self, destination: str, note: Notification) -> Outcome:
        body = json.dumps(body_of(destination, note)).encode()
        headers = {"Tillwatch-Delivery": note.delivery_key}
        if self._secrets:
            headers["Tillwatch-Signature"] = signature(self._secrets, int(self._clock()), body)
        return self._posters[destination].post(body, headers, note.delivery_key)

    def find(self, destination: str, sought: Sought) -> Finding:
        return Absent()

    def check(self) -> str | None:
        return next(filter(None, (poster.reach() for poster in self._posters.values())), None)


def signature(secrets: Sequence[str], at_s: int, body: bytes) -> str:
    """The header's value: when, and one v1 a secret, each the HMAC-SHA256 of `AT_S.BODY` in hex."""
    signed = b"%d.%b" % (at_s, body)
    marks = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={at_s}", *(f"v1={mark}" for mark in marks)])


def body_of(receiver: str, note: Notification) -> dict[str, Any]:
    """What is posted. alerts: the incidents of the thread, the worst first; groupKey: what they have in common."""
    alerts = [_alert(told) for told in note.told]
    labels = _common([alert["labels"] for alert in alerts])
    group = f",{note.group},"
    return {
        "version": "4",
        "groupKey": note.group,
        "truncatedAlerts": note.left_out,
        "status": note.status.lower(),
        "receiver": receiver,
        "groupLabels": {name: text for name, text in labels.items() if f",{COLUMNS[name]}={text}," in group},
        "commonLabels": labels,
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": note.console_url.partition("?")[0],
        "alerts": alerts,
        "tillwatch": {
            "delivery": note.delivery_key,
            "thread": note.thread_id,
            "kind": str(note.kind),
            "title": f"{note.title}{note.repeat}",
            "taken_by": list(note.taken_by),
            "usual": note.usual,
            "bars": note.bars,
            "changes": list(note.changes),
            "failing": list(note.failing),
        },
    }


def _alert(told: ToldIncident) -> dict[str, Any]:
    incident, alert = told.incident, told.alert
    labels = {name: line(getattr(incident, column) or "", 200) for name, column in COLUMNS.items()}
    annotations = {
        "description": plain(alert.description, BODY_LIMIT),
        "summary": plain(alert.summary or "", BODY_LIMIT),
        "runbook_url": told.runbook_url,
    }
    ended_ms = incident.resolved_ms
    return {
        "status": "firing" if ended_ms is None else "resolved",
        "labels": {name: text for name, text in labels.items() if text},
        "annotations": {name: text for name, text in annotations.items() if text},
        "startsAt": _iso(from_ms(incident.starts_ms)),
        "endsAt": ENDLESS if ended_ms is None else _iso(from_ms(ended_ms)),
        "generatorURL": told.url,
        # As long as Alertmanager's; the same for all alerts of an incident.
        "fingerprint": hashlib.sha256(incident.incident_id.encode("utf-8", "replace")).hexdigest()[:16],
    }


def _common(each: Sequence[dict[str, str]]) -> dict[str, str]:
    """What all have alike."""
    first, *others = each or [{}]
    return {name: text for name, text in first.items() if all(other.get(name) == text for other in others)}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _half(settings: WebhookSettings) -> str | None:
    if settings.webhook_secret.get_secret_value() and not settings.webhook_url.get_secret_value():
        return half_set_up("webhook_secret", "webhook_url", "the address that takes what is signed with it")
    return None


def _open(settings: WebhookSettings) -> Webhook:
    return Webhook(
        _addresses(settings.webhook_url),
        _split(settings.webhook_secret),
        timeout_s=settings.webhook_timeout_s,
    )


def _secrets(settings: WebhookSettings) -> Iterable[str]:
    """The secrets, the addresses, and the parts of these that others may show by themselves."""
    yield from _split(settings.webhook_secret)
    for url in _addresses(settings.webhook_url).values():
        parts = urlsplit(url)
        yield from (url, unquote(parts.netloc.rpartition("@")[0]), unquote(parts.password or ""))
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        yield from (part for part in (path, *parts.path.split("/")) if len(part) >= SHORTEST_TOKEN)
        yield from (text for _, text in parse_qsl(parts.query) if len(text) >= SHORTEST_VALUE)


def _real(settings: WebhookSettings) -> bool:
    return any(url.startswith("https:") for url in _addresses(settings.webhook_url).values())


def _show(note: Notification) -> Mapping[str, Any]:
    return {"body": body_of("webhook", note)}


CHANNEL = DeclaredChannel(
    WebhookSettings, switch="webhook_url", half=_half, open=_open, secrets=_secrets, real=_real, show=_show
)
