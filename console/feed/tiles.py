"""The KPI tiles: what they say, and whether it is good."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from console.feed.minutes import Minutes, Series
from console.feed.numbers import THIN, exactly, short, with_currency

TILES = {
    "revenue": "Revenue 5 min",
    "net": "Net revenue",
    "orders": "Orders 5 min",
    "average": "Average order",
    "users": "Active users",
    "conversion": "Conversion",
    "error_rate": "Error rate",
}
"""Key to name, as they stand."""

SURPRISING = 3.0
"""Standard deviations; chance alone goes beyond them once in some 400 times."""

TileState = Literal["ok", "watch", "bad", "none"]


@dataclass(frozen=True)
class Tile:
    """One tile. `value` is None where there is none; `why` then says why. `exact` is shown on hover, `change` names
    the difference to what it is compared with, `good` says whether it is for the better (None: neither)."""

    key: str
    value: Decimal | float | int | None
    text: str
    exact: str
    change: str
    good: bool | None
    state: TileState
    word: str
    why: str
    newest: datetime | None
    spark: Series


@dataclass(frozen=True)
class ErrorRateLimits:
    """From which error rate on the tile says watch and bad (errors per click, parts of 1)."""

    watch: float = 0.02
    bad: float = 0.05


def tiles_of(figures: Mapping[str, Any], minutes: Minutes | None, currency: str, limits: ErrorRateLimits) -> list[Tile]:
    """The tiles from the one row of `tiles`, which has nulls where there was nothing; what ends in _before is what
    they are compared with."""
    at = {name: value if value is not None else 0 for name, value in figures.items() if not name.startswith("newest")}
    orders, orders_before = int(at["orders"]), int(at["orders_before"])
    revenue, revenue_before = Decimal(at["revenue"]), Decimal(at["revenue_before"])
    users, users_before = int(at["users"]), int(at["users_before"])
    clicks, clicks_before = int(at["clicks"]), int(at["clicks_before"])
    newest_order, newest_click = figures.get("newest_order"), figures.get("newest_click")
    newest_error = figures.get("newest_error")
    net, net_before = revenue - Decimal(at["refunded"]), revenue_before - Decimal(at["refunded_before"])
    none: Series = ()

    def money(value: float | Decimal) -> str:
        return with_currency(currency, short(value, 2))

    def exact_money(value: Decimal) -> str:
        return with_currency(currency, exactly(value))

    def percent(value: float | Decimal) -> str:
        return f"{short(float(value) * 100, 2)}{THIN}%"

    return [
        _volume(
            "revenue", revenue, revenue_before, money(revenue),
            exact_money(revenue),
            (orders, orders_before), newest_order, minutes.revenue if minutes else none,
        ),
        _volume(
            "net", net, net_before, money(net),
            f"{exact_money(revenue)} less {exact_money(revenue - net)} refunded",
            (orders, orders_before), _newest(newest_order, figures.get("newest_refund")),
            minutes.net_revenue if minutes else none,
        ),
        _volume(
            "orders", orders, orders_before, short(orders, 0), exactly(orders),
            (orders, orders_before), newest_order, minutes.orders if minutes else none,
        ),
        _average(orders, orders_before, revenue, revenue_before, money, currency, newest_order,
                 minutes.average if minutes else none),
        _volume(
            "users", users, users_before, short(users, 0), exactly(users),
            (users, users_before), newest_click, minutes.users if minutes else none,
        ),
        _conversion(int(at["buyers"]), users, int(at["buyers_before"]), users_before, percent,
                    _newest(newest_order, newest_click), minutes.conversion if minutes else none),
        _error_rate(int(at["errors"]), clicks, int(at["errors_before"]), clicks_before, percent, limits,
                    _newest(newest_error, newest_click), minutes.error_rate if minutes else none),
    ]  # fmt: skip


def _newest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _volume(
    key: str,
    value: Decimal | int,
    before: Decimal | int,
    text: str,
    exact: str,
    events: tuple[int, int],
    newest: datetime | None,
    spark: Series,
) -> Tile:
    """More is better. `events` are those behind the value and behind the one before."""
    change, good, ratio = change_of(float(value), float(before))
    # What is ordered for varies about as much as it is large, and so adds as much chance as how many order.
    state, word = _fall(ratio, _surprise(*events) / (1.4 if isinstance(value, Decimal) else 1.0))
    return Tile(key, value, text, exact, change, good, state, word, "", newest, spark)


def _average(
    orders: int,
    orders_before: int,
    revenue: Decimal,
    revenue_before: Decimal,
    money: Callable[[Decimal], str],
    currency: str,
    newest: datetime | None,
    spark: Series,
) -> Tile:
    if not orders:
        return _none("average", "no order in 5 min", newest, spark)
    value = revenue / orders
    if not orders_before:
        change, good, ratio = "n/a", None, None
    else:
        change, good, ratio = change_of(float(value), float(revenue_before / orders_before))
    chance = math.sqrt(1 / orders + 1 / orders_before) if orders_before else math.inf
    state, word = _fall(ratio, abs(math.log(ratio)) / chance if ratio and ratio > 0 else math.inf)
    exact = with_currency(currency, exactly(value.quantize(Decimal("0.0001"))))
    return Tile("average", value, money(value), exact, change, good, state, word, "", newest, spark)


def _conversion(
    buyers: int,
    users: int,
    buyers_before: int,
    users_before: int,
    percent: Callable[[float], str],
    newest: datetime | None,
    spark: Series,
) -> Tile:
    if not users:
        return _none("conversion", "nobody clicked in 5 min", newest, spark)
    value = buyers / users
    change, good = points_of(value, buyers_before / users_before if users_before else None, more_is_better=True)
    before = buyers_before / users_before if users_before else 0.0
    ratio = value / before if before else None
    of_both = (buyers + buyers_before) / (users + users_before)
    chance = math.sqrt(of_both * (1 - of_both) * (1 / users + 1 / max(1, users_before)))
    state, word = _fall(ratio, abs(value - before) / chance if 0 < of_both < 1 else 0.0)
    exact = f"{exactly(buyers)} of {exactly(users)} users = {value * 100:.4f}{THIN}%"
    return Tile("conversion", value, percent(value), exact, change, good, state, word, "", newest, spark)


def _error_rate(
    errors: int,
    clicks: int,
    errors_before: int,
    clicks_before: int,
    percent: Callable[[float], str],
    limits: ErrorRateLimits,
    newest: datetime | None,
    spark: Series,
) -> Tile:
    if not clicks:
        return _none("error_rate", "no click in 5 min", newest, spark)
    value = errors / clicks
    before = errors_before / clicks_before if clicks_before else None
    change, good = points_of(value, before, more_is_better=False)
    if before and value / before >= 3:
        change = f"×{short(value / before, 1)}"
    state: TileState = "bad" if value >= limits.bad else "watch" if value >= limits.watch else "ok"
    word = {"bad": "high", "watch": "raised", "ok": "low", "none": ""}[state]
    exact = f"{exactly(errors)} errors in {exactly(clicks)} clicks = {value * 100:.4f}{THIN}%"
    return Tile("error_rate", value, percent(value), exact, change, good, state, word, "", newest, spark)


def _none(key: str, why: str, newest: datetime | None, spark: Series) -> Tile:
    return Tile(key, None, "n/a", why, "", None, "none", "", why, newest, spark)


def change_of(value: float, before: float) -> tuple[str, bool | None, float | None]:
    """The change in per cent, whether more is what it is, and the ratio; `n/a` without a base.

    Below zero there is no base either: twice a loss is no growth.
    """
    if before <= 0:
        return "n/a", None, None
    ratio = value / before
    percent = round((ratio - 1) * 100)
    if percent >= 1000:
        return f"×{short(ratio, 0)}", True, ratio
    sign = "+" if percent > 0 else "−" if percent < 0 else ""
    return f"{sign}{abs(percent)}{THIN}%", None if percent == 0 else percent > 0, ratio


def points_of(value: float, before: float | None, *, more_is_better: bool) -> tuple[str, bool | None]:
    """The change of a share in points."""
    if before is None:
        return "n/a", None
    points = round((value - before) * 100, 1)
    sign = "+" if points > 0 else "−" if points < 0 else ""
    good = None if points == 0 else (points > 0) == more_is_better
    return f"{sign}{abs(points):g}{THIN}pt", good


def _surprise(now: int, before: int) -> float:
    """How far two counts lie apart, in standard deviations of what chance alone gives (both of one Poisson rate)."""
    return abs(now - before) / math.sqrt(now + before) if now + before else 0.0


def _fall(ratio: float | None, surprise: float) -> tuple[TileState, str]:
    """A figure that should not fall. What chance gives is steady, however many per cent it is."""
    if ratio is None or surprise < SURPRISING:
        return "ok", "steady"
    if ratio <= 0.4:
        return "bad", "fell sharply"
    if ratio <= 0.7:
        return "watch", "falling"
    return "ok", "rising" if ratio >= 1.3 else "steady"
