"""Orders and refunds in other currencies than the shop's, and of guests: what is stored of them, and what is not."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.decode import Customs, Event, Message, Reason, Rejected, decode, decode_carefully
from lakehouse.decode.fast import reader
from lakehouse.decode.values import EXACT, SCALES, rounded
from lakehouse.rates import Rates, read_rates
from lakehouse.settings.rates import load_rates
from lakehouse.settings.shop import OrdersSettings
from lakehouse.sources import document_of, load_sources, sources_of
from lakehouse.topics import TOPICS, FieldKind
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
    tiny = stored(ORDERS_TOPIC, payload(ORDER, order_total="0.005", currency='"usd"'), Customs(rates(tmp_path)))
    # 0.005 x 0.90001 is 0.0045…; rounded before, it would be 0.01 x 0.90001 = 0.01.
    assert (tiny.order_total, tiny.original_total) == (Decimal("0.00"), Decimal("0.01"))
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


_AMOUNTS = st.from_regex(r"(0|[1-9][0-9]{0,13})(\.[0-9]{1,8})?", fullmatch=True)


@settings(max_examples=200, deadline=None)
@given(
    st.decimals("0.0000001", "1000000", allow_nan=False), _AMOUNTS, st.none() | _AMOUNTS,
    st.sampled_from(['"USD"', '"usd"', '"EUR"', '"CHF"', '" "', "null", "7"]), st.sampled_from(["11-23", "11-02"]),
)  # fmt: skip
def test_both_ways_of_reading_convert_alike(
    rate: Decimal, price: str, total: str | None, currency: str, day: str
) -> None:
    customs = Customs(Rates("EUR", WEEK, str(rate), {"USD": [date(2026, 11, 20)]}, {"USD": [rate]}))
    value = payload(
        ORDER, price=price, order_total=total, currency=currency, order_time=f'"2026-{day}T09:14:05Z"', quantity="3"
    )
    found = judged(ORDERS_TOPIC, value, customs)
    assert (found,) == decode_carefully(ORDERS_TOPIC, Message(value, NOW), None, customs)
    if isinstance(found, Event) and currency == '"USD"':
        exact = Decimal(total) if total else 3 * Decimal(price)
        assert found.order_total == rounded(EXACT.multiply(exact, rate), SCALES[FieldKind.MONEY])


def test_a_currency_that_is_named_is_read_the_fast_way(tmp_path: Path) -> None:
    read = reader(TOPICS[ORDERS_TOPIC], Customs(rates(tmp_path)))
    for currency in ('"USD"', '"EUR"', "null", None):
        assert read(payload(ORDER, currency=currency)) is not None


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
    (tmp_path / "mine.yaml").write_text("")
    monkeypatch.setenv("TILLWATCH_CONFIG", str(tmp_path / "mine.yaml"))
    assert load_rates() is None
    (tmp_path / "rates.csv").write_text(RATES)
    with pytest.raises(UserError, match=r"rates\.csv, but the setting 'orders\.currency' does not say which currency"):
        load_rates()
    monkeypatch.setenv("TILLWATCH_ORDERS_CURRENCY", "EUR")
    assert load_rates() == rates(tmp_path)
    # As executors get them: the same rates have one decoder.
    assert pickle.loads(pickle.dumps(load_rates())) == rates(tmp_path)
    assert pickle.loads(pickle.dumps(load_sources())) is load_sources()
    monkeypatch.setenv("TILLWATCH_ORDERS_CURRENCY", "euro")
    with pytest.raises(UserError, match=r"'orders\.currency' has the value 'euro'"):
        OrdersSettings.load()


MAPPED = """
web_shop:
  topic: orders_topic
  guests: true
  map:
    order_id: id
    user_id: customer.id
    product_id: sku
    quantity: n
    price: {path: cents, minor: 2}
    currency: money
    status: {value: CREATED}
    order_time: at
"""
ELSEWHERE = {"id": "7", "sku": "cup", "n": 2, "cents": 999, "money": "USD", "at": "2026-11-23T10:00:00Z"}


def test_a_source_names_currencies_and_has_guests(tmp_path: Path) -> None:
    read = sources_of(MAPPED, "sources.yaml", rates(tmp_path)).named("web_shop").read
    for more in (
        {},
        {"x": "\ud83d\ude00"},
        {"customer": None},
        {"customer": {"id": " "}},
    ):  # the fast way, and the other
        (event,) = read(json.dumps({**ELSEWHERE, **more}).encode(), ())
        assert isinstance(event, Event), event
        assert (event.user_id, event.order_total, event.original_total) == ("", Decimal("17.98"), Decimal("19.98"))
    (ours,) = read(json.dumps({**ELSEWHERE, "money": None, "customer": {"id": 5}}).encode(), ())
    assert isinstance(ours, Event)
    assert (ours.user_id, ours.order_total, ours.original_currency) == ("5", Decimal("19.98"), None)
    (bad,) = read(json.dumps({**ELSEWHERE, "money": "CHF"}).encode(), ())
    assert bad == Rejected(Reason.BAD_VALUE, "currency (money) is CHF, of which rates.csv has no rate", "currency")
    with pytest.raises(UserError, match=r"line 3, 'errors_topic': 'guests' goes with topics that have a user"):
        sources_of("\nerrors_topic:\n  guests: true\n", "sources.yaml")


def test_who_sends_events_on_as_messages_converts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(MAPPED)
    (event,) = load_sources(path, as_given=True).named("web_shop").read(json.dumps(ELSEWHERE).encode())
    assert isinstance(event, Event)
    document = document_of(event)
    assert document["currency"] == "USD"
    again = stored(ORDERS_TOPIC, msgspec.json.encode(document | {"user_id": "ada"}), Customs(rates(tmp_path)))
    (direct,) = sources_of(MAPPED, "x", rates(tmp_path)).named("web_shop").read(json.dumps(ELSEWHERE).encode())
    assert isinstance(direct, Event)
    assert (again.order_total, again.event_key) == (direct.order_total, direct.event_key)


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
