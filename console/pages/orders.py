"""Orders: over time by status, by status, by product, and the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

from console import look
from console.choices import STATUSES
from console.drill.charts import Ranking, RankingChart, TimeBars, TimeChart, step_of
from console.drill.finding import FIND, matching
from console.drill.found import Found
from console.drill.ordering import order_part, ordering, shown_words
from console.drill.tab import BRUSHED, DrillTab, binned
from console.feed.asker import Want, want
from console.feed.numbers import exactly
from console.feed.pins import Pin
from console.parts import ORDER_COLUMNS, Part, iso_ms, money, order_row
from console.tab import Card, ChartPlace, ListColumn, RowList, TabFilter
from console.view import Span, View
from lakehouse.kinds import distinct_orders

PRODUCTS_SHOWN = 12
PRODUCTS_RANKED = 200
"""How far down a product is looked for in the time before."""
STATUS = TabFilter("status", STATUSES)
PRODUCT = TabFilter("product")

SEARCHED = ("order_id", "user_id", "product_id")

_time, _, _product, _, _total, _status = ORDER_COLUMNS
ROWS = RowList(
    "order_rows",
    "Rows",
    (
        replace(_time, sort="order_ts"),
        ListColumn("Order", "order", sort="order_id"),
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


class OrdersTab(DrillTab):
    """Counts every order of the range whatever its status: the status is what one looks at here."""

    title = "Orders"
    order = 20
    filters = (STATUS, PRODUCT, FIND)
    cards = (
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
        Card((ROWS,)),
    )

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        statuses = view.chosen("status") or STATUSES
        products = {"all_products": 0 if view.chosen("product") else 1, "products": view.chosen("product")}
        ranges = {"since": inner[0], "until": inner[1]}
        matches, distinct = matching(view, SEARCHED), distinct_orders(self.page.counting)
        return {
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
            "rows": want(
                "order_rows", pin.commit, **ranges, statuses=statuses, matches=matches, **products,
                **ordering(view, ROWS, self.page.settings.rows_shown),
            ),
        }  # fmt: skip

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
            **self.facet(FIND, view, ()),
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


def moved(before: Sequence[str], now: Sequence[str]) -> dict[str, str]:
    """How many places each went up or down, in words; nothing where it stayed, or where there was nothing before."""
    ranks = {name: rank for rank, name in enumerate(before)}

    def words(name: str, rank: int) -> str:
        if name not in ranks:
            return "new"
        up = ranks[name] - rank
        return f"▲{up}" if up > 0 else f"▼{-up}" if up < 0 else ""

    return {name: words(name, rank) for rank, name in enumerate(now)} if before else {}


def customer_of(row: Mapping[str, Any]) -> View:
    """Where a row's customer is shown."""
    return View("customers", filters={"user": (row["user_id"],)})


def _words(total: int, *more: str) -> str:
    count = f"{exactly(total)} {'order' if total == 1 else 'orders'}"
    return ", ".join(word for word in (count, *more) if word)
