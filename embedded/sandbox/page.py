"""The page: what people would see, newest first, and buttons for faults. Asks nobody but this server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from embedded.sandbox import page_others, page_slack
from embedded.sandbox.faults import FAULTS, Fault, Service
from embedded.sandbox.shown import escape
from embedded.sandbox.workspace import PEOPLE

_STATIC = Path(__file__).parent / "static"
_FRAME = Template((_STATIC / "page.html").read_text(encoding="utf-8"))
_STYLE = (_STATIC / "page.css").read_text(encoding="utf-8")
_SCRIPT = (_STATIC / "page.js").read_text(encoding="utf-8")

_NAMES: Mapping[Service, str] = {"slack": "Slack", "smtp": "Mail", "pagerduty": "PagerDuty", "webhook": "Webhook"}
_REQUESTS: dict[str, dict[str, Any]] = {
    "rate_limited": {"retry_after": "5", "count": 1},
    "hang": {"hold_s": 30},
    "accept_and_hang": {"hold_s": 30},
}


@dataclass(frozen=True)
class DrawnPage:
    """All that is drawn. messages, presses and connections: as /messages has them."""

    messages: Mapping[str, Any]
    faults: Sequence[Fault]
    presses: Sequence[Mapping[str, Any]]
    connections: int


def policy(nonce: str) -> str:
    """The page's Content-Security-Policy: nothing of a message runs or is fetched, nor of a mail in its frame."""
    return (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


def whole(seen: DrawnPage, nonce: str) -> str:
    """The page with its buttons."""
    people = "".join(
        f'<option value="{person.user_id}">{person.name} ({escape(person.about)})</option>' for person in PEOPLE
    )
    faults = "".join(
        f'<div class="faults"><span class="soft">{_NAMES[service]}</span> {_buttons(service)}</div>'
        for service in FAULTS
    )
    return _FRAME.substitute(
        nonce=nonce, style=_STYLE, script=_SCRIPT, people=people, faults=faults, content=content(seen)
    )


def _how_often(fault: Fault) -> str:
    count = "until switched off" if fault.count is None else f"{fault.count} more"
    return count if fault.share is None else f"{100 * fault.share:g} % of calls, {count}"


def content(seen: DrawnPage) -> str:
    """What changes: the faults that are on, and what each service got. Each part has an id, by which it is replaced."""
    on = "; ".join(
        f"{_NAMES[fault.service]} {fault.kind.replace('_', ' ')} ({_how_often(fault)})" for fault in seen.faults
    )
    state = f'<p id="on" class="on" role="status">Faults on: {escape(on)}</p>' if on else ""
    messages = seen.messages
    slack = page_slack.sections(messages["slack"], messages["ephemeral"], seen.presses)
    others = [
        page_others.pagerduty(messages["pagerduty"]),
        page_others.email(messages["email"]),
        page_others.webhook(messages["webhook"]),
    ]
    return (
        f"{state}{_navigation(seen)}"
        f'<div id="columns" data-parts><div id="slack" data-parts>{slack}</div>'
        f'<div id="others" data-parts>{"".join(others)}</div></div>'
    )


def _navigation(seen: DrawnPage) -> str:
    messages = seen.messages
    open_incidents = sum(incident["state"] != "resolved" for incident in messages["pagerduty"]["incidents"])
    places = [
        (f"slack-{channel}", f"#{name}", count) for channel, name, count in page_slack.channels(messages["slack"])
    ]
    places += [
        ("pagerduty", "PagerDuty", open_incidents),
        ("email", "Email", len(messages["email"])),
        ("webhook", "Webhooks", len(messages["webhook"])),
    ]
    links = "".join(f'<a href="#{escape(to)}">{escape(name)} <b>{count}</b></a>' for to, name, count in places)
    hears = f"{seen.connections} connection{'' if seen.connections == 1 else 's'}"
    return f'<nav id="navigation">{links}<span class="soft">Socket Mode: {hears}</span></nav>'


def _buttons(service: Service) -> str:
    buttons = []
    for kind, meaning in FAULTS[service].items():
        request = json.dumps({"service": service, "kind": kind, **_REQUESTS.get(kind, {})})
        label = kind.replace("_", " ").capitalize()
        buttons.append(
            f'<button type="button" data-fault="{escape(request)}" title="{escape(meaning)}">{label}</button>'
        )
    return "".join(buttons)
