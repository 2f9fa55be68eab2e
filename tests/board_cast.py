"""A shop's own questions and a board over them, written into a folder for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.test_console_tabs import Opened

QUESTIONS = {
    "trade_now": """-- Orders (count) and revenue of [:since, :until).
-- Columns: orders int, revenue decimal.
SELECT SUM(orders_count) AS orders, SUM(total_revenue) AS revenue
FROM {orders_revenue_per_minute}
WHERE window_start >= :since AND window_start < :until
""",
    "trade_minutes": """-- Orders (count) by status and minute.
SELECT DATE_TRUNC('MINUTE', order_ts) AS moment, status, COUNT(*) AS n
FROM nessie_minio_catalog.ecommerce_db.orders_processed
WHERE order_ts >= :since AND order_ts < :until
GROUP BY DATE_TRUNC('MINUTE', order_ts), status
""",
    "trade_over_time": """-- Orders (count) by status in steps of one :step.
-- Columns: moment timestamp, status string, n int.
SELECT DATE_TRUNC(:step, order_ts) AS moment, status, COUNT(*) AS n
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :until AND :product AND :find
GROUP BY DATE_TRUNC(:step, order_ts), status
""",
    "trade_products": """-- Revenue by product.
-- Columns: product_id string, amount decimal.
SELECT product_id, SUM(order_total) AS amount
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :until
GROUP BY product_id
""",
    "trade_rows": """-- Orders.
-- Columns: event_key string, order_ts timestamp, order_id string, product_id string, order_total decimal,
--   status string.
SELECT event_key, order_ts, order_id, product_id, order_total, status
FROM {orders_processed}
WHERE order_ts >= :since AND order_ts < :until AND :product AND :find
ORDER BY :sorted
LIMIT :most OFFSET :skip
""",
    "stock": """-- What lies in stock: a table that somebody else writes.
-- Every: 30 s
SELECT product, pieces FROM people.stock ORDER BY product
""",
}

BOARD = """title: Trade
order: 25
find: [order_id, product_id]
filters:
  - name: product
    column: product_id
tiles:
  - title: Orders
    question: trade_now
    column: orders
    good: up
    leads: orders
    limits:
      - {below: 5, word: few, state: watch}
    spark: {question: trade_minutes, column: n}
live:
  - title: Orders by status
    kind: stacked
    question: trade_minutes
    value: n
    by: status
    parts: [CREATED, DELIVERED]
charts:
  - title: Orders over time
    kind: bars
    question: trade_over_time
    value: n
    by: status
  - title: By product
    kind: ranking
    question: trade_products
    value: amount
    by: product_id
    filter: product
tables:
  - title: Rows
    question: trade_rows
    key: [event_key]
"""


def a_shop_of_ones_own(folder: Path, board: str = BOARD, name: str = "trade.yaml", **questions: str) -> Path:
    """Write a board and the questions, of which some are other ones; the path of the board."""
    for place in ("boards", "questions"):
        (folder / place).mkdir(exist_ok=True)
    for question, text in {**QUESTIONS, **questions}.items():
        (folder / "questions" / f"{question}.sql").write_text(text, encoding="utf-8")
    path = folder / "boards" / name
    path.write_text(board, encoding="utf-8")
    return path


def eventually(page: Opened, there: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The parts of the page once they are as wanted."""
    deadline = time.monotonic() + 20
    while True:
        parts: dict[str, Any] = page.session._message(full=True)["parts"]
        if there(parts):
            return parts
        assert time.monotonic() < deadline, parts
        time.sleep(0.02)
