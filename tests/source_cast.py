"""Eight kinds of message that say the same of one shop, and the sources that read them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from lakehouse.decode import AS_DECLARED, Customs, Event, Headers, Message, decode

AT = datetime(2024, 11, 27, 9, 14, 5, 250_000, tzinfo=UTC)
RECEIVED = datetime(2024, 11, 27, 9, 14, 6, tzinfo=UTC)
AT_MS = 1_732_698_845_250
RATES = "date,currency,rate\n2024-11-27,EUR,1.25\n"
"""To a shop of dollars."""
YAML = (Path(__file__).parent / "data" / "sources.yaml").read_text(encoding="utf-8")


class Kind(NamedTuple):
    """A kind of message: the log's topic that it is on, its bytes and headers, and the orders that it says."""

    log_topic: str
    value: bytes
    headers: Headers
    orders: tuple[Event, ...]


def order(event_id: str, order_id: str, product: str = "mug", **more: Any) -> dict[str, Any]:
    """One plain message."""
    return {
        "event_id": event_id,
        "order_id": order_id,
        "user_id": "u-7",
        "product_id": product,
        "quantity": 2,
        "price": "12.5",
        "status": "CREATED",
        "order_time": AT.isoformat(),
    } | more


def event(fields: Mapping[str, Any], customs: Customs = AS_DECLARED) -> Event:
    """What a plain message becomes."""
    (found,) = decode("orders_topic", Message(json.dumps(fields).encode(), RECEIVED), None, customs)
    assert isinstance(found, Event), found
    return found


def packed(document: object) -> bytes:
    return json.dumps(document).encode()


def debezium(number: int, op: str = "u", before: str | None = "open", after: str = "sent") -> dict[str, Any]:
    """A change event of a row of orders, as Debezium writes it with its schema."""
    row = {"id": number, "customer_id": "u-7", "sku": "mug", "pieces": 2, "price_cents": 1250}
    return {
        "schema": {
            "type": "struct",
            "fields": [{"field": "op", "type": "string"}],
            "name": "shop.public.orders.Envelope",
        },
        "payload": {
            "before": None if before is None else row | {"status": before},
            "after": None if op == "d" else row | {"status": after},
            "source": {"connector": "postgresql", "table": "orders", "lsn": 24_023_128 + number, "ts_ms": AT_MS},
            "op": op,
            "ts_ms": AT_MS + 40,
        },
    }


def cloud_event(number: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"ce-{number}",
        "type": "shop.order.placed",
        "source": "/shop",
        "time": AT.isoformat(),
    }


def _data(number: int) -> dict[str, Any]:
    return {"order": {"id": f"c{number}", "buyer": "u-7", "sku": "mug", "n": 2, "each": 12.5}}


def _ce_headers(number: int) -> Headers:
    told: list[tuple[str, bytes | None]] = [
        (f"ce_{name}", str(value).encode()) for name, value in cloud_event(number).items()
    ]
    return (("content-type", b"application/json"), *told)


def kinds(customs: Customs = AS_DECLARED) -> dict[str, Kind]:
    """The eight kinds by name, and beside them a compressed one and Connect's own decimals."""
    at = AT.isoformat()
    connect = {
        "id": 3,
        "buyer": "u-7",
        "sku": "mug",
        "n": 2,
        "each": base64.b64encode(b"\x04\xe2").decode(),
        "at": AT_MS * 1000,
    }
    lines = {
        "number": "N5",
        "customer": {"id": "u-7"},
        "placed": "27.11.2024 10:14:05,250000",
        "lines": [{"sku": "mug", "n": 2, "sum": "25,00"}, {"sku": "cup", "n": "1", "sum": "1.012,50"}],
    }
    millis = {
        "event": "ms-6",
        "order": 6,
        "user": "u-7",
        "product": "mug",
        "count": "2",
        "price": "12.50",
        "at": str(AT_MS),
    }
    cents = {
        "id": "p8",
        "customer": "u-7",
        "product": "mug",
        "units": 2,
        "amount": 1250,
        "currency": "EUR",
        "created": at,
    }
    schema_bytes = b"\0\0\0\0\x2a"
    return {
        "debezium update": Kind(
            "shop.public.orders",
            packed(debezium(1)),
            (),
            (event(order("orders-1-24023129", "1", status="SHIPPED")),),
        ),
        "connect record": Kind(
            "shop_connect",
            packed({"schema": {"type": "struct"}, "payload": connect}),
            (),
            (event(order("connect-3", "3")),),
        ),
        "cloudevents structured": Kind(
            "shop_cloud", packed(cloud_event(4) | {"data": _data(4)}), (), (event(order("ce-4", "c4")),)
        ),
        "cloudevents binary": Kind("shop_cloud", packed(_data(9)), _ce_headers(9), (event(order("ce-9", "c9")),)),
        "registry bytes": Kind(
            "shop_registry", schema_bytes + packed(order("reg-2", "2")), (), (event(order("reg-2", "2")),)
        ),
        "epoch milliseconds": Kind("shop_millis", packed(millis), (), (event(order("ms-6", "6")),)),
        "nested items": Kind(
            "shop_lines",
            packed(lines),
            (),
            (
                event(order("N5:0", "N5")),
                event(order("N5:1", "N5", "cup", quantity=1, price="1012.5")),
            ),
        ),
        "cents with a currency": Kind(
            "shop_cents", packed(cents), (), (event(order("p8", "p8", currency="EUR"), customs),)
        ),
        "gzip": Kind(
            "shop_millis", gzip.compress(packed(millis | {"event": "ms-7"})), (), (event(order("ms-7", "6")),)
        ),
    }
