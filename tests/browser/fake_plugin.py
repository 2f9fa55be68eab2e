"""The fake Dremio of a served console, and the endpoints by which tests steer it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter

from tests.fake_dremio import LONG, ODD, TURNED, FakeDremio, a_shop

DREMIO = FakeDremio()
HISTORY = datetime(1997, 3, 1, tzinfo=UTC)
for _day in range(90):
    DREMIO.order(HISTORY + timedelta(days=_day), "11.77", user_id=f"old-{_day}", product_id="cd")
a_shop(DREMIO, datetime.now(UTC) - timedelta(seconds=1))
# Two orders of each minute of the hour that the last one is compared with.
for _minute in range(124):
    _at = datetime.now(UTC) - timedelta(days=1, seconds=30 * _minute + 1)
    DREMIO.order(_at, "20.00", user_id=f"then-{_minute}", product_id="tea")
ROUTER = APIRouter()


@ROUTER.post("/fake/order")
def order(total: str = "10.00", product: str = "tea") -> str:
    """One order now, and a publish that shows it. Answers with its produced_at."""
    at = datetime.now(UTC)
    DREMIO.order(at, total, product_id=product)
    DREMIO.click(at)
    DREMIO.publish(datetime.now(UTC))
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@ROUTER.post("/fake/fatal")
def fatal(service: str, message: str) -> None:
    """One FATAL error now, with its alert, and a publish that shows both."""
    at = datetime.now(UTC)
    DREMIO.error(at, "FATAL", service, error_message=message)
    DREMIO.alert(at, f"{hash(service) & 0xFFFFFFFF:08x}-0000-0000-0000-000000000000", service=service)
    DREMIO.publish(datetime.now(UTC))


@ROUTER.post("/fake/heartbeat")
def heartbeat() -> None:
    DREMIO.publish(datetime.now(UTC))


@ROUTER.post("/fake/down")
def down(is_down: bool) -> None:
    DREMIO.down = is_down


@ROUTER.post("/fake/hostile")
def hostile() -> None:
    """Rows whose every text is one word of 6,000 letters or turns what follows around, and an order below zero."""
    at = datetime.now(UTC)
    for text in (LONG, TURNED, ODD):
        DREMIO.order(at, "5000.00", order_id=text, user_id=text, product_id=text)
        DREMIO.error(at, "FATAL", text, error_message=text, error_id=text)
        DREMIO.alert(at, f"{len(text):08x}-0000-0000-0000-000000000000", service=text, description=text, rule=text)
    DREMIO.order(at - timedelta(minutes=2), "-70000.00", product_id=TURNED)
    DREMIO.publish(datetime.now(UTC))


@ROUTER.delete("/fake/hostile")
def peace() -> None:
    """Take those rows away."""
    for table, column in (
        ("orders_processed", "product_id"),
        ("errors_processed", "service_name"),
        ("alerts", "service_name"),
    ):
        DREMIO.delete(table, column, (LONG, TURNED, ODD))
    DREMIO.publish(datetime.now(UTC))
