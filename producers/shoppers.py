"""Simulated people in a simulated shop: visits lead to carts, carts to orders, and services log what happens.

What a reader of the data sees, at any rate (tests hold it to this):
- 2 to 6 % of the people who click also order; an order costs about 30; some 2 % of all events are orders, 91 % clicks.
- Errors (ERROR, FATAL) are about 1 % of clicks. FATAL comes in outages only: about every second hour one service
  fails for 1 to 4 minutes and logs in bursts. While payments or checkout fail, most orders fail with them.
- The day curve: 20:00 to 21:00 (UTC) sees nine times as many people as 03:00 to 04:00; --rate is the day's mean.
- Of the orders that are not cancelled one in 25 is paid back, whole or a piece of it, within a minute.
- A person keeps id, device and habits over visits, a product its price.

Events are a function of seed, rate and time: whoever asks for 12:00 to 13:00 gets the same events, with the same
event_id, whether the run began at 11:59 or a week before. Time is cut into slices with a random generator each, and
a run begins by living through the last minutes before its start, so people are in the shop from its first second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

from producers import shop
from producers.event_rows import (
    BENCH,
    CLICK,
    ERROR,
    KIND,
    NUMBER,
    ORDER,
    ORIGIN,
    REFUND,
    TIME,
    B,
    C,
    D,
    Rows,
    chance_table,
    cumulative,
    drawn,
    numbers,
    put,
    rows_of,
)
from producers.messages import Message, messages_of
from producers.outages import Outage, lines_of
from producers.shop import STATUSES

_HOME, _CATEGORY, _SEARCH, _PRODUCT, _CART, _CHECKOUT, _THANKS = range(7)
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
# From one page to the next; the longest visit is the most pages a persona opens, each at the longest pause.
_PAUSE_MS, _MORE_PAUSE_MS, _LONGEST_PAUSE_MS = 3_000, 12_000, 24_000
_LONGEST_VISIT_MS = (max(len(persona.views) for persona in shop.PERSONAS) + 3) * _LONGEST_PAUSE_MS
# A wrong size, a second thought: who pays back later than that belongs to another shop.
_SOONEST_REFUND_MS, _LATEST_REFUND_MS = 5_000, 60_000
_EVENTS_A_SLICE = 2_000
_OUTAGES_AN_HOUR = 0.5
_PERSONA = cumulative([persona.visits for persona in shop.PERSONAS])
_VIEWS = chance_table([persona.views for persona in shop.PERSONAS])
_LANDS_ON = chance_table([persona.lands_on for persona in shop.PERSONAS])
_DEVICES = chance_table([persona.devices for persona in shop.PERSONAS])
_FILLS_CART = np.array([persona.fills_cart for persona in shop.PERSONAS])
_BUYS = np.array([persona.buys for persona in shop.PERSONAS])
_BROWSES_TO = cumulative((0.05, 0.30, 0.20, 0.45))
_BASKET = cumulative(shop.BASKET)
_QUANTITY = cumulative(shop.QUANTITY)
_STATUS = cumulative(shop.STATUS)
_SERVICE = cumulative(shop.SERVICE_SHARE)
_SEVERITY = cumulative(shop.SEVERITY)
_CANCELLED = STATUSES.index("CANCELLED")
# Sales fall off from the best seller, as in most shops.
_WEIGHTS = [1 / (4 + place) for place in range(len(shop.PRODUCTS))]
_POPULARITY = cumulative([weight / sum(_WEIGHTS) for weight in _WEIGHTS])
_CURVE = np.array(shop.HOURS) / np.mean(shop.HOURS)


def busyness(time_ms: float) -> float:
    """How busy the shop is at a time of day (UTC), the day's mean being 1."""
    hour = (time_ms % _DAY_MS) / _HOUR_MS - 0.5
    before = int(np.floor(hour))
    part = hour - before
    return float((1 - part) * _CURVE[before % 24] + part * _CURVE[(before + 1) % 24])


def _events_a_visit() -> float:
    """Mean number of clicks and orders that one visit makes, without outages."""
    mean = 0.0
    for persona in shop.PERSONAS:
        views = sum(count * chance for count, chance in enumerate(persona.views, start=1))
        buys = persona.fills_cart * persona.buys
        at_checkout = buys + (persona.fills_cart - buys) * shop.GIVES_UP_AT_CHECKOUT
        orders = buys * sum(count * chance for count, chance in enumerate(shop.BASKET, start=1))
        mean += persona.visits * (views + persona.fills_cart + at_checkout + buys + orders)
    return mean


class Shop:
    """All events of a shop, asked for by time.

    rate is the mean number of events a second over a day, of all topics. `incidents` are outages on top of the
    shop's own (`outages`), fatal_every_ms makes one FATAL each so many ms, of another service each time.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        rate: float = 20.0,
        flat: bool = False,
        outages: bool = True,
        incidents: Sequence[Outage] = (),
        fatal_every_ms: int | None = None,
    ) -> None:
        self._seed = seed
        self._rate = rate
        self._flat = flat
        self._own_outages = outages
        self._incidents = tuple(incidents)
        self._fatal_every_ms = fatal_every_ms
        self._slice_ms = int(min(60.0, max(1.0, _EVENTS_A_SLICE / rate)) * 1000)
        self.errors_a_s = rate * shop.ERROR_SHARE
        self.visits_a_s = rate * (1 - shop.ERROR_SHARE) / _events_a_visit()
        members = [
            max(10, round(self.visits_a_s * 86_400 * persona.visits / persona.visits_a_day))
            for persona in shop.PERSONAS
        ]
        self._members = np.array(members)
        self._first_member = np.cumsum(self._members) - self._members
        # Shops of another seed or rate are other shops: their ids must differ.
        self._mark = blake2b(f"{seed} {rate} {flat}".encode(), digest_size=2).hexdigest()

    def messages(self, since_ms: int, until_ms: int | None = None) -> Iterator[list[Message]]:
        """Events with since <= time < until in order of time, one list a slice (at most 60 s long); without an end
        for until_ms None. A list is worked out when it is asked for.
        """
        waiting: dict[int, list[Rows]] = defaultdict(list)
        index = (since_ms - _LONGEST_VISIT_MS - _LATEST_REFUND_MS) // self._slice_ms
        while until_ms is None or index * self._slice_ms < until_ms:
            for rows in (self._visits(index), self._log_lines(index)):
                put(waiting, rows, self._slice_ms)
            start = index * self._slice_ms
            due = waiting.pop(index, [])
            index += 1
            if start + self._slice_ms <= since_ms:
                continue
            due += self._outage_lines(start, start + self._slice_ms)
            due += self._bench_lines(since_ms, start, start + self._slice_ms)
            yield self._encoded(due, since_ms, until_ms)

    def outages(self, since_ms: int, until_ms: int) -> list[Outage]:
        """Outages that overlap [since, until), the shop's own and the incidents asked for."""
        found = list(self._incidents)
        if self._own_outages:
            for hour in range(since_ms // _HOUR_MS - 1, until_ms // _HOUR_MS + 1):
                rng = np.random.default_rng((self._seed, hour, 2))
                if rng.random() < _OUTAGES_AN_HOUR:
                    service = shop.SERVICES[int(np.searchsorted(_SERVICE, rng.random(), side="right"))]
                    start = hour * _HOUR_MS + int(rng.integers(_HOUR_MS))
                    found.append(Outage(service, start, start + int(rng.integers(60_000, 240_000))))
        return [outage for outage in found if outage.start_ms < until_ms and since_ms < outage.end_ms]

    def _expected(self, index: int, a_second: float) -> float:
        busy = 1.0 if self._flat else busyness((index + 0.5) * self._slice_ms)
        return a_second * busy * self._slice_ms / 1000

    def _visits(self, index: int) -> Rows:
        """Clicks and orders of all visits that begin in a slice.

        1. Who comes, when, and with what in mind.  2. Their pages, one after the other.  3. What they buy.
        4. What fails while payments or checkout are down.
        """
        rng = np.random.default_rng((self._seed, index, 0))
        count = int(rng.poisson(self._expected(index, self.visits_a_s)))
        start = index * self._slice_ms + rng.integers(self._slice_ms, size=count)
        persona = np.searchsorted(_PERSONA, rng.random(count), side="right")
        user = self._first_member[persona] + (rng.random(count) * self._members[persona]).astype(np.int64)
        # A person's device hangs on the person, not on the visit.
        device = drawn(_DEVICES, persona, (user * 2_654_435_761 % 2**32) / 2**32)
        views = 1 + drawn(_VIEWS, persona, rng.random(count))
        carts = rng.random(count) < _FILLS_CART[persona]
        buys = carts & (rng.random(count) < _BUYS[persona])
        at_checkout = buys | (carts & (rng.random(count) < shop.GIVES_UP_AT_CHECKOUT))

        steps = views + carts + at_checkout + buys
        first = np.cumsum(steps) - steps
        visit = np.repeat(np.arange(count), steps)
        step = np.arange(len(visit)) - first[visit]
        pause = _PAUSE_MS + rng.exponential(_MORE_PAUSE_MS, len(visit)).astype(np.int64)
        pause = np.minimum(pause, _LONGEST_PAUSE_MS)
        pause[step == 0] = 0
        elapsed = np.cumsum(pause)
        clicked = start[visit] + elapsed - elapsed[first[visit]]
        page = np.searchsorted(_BROWSES_TO, rng.random(len(visit)), side="right")
        page[step == 0] = drawn(_LANDS_ON, persona, rng.random(count))
        page[(step == views[visit] - 1) & carts[visit]] = _PRODUCT  # nobody carts what they have not seen
        after = step - views[visit]
        page = np.where(after >= 0, _CART + after, page)
        product = np.searchsorted(_POPULARITY, rng.random(len(visit)), side="right")

        buyer = np.flatnonzero(buys)
        lines = 1 + np.searchsorted(_BASKET, rng.random(len(buyer)), side="right")
        line_of = np.repeat(np.arange(len(buyer)), lines)
        line = np.arange(len(line_of)) - (np.cumsum(lines) - lines)[line_of]
        ordering = buyer[line_of]
        ordered = clicked[first[ordering] + steps[ordering] - 1] - 200 - rng.integers(1_000, size=len(buyer))[line_of]
        seen = product[first[ordering] + views[ordering] - 1]
        other = np.searchsorted(_POPULARITY, rng.random(len(line)), side="right")
        quantity = 1 + np.searchsorted(_QUANTITY, rng.random(len(line)), side="right")
        status = np.searchsorted(_STATUS, rng.random(len(line)), side="right")
        luck = rng.random(count)

        clicks = rows_of(CLICK, index, clicked, user[visit], device[visit], page, product)
        orders = rows_of(
            ORDER, index, ordered + line, user[ordering], np.where(line == 0, seen, other), quantity, status
        )
        span = (index * self._slice_ms, (index + 1) * self._slice_ms + _LONGEST_VISIT_MS)
        for outage in self.outages(*span):
            if outage.service in shop.STOPS_ORDERS and len(orders):
                down = (orders[:, TIME] >= outage.start_ms) & (orders[:, TIME] < outage.end_ms)
                orders[down & (luck[ordering] > 0.75), D] = _CANCELLED
                lost = np.zeros(count, dtype=bool)
                lost[ordering[down & (luck[ordering] < 0.65)]] = True
                orders, ordering = orders[~lost[ordering]], ordering[~lost[ordering]]
                kept = ~(lost[visit] & (clicks[:, C] == _THANKS))
                clicks, visit = clicks[kept], visit[kept]
        return np.concatenate((clicks, orders, self._refunds(index, orders)))

    def _refunds(self, index: int, orders: Rows) -> Rows:
        """What is paid back of the orders of a slice's visits. A refund has its order's number."""
        rng = np.random.default_rng((self._seed, index, 3))
        # Drawn for each number, so that an order's refund hangs on nothing else.
        count = int(orders[:, NUMBER].max(initial=-1)) + 1
        luck, later = rng.random(count), rng.integers(_SOONEST_REFUND_MS, _LATEST_REFUND_MS, size=count)
        back = orders[(luck[orders[:, NUMBER]] < shop.REFUNDED) & (orders[:, D] != _CANCELLED)]
        pieces = np.where(luck[back[:, NUMBER]] < shop.REFUNDED / 4, 1, back[:, C])
        refunds = rows_of(REFUND, index, back[:, TIME] + later[back[:, NUMBER]], back[:, B], pieces)
        refunds[:, NUMBER] = back[:, NUMBER]
        return refunds

    def _log_lines(self, index: int) -> Rows:
        """What the services log in a slice on a good day."""
        rng = np.random.default_rng((self._seed, index, 1))
        count = int(rng.poisson(self._expected(index, self.errors_a_s)))
        time = index * self._slice_ms + rng.integers(self._slice_ms, size=count)
        service = np.searchsorted(_SERVICE, rng.random(count), side="right")
        severity = np.searchsorted(_SEVERITY, rng.random(count), side="right")
        return rows_of(ERROR, index, time, service, severity, rng.integers(1_000, size=count), numbers(rng, count))

    def _outage_lines(self, since_ms: int, until_ms: int) -> list[Rows]:
        lines = []
        for outage in self.outages(since_ms, until_ms):
            rows = lines_of(outage, self._seed, self._rate)
            lines.append(rows[(rows[:, TIME] >= since_ms) & (rows[:, TIME] < until_ms)])
        return lines

    def _bench_lines(self, began_ms: int, since_ms: int, until_ms: int) -> list[Rows]:
        if self._fatal_every_ms is None:
            return []
        first = max(1, -((began_ms - since_ms) // self._fatal_every_ms))
        number = np.arange(first, max(first, -((began_ms - until_ms) // self._fatal_every_ms)))
        return [rows_of(BENCH, began_ms, began_ms + number * self._fatal_every_ms, number)]

    def _encoded(self, due: list[Rows], since_ms: int, until_ms: int | None) -> list[Message]:
        if not due:
            return []
        rows = np.concatenate(due)
        wanted = rows[:, TIME] >= since_ms
        if until_ms is not None:
            wanted &= rows[:, TIME] < until_ms
        rows = rows[wanted]
        rows = rows[np.lexsort((rows[:, NUMBER], rows[:, ORIGIN], rows[:, KIND], rows[:, TIME]))]
        return messages_of(rows, self._mark)
