"""The messages that rows of events become."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from producers import shop
from producers.event_rows import BENCH, CLICK, ORDER, REFUND, TIME, Rows
from producers.shop import CLICKS_TOPIC, DEVICE_TYPES, ERRORS_TOPIC, ORDERS_TOPIC, REFUNDS_TOPIC, SEVERITIES, STATUSES

type Message = tuple[int, str, str, bytes, bytes]
"""Event time (ms since 1970, UTC), the same as ISO 8601, topic, key, and the JSON text without its closing brace."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class _Click(msgspec.Struct, gc=False):
    click_id: str
    user_id: str
    url: str
    device_type: str
    click_time: str
    event_id: str


class _Order(msgspec.Struct, gc=False):
    order_id: str
    user_id: str
    product_id: str
    quantity: int
    price: float
    status: str
    order_time: str
    event_id: str


class _Refund(msgspec.Struct, gc=False):
    refund_id: str
    order_id: str
    amount: float
    refund_time: str
    event_id: str


class _Error(msgspec.Struct, gc=False):
    error_id: str
    service_name: str
    error_message: str
    severity: str
    error_time: str
    event_id: str


_encode = msgspec.json.Encoder().encode


def messages_of(rows: Rows, mark: str) -> list[Message]:
    """The messages of rows, in their order; `mark` tells the ids of one shop from those of another."""
    times = np.datetime_as_string(rows[:, TIME].astype("datetime64[ms]"), timezone="UTC").tolist()
    messages: list[Message] = []
    for (time_ms, kind, origin, number, a, b, c, d), time in zip(rows.tolist(), times, strict=True):
        if kind == CLICK:
            name = f"c-{mark}-{_base36(origin)}-{number}"
            user = f"u-{a:06d}"
            body = _encode(_Click(name, user, _url(c, d), DEVICE_TYPES[b], time, name))
            messages.append((time_ms, time, CLICKS_TOPIC, user.encode(), body[:-1]))
        elif kind == ORDER:
            name = f"o-{mark}-{_base36(origin)}-{number}"
            user = f"u-{a:06d}"
            product, _, price = shop.PRODUCTS[b]
            body = _encode(_Order(name, user, product, c, price, STATUSES[d], time, name))
            messages.append((time_ms, time, ORDERS_TOPIC, user.encode(), body[:-1]))
        elif kind == REFUND:
            place = f"{mark}-{_base36(origin)}-{number}"
            order, name = f"o-{place}", f"r-{place}"
            body = _encode(_Refund(name, order, round(shop.PRODUCTS[a][2] * b, 2), time, name))
            messages.append((time_ms, time, REFUNDS_TOPIC, order.encode(), body[:-1]))
        else:
            name = f"e-{mark}-{_base36(origin)}-{number}"
            if kind == BENCH:
                service, severity, text = f"bench-{a:04d}", "FATAL", f"Bench failure {a}"
            else:
                service, severity = shop.SERVICES[a], SEVERITIES[b]
                texts = shop.MESSAGES[service][b]
                text = texts[c % len(texts)].format(n=d)
            body = _encode(_Error(name, service, text, severity, time, name))
            messages.append((time_ms, time, ERRORS_TOPIC, service.encode(), body[:-1]))
    return messages


def message_value(message: Message, produced_at: str) -> bytes:
    """The JSON text of a message, sent at produced_at (ISO 8601)."""
    return b'%b,"produced_at":"%b"}' % (message[4], produced_at.encode())


def _url(page: int, product: int) -> str:
    match page:
        case 3:  # _PRODUCT, the most frequent one
            return f"/product/{shop.PRODUCTS[product][0]}"
        case 1:
            return f"/category/{shop.CATEGORIES[shop.PRODUCTS[product][1]]}"
        case 2:
            return f"/search?q={shop.SEARCHES[product % len(shop.SEARCHES)]}"
        case 0:
            return "/"
        case 4:
            return "/cart"
        case 5:
            return "/checkout"
        case _:
            return "/thanks"


@lru_cache(maxsize=4096)
def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"
