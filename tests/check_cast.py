"""A config/ in which nothing is wrong, with something of every kind of file, for tests that put a mistake into it."""

from __future__ import annotations

import shutil
from pathlib import Path

from lakehouse import ROOT
from tests.asking_cast import LIMIT, rule_text
from tests.board_cast import BOARD, QUESTIONS

OWN = rule_text(**LIMIT, severity="ERROR")
"""A rule that asks, of the shop's own."""
FILES = {
    "tillwatch.yaml": """console:
  refresh_s: 1
notifier:
  judge_within: 75 s
  storm_after: 10
  timezone: UTC
  give_up: 1 d
""",
    "routes.yaml": """routes:
  - name: fatal
    when: [severity = FATAL]
    to: [slack, email]
  - name: shop
    when: [owner = shop]
    to: [slack]
    routes:
      - {name: much, when: [rule = much_sold], to: ["@ada"]}
times:
  - {name: night, hours: ["22:00-24:00"], weekdays: [monday]}
inhibit:
  - {name: quiet, source: [rule = no_logs], target: [owner = platform]}
maintenance:
  - {name: move, when: [owner = shop], from: 2027-01-01 00:00, until: 2027-01-02 00:00}
""",
    "people.yaml": "people:\n"
    "  - {person: ada, role: operator, email: ada@shop.example}\n"
    "  - {person: bob, role: viewer}\n",
}
"""Beside the rules as they are shipped, and OWN."""
MORE = {
    "tillwatch.yaml": FILES["tillwatch.yaml"] + "orders:\n  currency: EUR\n",
    "rates.csv": "date,currency,rate\n2026-11-20,USD,0.9132\n2026-11-23,USD,0.90001\n2026-11-01,JPY,0.006\n",
    "sources.yaml": """shop:
  reads: [shop.orders, shop.more]
  topic: orders_topic
  envelope: debezium
  zone: Europe/Berlin
  select:
    op: [c, u]
    after.total: {above: 0}
  each: after.lines
  event_id: {text: "{after.id}"}
  map:
    order_id: after.id
    user_id: {first: [after.customer.id, after.guest]}
    product_id: after.lines[].sku
    quantity: after.lines[].n
    price: {path: "after.lines[].cents", minor: 2}
    status:
      path: after.state
      table: {open: CREATED, gone: SHIPPED, "*": PROCESSING}
    order_time: {path: after.at, time: "%d.%m.%Y %H:%M"}
refunds_topic:
  map:
    refund_id: id
    order_id: order
    amount: {number: "(total - fee) / 100"}
    refund_time: {path: at, epoch: ms}
""",
    "boards/trade.yaml": BOARD,
    **{f"questions/{name}.sql": text for name, text in QUESTIONS.items() if name != "stock"},
}
"""And what a shop may have beside these."""


def a_config(folder: Path, files: dict[str, str]) -> Path:
    """A config/ as it is shipped, with a rule and these files of the shop's own."""
    config = folder / "config"
    shutil.copytree(ROOT / "config", config)
    shipped = (ROOT / "config" / "alerts.yaml").read_text(encoding="utf-8")
    for name, text in {"alerts.yaml": f"{shipped.rstrip()}\n{OWN}", **files}.items():
        path = config / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return config


def change(path: Path, before: str, after: str) -> int:
    """Put a mistake into a file; the line it stands in."""
    text = path.read_text(encoding="utf-8")
    assert before in text
    at = text.index(before)
    path.write_text(text[:at] + after + text[at + len(before) :], encoding="utf-8")
    return text[:at].count("\n") + 1
