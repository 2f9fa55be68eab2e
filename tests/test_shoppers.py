"""Simulated shoppers: the same seed gives the same events, and the shop behaves as its docstring says."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lakehouse.decode import EVENT_TYPES, Event, Headers, Message, Rejected, decode, event_time
from lakehouse.sinks import SinkDown, SinkError
from lakehouse.stop import Stop
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from producers.__main__ import _incident, _only
from producers.load import made_before, send_load
from producers.messages import message_value
from producers.options import topics_named, where_to
from producers.outages import Outage
from producers.pace import iso, send_filled, send_live
from producers.shop import CLICKS_TOPIC, ERRORS_TOPIC, ORDERS_TOPIC, REFUNDS_TOPIC
from producers.shoppers import Shop

Order, Click, ErrorEvent, Refund = (
    EVENT_TYPES[name] for name in (ORDERS_TOPIC, CLICKS_TOPIC, ERRORS_TOPIC, REFUNDS_TOPIC)
)
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
MINUTE = 60_000
HOUR = 60 * MINUTE


class Basket:
    """A sink that keeps what it gets, flush by flush."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, bytes | None, bytes]] = []
        self.flushes: list[list[tuple[str, bytes | None, bytes]]] = []
        self.refusals = 0
        self.refusal: SinkError = SinkError("The disk is full.")

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        assert value is not None
        self.waiting.append((topic, key, value))

    def flush(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise self.refusal
        if self.waiting:
            self.flushes.append(self.waiting)
            self.waiting = []

    def close(self) -> None:
        self.flush()

    @property
    def sent(self) -> list[tuple[str, bytes | None, bytes]]:
        return [message for flush in self.flushes for message in flush]


class FakeClock:
    """Time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.at = NOON.timestamp()
        self.set_by = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at + self.set_by

    def passed(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


def filled(shop: Shop, since_ms: int, until_ms: int) -> list[tuple[str, bytes | None, bytes]]:
    basket = Basket()
    send_filled(shop.messages(since_ms, until_ms), basket, Stop())
    return basket.sent


def events(shop: Shop, since_ms: int, until_ms: int) -> list[Event]:
    received_at = datetime.fromtimestamp(until_ms / 1000, UTC)
    found = []
    for topic, _, value in filled(shop, since_ms, until_ms):
        (event,) = decode(topic, Message(value, received_at), None)
        assert not isinstance(event, Rejected), event
        found.append(event)
    return found


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (filled(Shop(seed=seed), NOON_MS, NOON_MS + 5 * MINUTE) for seed in (7, 7, 8))
    assert first == again
    assert len(first) > 3000
    assert not {value for *_, value in first} & {value for *_, value in other}


def test_an_hour_is_the_same_wherever_a_run_begins() -> None:
    whole = filled(Shop(), NOON_MS, NOON_MS + 10 * MINUTE)
    parts = [
        message
        for begin, end in ((0, 123_456), (123_456, 7 * MINUTE), (7 * MINUTE, 10 * MINUTE))
        for message in filled(Shop(), NOON_MS + begin, NOON_MS + end)
    ]
    assert parts == whole


@pytest.mark.parametrize("rate", [0.5, 20, 3000])
def test_every_message_is_a_valid_event_in_order_of_time_with_an_id_of_its_own(rate: float) -> None:
    found = events(Shop(rate=rate, flat=True), NOON_MS, NOON_MS + max(2_000, int(2_000_000 / rate)))
    times = [event_time(event) for event in found]
    assert times == sorted(times)
    assert len({event.event_key for event in found}) == len(found)
    assert all(event.produced_at == event_time(event) for event in found)


def test_messages_of_one_person_or_service_share_a_key() -> None:
    for topic, key, value in filled(Shop(), NOON_MS, NOON_MS + MINUTE):
        fields = json.loads(value)
        assert key == fields[TOPICS[topic].message_key].encode()


def test_the_funnel_is_plausible() -> None:
    found = events(Shop(rate=20, flat=True, outages=False), NOON_MS, NOON_MS + HOUR)
    share = Counter(type(event) for event in found)
    assert 0.015 < share[Order] / len(found) < 0.03
    assert 0.88 < share[Click] / len(found) < 0.94
    assert 20 * 3600 * 0.97 < len(found) < 20 * 3600 * 1.03
    for minutes in (5, 60):
        begin = NOON + timedelta(minutes=60 - minutes)
        window = [event for event in found if event_time(event) >= begin]
        visitors = {event.user_id for event in window if isinstance(event, Click)}
        buyers = {event.user_id for event in window if isinstance(event, Order)} & visitors
        assert 0.02 < len(buyers) / len(visitors) < 0.06
    bad = sum(isinstance(event, ErrorEvent) and event.severity in ("ERROR", "FATAL") for event in found)
    assert 0.007 < bad / share[Click] < 0.013
    orders = [event for event in found if isinstance(event, Order)]
    assert 20 < sum(float(event.order_total) for event in orders) / len(orders) < 45
    statuses = Counter(event.status for event in orders)
    assert 0.02 < statuses["CANCELLED"] / len(orders) < 0.07
    assert len(statuses) == 5


def test_a_few_orders_that_were_made_are_paid_back_once_and_soon() -> None:
    outage = Outage("payments", NOON_MS + 10 * MINUTE, NOON_MS + 12 * MINUTE)
    found = events(Shop(rate=200, flat=True, outages=False, incidents=[outage]), NOON_MS, NOON_MS + HOUR // 2)
    orders = {event.order_id: event for event in found if isinstance(event, Order)}
    refunds = [event for event in found if isinstance(event, Refund)]
    began = NOON + timedelta(minutes=1)  # of those that were ordered before noon
    late = [refund for refund in refunds if refund.refund_ts >= began]
    assert 0.03 < len(late) / len(orders) < 0.05
    assert len({refund.order_id for refund in refunds}) == len(refunds)
    for refund in late:
        order = orders[refund.order_id]
        assert order.status != "CANCELLED"
        assert timedelta(seconds=5) <= refund.refund_ts - order.order_ts < timedelta(minutes=1)
        assert refund.amount in (order.order_total, order.price)
    assert any(refund.amount != orders[refund.order_id].order_total for refund in late)


def test_conversion_over_a_whole_day_stays_plausible() -> None:
    found = events(Shop(rate=0.5, outages=False), NOON_MS, NOON_MS + 24 * HOUR)
    visitors = {event.user_id for event in found if isinstance(event, Click)}
    buyers = {event.user_id for event in found if isinstance(event, Order)}
    assert 0.02 < len(buyers & visitors) / len(visitors) < 0.06
    assert 0.97 * 43_200 < len(found) < 1.03 * 43_200  # the day's mean is the rate


def test_visits_lead_to_carts_and_carts_to_orders() -> None:
    found = events(Shop(rate=10, outages=False), NOON_MS, NOON_MS + HOUR)
    seen: dict[str, list[str]] = defaultdict(list)
    checked = 0
    for event in found:
        if isinstance(event, Click):
            seen[event.user_id].append(event.url)
        elif isinstance(event, Order) and event_time(event) > NOON + timedelta(minutes=7):
            before = seen[event.user_id]
            assert "/checkout" in before
            assert "/cart" in before[: before.index("/checkout")]
            assert any(url.startswith("/product/") for url in before[: before.index("/cart")])
            checked += 1
    assert checked > 300
    pages = Counter(url for urls in seen.values() for url in urls)
    assert pages["/cart"] > pages["/checkout"] > pages["/thanks"] > 0


def test_people_keep_their_device_and_products_their_price_on_every_day() -> None:
    devices, prices, visits = defaultdict(set), defaultdict(set), Counter[str]()
    for day in range(3):
        for event in events(Shop(rate=2, flat=True), NOON_MS + day * 24 * HOUR, NOON_MS + day * 24 * HOUR + HOUR):
            if isinstance(event, Click):
                devices[event.user_id].add(event.device_type)
            elif isinstance(event, Order):
                prices[event.product_id].add(event.price)
        for user in list(devices):
            visits[user] += 1
    assert {len(each) for each in devices.values()} == {1}
    assert {len(each) for each in prices.values()} == {1}
    assert max(visits.values()) == 3  # they come back
    assert {device for each in devices.values() for device in each} == {"desktop", "mobile", "tablet"}


def test_evenings_are_busy_nights_are_quiet_and_flat_is_flat() -> None:
    def count(hour: int, **options: Any) -> int:
        midnight = NOON_MS - 12 * HOUR
        return len(filled(Shop(rate=5, outages=False, **options), midnight + hour * HOUR, midnight + (hour + 1) * HOUR))

    assert 7 < count(20) / count(3) < 11
    assert 0.95 < count(20, flat=True) / count(3, flat=True) < 1.05


def severities(shop: Shop, since_ms: int, until_ms: int, service: str | None = None) -> Counter[str]:
    return Counter(
        event.severity
        for event in events(shop, since_ms, until_ms)
        if isinstance(event, ErrorEvent) and service in (None, event.service_name)
    )


def test_fatal_errors_come_in_outages_only() -> None:
    assert severities(Shop(rate=5, outages=False), NOON_MS, NOON_MS + HOUR)["FATAL"] == 0
    shop = Shop(rate=0.5)
    outages = shop.outages(NOON_MS, NOON_MS + 12 * HOUR)
    assert 2 <= len(outages) <= 12
    fatal = [event for event in events(shop, NOON_MS, NOON_MS + 12 * HOUR) if isinstance(event, ErrorEvent)]
    fatal = [event for event in fatal if event.severity == "FATAL"]
    assert len(fatal) >= len(outages)
    for event in fatal:
        at = event_time(event).timestamp() * 1000
        assert any(each.service == event.service_name and each.start_ms <= at < each.end_ms for each in outages)


def test_an_incident_hits_its_service_at_once_and_in_bursts() -> None:
    incident = Outage("payments", NOON_MS + MINUTE, NOON_MS + MINUTE + 90_000)
    shop = Shop(outages=False, flat=True, incidents=[incident])
    before = severities(shop, NOON_MS, NOON_MS + MINUTE)
    during = severities(shop, NOON_MS + MINUTE, NOON_MS + MINUTE + 90_000, "payments")
    assert before["FATAL"] == 0
    assert during["FATAL"] >= 3
    assert during["ERROR"] > 40
    assert severities(shop, NOON_MS + MINUTE, NOON_MS + MINUTE + 2_000)["FATAL"] >= 1  # the first within 2 s
    assert severities(shop, NOON_MS + MINUTE, NOON_MS + 3 * MINUTE, "search")["FATAL"] == 0
    found = events(shop, NOON_MS + MINUTE, NOON_MS + MINUTE + 90_000)
    lines = [event for event in found if isinstance(event, ErrorEvent) and event.service_name == "payments"]
    assert len({event.error_message for event in lines}) > len(lines) * 0.8
    a_second = Counter(int(event_time(event).timestamp()) for event in lines)
    assert max(a_second.values()) >= 4 * len(lines) / 90


def test_people_cannot_buy_while_payments_are_down() -> None:
    span = (NOON_MS, NOON_MS + 5 * MINUTE)
    calm = Shop(rate=30, flat=True, outages=False)
    broken = Shop(rate=30, flat=True, outages=False, incidents=[Outage("payments", *span)])
    kept, usual = (
        {event.event_key: event for event in events(shop, *span) if isinstance(event, Order)} for shop in (broken, calm)
    )
    assert kept.keys() < usual.keys()
    assert len(kept) < 0.5 * len(usual)
    assert sum(event.status == "CANCELLED" for event in kept.values()) > 0.5 * len(kept)
    # All else goes on as it would have.
    clicks = [sum(isinstance(event, Click) for event in events(shop, *span)) for shop in (broken, calm)]
    assert 0.97 * clicks[1] < clicks[0] < clicks[1]


def test_incidents_are_read_from_the_command_line() -> None:
    assert _incident("payments@60s", NOON_MS) == Outage("payments", NOON_MS + 60_000, NOON_MS + 150_000)
    assert _incident("search@2min+5s", 0) == Outage("search", 120_000, 125_000)
    for wrong in ("payments", "paymets@60s", "payments@soon", "payments@60s+"):
        with pytest.raises(UserError, match="--incident is"):
            _incident(wrong, 0)


def test_bench_failures_come_on_time_each_from_another_service() -> None:
    shop = Shop(rate=5, outages=False, fatal_every_ms=2_000)
    since = NOON_MS + 1_234
    fatal = [
        event
        for event in events(shop, since, since + 21_000)
        if isinstance(event, ErrorEvent) and event.severity == "FATAL"
    ]
    assert [event.service_name for event in fatal] == [f"bench-{number:04d}" for number in range(1, 11)]
    assert [event_time(event).timestamp() * 1000 for event in fatal] == [since + 2_000 * n for n in range(1, 11)]


def live(shop: Shop, seconds: float, basket: Basket | None = None) -> tuple[Basket, FakeClock]:
    basket, clock = basket or Basket(), FakeClock()
    send_live(shop.messages(NOON_MS), basket, clock, Stop(), clock.at + seconds)
    return basket, clock


def test_live_events_are_sent_when_their_time_has_come_in_small_batches() -> None:
    basket, clock = live(Shop(rate=200, flat=True, outages=False), 30)
    assert 0.9 * 200 * 30 < len(basket.sent) < 1.1 * 200 * 30
    assert max(map(len, basket.flushes)) < 60  # 20 on average: never a second's worth at once
    assert max(clock.slept) <= 0.1001
    for topic, _, value in basket.sent:
        (event,) = decode(topic, Message(value, NOON + timedelta(minutes=1)), None)
        assert not isinstance(event, Rejected)
        assert event.produced_at is not None
        assert timedelta(0) <= event.produced_at - event_time(event) <= timedelta(seconds=0.11)


def test_live_runs_of_one_seed_are_equal_to_the_byte_and_equal_a_filled_span_but_for_produced_at() -> None:
    first, _ = live(Shop(seed=3), 20)
    again, _ = live(Shop(seed=3), 20)
    assert first.flushes == again.flushes

    def without(messages: list[tuple[str, bytes | None, bytes]]) -> Iterator[bytes]:
        return (value.split(b',"produced_at"')[0] for *_, value in messages)

    past = filled(Shop(seed=3), NOON_MS, NOON_MS + 20_000)
    assert list(without(first.sent)) == list(without(past))[: len(first.sent)]
    assert len(past) - len(first.sent) < 20  # what belongs to the last tenth of a second


def test_a_machine_that_slept_does_not_flood_the_shop(caplog: pytest.LogCaptureFixture) -> None:
    class Lid(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(600 if len(self.slept) == 50 else seconds)

    basket, clock = Basket(), Lid()
    send_live(Shop(rate=20, flat=True, outages=False).messages(NOON_MS), basket, clock, Stop(), clock.at + 615)
    assert max(map(len, basket.flushes)) < 6 * 20 * 1.5
    assert "late" in caplog.text


def test_a_sink_that_refuses_is_tried_again_and_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    basket = Basket()
    basket.refusals = 3
    live(Shop(seed=3), 10, basket)
    assert caplog.text.count("The disk is full.") == 1
    calm, _ = live(Shop(seed=3), 10)
    assert {value.split(b',"produced_at"')[0] for *_, value in basket.sent} == {
        value.split(b',"produced_at"')[0] for *_, value in calm.sent
    }


def test_a_signal_ends_a_run_after_the_batch_in_hand() -> None:
    stop = Stop()

    class Signalled(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if len(self.slept) == 20:
                stop.set()

    clock = Signalled()
    basket = Basket()
    send_live(Shop().messages(NOON_MS), basket, clock, stop, None)
    assert 1.9 < clock.at - NOON.timestamp() < 2.1
    assert basket.waiting == []


def test_produced_at_stands_last_in_every_message() -> None:
    message = next(batch[0] for batch in Shop().messages(NOON_MS) if batch)
    value = json.loads(message_value(message, iso(NOON.timestamp())))
    assert list(value)[-1] == "produced_at"
    assert value["produced_at"] == "2026-11-23T12:00:00.000Z"
    assert message[2] in TOPICS
    assert {ORDERS_TOPIC, CLICKS_TOPIC, ERRORS_TOPIC, REFUNDS_TOPIC} == set(TOPICS)


def test_one_command_for_each_topic_sends_what_one_for_all_sends() -> None:
    span = NOON_MS, NOON_MS + 10 * MINUTE
    whole, parts = Basket(), Basket()
    send_filled(Shop(rate=5).messages(*span), whole, Stop())
    for topic in TOPICS:
        send_filled(_only(Shop(rate=5).messages(*span), (topic,)), parts, Stop())
    assert sorted(parts.sent) == sorted(whole.sent)
    assert parts.sent != whole.sent
    assert topics_named("--topics", ["clicks_topic, orders_topic", "errors_topic"]) == (
        CLICKS_TOPIC,
        ORDERS_TOPIC,
        ERRORS_TOPIC,
    )
    with pytest.raises(UserError, match="--topics is 'clicks'; expected one of orders_topic, clicks_topic"):
        topics_named("--topics", ["clicks"])


def test_filling_waits_for_a_sink_that_is_away_but_not_for_a_full_disk() -> None:
    span = NOON_MS, NOON_MS + MINUTE
    basket, clock = Basket(), FakeClock()
    basket.refusals, basket.refusal = 3, SinkDown("Kafka is away.")
    assert send_filled(Shop(rate=5).messages(*span), basket, Stop(), clock) == len(basket.sent) > 0
    assert clock.slept == [1.0] * 3
    basket.refusals, basket.refusal = 1, SinkError("The disk is full.")
    with pytest.raises(SinkError, match="full"):
        send_filled(Shop(rate=5).messages(*span), basket, Stop(), clock)


def test_brokers_are_another_word_for_a_sink() -> None:
    assert where_to(None, None) == "log"
    assert where_to("kafka", None) == "kafka"
    assert where_to(None, "a:9092,b:9092") == "kafka://a:9092,b:9092"
    with pytest.raises(UserError, match="give one of them"):
        where_to("log", "a:9092")


def test_load_sends_what_was_made_before_as_new_events_of_now_at_the_rate_asked_for() -> None:
    clock, basket = FakeClock(), Basket()
    messages = made_before(1, (ORDERS_TOPIC, CLICKS_TOPIC))[:100]
    sent = send_load(messages, basket, clock, Stop(), 500, 1000, "l-1")
    assert sent == len(basket.sent) == 1000
    assert max(map(len, basket.flushes)) <= 51
    found = []
    for topic, _, value in basket.sent:
        (event,) = decode(topic, Message(value, NOON + timedelta(seconds=2)), None)
        assert not isinstance(event, Rejected), event
        found.append(event)
    assert len({event.event_key for event in found}) == 1000
    for event in found:
        assert event_time(event) == event.produced_at
        assert NOON <= event_time(event) <= NOON + timedelta(seconds=2)
    assert Counter(topic for topic, *_ in basket.sent)[CLICKS_TOPIC] > 500
    # Each as it was made: who, what and where are those of the shop.
    assert {event.user_id for event in found} == {json.loads(m[4] + b"}")["user_id"] for m in messages}


@pytest.mark.parametrize("by", [-3600.0, 3600.0], ids=["an hour back", "an hour ahead"])
def test_a_clock_that_is_set_neither_stops_nor_hurries_what_is_sent_at_a_pace(by: float) -> None:
    class Set(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            self.set_by = by if len(self.slept) >= 5 else 0.0

    clock, basket = Set(), Basket()
    messages = made_before(1, (ORDERS_TOPIC, CLICKS_TOPIC))[:100]
    assert send_load(messages, basket, clock, Stop(), 500, 1000, "l-1") == 1000
    assert max(map(len, basket.flushes)) <= 51
    assert 1.8 < clock.at - NOON.timestamp() < 2.2
    clock, basket = Set(), Basket()
    sent = send_filled(Shop().messages(NOON_MS, NOON_MS + MINUTE), basket, Stop(), clock, at_most=500)
    assert sent / 500 - 0.2 <= clock.at - NOON.timestamp() <= sent / 500 + 0.2


def test_the_past_is_sent_no_faster_than_asked_for() -> None:
    clock, basket = FakeClock(), Basket()
    sent = send_filled(Shop().messages(NOON_MS, NOON_MS + 5 * MINUTE), basket, Stop(), clock, at_most=500)
    assert sent == len(basket.sent) > 3000
    assert max(map(len, basket.flushes)) == 50
    assert sent / 500 - 0.2 <= clock.at - NOON.timestamp() <= sent / 500 + 0.2
