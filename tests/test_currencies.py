"""Orders and refunds in other currencies than the shop's, and of guests: what is stored of them, and what is not."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from lakehouse.decode import Customs, Event, Message, Reason, Rejected, decode
from lakehouse.rates import Rates, read_rates
from lakehouse.settings.customs import customs_of
from lakehouse.settings.shop import OrdersSettings
from lakehouse.user_error import UserError
from producers.shop import CLICKS_TOPIC, ORDERS_TOPIC, REFUNDS_TOPIC
from tests.test_events import CLICK, ORDER, REFUND, payload

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
RATES = """date,currency,rate
2026-11-20,USD,0.9132
2026-11-23,USD,0.90001
2026-11-01,JPY,0.006
"""


def rates(tmp_path: Path, text: str = RATES) -> Rates:
    path = tmp_path / "rates.csv"
    path.write_text(text)
    return read_rates(path, "EUR", WEEK)


def judged(topic: str, value: bytes, customs: Customs) -> Event | Rejected:
    (found,) = decode(topic, Message(value, NOW), None, customs)
    return found


def stored(topic: str, value: bytes, customs: Customs) -> Event:
    found = judged(topic, value, customs)
    assert isinstance(found, Event), found
    return found


def test_an_order_is_converted_by_the_rate_of_its_day_exactly_and_rounded_once(tmp_path: Path) -> None:
    order = stored(ORDERS_TOPIC, payload(ORDER, price="3.33335", currency='"USD"'), Customs(rates(tmp_path)))
    assert order.price == Decimal("3.0000")  # 3.33335 x 0.90001 = 3.0000483…
    assert order.order_total == Decimal("6.00")  # 2 x 3.33335 x 0.90001 = 6.00009…; of rounded prices 6.00 too
    assert (order.original_total, order.original_currency) == (Decimal("6.67"), "USD")
    given = stored(ORDERS_TOPIC, payload(ORDER, order_total="0.005", currency='"usd"'), Customs(rates(tmp_path)))
    # 0.005 x 0.90001 is 0.0045…; rounded before, it would be 0.01 x 0.90001 = 0.01.
    assert (given.order_total, given.original_total) == (Decimal("0.00"), Decimal("0.01"))
    old = stored(ORDERS_TOPIC, payload(ORDER, currency='"USD"', order_time='"2026-11-22T23:59:59Z"'),
                 Customs(rates(tmp_path)))  # fmt: skip
    assert old.order_total == Decimal("36.51")  # 39.98 x 0.9132
    refund = stored(REFUNDS_TOPIC, payload(REFUND, currency='"USD"'), Customs(rates(tmp_path)))
    assert (refund.amount, refund.original_amount) == (Decimal("17.99"), Decimal("19.99"))


def test_the_key_is_that_of_what_was_given_whatever_the_rate(tmp_path: Path) -> None:
    dear, cheap = (Customs(rates(tmp_path, f"date,currency,rate\n2026-11-20,USD,{rate}\n")) for rate in ("2", "0.5"))
    message = payload(ORDER, currency='"USD"')
    one, other = stored(ORDERS_TOPIC, message, dear), stored(ORDERS_TOPIC, message, cheap)
    assert one.order_total == 4 * other.order_total
    assert one.event_key == other.event_key
    plain = stored(ORDERS_TOPIC, payload(ORDER), dear)
    assert plain.event_key == stored(ORDERS_TOPIC, payload(ORDER), Customs()).event_key != one.event_key
    assert (plain.original_total, plain.original_currency) == (None, None)
    own = stored(ORDERS_TOPIC, payload(ORDER, currency='"EUR"'), dear)
    assert (own.order_total, own.original_total, own.original_currency) == (Decimal("39.98"), Decimal("39.98"), "EUR")


def test_without_a_currency_of_the_shop_the_field_is_no_field() -> None:
    found = stored(ORDERS_TOPIC, payload(ORDER, currency="[1]"), Customs())
    assert found == stored(ORDERS_TOPIC, payload(ORDER), Customs())


@pytest.mark.parametrize(
    ("currency", "at", "detail"),
    [
        ('"CHF"', "2026-11-23", "currency is CHF, of which rates.csv has no rate"),
        ('"USD"', "2026-11-19", "currency is USD, which has no rate by 2026-11-19: the first is of 2026-11-20"),
        (
            '"JPY"',
            "2026-11-09",
            "currency is JPY, which has no rate of 2026-11-09 or the 7 days before: the last is of 2026-11-01",
        ),
        ('"EURO"', "2026-11-23", "currency is 'EURO', no code of ISO 4217, like EUR"),
    ],
)
def test_what_cannot_be_converted_is_a_dead_letter_with_day_and_currency(
    tmp_path: Path, currency: str, at: str, detail: str
) -> None:
    value = payload(ORDER, currency=currency, order_time=f'"{at}T10:00:00Z"')
    found = judged(ORDERS_TOPIC, value, Customs(rates(tmp_path)))
    assert found == Rejected(Reason.BAD_VALUE, detail, "currency")
    near = payload(ORDER, currency='"JPY"', order_time='"2026-11-08T10:00:00Z"')
    assert stored(ORDERS_TOPIC, near, Customs(rates(tmp_path))).order_total == Decimal("0.24")


def test_an_amount_that_does_not_fit_in_the_shops_currency_is_none(tmp_path: Path) -> None:
    customs = Customs(rates(tmp_path, "date,currency,rate\n2026-11-20,KWD,1000\n2026-11-20,IRR,0.00001\n"))
    found = judged(REFUNDS_TOPIC, payload(REFUND, amount="9999999999999999", currency='"KWD"'), customs)
    assert found == Rejected(Reason.BAD_VALUE, "amount of KWD x 1000 is beyond decimal(18,2)", "amount")
    found = judged(REFUNDS_TOPIC, payload(REFUND, amount="10", currency='"IRR"'), customs)
    assert found == Rejected(Reason.BAD_VALUE, "amount of IRR x 0.00001 is not above 0", "amount")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: 'date' is missing from its first line; expected date,currency,rate"),
        ("date,curency,rate\n", r"line 1: 'currency' is missing from its first line \(did you mean 'curency'\?\)"),
        ("date,currency,rate,rate\n", "line 1: 'rate' stands twice in its first line"),
        ("date,currency,rate\n\n23.11.2026,USD,1\n", "line 3: 'date' is '23.11.2026'; expected a day like 2026-11-28"),
        ("date,currency,rate\n2026-11-23,$,1\n", r"line 2: 'currency' is '\$'; expected a code of ISO 4217, like USD"),
        (
            "date,currency,rate\n2026-11-23,EUR,1\n",
            r"line 2: EUR is the shop's own currency \(orders.currency\), whose",
        ),
        ("date,currency,rate\n2026-11-23,USD,0\n", "line 2: 'rate' is '0'; expected what 1 USD is worth in EUR"),
        ("date,currency,rate\n2026-11-23,USD\n", "line 2: 'rate' is ''; expected"),
        ('date,currency,rate\n2026-11-23,USD,"0,9"\n', "line 2: 'rate' is '0,9'; expected"),
        ("date,currency,rate\n2026-11-23,USD,1\n2026-11-23,USD,1\n", "line 3: USD has two rates of 2026-11-23; leave"),
    ],
)
def test_a_wrong_file_of_rates_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=rf"^{tmp_path}/rates\.csv, {says}"):
        rates(tmp_path, text)


def test_rates_lie_beside_the_settings_and_need_the_shops_currency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.yaml").write_text("orders: {guests: [clicks_topic]}\n")
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "mine.yaml"))
    assert customs_of(OrdersSettings.load()) == Customs(None, frozenset((CLICKS_TOPIC,)))
    (tmp_path / "rates.csv").write_text(RATES)
    with pytest.raises(UserError, match=r"rates\.csv, but the setting 'orders\.currency' does not say which currency"):
        customs_of(OrdersSettings.load())
    monkeypatch.setenv("TILLWATCH_ORDERS_CURRENCY", "EUR")
    customs = customs_of(OrdersSettings.load())
    assert customs == Customs(rates(tmp_path), frozenset((CLICKS_TOPIC,)))
    # As executors get it: the same customs have one decoder.
    assert pickle.loads(pickle.dumps(customs)) == customs
    monkeypatch.setenv("TILLWATCH_ORDERS_CURRENCY", "euro")
    with pytest.raises(UserError, match=r"'orders\.currency' has the value 'euro'"):
        OrdersSettings.load()


@pytest.mark.parametrize("user", [None, "null", '""', '"  "'])
def test_a_guest_is_stored_where_a_shop_has_guests_and_else_missing(user: str | None) -> None:
    guests = Customs(guests=frozenset((ORDERS_TOPIC, CLICKS_TOPIC)))
    assert stored(ORDERS_TOPIC, payload(ORDER, user_id=user), guests).user_id == ""
    assert stored(CLICKS_TOPIC, payload(CLICK, user_id=user), guests).user_id == ""
    assert stored(ORDERS_TOPIC, payload(ORDER), guests) == stored(ORDERS_TOPIC, payload(ORDER), Customs())
    for customs in (Customs(), Customs(guests=frozenset((CLICKS_TOPIC,)))):
        found = judged(ORDERS_TOPIC, payload(ORDER, user_id=user), customs)
        assert isinstance(found, Rejected)
        assert (found.reason, found.field) == (Reason.MISSING_FIELD, "user_id")
    assert judged(ORDERS_TOPIC, payload(ORDER, order_id='""'), guests) == judged(
        ORDERS_TOPIC, payload(ORDER, order_id='""'), Customs()
    )
