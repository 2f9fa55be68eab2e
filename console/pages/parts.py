"""The parts that a message to the browser is made of: plain dicts, keyed by the place they fill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from console.feed.incidents import Incident
from console.feed.tiles import exactly
from console.url import View

type Parts = dict[str, Any]


def iso_ms(moment: datetime | None) -> str | None:
    """UTC with milliseconds and Z, as data-produced-at carries it."""
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def newest(rows: Iterable[Mapping[str, Any]], name: str = "produced_at") -> str | None:
    return iso_ms(max((row[name] for row in rows if row[name] is not None), default=None))


def money(amount: Decimal, currency: str) -> str:
    """All digits, at least two decimals."""
    places = max(2, -int(amount.normalize().as_tuple().exponent))
    return f"{currency}{exactly(amount.quantize(Decimal(1).scaleb(-places)))}"


def order_row(row: Mapping[str, Any], currency: str) -> Parts:
    return {
        "key": row["event_key"],
        "at": iso_ms(row["order_ts"]),
        "produced_at": iso_ms(row["produced_at"]),
        "order": row["order_id"],
        "user": row["user_id"],
        "product": row["product_id"],
        "quantity": row["quantity"],
        "total": money(row["order_total"], currency),
        "status": row["status"],
    }


def error_row(row: Mapping[str, Any]) -> Parts:
    return {
        "key": row["event_key"],
        "at": iso_ms(row["error_ts"]),
        "produced_at": iso_ms(row["produced_at"]),
        "error": row["error_id"],
        "service": row["service_name"],
        "severity": row["severity"],
        "message": row["error_message"][:300],
    }


def incident_row(incident: Incident) -> Parts:
    return {
        "key": incident.incident_id,
        "produced_at": iso_ms(incident.touched_at),
        "state": incident.state,
        "severity": incident.severity,
        "service": incident.service_name,
        "rule": incident.rule,
        "description": incident.description[:300],
        "firings": incident.firings,
        "starts_at": iso_ms(incident.starts_at),
        "newest_at": iso_ms(incident.newest_at),
        "resolved_at": iso_ms(incident.resolved_at),
        "runbook_url": incident.runbook_url if incident.runbook_url.startswith(("http://", "https://")) else "",
    }


def link(view: View) -> str:
    """The address of a view within the page. Every link made from data goes this way, so that the data stays data."""
    return f"?{view.query()}"
