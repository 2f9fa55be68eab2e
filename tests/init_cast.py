"""Ten samples of what shops send, each with what its orders come to, reckoned from its text alone."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from typer.testing import CliRunner

from lakehouse import ROOT
from lakehouse.user_error import UserError
from tillwatch.init.command import command

CENT = Decimal("0.01")
EXAMPLES = ROOT / "examples"


class Given(NamedTuple):
    """A sample: its file's name and bytes, what is said of it, and how many orders it has of what sum.

    `says`: a line of the sources.yaml that is written.
    """

    name: str
    content: bytes
    orders: int
    total: Decimal
    flags: Sequence[str] = ()
    says: str = ""
    currency: str = ""

    def put(self, folder: Path) -> Path:
        path = folder / self.name
        path.write_bytes(self.content)
        return path


def cents(number: Decimal) -> Decimal:
    return number.quantize(CENT, ROUND_HALF_UP)


def lines(*documents: dict[str, Any]) -> bytes:
    return "".join(f"{json.dumps(each)}\n" for each in documents).encode()


def ours() -> Given:
    rows = [(f"o-{n}", n % 4 + 1, Decimal(n) + Decimal("0.35")) for n in range(1, 13)]
    of = {"user_id": "ada", "product_id": "book", "status": "CREATED", "order_time": "2026-03-02T12:00:00Z"}
    written = lines(*({"order_id": key, "quantity": n, "price": float(price)} | of for key, n, price in rows))
    return Given("shop.jsonl", written, 12, sum((n * price for _, n, price in rows), Decimal()))


def debezium() -> Given:
    def change(op: str, key: int, before: str | None, after: str, total: str) -> dict[str, Any]:
        row = {"id": key, "customer_id": f"u-{key}", "total": total, "created_at": 1_772_452_800_000_000 + key}
        source = {"connector": "postgresql", "name": "shop", "schema": "public", "table": "orders", "lsn": 900 + key}
        return {
            "schema": {"type": "struct", "name": "shop.public.orders.Envelope", "fields": []},
            "payload": {
                "before": None if before is None else row | {"status": before},
                "after": row | {"status": after},
                "source": source | {"ts_ms": 1_772_452_800_500},
                "op": op,
                "ts_ms": 1_772_452_800_600,
            },
        }

    written = lines(
        change("r", 1, None, "new", "25.10"),
        change("c", 2, None, "new", "99.99"),
        change("u", 2, "new", "shipped", "99.99"),
        change("u", 1, "new", "new", "25.10"),
        change("c", 3, None, "paid", "0.05"),
    )
    says = "  select: {op: u, after.status: {differs: before.status}}"
    return Given("changes.jsonl", written, 3, Decimal("25.10") + Decimal("99.99") + Decimal("0.05"), says=says)


def connect() -> Given:
    rows = [("8.20", 3, 1_772_452_800), ("7.00", 1, 1_772_452_801), ("0.99", 11, 1_772_452_920)]
    documents = [
        {"id": n, "buyer": "u-7", "sku": "mug", "n": pieces, "each": each, "at": at * 1_000_000}
        for n, (each, pieces, at) in enumerate(rows)
    ]
    written = lines(*({"schema": {"type": "struct"}, "payload": each} for each in documents))
    total = sum((Decimal(each) * pieces for each, pieces, _ in rows), Decimal())
    return Given("sink.jsonl", written, 3, total, says="  envelope: connect")


def cloud_event() -> Given:
    data = {"order": {"id": "c4", "buyer": "u-7", "sku": "mug", "n": 2, "each": 12.35}}
    whole = {"specversion": "1.0", "id": "ce-4", "type": "order.placed", "source": "/shop"}
    written = json.dumps(whole | {"time": "2026-03-02T12:00:00Z", "data": data}, indent=2).encode()
    return Given("placed.json", written, 1, Decimal("24.70"), says="  event_id: id")


def nested() -> Given:
    def order(number: str, *lines: tuple[str, int, str]) -> dict[str, Any]:
        return {
            "orderNumber": number,
            "customer": {"id": 7, "name": "Ada"},
            "placedAt": "2026-03-02T12:00:00+01:00",
            "discounts": [{"code": "x"}],
            "total": str(sum(n * Decimal(price) for _, n, price in lines)),
            "lines": [{"sku": sku, "qty": n, "unitPrice": price, "note": None} for sku, n, price in lines],
        }

    baskets = [order("b-1", ("a", 2, "10.50"), ("b", 1, "0.99")), order("b-2", ("a", 3, "2.50"))]
    total = sum((Decimal(each["total"]) for each in baskets), Decimal())
    return Given("baskets.jsonl", lines(*baskets), 2, total, says="  each: lines")


def milliseconds() -> Given:
    rows = [(f"{17 + n}", f"{1_772_452_800_000 + n * 30_000}", f"{n}.45") for n in range(1, 6)]
    documents = [{"order": key, "user": "u", "count": "2", "amount": amount, "ts": at} for key, at, amount in rows]
    written = json.dumps(documents, indent=1).encode()
    total = sum((Decimal(amount) for _, _, amount in rows), Decimal())
    return Given("export.json", written, 5, total, says="    order_time: {path: ts, epoch: ms}")


def decimal_comma() -> Given:
    rows = [("1", "Müller", 2, "1.012,50"), ("2", "Groß", 1, "9,99"), ("3", "", 3, "0,35")]
    head = "Bestellnummer;Kunde;Artikel;Menge;Einzelpreis;Bestelldatum;Status\n"
    cells = [f"{key};{who};Tasse;{n};{price};02.03.2026 1{n}:15;bezahlt\n" for key, who, n, price in rows]
    total = sum((n * Decimal(price.replace(".", "").replace(",", ".")) for _, _, n, price in rows), Decimal())
    flags = ["--zone", "Europe/Berlin", "--currency", "eur"]
    return Given("bestellungen.csv", (head + "".join(cells)).encode("cp1252"), 3, total, flags, "  decimal: ','", "EUR")


def shopify() -> Given:
    content = (EXAMPLES / "shopify" / "data" / "orders_export.csv").read_bytes()
    totals = [row["Total"] for row in csv.DictReader(content.decode().splitlines(keepends=True)) if row["Total"]]
    says = "  select: {Total: {given: true}}"
    return Given(
        "orders_export.csv", content, len(totals), sum(map(Decimal, totals), Decimal()), says=says, currency="USD"
    )


def online_retail() -> Given:
    content = (EXAMPLES / "online-retail" / "data" / "online_retail.csv").read_bytes()
    total, invoices = Decimal(), set()
    for row in csv.DictReader(content.decode("cp1252").splitlines(), delimiter=";"):
        quantity, price = int(row["Quantity"]), Decimal(row["UnitPrice"].replace(",", "."))
        if quantity > 0 and price >= 0:
            total += cents(quantity * price)
            invoices.add(row["InvoiceNo"])
    flags = ["--zone", "Europe/London", "--skip-bad"]
    return Given("retail.csv", content, len(invoices), total, flags, "  select: {Quantity: {above: 0}}")


def minor_units() -> Given:
    rows = [("p8", 1250, 2), ("p9", 999, 1), ("p10", 333, 1)]
    of = {"customer": "u-7", "product": "mug", "currency": "EUR", "created": "2026-03-02T12:00:00Z"}
    written = lines(*({"id": key, "units": n, "amount_cents": amount} | of for key, amount, n in rows))
    total = Decimal(sum(amount for _, amount, _ in rows)) / 100
    says = "    order_total: {path: amount_cents, minor: 2}"
    return Given("payments.jsonl", written, 3, total, says=says, currency="EUR")


SAMPLES: dict[str, Callable[[], Given]] = {
    "plain messages of ours": ours,
    "changes of Debezium": debezium,
    "records of Kafka Connect": connect,
    "a CloudEvent": cloud_event,
    "nested lines": nested,
    "an array with milliseconds": milliseconds,
    "semicolons and a decimal comma": decimal_comma,
    "two lines an order, the total on the first": shopify,
    "a line an article, with returns and Excel's dates": online_retail,
    "cents with a currency": minor_units,
}

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def init(folder: Path, *words: str, answers: str = "") -> Any:
    return CliRunner().invoke(command, [str(folder), *words], input=answers)


def refused(folder: Path, *words: str, answers: str = "") -> str:
    """Why nothing was written."""
    before = sorted(folder.parent.iterdir())
    done = init(folder, *words, answers=answers)
    assert isinstance(done.exception, UserError), (done.output, done.exception)
    assert sorted(folder.parent.iterdir()) == before
    return str(done.exception)


def written(tmp_path: Path, given: Given) -> Path:
    done = init(tmp_path / "config", "--sample", str(given.put(tmp_path)), "--yes", *given.flags)
    assert done.exit_code == 0, (done.output, done.exception)
    return tmp_path / "config"


def sources(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "sources.yaml").read_text(encoding="utf-8"))
    return found
