"""The fake Dremio of a served console, and the endpoints by which tests steer it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter

from tests.fake_dremio import FakeDremio, a_shop

DREMIO = FakeDremio()
a_shop(DREMIO, datetime.now(UTC) - timedelta(seconds=1))
ROUTER = APIRouter()


@ROUTER.post("/fake/order")
def order(total: str = "10.00") -> dict[str, str]:
    """One order now, and a publish that shows it."""
    at = datetime.now(UTC)
    DREMIO.order(at, total)
    DREMIO.click(at)
    return {"produced_at": at.isoformat(timespec="milliseconds"), "commit": DREMIO.publish(datetime.now(UTC))}


@ROUTER.post("/fake/down")
def down(is_down: bool) -> None:
    DREMIO.down = is_down


@ROUTER.get("/fake/asked")
def asked() -> list[str]:
    return DREMIO.asked
