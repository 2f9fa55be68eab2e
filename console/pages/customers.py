"""Customers: what they look at, how far they come, who they are, and all that one of them did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from console import look
from console.choices import DEVICES
from console.drill.charts import EPOCH, Ranking, RankingChart, TimeBars, TimeChart, step_of
from console.drill.finding import FIND, matching
from console.drill.found import Found
from console.drill.tab import BRUSHED, DrillTab, binned
from console.feed.asker import Want, want
from console.feed.numbers import THIN, exactly
from console.feed.pins import Pin
from console.parts import Part, iso_ms, money
from console.tab import Card, ChartPlace, ListColumn, RowList, TabFilter
from console.view import Span, View
from lakehouse.kinds import CLICK_PAGE, distinct_orders
from lakehouse.texts import visible

OTHERS = "other"
COLOURS = ("blue", "sky", "green", "purple", "state-watch")
STEPS = {"visit": "Came", "product": "Saw a product", "cart": "Opened the cart", "order": "Ordered"}
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
        ListColumn("Last seen", "newest_at", "time"),
        ListColumn("First seen", "first_at", "time"),
        ListColumn("Customer", "user", css="wide"),
        ListColumn("Came to", "step"),
        ListColumn("Clicks", "clicks", "number"),
        ListColumn("Orders", "orders", "number"),
        ListColumn("Revenue", "amount", "number"),
    ),
    "No customer matches. Widen the range, or take a filter away.",
    choose="user",
    long=True,
    exports="rows",
    also=("funnel",),
)
JOURNEY = RowList(
    "customer_events",
    "What they did",
    (
        ListColumn("Time", "at", "time"),
        ListColumn("Customer", "user", css="spare"),
        ListColumn("Did", "done"),
        ListColumn("What", "what", hover="{what}", css="wide"),
        ListColumn("Device or status", "detail"),
        ListColumn("Total", "amount", "number"),
    ),
    "Nothing of theirs lies in this range.",
    long=True,
    exports="events",
    whole=True,
)


class CustomersTab(DrillTab):
    """Those with a click in the range. Someone chosen stands above all others, with all that they did."""

    title = "Customers"
    order = 25
    filters = (DEVICE, LAST_STEP, USER, FIND)
    cards = (
        Card((JOURNEY,), detail="customer"),
        Card((ChartPlace("visits_time", "Clicks over time by page", BRUSHED, "time", "No click in this range."),)),
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
            columns=8,
        ),
        Card(
            (ChartPlace("visits_device", "Clicks by device", "click one to keep it", "device", chooses="device"),),
            columns=4,
        ),
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
                most=self.page.settings.rows_shown,
            ),
        }  # fmt: skip
        if view.chosen("user"):
            asked["events"] = want(
                "customer_events", pin.commit, **ranges, users=view.chosen("user"), most=self.page.settings.rows_shown
            )
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
        shown = f"; the last {exactly(len(rows))} seen are shown" if len(rows) == self.page.settings.rows_shown else ""
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
            "detail.customer": {
                "shown": bool(users),
                "title": ", ".join(map(visible, users)),
                "facts": [],
                "links": [],
            },
            f"list.{JOURNEY.name}": {
                "rows": [_event(row, currency) for row in found.tables.get("events", [])],
            },
            f"list.{CUSTOMERS.name}": {
                "rows": [_customer(row, currency, users) for row in rows],
                "produced_at": iso_ms(max((row["newest"] for row in rows if row["newest"]), default=None)),
                "words": counted + shown,
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
        funnel = _funnel(found.tables["funnel"])
        self.chart(
            "funnel",
            RankingChart,
            Ranking(
                [(words, count, colours["green"], step in chosen) for step, words, count in funnel],
                "customers",
                choices={words: step for step, words, _ in funnel},
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


def _funnel(rows: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, float]]:
    """Each step with its words, and how many took it (count): those who came no further, and those who did."""
    ended = {row["step"]: row["users"] for row in rows}
    took = [float(sum(count for step, count in ended.items() if step >= at)) for at in range(1, len(STEPS) + 1)]
    return [
        (step, f"{words}{_share(count, took[at - 1] if at else 0.0)}", count)
        for at, ((step, words), count) in enumerate(zip(STEPS.items(), took, strict=True))
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
    }
