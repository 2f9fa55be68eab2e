"""Customers: what they look at, how far they come, who they are, and all that one of them did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from console import look
from console.around import AROUND, errors_within, near_words
from console.choices import DEVICES
from console.drill.charts import EPOCH, Ranking, RankingChart, TimeBars, TimeChart, step_of
from console.drill.finding import FIND, matching
from console.drill.found import Found
from console.drill.ordering import order_part, ordering, shown_words
from console.drill.stages import Stages, StagesChart
from console.drill.tab import BRUSHED, DrillTab, binned
from console.feed.asker import Want, want
from console.feed.numbers import THIN, exactly
from console.feed.pins import Pin
from console.parts import ERROR_ROW_COLUMNS, Part, error_row, iso_ms, money, order_link
from console.tab import Card, ChartPlace, ListColumn, RowList, TabFilter
from console.view import Span, View
from lakehouse.kinds import CLICK_PAGE, distinct_orders
from lakehouse.texts import visible

OTHERS = "other"
COLOURS = ("blue", "sky", "green", "purple", "state-watch")
STEPS = {
    "visit": "Came",
    "home": "Saw the home page",
    "product": "Saw a product",
    "cart": "Opened the cart",
    "order": "Ordered",
}
"""A step, as the URL says it, to its words: each is of those who took the steps before it too."""
LOOKED_BACK = timedelta(hours=24)
"""Whoever clicked within so long before the range is no new customer; as long as the range, where that is longer."""
MINUTE = timedelta(minutes=1)
DEVICE = TabFilter("device", DEVICES)
LAST_STEP = TabFilter("last_step", tuple(STEPS))
USER = TabFilter("user")
CUSTOMERS = RowList(
    "customer_rows",
    "Customers",
    (
        ListColumn("Last seen", "newest_at", "time", sort="newest_at"),
        ListColumn("First seen", "first_at", "time", sort="first_at"),
        ListColumn("Customer", "user", css="wide", sort="user_id"),
        ListColumn("Came to", "step", sort="step"),
        ListColumn("Clicks", "clicks", "number", sort="clicks"),
        ListColumn("Orders", "orders", "number", sort="orders"),
        ListColumn("Revenue", "amount", "number", sort="amount"),
    ),
    "No customer matches. Widen the range, or take a filter away.",
    choose="user",
    long=True,
    exports="rows",
    also=("funnel",),
)
TAKEN = RowList(
    "funnel_steps",
    "New and returning",
    (
        ListColumn("Step", "step", css="wide"),
        ListColumn("Customers", "took", "number"),
        ListColumn("New", "new", "number", hover="without a click in the time before the range"),
        ListColumn("Returning", "returning", "number"),
        ListColumn("Came no further", "lost", "number", hover="click to see who"),
    ),
    "No customer came in this range.",
    note="click a step for who was lost there",
    choose="last_step",
    exports="funnel",
)
NEW, RETURNING = "new", "returning"
PARTS = {NEW: "sky", RETURNING: "green"}
"""Whether a customer was there before, to its colour."""
JOURNEY = RowList(
    "customer_events",
    "What they did",
    (
        ListColumn("Time", "at", "time"),
        ListColumn("Customer", "user", css="spare"),
        ListColumn("Did", "done"),
        ListColumn("What", "what", "link", hover="{what}", css="wide", ranged=True),
        ListColumn("Device or status", "detail"),
        ListColumn("Total", "amount", "number"),
    ),
    "Nothing of theirs lies in this range.",
    long=True,
    exports="events",
    whole=True,
)


SLOW = timedelta(minutes=5)
"""Whoever opened the cart and had not ordered so long after was slow, or gave up."""
HARD = f"near a cancelled order of theirs, or a cart without an order within {SLOW.seconds // 60} min"
NEAR = RowList(
    "customer_errors",
    "Errors around it",
    tuple(replace(column, sort="") for column in ERROR_ROW_COLUMNS),
    f"No error came {HARD}.",
    long=True,
    exports="around",
    whole=True,
)


class CustomersTab(DrillTab):
    """Those with a click in the range. Someone chosen stands above all others, with all that they did."""

    title = "Customers"
    order = 25
    filters = (DEVICE, LAST_STEP, USER, FIND)
    cards = (
        Card((JOURNEY, NEAR), detail="customer"),
        Card(
            (ChartPlace("visits_time", "Clicks over time by page", BRUSHED, "time", "No click in this range."),),
            columns=8,
        ),
        Card(
            (ChartPlace("visits_device", "Clicks by device", "click one to keep it", "device", chooses="device"),),
            columns=4,
        ),
        Card(
            (
                ChartPlace(
                    "funnel",
                    "How far they come",
                    "each after those above it; click one for who stopped there",
                    "funnel",
                    chooses="last_step",
                ),
            ),
            columns=6,
        ),
        Card((TAKEN,), columns=6),
        Card((CUSTOMERS,)),
    )

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        devices = view.chosen("device") or DEVICES
        ranges = {"since": inner[0], "until": inner[1]}
        before = inner[0] - max(LOOKED_BACK, inner[1] - inner[0])
        last = view.chosen("last_step") or tuple(STEPS)
        asked = {
            "time": want(
                "customer_visits", pin.commit, step=step_of(span)[0], **_minutes(span), devices=devices, page=CLICK_PAGE
            ),
            "device": want("customer_devices", pin.commit, **_minutes(inner)),
            "funnel": want("customer_funnel", pin.commit, **ranges, before=before, devices=devices, page=CLICK_PAGE),
            "rows": want(
                "customer_rows", pin.commit, **ranges, devices=devices, page=CLICK_PAGE,
                distinct=distinct_orders(self.page.counting),
                matches=matching(view, ("user_id",)), steps=tuple(list(STEPS).index(step) + 1 for step in last),
                **ordering(view, CUSTOMERS, self.page.settings.rows_shown, "user_id"),
            ),
        }  # fmt: skip
        if view.chosen("user"):
            asked["events"] = want(
                "customer_events", pin.commit, **ranges, users=view.chosen("user"), page=CLICK_PAGE,
                most=self.page.settings.rows_shown,
            )  # fmt: skip
            if self.found is not None and self.found.view.chosen("user") == view.chosen("user"):
                times = _hard_times(self.found.tables.get("events", []), pin.as_of)
                asked |= errors_within(times, pin, self.page.settings.rows_shown)
        return asked

    def found_parts(self, found: Found) -> dict[str, Part]:
        view, currency = found.view, self.page.settings.currency
        users = view.chosen("user")
        by_device = {row["device_type"]: exactly(int(row["n"])) for row in found.tables["device"]}
        came = sum(row["users"] for row in found.tables["funnel"])
        new = sum(row["new_users"] for row in found.tables["funnel"])
        rows = found.tables["rows"]
        steps = {row["step"]: exactly(row["users"]) for row in found.tables["funnel"]}
        counted = f"{exactly(came)} {'customer' if came == 1 else 'customers'}, {exactly(new)} of them new"
        most, matching_all = self.page.settings.rows_shown, rows[0]["found"] if rows else 0
        # Of a page beyond the last there is no row that tells how many there are.
        shown = shown_words(view, len(rows), most, max(matching_all, view.page - 1))
        return {
            **self.facet(
                DEVICE,
                view,
                ((device, by_device.get(device, "0")) for device in DEVICES),
                known="device" in found.answers,
            ),
            **self.facet(
                LAST_STEP,
                view,
                ((step, steps.get(at, "0")) for at, step in enumerate(STEPS, 1)),
                STEPS,
                known="funnel" in found.answers,
            ),
            **self.facet(USER, view, ((user, "") for user in users)),
            **self.facet(FIND, view, ()),
            **self.legend("visits_time", _pages(found.tables["time"])),
            **self.legend("funnel", PARTS),
            f"list.{TAKEN.name}": {"rows": _taken_rows(found.tables["funnel"], view.chosen("last_step"))},
            "detail.customer": {
                "shown": bool(users),
                "title": ", ".join(map(visible, users)),
                "facts": [],
                "links": [],
            },
            f"list.{JOURNEY.name}": {
                "rows": [_event(row, currency) for row in found.tables.get("events", [])],
            },
            f"list.{NEAR.name}": {
                "rows": [error_row(row) for row in found.tables.get("around", [])],
                "words": near_words(found.tables.get("around", []), HARD, "customer"),
            },
            f"list.{CUSTOMERS.name}": {
                "rows": [_customer(row, currency, users) for row in rows],
                "produced_at": iso_ms(max((row["newest"] for row in rows if row["newest"]), default=None)),
                "words": "; ".join(filter(None, (counted, shown))),
                **order_part(view, CUSTOMERS, most, matching_all),
            },
        }

    def draw_charts(self, found: Found) -> None:
        colours = look.tokens(found.view.theme)
        _, width = step_of(found.span)
        pages = _pages(found.tables["time"])
        counts = binned(found.tables["time"], lambda row: row["page"] if row["page"] in pages else OTHERS, width)
        parts = {page: colours[colour] for page, colour in pages.items()}
        bars = TimeBars(counts, parts, width, found.span, found.view.brush, "clicks")
        self.chart("visits_time", TimeChart, bars, self.brushed)
        chosen, devices = found.view.chosen("last_step"), found.view.chosen("device")
        self.chart(
            "funnel",
            StagesChart,
            Stages(
                _funnel(found.tables["funnel"]),
                {part: colours[colour] for part, colour in PARTS.items()},
                chosen,
                "customers",
            ),
            lambda step: self.toggle("last_step", step),
        )
        by_device = {row["device_type"]: float(row["n"]) for row in found.tables["device"]}
        self.chart(
            "visits_device",
            RankingChart,
            Ranking(
                [
                    (device, by_device[device], colours["blue"], device in devices)
                    for device in DEVICES
                    if device in by_device
                ],
                "clicks",
            ),
            lambda device: self.toggle("device", device),
        )


def _hard_times(events: Iterable[Mapping[str, Any]], now: datetime) -> list[Span]:
    """When something failed or was slow for a customer, with a minute around; `events` are the newest first."""
    found: list[Span] = []
    ordered: dict[str, datetime] = {}
    for row in events:
        user, at = row["user_id"], row["moment"]
        if row["step"] == "failed":
            found.append((at - AROUND, at + AROUND))
        if row["step"] in ("failed", "ordered"):
            ordered[user] = at
        elif row["step"] == "cart" and now - at >= SLOW and ordered.get(user, now) - at >= SLOW:
            found.append((at - AROUND, at + SLOW))
    return found


def _pages(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The pages that are shown, the most clicked first, to their colours; the others are one."""
    totals: dict[str, float] = defaultdict(float)
    for row in rows:
        totals[row["page"]] += float(row["n"])
    named = sorted(totals, key=lambda page: (-totals[page], page))
    shown = dict(zip(named, COLOURS, strict=False))
    return shown | {OTHERS: "text-quiet"} if len(named) > len(COLOURS) else shown


def _minutes(span: Span) -> dict[str, datetime]:
    """A range as the questions of minutes take it: with the first and the last border of a minute within it."""
    since, until = span
    first = min(-(-(since - EPOCH) // MINUTE) * MINUTE + EPOCH, until)
    return {
        "since": since,
        "until": until,
        "first": first,
        "last": max(EPOCH + (until - EPOCH) // MINUTE * MINUTE, first),
    }


def _took(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, int, int]]:
    """Each step to how many took it, whether they came further or not; to how many of them are new; and to how many
    came no further (counts)."""
    ended = {row["step"]: (row["users"], row["new_users"]) for row in rows}

    def taken(at: int, which: int) -> int:
        return sum(counts[which] for step, counts in ended.items() if step >= at)

    return {
        step: (taken(at, 0), taken(at, 1), ended.get(at, (0, 0))[0] if at < len(STEPS) else 0)
        for at, step in enumerate(STEPS, 1)
    }


def _funnel(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, dict[str, float]]]:
    """Each step with its words and how many of each part took it (counts)."""
    found, before = dict[str, tuple[str, dict[str, float]]](), 0
    for step, (took, new, _) in _took(rows).items():
        found[step] = f"{STEPS[step]}{_share(took, before)}", {NEW: float(new), RETURNING: float(took - new)}
        before = took
    return found


def _taken_rows(rows: Sequence[Mapping[str, Any]], chosen: tuple[str, ...]) -> list[Part]:
    if not rows:
        return []
    return [
        {
            "key": step,
            "step": STEPS[step],
            "took": exactly(took),
            "new": exactly(new),
            "returning": exactly(took - new),
            "lost": f"{exactly(lost)}{_share(lost, took)}" if step != list(STEPS)[-1] else None,
            "chosen": step in chosen,
        }
        for step, (took, new, lost) in _took(rows).items()
    ]


def _share(count: float, of: float) -> str:
    return f", {100 * count / of:.0f}{THIN}%" if of else ""


def _customer(row: Mapping[str, Any], currency: str, users: tuple[str, ...]) -> Part:
    return {
        "key": row["user_id"],
        "user": visible(row["user_id"]),
        "step": list(STEPS.values())[row["step"] - 1].lower(),
        "clicks": exactly(int(row["clicks"])),
        "orders": exactly(int(row["orders"])),
        "amount": money(row["amount"], currency) if row["orders"] else None,
        "first_at": iso_ms(row["first_at"]),
        "newest_at": iso_ms(row["newest_at"]),
        "produced_at": iso_ms(row["newest"]),
        "chosen": row["user_id"] in users,
    }


def _event(row: Mapping[str, Any], currency: str) -> Part:
    return {
        "key": f"{row['done']} {row['event_key']}",
        "event": row["event_key"],
        "at": iso_ms(row["moment"]),
        "produced_at": iso_ms(row["produced_at"]),
        "user": visible(row["user_id"]),
        "done": row["done"],
        "what": visible(row["what"]),
        "detail": visible(row["detail"]),
        "amount": None if row["amount"] is None else money(row["amount"], currency),
        "href": order_link(row["order_id"]) if row["order_id"] else None,
    }
