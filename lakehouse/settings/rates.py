"""The rates of a shop, as its settings and config/rates.csv have them."""

from __future__ import annotations

from lakehouse.mistakes import AlreadyTold, is_left_out
from lakehouse.rates import Rates, read_rates
from lakehouse.settings.shop import OrdersSettings
from lakehouse.settings.sources import config_path
from lakehouse.user_error import UserError


def load_rates() -> Rates | None:
    """None where the shop's currency is not said: then no event names another. Raises UserError."""
    orders, path = OrdersSettings.load(), config_path().parent / "rates.csv"
    if orders.currency:
        return read_rates(path, orders.currency, orders.rates_within)
    if path.exists():
        if is_left_out(config_path()):
            raise AlreadyTold("what is wrong in the settings file may be what says it")
        raise UserError(
            f"There is {path}, but the setting 'orders.currency' does not say which currency its rates lead to; set "
            "it, or take the file away."
        )
    return None
