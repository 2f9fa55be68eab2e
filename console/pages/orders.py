"""Orders: over time by status, by status, by product, by customer, and the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from operator import itemgetter
from typing import Any

from console import look
from console.around import AROUND, NEAREST, errors_within, near_words, nearest
from console.choices import STATUSES
from console.drill.charts import Ranking, RankingChart, TimeBars, TimeChart, step_of
from console.drill.finding import FIND, matching
from console.drill.found import Found
from console.drill.ordering import order_part, ordering, shown_words
from console.drill.tab import BRUSHED, DrillTab, binned
from console.feed.asker import Want, want
from console.feed.numbers import exactly
from console.feed.pins import Pin
from console.parts import ORDER_COLUMNS, Part, customer_name, iso_ms, money, order_row
from console.tab import Card, ChartPlace, ListColumn, RowList, TabFilter
from console.view import Span, View
from lakehouse.kinds import distinct_orders
from lakehouse.texts import visible

PRODUCTS_SHOWN = 12
CUSTOMERS_SHOWN = 12
PRODUCTS_RANKED = 200
"""How far down a product is looked for in the time before."""
STATUS = TabFilter("status", STATUSES)
PRODUCT = TabFilter("product")
ORDER = TabFilter("order")

SEARCHED = ("order_id", "user_id", "product_id")

_time, _order, _product, _, _total, _status = ORDER_COLUMNS
ROWS = RowList(
    "order_rows",
    "Rows",
    (
        replace(_time, sort="order_ts"),
        replace(_order, sort="order_id"),
        ListColumn("Customer", "user", "link", hover="all that {user} did", sort="user_id", ranged=True),
        replace(_product, sort="product_id"),
        ListColumn("Pieces", "quantity", "number", sort="quantity"),
        ListColumn("Price", "price", "number", sort="price"),
        replace(_total, sort="order_total"),
        replace(_status, sort="status"),
    ),
    "No order matches. Widen the range, or take a filter away.",
    long=True,
    exports="rows",
    also=("status",),
    whole=True,
)


STORY = RowList(
    "order_events",
    "What became of it",
    (
        ListColumn("Time", "at", "time"),
        ListColumn("Did", "done"),
        ListColumn("What", "what", hover="{what}", css="wide"),
        ListColumn("Status or severity", "detail"),
        ListColumn("Total", "amount", "number"),
        ListColumn("Customer", "user", "link", hover="all that {user} did", ranged=True),
    ),
    "Nothing is known of an order of this id in this range, and in the 30 d before it.",
    long=True,
    exports="story",
)
LOOKED_BACK = timedelta(days=30)
"""How long before the range an order may have begun: as long as raw rows are kept by themselves."""
BEST = RowList(
    "top_customers",
    "Top customers",
    (
        ListColumn("Customer", "user", "link", hover="all that {user} did", css="wide", ranged=True),
        ListColumn("Orders", "orders", "number"),
        ListColumn("Spent", "amount", "number"),
        ListColumn("Paid back", "refunded", "number"),
        ListColumn("Net", "net", "number"),
    ),
    "No customer ordered in this range.",
    long=True,
    exports="customer",
)


class OrdersTab(DrillTab):
    """Counts every order of the range whatever its status: the status is what one looks at here."""

    title = "Orders"
    order = 20
    filters = (STATUS, PRODUCT, ORDER, FIND)
    cards = (
        Card((STORY,), detail="order"),
        Card((ChartPlace("orders_time", "Orders over time by status", BRUSHED, "time", "No order in this range."),)),
        Card(
            (ChartPlace("orders_status", "By status", "orders; click one to keep it", "status", chooses="status"),),
            columns=6,
        ),
        Card(
            (
                ChartPlace(
                    "orders_product",
                    "Top products",
                    "revenue; ▲▼ places since as long before; click one to keep it",
                    "product",
                    also=("product_before",),
                    chooses="product",
                ),
            ),
            columns=6,
        ),
        Card(
            (ChartPlace("orders_customer", "By customer", "net spend; click one for all that they did", "customer"),),
            columns=6,
        ),
        Card((BEST,), columns=6),
        Card((ROWS,)),
    )

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        statuses = view.chosen("status") or STATUSES
        products = {"all_products": 0 if view.chosen("product") else 1, "products": view.chosen("product")}
        ranges = {"since": inner[0], "until": inner[1]}
        matches, distinct = matching(view, SEARCHED), distinct_orders(self.page.counting)
        story = self._story(view, pin, inner) if view.chosen("order") else {}
        return story | {
            "time": want(
                "orders_over_time", pin.commit, distinct=distinct, step=step_of(span)[0], since=span[0], until=span[1],
                statuses=statuses, matches=matches, **products,
            ),
            "status": want("orders_by_status", pin.commit, distinct=distinct, matches=matches, **ranges, **products),
            "product": want(
                "orders_by_product", pin.commit, **ranges, statuses=statuses, matches=matches, most=PRODUCTS_SHOWN
            ),
            "product_before": want(
                "orders_by_product", pin.commit, since=inner[0] - (inner[1] - inner[0]), until=inner[0],
                statuses=statuses, matches=matches, most=PRODUCTS_RANKED,
            ),
            "customer": want(
                "top_customers", pin.commit, distinct=distinct, **ranges,
                statuses=view.chosen("status") or self.page.counting.statuses, matches=matches, most=CUSTOMERS_SHOWN,
                **products,
            ),
            "rows": want(
                "order_rows", pin.commit, **ranges, statuses=statuses, matches=matches, **products,
                **ordering(view, ROWS, self.page.settings.rows_shown),
            ),
        }  # fmt: skip

    def _story(self, view: View, pin: Pin, inner: Span) -> dict[str, Want]:
        """All that is known of the chosen orders; then the errors around it."""
        orders = view.chosen("order")
        asked = {
            "story": want(
                "order_events", pin.commit, since=inner[0] - LOOKED_BACK, orders=orders,
                most=self.page.settings.rows_shown,
            )
        }  # fmt: skip
        found = self.found
        if found is None or found.view.chosen("order") != orders:
            return asked
        steps = [row["moment"] for row in found.tables.get("story", ())]
        return asked | errors_within([(step - AROUND, step + AROUND) for step in steps], pin)

    def _story_rows(self, found: Found) -> list[Part]:
        """What became of the chosen orders, and the errors around it, in the order of time."""
        story = found.tables.get("story", [])
        rows = [(row["moment"], self._event(row)) for row in story]
        near = nearest(found.tables.get("around", ()), [row["moment"] for row in story])
        rows += [(row["error_ts"], _near(row)) for row in near]
        return [part for _, part in sorted(rows, key=lambda row: (row[0], row[1]["key"]))]

    def _event(self, row: Mapping[str, Any]) -> Part:
        refund = row["done"] == "refund"
        return {
            "key": f"{row['done']} {row['event_key']}",
            "at": iso_ms(row["moment"]),
            "produced_at": iso_ms(row["produced_at"]),
            "done": "paid back" if refund else "order",
            "what": visible(row["what"]),
            "detail": None if row["detail"] is None else visible(row["detail"]),
            "amount": money(-row["amount"] if refund else row["amount"], self.page.settings.currency),
            "user": None if row["user_id"] is None else customer_name(row["user_id"]),
            "href": self.page.link(customer_of(row)) if row["user_id"] else None,
        }

    def found_parts(self, found: Found) -> dict[str, Part]:
        currency = self.page.settings.currency
        view, statuses = found.view, found.view.chosen("status")
        chosen = [row for row in found.tables["status"] if not statuses or row["status"] in statuses]
        total, lines = (sum(row[name] for row in chosen) for name in ("n", "lines"))
        amount = sum(row["amount"] for row in chosen)
        rows, most = found.tables["rows"], self.page.settings.rows_shown
        shown = shown_words(view, len(rows), most, lines)
        by_status = {row["status"]: exactly(row["n"]) for row in found.tables["status"]}
        return {
            **self.facet(
                STATUS,
                view,
                ((status, by_status.get(status, "0")) for status in STATUSES),
                known="status" in found.answers,
            ),
            **self.facet(PRODUCT, view, ((product, "") for product in view.chosen("product"))),
            **self.facet(ORDER, view, ((order, "") for order in view.chosen("order"))),
            **self.facet(FIND, view, ()),
            "detail.order": {
                "shown": bool(view.chosen("order")),
                "title": f"Order {', '.join(map(visible, view.chosen('order')))}",
                "facts": [],
                "links": [],
            },
            f"list.{STORY.name}": {
                "rows": self._story_rows(found),
                "words": near_words(
                    found.tables.get("around"), f"within a minute of its steps, the {NEAREST} nearest each", "order"
                ),
            },
            f"list.{BEST.name}": {
                "rows": [self._best(row) for row in found.tables["customer"]],
                "words": f"by what they spent less what was paid back, {CUSTOMERS_SHOWN} at most",
            },
            f"list.{ROWS.name}": {
                "rows": [
                    order_row(row, currency)
                    | {
                        "price": money(row["price"], currency),
                        "href": self.page.link(customer_of(row)) if row["user_id"] else None,
                    }
                    for row in rows
                ],
                "produced_at": iso_ms(max((row["newest"] for row in chosen if row["newest"]), default=None)),
                "words": _words(
                    total,
                    f"{exactly(lines)} lines" if lines != total else "",
                    f"{money(amount, currency)} in total" if total else "",
                    shown,
                ),
                **order_part(view, ROWS, most, lines),
            },
        }

    def draw_charts(self, found: Found) -> None:
        colours = look.tokens(found.view.theme)
        _, width = step_of(found.span)
        counts = binned(found.tables["time"], itemgetter("status"), width)
        parts = {status: look.colour(colours, "status", status) for status in STATUSES}
        bars = TimeBars(counts, parts, width, found.span, found.view.brush, "orders")
        self.chart("orders_time", TimeChart, bars, self.brushed)
        by_status = {row["status"]: row for row in found.tables["status"]}
        chosen, products = found.view.chosen("status"), found.view.chosen("product")
        self.chart(
            "orders_status",
            RankingChart,
            Ranking(
                [
                    (status, float(by_status[status]["n"]), parts[status], status in chosen)
                    for status in STATUSES
                    if status in by_status
                ],
                "orders",
            ),
            lambda status: self.toggle("status", status),
        )
        self.chart(
            "orders_product",
            RankingChart,
            Ranking(
                [
                    (row["product_id"], float(row["amount"]), colours["blue"], row["product_id"] in products)
                    for row in found.tables["product"]
                ],
                f"revenue, {self.page.settings.currency}",
                moved(
                    [row["product_id"] for row in found.tables["product_before"]],
                    [row["product_id"] for row in found.tables["product"]],
                ),
            ),
            lambda product: self.toggle("product", product),
        )
        self.chart(
            "orders_customer",
            RankingChart,
            Ranking(
                [(row["user_id"], float(row["net"]), colours["green"], False) for row in found.tables["customer"]],
                f"net spend, {self.page.settings.currency}",
            ),
            self._visit,
        )

    def _best(self, row: Mapping[str, Any]) -> Part:
        currency = self.page.settings.currency
        return {
            "key": row["user_id"],
            "user": customer_name(row["user_id"]),
            "href": self.page.link(customer_of(row)),
            "orders": exactly(row["n"]),
            "amount": money(row["amount"], currency),
            "refunded": money(row["refunded"], currency) if row["refunded"] else None,
            "net": money(row["net"], currency),
        }

    def _visit(self, user_id: str) -> None:
        """Go to a customer's page, with the range that is chosen."""
        view = self.page.view
        self.drop()
        self.page.select(replace(view, tab="customers", filters={"user": (user_id,)}))


def moved(before: Sequence[str], now: Sequence[str]) -> dict[str, str]:
    """How many places each went up or down, in words; nothing where it stayed, or where there was nothing before."""
    ranks = {name: rank for rank, name in enumerate(before)}

    def words(name: str, rank: int) -> str:
        if name not in ranks:
            return "new"
        up = ranks[name] - rank
        return f"▲{up}" if up > 0 else f"▼{-up}" if up < 0 else ""

    return {name: words(name, rank) for rank, name in enumerate(now)} if before else {}


def _near(row: Mapping[str, Any]) -> Part:
    """An error that came around what became of an order."""
    return {
        "key": f"error {row['event_key']}",
        "at": iso_ms(row["error_ts"]),
        "produced_at": iso_ms(row["produced_at"]),
        "done": "error near",
        "what": visible(f"{row['service_name']}: {row['error_message']}"),
        "detail": visible(row["severity"]),
        "amount": None,
        "user": None,
        "href": None,
    }


def customer_of(row: Mapping[str, Any]) -> View:
    """Where a row's customer is shown."""
    return View("customers", filters={"user": (row["user_id"],)})


def _words(total: int, *more: str) -> str:
    count = f"{exactly(total)} {'order' if total == 1 else 'orders'}"
    return ", ".join(word for word in (count, *more) if word)
