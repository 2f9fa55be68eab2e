"""The customs of a shop, as its settings and config/rates.csv have them."""

from __future__ import annotations

from lakehouse.decode.customs import Customs
from lakehouse.rates import read_rates
from lakehouse.settings.shop import OrdersSettings
from lakehouse.settings.sources import config_path
from lakehouse.user_error import UserError


def customs_of(orders: OrdersSettings) -> Customs:
    """As configured. Raises UserError, also for a wrong rates.csv."""
    path = config_path().parent / "rates.csv"
    if not orders.currency:
        if path.exists():
            raise UserError(
                f"There is {path}, but the setting 'orders.currency' does not say which currency its rates lead to; "
                "set it, or take the file away."
            )
        return Customs(None, frozenset(orders.guests))
    return Customs(read_rates(path, orders.currency, orders.rates_within), frozenset(orders.guests))
