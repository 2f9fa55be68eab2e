"""Orders: over time by status, by status, by product, and the rows."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from console import look
from console.feed.asker import Want, want
from console.feed.pins import Pin
from console.feed.tiles import exactly
from console.pages.charts import Ranking, RankingChart, TimeBars, TimeChart, step_of
from console.pages.drill import DrillTab, Found, rebinned, toggled
from console.pages.parts import Parts, iso_ms, money, order_row
from console.url import STATUSES, Span, View
from lakehouse.texts import label

PRODUCTS_SHOWN = 12


class OrdersTab(DrillTab):
    """Counts every order of the range whatever its status: the status is what one looks at here."""

    tab = "orders"

    def chart_places(self) -> tuple[str, ...]:
        return ("orders_time", "orders_status", "orders_product")

    def wants(self, view: View, pin: Pin, span: Span, inner: Span) -> dict[str, Want]:
        statuses = view.statuses or STATUSES
        products = {"all_products": 0 if view.products else 1, "products": view.products}
        ranges = {"since": inner[0], "until": inner[1]}
        return {
            "time": want(
                "orders_over_time", pin.commit, step=step_of(span)[0], since=span[0], until=span[1],
                statuses=statuses, **products,
            ),
            "status": want("orders_by_status", pin.commit, **ranges, **products),
            "product": want("orders_by_product", pin.commit, **ranges, statuses=statuses, most=PRODUCTS_SHOWN),
            "rows": want(
                "order_rows", pin.commit, **ranges, statuses=statuses, **products,
                most=self.session.settings.rows_shown,
            ),
        }  # fmt: skip

    def found_parts(self, found: Found) -> dict[str, Parts]:
        currency = self.session.settings.currency
        view = found.view
        chosen = [row for row in found.tables["status"] if not view.statuses or row["status"] in view.statuses]
        total = sum(row["n"] for row in chosen)
        amount = sum(row["amount"] for row in chosen)
        rows = found.tables["rows"]
        by_status = {row["status"]: row for row in found.tables["status"]}
        return {
            "facet.status": {
                "name": "status",
                "kind": "status",
                "values": [
                    [status, exactly(by_status[status]["n"]) if status in by_status else "0", status in view.statuses]
                    for status in STATUSES
                ],
            },
            "facet.product": {
                "name": "product",
                "kind": "plain",
                "values": [[product, "", True, label(product, 40)] for product in view.products],
            },
            "list.order_rows": {
                "rows": [order_row(row, currency) | {"price": money(row["price"], currency)} for row in rows],
                "produced_at": iso_ms(max((row["newest"] for row in chosen if row["newest"]), default=None)),
                "words": _words(total, f"{money(amount, currency)} in total" if total else "", len(rows)),
                "empty": "No order matches. Widen the range, or take a filter away.",
            },
        }

    def draw_charts(self, found: Found) -> None:
        colours = look.tokens(found.view.theme)
        _, width = step_of(found.span)
        counts: dict[tuple[datetime, str], float] = defaultdict(float)
        for row in found.tables["time"]:
            counts[rebinned(row["moment"], width), row["status"]] += row["n"]
        parts = {status: colours[f"status-{status.lower()}"] for status in STATUSES}
        bars = TimeBars(counts, parts, width, found.span, found.view.brush, "orders")
        self.chart("orders_time", TimeChart, bars, self.brushed)
        by_status = {row["status"]: row for row in found.tables["status"]}
        self.chart(
            "orders_status",
            RankingChart,
            Ranking(
                [
                    (status, float(by_status[status]["n"]), parts[status], status in found.view.statuses)
                    for status in STATUSES
                    if status in by_status
                ],
                "orders",
            ),
            lambda status: self.session.choose(statuses=toggled(self.session.view.statuses, status)),
        )
        self.chart(
            "orders_product",
            RankingChart,
            Ranking(
                [
                    (row["product_id"], float(row["amount"]), colours["blue"], row["product_id"] in found.view.products)
                    for row in found.tables["product"]
                ],
                f"revenue, {self.session.settings.currency}",
            ),
            lambda product: self.session.choose(products=toggled(self.session.view.products, product)),
        )


def _words(total: int, more: str, shown: int) -> str:
    count = f"{exactly(total)} {'order' if total == 1 else 'orders'}"
    newest = f"the newest {exactly(shown)} shown" if shown < total else ""
    return ", ".join(word for word in (count, more, newest) if word)
