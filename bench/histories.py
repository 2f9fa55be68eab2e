"""Order histories that nobody here wrote, and files in the shapes of shops' exports; and what they hold, counted apart.

The sums are made by the csv module and Decimal alone, from the files' own columns.
"""

from __future__ import annotations

import csv
import gzip
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from lakehouse import ROOT

EXAMPLES = ROOT / "examples"
PACKAGES = ROOT / "tests" / "data" / "histories"

type Row = Mapping[str, str]


@dataclass(frozen=True)
class Counted:
    """Orders, their sum and the part of it that is cancelled; clicks; refunds and their sum."""

    orders: int = 0
    total: Decimal = Decimal(0)
    cancelled: Decimal = Decimal(0)
    clicks: int = 0
    refunds: int = 0
    refunded: Decimal = Decimal(0)

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            self.orders + other.orders,
            self.total + other.total,
            self.cancelled + other.cancelled,
            self.clicks + other.clicks,
            self.refunds + other.refunds,
            self.refunded + other.refunded,
        )


@dataclass(frozen=True)
class History:
    """A file, the example whose sources.yaml reads it, and the words of its replay."""

    example: str
    source: str
    file: Path
    words: tuple[str, ...]
    counted: Callable[[], Counted]

    def command(self, folder: Path) -> list[str]:
        """Its replay; the list of bad lines goes into the folder."""
        bad = ("--skip-bad", str(folder / f"bad-{self.source}.csv"))
        return ["replay", str(self.file), "--source", self.source, *self.words, *bad, "--original-times"]


def rows(path: Path, encoding: str = "utf-8", delimiter: str = ",") -> list[Row]:
    """A CSV file's rows, unpacked."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(data.decode(encoding).splitlines(keepends=True), delimiter=delimiter))


def amount(text: str) -> Decimal:
    """A number with a decimal comma, or a point."""
    return Decimal(text.replace(",", "."))


def orders(totals: Iterable[Decimal], cancelled: Iterable[Decimal] = ()) -> Counted:
    held = list(totals)
    return Counted(len(held), sum(held, Decimal(0)), sum(cancelled, Decimal(0)))


TRANSACTIONS = PACKAGES / "example_transactions.csv.gz"
BIKES = PACKAGES / "bike_sales_sample.csv.gz"
WHOLESALE = PACKAGES / "tpch_orders.csv.gz"
RETAIL = EXAMPLES / "online-retail" / "data" / "online_retail.csv"
SHOPIFY = EXAMPLES / "shopify" / "data" / "orders_export.csv"
OLIST = EXAMPLES / "olist" / "data"
ROCKET = EXAMPLES / "retailrocket" / "data" / "events.csv"
OLIST_CANCELLED = ("canceled", "unavailable")
SHOPIFY_CANCELLED = ("voided", "refunded")


def _sold() -> list[tuple[Row, Decimal]]:
    """Rows of the Online Retail file, and what each comes to."""
    return [(row, int(row["Quantity"]) * amount(row["UnitPrice"])) for row in rows(RETAIL, "cp1252", ";")]


def _retail() -> Counted:
    """Guests' too, without cancellations, corrections of the stock and of debts."""
    return orders(sold for row, sold in _sold() if int(row["Quantity"]) > 0 and sold >= 0)


def _retail_refunds() -> Counted:
    given_back = [-sold for row, sold in _sold() if row["InvoiceNo"].startswith("C")]
    return Counted(refunds=len(given_back), refunded=sum(given_back, Decimal(0)))


def _shopify() -> Counted:
    found = [row for row in rows(SHOPIFY) if row["Total"]]
    return orders(
        (Decimal(row["Total"]) for row in found),
        (Decimal(row["Total"]) for row in found if row["Financial Status"] in SHOPIFY_CANCELLED),
    )


def _olist() -> Counted:
    status = {row["order_id"]: row["order_status"] for row in rows(OLIST / "olist_orders_dataset.csv")}
    items = [
        (status[row["order_id"]], Decimal(row["price"]) + Decimal(row["freight_value"]))
        for row in rows(OLIST / "olist_order_items_dataset.csv")
    ]
    return orders((total for _, total in items), (total for how, total in items if how in OLIST_CANCELLED))


def _rocket(*events: str) -> int:
    return sum(row["event"] in events for row in rows(ROCKET))


HISTORIES = (
    History("lifetimes", "transactions", TRANSACTIONS, (), lambda: orders(Decimal(1) for _ in rows(TRANSACTIONS))),
    History("bike-sales", "bike_sales", BIKES, (), lambda: orders(Decimal(row["total_price"]) for row in rows(BIKES))),
    History(
        "wholesale",
        "wholesale",
        WHOLESALE,
        ("--delimiter", "|"),
        lambda: orders(Decimal(row["o_totalprice"]) for row in rows(WHOLESALE, delimiter="|")),
    ),
    History("online-retail", "online_retail", RETAIL, ("--delimiter", ";", "--encoding", "cp1252"), _retail),
    History(
        "online-retail",
        "online_retail_refunds",
        RETAIL,
        ("--delimiter", ";", "--encoding", "cp1252"),
        _retail_refunds,
    ),
    History("shopify", "shopify", SHOPIFY, (), _shopify),
    History(
        "olist",
        "olist",
        OLIST / "olist_order_items_dataset.csv",
        ("--join", str(OLIST / "olist_orders_dataset.csv"), "--on", "order_id"),
        _olist,
    ),
    History("retailrocket", "retailrocket_orders", ROCKET, (), lambda: Counted(orders=_rocket("transaction"))),
    History("retailrocket", "retailrocket_clicks", ROCKET, (), lambda: Counted(clicks=_rocket("view", "addtocart"))),
)


def configured(folder: Path) -> Path:
    """The settings file of a copy of config/, which is made, with the sources of all examples in it."""
    shutil.copytree(ROOT / "config", folder)
    names = sorted({history.example for history in HISTORIES})
    texts = ((EXAMPLES / name / "sources.yaml").read_text(encoding="utf-8") for name in names)
    (folder / "sources.yaml").write_text("\n".join(texts), encoding="utf-8")
    return folder / "tillwatch.yaml"
