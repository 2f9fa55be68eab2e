"""The Overview: tiles, latest rows and incidents of one snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache

from console.feed.incidents import Incident, incidents_of
from console.feed.minutes import Minutes, Series, minutes_of
from console.feed.snapshot import Snapshot
from console.feed.tiles import Limits, Tile, tiles_of
from console.pages.parts import Parts, error_row, incident_row, iso_ms, newest, order_row

INCIDENTS_LISTED = 8

# Sessions look at the same snapshot: the first one pays.
minutes = lru_cache(maxsize=2)(minutes_of)


@lru_cache(maxsize=2)
def incidents(snapshot: Snapshot, max_age: timedelta) -> tuple[Incident, ...]:
    answer = snapshot.answers.get("incidents")
    return tuple(incidents_of(answer.table.to_pylist(), max_age)) if answer else ()


@lru_cache(maxsize=2)
def overview_parts(snapshot: Snapshot, currency: str, limits: Limits, max_age: timedelta) -> Mapping[str, Parts]:
    """All parts of the Overview; a place whose question was never answered has none and keeps its skeleton."""
    parts: dict[str, Parts] = {}
    figures = snapshot.answers.get("tiles")
    if figures is not None:
        stale = figures.commit != snapshot.commit
        for tile in tiles_of(figures.table.to_pylist()[0], minutes(snapshot), currency, limits):
            parts[f"tile.{tile.key}"] = _tile(tile, stale)
            parts[f"spark.{tile.key}"] = {"values": [_digits(value) for value in tile.spark[:-1]]}
    shown = minutes(snapshot)
    if shown is not None:
        parts["empty"] = _empty(shown)
    orders = snapshot.answers.get("latest_orders")
    if orders is not None:
        rows = orders.table.to_pylist()
        parts["list.latest_orders"] = {
            "rows": [order_row(row, currency) for row in rows],
            "produced_at": newest(rows),
            "stale": orders.commit != snapshot.commit,
        }
    errors = snapshot.answers.get("latest_errors")
    if errors is not None:
        rows = errors.table.to_pylist()
        parts["list.latest_errors"] = {
            "rows": [error_row(row) for row in rows],
            "produced_at": newest(rows),
            "stale": errors.commit != snapshot.commit,
        }
    alerts = snapshot.answers.get("incidents")
    if alerts is not None:
        found = incidents(snapshot, max_age)
        parts["list.incidents"] = {
            "rows": [incident_row(incident) for incident in found[:INCIDENTS_LISTED]],
            "more": max(0, len(found) - INCIDENTS_LISTED),
            "produced_at": iso_ms(max((incident.touched_at for incident in found), default=None)),
            "stale": alerts.commit != snapshot.commit,
        }
    return parts


def charts(snapshot: Snapshot) -> Minutes | None:
    return minutes(snapshot)


def _empty(shown: Minutes) -> Parts:
    """What a chart says in place of an hour without any figure; null where it has some."""
    return {
        "revenue_per_minute": None if any(shown.revenue) else "No revenue in this hour.",
        "orders_per_minute": None if any(shown.orders) else "No order in this hour.",
        "errors_per_minute": None if any(map(any, shown.errors.values())) else "No error reported in this hour.",
        "active_users": None if any(shown.users) else "Nobody clicked in this hour.",
    }


def _tile(tile: Tile, stale: bool) -> Parts:
    spark: Series = tile.spark
    return {
        "text": tile.text,
        "value": None if tile.value is None else str(tile.value),
        "exact": tile.exact,
        "change": tile.change,
        "good": tile.good,
        "state": tile.state,
        "word": tile.word,
        "why": tile.why,
        "produced_at": iso_ms(tile.newest),
        "tip": _digits(spark[-1]) if spark else None,
        "stale": stale,
    }


def _digits(value: float | None) -> float | None:
    """Enough for a sparkline of 40 pixels."""
    return None if value is None else float(f"{value:.4g}")
