"""The parts that a message to the browser is made of: plain dicts, keyed by the place they fill.

Text of others goes through `visible`; only what is compared or linked stays as it is: keys and filter values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from console.choices import UNSAID
from console.feed.incidents import ListedIncident
from console.feed.numbers import exactly, with_currency
from console.tab import ListColumn
from console.words import STATES
from lakehouse.texts import visible

type Part = dict[str, Any]


class SharedPart(dict[str, Any]):
    """A part that is one object to all pages that look alike: it is compared and encoded once for all of them."""


ORDER_COLUMNS = (
    ListColumn("Time", "at", "time"),
    ListColumn("Order", "order", "link", hover="all that is known of it; user {user}", ranged=True, leads="order_href"),
    ListColumn("Product", "product"),
    ListColumn("Pieces", "quantity", "number", css="spare"),
    ListColumn("Total", "total", "number"),
    ListColumn("Status", "status", "badge", of="status"),
)
ERROR_COLUMNS = (
    ListColumn("Time", "at", "time"),
    ListColumn("Severity", "severity", "badge", of="severity"),
    ListColumn("Service", "service"),
    ListColumn("Message", "message", hover="{message}", css="wide"),
)
ERROR_ROW_COLUMNS = (*ERROR_COLUMNS, ListColumn("Id", "error"))
INCIDENT_COLUMNS = (
    ListColumn("State", "state_words", css="state"),
    ListColumn("Severity", "severity", "badge", of="severity"),
    ListColumn("Service", "entity"),
    ListColumn("What", "description", "link", hover="{description}", css="wide"),
    ListColumn("Alerts", "firings", "number"),
    ListColumn("First", "starts_at", "time"),
    ListColumn("Newest", "newest_at", "time"),
)
INCIDENT_SEARCHED = ("key", "rule", "entity", "severity", "description", "state_words")
"""Fields of an incident's row that a text is looked for in."""


GUEST = "guest"


def iso_ms(moment: datetime | None) -> str | None:
    """UTC with milliseconds and Z, as data-produced-at carries it."""
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def newest(rows: Iterable[Mapping[str, Any]], name: str = "produced_at") -> str | None:
    return iso_ms(max((row[name] for row in rows if row[name] is not None), default=None))


def money(amount: Decimal, currency: str) -> str:
    """All digits, at least two decimals."""
    places = max(2, -int(amount.normalize().as_tuple().exponent))
    return with_currency(currency, exactly(amount.quantize(Decimal(1).scaleb(-places))))


def customer_name(user_id: str) -> str:
    """Who it is, for people; whoever gave no id is a guest."""
    return visible(user_id) or GUEST


def order_row(row: Mapping[str, Any], currency: str) -> Part:
    return {
        "key": row["event_key"],
        "at": iso_ms(row["order_ts"]),
        "produced_at": iso_ms(row["produced_at"]),
        "order": visible(row["order_id"]),
        "order_href": order_link(row["order_id"]),
        "user": customer_name(row["user_id"]),
        "product": visible(row["product_id"]),
        "quantity": row["quantity"],
        "total": money(row["order_total"], currency),
        "status": visible(row["status"]),
    }


def error_row(row: Mapping[str, Any]) -> Part:
    return {
        "key": row["event_key"],
        "at": iso_ms(row["error_ts"]),
        "produced_at": iso_ms(row["produced_at"]),
        "error": visible(row["error_id"]),
        "service": visible(row["service_name"]),
        "severity": visible(row["severity"]),
        "message": visible(row["error_message"]),
    }


def incident_row(incident: ListedIncident, known: tuple[str, str] | None = None) -> Part:
    """known: its state and the words for it, where the notifier knows more than the rows say."""
    uncounted = incident.unread and not incident.firings
    return {
        "key": incident.incident_id,
        "produced_at": iso_ms(incident.touched_at),
        "state": known[0] if known else incident.state,
        "state_words": known[1] if known else STATES[incident.state],
        "severity": visible(incident.severity) or UNSAID,
        "entity": visible(incident.service_name or incident.rule) + (" (question)" if incident.asked else ""),
        "service": visible(incident.service_name),
        "rule": visible(incident.rule),
        "description": visible(incident.description),
        "href": incident_link(incident.incident_id),
        "firings": None if uncounted else incident.firings,
        "alerts": "still open" if uncounted else f"{incident.firings} {'alert' if incident.firings == 1 else 'alerts'}",
        "starts_at": iso_ms(incident.starts_at),
        "newest_at": iso_ms(incident.newest_at),
        "resolved_at": iso_ms(incident.resolved_at),
        "runbook_url": incident.runbook_url if incident.runbook_url.startswith(("http://", "https://")) else "",
    }


def order_link(order_id: str) -> str:
    """Where all that is known of an order is shown."""
    return f"?{urlencode({'tab': 'orders', 'order': order_id})}"


def incident_link(incident_id: str = "", find: str = "") -> str:
    """Where an incident is shown, or all of them, or those that hold a text."""
    chosen = {name: value for name, value in (("incident", incident_id), ("find", find)) if value}
    return f"?{urlencode({'tab': 'alerts'} | chosen)}"
