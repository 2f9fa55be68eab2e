"""The Overview as one viewer looks at it: of its lists the rows that hold a text, in an order.

All viewers share the rows, so nothing is asked for it: what is looked through and ordered is the rows that there are,
and each list says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa

from console.drill.at_hand import Row, holding, ordered
from console.drill.finding import FIND, sought
from console.drill.ordering import order_part
from console.feed.numbers import exactly
from console.feed.questions import LIST_ROWS
from console.feed.snapshot import FeedSnapshot
from console.feed.tiles import ErrorRateLimits
from console.on_call.asked import KnownIncidents
from console.on_call.parts import words_of
from console.on_call.watch import Duty
from console.pages.overview import (
    INCIDENTS,
    INCIDENTS_LISTED,
    LATEST_ERRORS,
    LATEST_ORDERS,
    Overview,
    all_incidents,
    tile_parts,
)
from console.parts import (
    INCIDENT_SEARCHED,
    Part,
    SharedPart,
    error_row,
    incident_link,
    incident_row,
    iso_ms,
    newest,
    order_row,
)
from console.tab import RowList
from console.view import View
from lakehouse.texts import visible

SEARCHED = {
    LATEST_ORDERS.name: ("order_id", "user_id", "product_id"),
    LATEST_ERRORS.name: ("error_message", "error_id", "service_name"),
}
"""What is looked through of the rows: as on the tabs Orders and Errors."""
NONE_HOLDS = "None of these holds “{text}”. The tab {tab} looks through all of a range."


@dataclass(frozen=True)
class Look:
    """What the lists heed of a View: the text looked for, as it is typed, and what rows are ordered by."""

    text: str = ""
    sort: str = ""

    @property
    def view(self) -> View:
        """The first page of a View that has no other choice."""
        view = View(Overview.name, sort=self.sort)
        return view.filtered(FIND.name, (self.text,)) if self.text else view


def look_of(view: View) -> Look:
    return Look(next(iter(view.chosen(FIND.name)), ""), view.sort)


@lru_cache(maxsize=8)
def overview_parts(
    snapshot: FeedSnapshot,
    currency: str,
    limits: ErrorRateLimits,
    max_age: timedelta,
    duty: Duty,
    asked: KnownIncidents,
    compare: str,
    look: Look = Look(),
) -> Mapping[str, Part]:
    """All parts of the Overview; a place whose question was never answered has none and keeps its skeleton."""
    view = look.view
    parts: dict[str, Part] = {f"facet.{Overview.name}.{FIND.name}": {"search": FIND.search, "text": look.text}}
    parts |= _newest(snapshot, view, LATEST_ORDERS, "orders", lambda row: order_row(row, currency))
    parts |= _newest(snapshot, view, LATEST_ERRORS, "errors", error_row)
    alerts = snapshot.answers.get("incidents")
    if alerts is not None:
        known = all_incidents(snapshot, max_age, asked)
        text = sought(view)
        # Nobody reads what is not listed, unless a text is looked for in it.
        rows = [incident_row(one, words_of(one, duty)) for one in (known if text else known[:INCIDENTS_LISTED])]
        found = holding(rows, text, INCIDENT_SEARCHED)
        count = len(found) if text else len(known)
        parts[f"list.{INCIDENTS.name}"] = {
            "rows": found[:INCIDENTS_LISTED],
            "words": f"{exactly(count)} of {exactly(len(known))}, {INCIDENTS.note}" if text else INCIDENTS.note,
            "empty": NONE_HOLDS.format(text=visible(look.text, 40), tab="Alerts") if text and known else None,
            "more": max(0, count - INCIDENTS_LISTED),
            "more_href": incident_link(find=look.text),
            "produced_at": iso_ms(max((incident.touched_at for incident in known), default=None)),
            "stale": alerts.commit != snapshot.commit,
        }
    shared = {place: SharedPart(part) for place, part in parts.items()}
    return {**tile_parts(snapshot, currency, limits, compare), **shared}


def exported(snapshot: FeedSnapshot, view: View, name: str) -> pa.Table | None:
    """The answer behind a list of the Overview: of the newest rows those that are shown, in their order. None where
    there is none."""
    of = next((one for one in Overview.lists() if one.name == name), None)
    answer = snapshot.answers.get(of.exports) if of else None
    if answer is None or of is None or name not in SEARCHED:
        return answer.table if answer else None
    rows = [row | {"place": place} for place, row in enumerate(answer.table.to_pylist())]
    places = [row["place"] for row in _looked_at(rows, look_of(view).view, of)]
    return answer.table.take(pa.array(places, pa.int64()))


def _newest(
    snapshot: FeedSnapshot, view: View, of: RowList, noun: str, shown: Callable[[Row], Part]
) -> dict[str, Part]:
    answer = snapshot.answers.get(of.exports)
    if answer is None:
        return {}
    rows = answer.table.to_pylist()
    found = _looked_at(rows, view, of)
    all_words = f"the newest {LIST_ROWS}" if len(rows) >= LIST_ROWS else f"the {noun} of the last day"
    part = {
        "rows": [shown(row) for row in found],
        "words": f"{exactly(len(found))} of {all_words}" if sought(view) else all_words,
        "empty": NONE_HOLDS.format(text=visible(sought(view), 40), tab=noun.capitalize())
        if rows and sought(view)
        else None,
        "produced_at": newest(rows),
        "stale": answer.commit != snapshot.commit,
        **order_part(view, of, LIST_ROWS, len(found)),
    }
    return {f"list.{of.name}": part}


def _looked_at(rows: Sequence[Mapping[str, Any]], view: View, of: RowList) -> list[Row]:
    return ordered(holding(rows, sought(view), SEARCHED[of.name]), view, of)
