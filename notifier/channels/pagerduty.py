"""PagerDuty by its Events API v2: a thread is one alert there, by its dedup_key, which opens one incident.

Where the figures and the meaning of answers are from: developer.pagerduty.com/docs/events-api-v2/overview (answers,
512 KB an event) and /trigger-events (lengths, and what becomes of a second event of the same dedup_key).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, field_validator

from notifier.channel import Absent, ChannelSettings, DeclaredChannel, Finding, Outcome, Sent, Sought
from notifier.http import Poster, is_address
from notifier.manner import Manner
from notifier.model import SEVERITIES, MessageKind, rank
from notifier.named import read_named
from notifier.render import NAME_LIMIT, Notification, ToldIncident
from notifier.text import line

SUMMARY_LIMIT = 1024
LIMITED_S = 30.0
"""After a 429: it asks for some minutes, which is long for somebody who is to be called."""
ONLY = "events"
"""The destination where the key stands alone."""
ACTIONS = {
    MessageKind.FIRST: "trigger",
    # Added to the alert that is open; after its resolve they open another.
    MessageKind.JOINED: "trigger",
    MessageKind.ESCALATED: "trigger",
    MessageKind.TAKEN: "acknowledge",
    MessageKind.RESOLVED: "resolve",
}
_BADNESS = ("critical", "error", "warning", "info")
"""From the worst severity on; the least of ours are all the last."""


def _url(value: str) -> str:
    if not is_address(value):
        raise ValueError("expected an address like https://events.pagerduty.com/v2/enqueue")
    return value


def _keys(value: SecretStr) -> dict[str, str]:
    fits = re.compile(r"[A-Za-z0-9_-]{32}").fullmatch
    return read_named(value, fits, "an integration key of 32 letters and digits", lambda key: ONLY)


def _checked(value: SecretStr) -> SecretStr:
    _keys(value)
    return value


class PagerDutySettings(ChannelSettings):
    """Integration keys; without one PagerDuty is off."""

    pagerduty_key: SecretStr = Field(
        SecretStr(""),
        description="integration key of a service (Events API v2), or NAME=KEY, NAME=KEY; better given as *_FILE; "
        "empty: no PagerDuty",
    )
    pagerduty_url: Annotated[str, AfterValidator(_url)] = Field(
        "https://events.pagerduty.com/v2/enqueue", description="PagerDuty's Events API v2, or the sandbox in its place"
    )
    pagerduty_timeout_s: float = Field(10.0, gt=0, le=60, description="for one call of PagerDuty, in seconds")
    pagerduty_per_s: float = Field(2.0, ge=0.02, le=1000, description="events a second and key, after a burst of five")

    _pagerduty_key = field_validator("pagerduty_key")(_checked)


class PagerDuty:
    """Services by their names. The receipt is the dedup_key: an event that comes twice is the same event."""

    name = "pagerduty"
    # What may have been taken is sent again: it changes nothing.
    settle_s = 1.0
    # Nobody wants a call for each of a hundred services. A thread is one alert there: acknowledged, it calls nobody for
    # what of it nobody has.
    manner = Manner(frozenset(ACTIONS), storm_after=3, takes_whole=True)

    def __init__(
        self,
        keys: dict[str, str],
        *,
        url: str,
        timeout_s: float,
        per_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.destinations = tuple(keys)
        self.per_s = per_s
        self._keys = keys
        # 202 alone says that PagerDuty has it: a web page in its place says 200.
        self._poster = Poster("PagerDuty", url, timeout_s, taken=(202,), limited_s=LIMITED_S, clock=clock)

    def send(self, destination: str, note: Notification) -> Outcome:
        return self._post(self._keys[destination], event_of(note))

    def find(self, destination: str, sought: Sought) -> Finding:
        return Absent()

    def check(self) -> str | None:
        """Resolve what nobody opened: PagerDuty looks at the key, and drops it."""
        for destination, key in self._keys.items():
            outcome = self._post(key, {"event_action": "resolve", "dedup_key": "tillwatch-check"})
            if not isinstance(outcome, Sent):
                return f"{destination}: {outcome.error}"
        return None

    def _post(self, key: str, event: dict[str, Any]) -> Outcome:
        body = json.dumps({"routing_key": key, **event}).encode()
        return self._poster.post(body, {}, str(event["dedup_key"]))


def event_of(note: Notification) -> dict[str, Any]:
    """The event without its key. Of an acknowledge and a resolve nothing but the dedup_key is looked at."""
    action = ACTIONS[note.kind]
    event: dict[str, Any] = {"event_action": action, "dedup_key": note.thread_id}
    if action != "trigger":
        return event
    worst = note.told[0].alert if note.told else None
    service = line(worst.service_name or "", NAME_LIMIT) if worst else ""
    payload = {
        "summary": line(f"{note.title}{note.repeat}: {note.body}", SUMMARY_LIMIT),
        "source": service or note.group or "tillwatch",
        "severity": _BADNESS[min(len(SEVERITIES) - 1 - rank(note.severity), len(_BADNESS) - 1)],
        "timestamp": (worst.alert_timestamp if worst else note.planned_at).isoformat(timespec="milliseconds"),
        "component": service,
        "group": note.group,
        "class": line(worst.rule, NAME_LIMIT) if worst else "",
        "custom_details": _details(note),
    }
    payload = {name: value for name, value in payload.items() if value}
    links = [{"href": url, "text": text} for text, url in note.links]
    return {**event, "payload": payload, "client": "tillwatch", "client_url": note.console_url, "links": links}


def _details(note: Notification) -> dict[str, str]:
    """What PagerDuty shows below the summary, by names that people read."""
    more = (f"and {note.left_out} more",) if note.left_out else ()
    details = {
        "alert": note.body,
        "facts": " · ".join(note.facts),
        "usual": note.usual,
        "last half hour": note.bars,
        "changes": "\n".join(note.changes),
        "incidents": "\n".join([*map(_count_of, note.told), *more]),
        "not told": "\n".join(note.failing),
    }
    return {name: text for name, text in details.items() if text}


def _count_of(told: ToldIncident) -> str:
    count = told.incident.alerts
    over = ", over" if told.incident.resolved_ms is not None else ""
    return f"{line(told.alert.rule, NAME_LIMIT)}: {count:,} alert{'' if count == 1 else 's'}{over}"


def _open(settings: PagerDutySettings) -> PagerDuty:
    return PagerDuty(
        _keys(settings.pagerduty_key),
        url=settings.pagerduty_url,
        timeout_s=settings.pagerduty_timeout_s,
        per_s=settings.pagerduty_per_s,
    )


def _secrets(settings: PagerDutySettings) -> Iterable[str]:
    return _keys(settings.pagerduty_key).values()


def _real(settings: PagerDutySettings) -> bool:
    return settings.pagerduty_url.startswith("https:")


def _show(note: Notification) -> Mapping[str, Any]:
    return {"event": event_of(note) if note.kind in ACTIONS else None}


CHANNEL = DeclaredChannel(
    PagerDutySettings,
    switch="pagerduty_key",
    half=lambda _: None,
    open=_open,
    secrets=_secrets,
    real=_real,
    show=_show,
)
