"""PagerDuty's incidents, the mail inbox and the webhook deliveries, newest first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape as escape_html
from typing import Any

from embedded.sandbox.moments import clock
from embedded.sandbox.shown import escape

type Row = Mapping[str, Any]

SHOWN = 50
"""How many of each are drawn; /messages has all."""
FRAME_LETTERS = 200_000
"""Of a mail's HTML."""
_SIGNATURES = {
    "right": "signed right",
    "wrong": "signature wrong",
    "stale": "signature too old",
    "missing": "no signature",
    "unchecked": "signature not checked",
}


def pagerduty(state: Mapping[str, Sequence[Row]]) -> str:
    """Incidents with their log, and events that belong to none."""
    log: dict[int, list[Row]] = {}
    cards = []
    for event in state["events"]:
        if event["incident"] is None:
            cards.append((event["arrived_ms"], _lost_event(event)))
        else:
            log.setdefault(event["incident"], []).append(event)
    cards += [(one["opened_ms"], _incident(one, log.get(one["id"], []))) for one in state["incidents"]]
    cards.sort(key=lambda card: card[0], reverse=True)
    count = sum(one["state"] != "resolved" for one in state["incidents"])
    head = f"{count} open · {len(state['incidents'])} incidents · {len(state['events'])} events"
    empty = "No event yet: what is posted to /v2/enqueue appears here."
    return _section("pagerduty", "PagerDuty", head, [card for _, card in cards], empty)


def email(mails: Sequence[Row]) -> str:
    """The inbox: a line a mail, which opens to the mail."""
    cards = [_mail(mail) for mail in reversed(mails[-SHOWN:])]
    empty = "No email yet: the first FATAL alert appears here."
    return _section("email", "Email", _count(len(mails), "mail"), cards, empty, len(mails))


def webhook(deliveries: Sequence[Row]) -> str:
    """Deliveries with what the receiver makes of them."""
    cards = [_delivery(one) for one in reversed(deliveries[-SHOWN:])]
    empty = "No delivery yet: what is posted to /hooks/NAME appears here."
    return _section("webhook", "Webhooks", _count(len(deliveries), "delivery"), cards, empty, len(deliveries))


def _section(name: str, title: str, about: str, cards: Sequence[str], empty: str, count: int | None = None) -> str:
    left_out = (len(cards) if count is None else count) - min(len(cards), SHOWN)
    more = f'<p id="{name}-more" class="soft">{left_out} older ones are in /messages.</p>' if left_out else ""
    inside = "".join(cards[:SHOWN]) or f'<p id="{name}-none" class="soft">{empty}</p>'
    head = f'<h2 id="{name}-head">{title} <small>{about}</small></h2>'
    return f'<section id="{name}" data-parts>{head}{inside}{more}</section>'


def _incident(incident: Row, log: Sequence[Row]) -> str:
    event = incident["event"]
    payload = event.get("payload") or {}
    links = [(link.get("href", ""), link.get("text") or link.get("href", "")) for link in event.get("links") or ()]
    anchors = " · ".join(
        f'<a href="{escape(str(href))}" rel="noreferrer">{escape(str(text))}</a>'
        for href, text in links
        if str(href).startswith(("https://", "http://"))
    )
    lines = "".join(
        f"<li>{clock(one['arrived_ms'])} {escape(one['action'])}: {escape(one['effect'])}</li>" for one in log
    )
    changed = f" · changed {clock(incident['changed_ms'])}" if incident["changed_ms"] != incident["opened_ms"] else ""
    name = f"pd-{incident['id']}"
    return (
        f'<article id="{name}" class="incident {incident["state"]}"><p class="who">'
        f'<span class="pill {incident["state"]}">{incident["state"]}</span> '
        f'<span class="soft">#{incident["id"]} · opened {clock(incident["opened_ms"])}{changed}</span></p>'
        f'<p class="text"><b>{escape(str(payload.get("summary", "")))}</b></p>'
        f'<p class="soft">{escape(str(payload.get("severity", "")))} · {escape(str(payload.get("source", "")))} · '
        f"dedup_key {escape(incident['dedup_key'])}</p>"
        f"{f'<p>{anchors}</p>' if anchors else ''}"
        f'<details id="{name}-log"><summary>{_count(len(log), "event")}</summary><ol class="log">{lines}</ol>'
        f'<pre class="text">{_pretty(payload.get("custom_details") or {})}</pre></details></article>'
    )


def _lost_event(event: Row) -> str:
    """One that opened no incident and belongs to none."""
    refused = " on" if event["effect"].startswith("refused") else ""
    action = escape(event["action"] or "event")
    return (
        f'<article id="pde-{event["id"]}"><p class="who"><span class="pill">{action}</span> '
        f'<span class="soft">{clock(event["arrived_ms"])} · dedup_key {escape(event["dedup_key"] or "none")}</span></p>'
        f'<p class="text{refused}">{escape(event["effect"])}</p></article>'
    )


def _mail(mail: Row) -> str:
    name = f"email-{mail['id']}"
    text = f'<div class="text plain">{escape(mail["body"])}</div>'
    if mail["html"]:
        # No script of it runs, and nothing of it reaches this page; the page's policy lets it fetch nothing.
        document = escape_html(_FRAME_HEAD + mail["html"][:FRAME_LETTERS])
        inside = (
            f'<iframe {_FRAME_RIGHTS} loading="lazy" title="{escape(mail["subject"])}" srcdoc="{document}"></iframe>'
            f'<details id="{name}-text"><summary>As text</summary>{text}</details>'
        )
    else:
        inside = text
    return (
        f'<article id="{name}"><p class="soft">{clock(mail["arrived_ms"])} · to {escape(mail["recipient"])}</p>'
        f'<details id="{name}-open"><summary>{escape(mail["subject"])}</summary>{inside}'
        f'<p class="soft">from {escape(mail["sender"])} · {escape(mail["message_id"] or "no Message-ID")}</p>'
        "</details></article>"
    )


_FRAME_RIGHTS = 'sandbox="allow-popups allow-popups-to-escape-sandbox"'
# A mail program's white page, whatever the colours of this one.
_FRAME_HEAD = (
    '<!doctype html><base target="_blank">'
    "<style>body{margin:12px;background:#fff;color:#1b1f23;font:14px/1.45 sans-serif}</style>"
)


def _delivery(delivery: Row) -> str:
    name = f"hook-{delivery['id']}"
    signature = delivery["signature"]
    kind = {"right": " good", "unchecked": "", "missing": " on"}.get(signature, " on")
    repeated = ' <span class="pill">came before</span>' if delivery["repeated"] else ""
    headers = "\n".join(f"{header}: {value}" for header, value in delivery["headers"].items())
    number = escape(f"delivery {delivery['delivery']}" if delivery["delivery"] else "no delivery id")
    body = _json(delivery["body"])
    about = f'<p class="text">{escape(_about(body))}</p>' if isinstance(body, dict) else ""
    return (
        f'<article id="{name}"><p class="who"><b>{escape(delivery["name"])}</b> '
        f'<span class="pill{kind}">{_SIGNATURES[signature]}</span>{repeated} '
        f'<span class="soft">{clock(delivery["arrived_ms"])} · {number}</span></p>{about}'
        f'<details id="{name}-open"><summary>Headers and body</summary><pre class="text">{escape(headers)}</pre>'
        f'<pre class="text">{escape(delivery["body"]) if body is None else _pretty(body)}</pre></details></article>'
    )


def _about(body: Mapping[str, Any]) -> str:
    """A line about a body as Alertmanager's version 4 has it; empty for another."""
    alerts = body.get("alerts")
    if not isinstance(alerts, list):
        return ""
    annotations = body.get("commonAnnotations")
    summary = annotations.get("summary", "") if isinstance(annotations, dict) else ""
    return " · ".join(filter(None, [str(body.get("status", "")), _count(len(alerts), "alert"), str(summary)]))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _pretty(value: Any) -> str:
    return escape(json.dumps(value, indent=2, ensure_ascii=False))


def _count(count: int, name: str) -> str:
    plural = f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"
    return f"{count:,} {name if count == 1 else plural}"
