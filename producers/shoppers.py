"""Simulated people in a simulated shop: visits lead to carts, carts to orders, and services log what happens.

What a reader of the data sees, at any rate (tests hold it to this):
- 2 to 6 % of the people who click also order; an order costs about 30; some 2 % of all events are orders, 91 % clicks.
- Errors (ERROR, FATAL) are about 1 % of clicks. FATAL comes in outages only: about every second hour one service
  fails for 1 to 4 minutes and logs in bursts. While payments or checkout fail, most orders fail with them.
- The day curve: 20:00 to 21:00 (UTC) sees nine times as many people as 03:00 to 04:00; --rate is the day's mean.
- A person keeps id, device and habits over visits, a product its price.

Events are a function of seed, rate and time: whoever asks for 12:00 to 13:00 gets the same events, with the same
event_id, whether the run began at 11:59 or a week before. Time is cut into slices with a random generator each, and
a run begins by living through the last minutes before its start, so people are in the shop from its first second.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import msgspec
import numpy as np
from numpy.typing import NDArray

from producers import shop
from producers.shop import CLICKS_TOPIC, DEVICE_TYPES, ERRORS_TOPIC, ORDERS_TOPIC, SEVERITIES, STATUSES

type Message = tuple[int, str, str, bytes, bytes]
"""Event time (ms since 1970, UTC), the same as ISO 8601, topic, key, and the JSON text without its closing brace."""

type _Rows = NDArray[np.int64]
_TIME, _KIND, _ORIGIN, _NUMBER, _A, _B, _C, _D = range(8)
_CLICK, _ORDER, _ERROR, _BENCH = range(4)
_HOME, _CATEGORY, _SEARCH, _PRODUCT, _CART, _CHECKOUT, _THANKS = range(7)

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS

# From one page to the next; the longest visit is the most pages a persona opens, each at the longest pause.
_PAUSE_MS, _MORE_PAUSE_MS, _LONGEST_PAUSE_MS = 3_000, 12_000, 24_000
_LONGEST_VISIT_MS = (max(len(persona.views) for persona in shop.PERSONAS) + 3) * _LONGEST_PAUSE_MS

_EVENTS_A_SLICE = 2_000
_OUTAGES_AN_HOUR = 0.5
_BURST_EVERY_MS = 4_000


@dataclass(frozen=True)
class Outage:
    """One service fails from start to end (ms since 1970, UTC; end excluded)."""

    service: str
    start_ms: int
    end_ms: int


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


class _Error(msgspec.Struct, gc=False):
    error_id: str
    service_name: str
    error_message: str
    severity: str
    error_time: str
    event_id: str


_encode = msgspec.json.Encoder().encode


def _cumulative(chances: Sequence[float]) -> NDArray[np.float64]:
    """Bounds for searchsorted; the last is above every random number."""
    bounds = np.cumsum(np.asarray(chances, dtype=np.float64))
    bounds[-1] = 2.0
    return bounds


def _table(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Cumulative chances, one row a persona, filled up to the longest."""
    table = np.full((len(rows), max(map(len, rows))), 2.0)
    for row, chances in zip(table, rows, strict=True):
        row[: len(chances)] = _cumulative(chances)
    return table


def _drawn(table: NDArray[np.float64], which: _Rows, luck: NDArray[np.float64]) -> _Rows:
    """For each luck the index it falls on in its row of the table."""
    return (luck[:, None] >= table[which]).sum(axis=1)


_PERSONA = _cumulative([persona.visits for persona in shop.PERSONAS])
_VIEWS = _table([persona.views for persona in shop.PERSONAS])
_LANDS_ON = _table([persona.lands_on for persona in shop.PERSONAS])
_DEVICES = _table([persona.devices for persona in shop.PERSONAS])
_FILLS_CART = np.array([persona.fills_cart for persona in shop.PERSONAS])
_BUYS = np.array([persona.buys for persona in shop.PERSONAS])
_BROWSES_TO = _cumulative((0.05, 0.30, 0.20, 0.45))
_BASKET = _cumulative(shop.BASKET)
_QUANTITY = _cumulative(shop.QUANTITY)
_STATUS = _cumulative(shop.STATUS)
_SERVICE = _cumulative(shop.SERVICE_SHARE)
_SEVERITY = _cumulative(shop.SEVERITY)
_OUTAGE_SEVERITY = _cumulative(shop.OUTAGE_SEVERITY)
_CANCELLED = STATUSES.index("CANCELLED")
_FATAL = SEVERITIES.index("FATAL")
# Sales fall off from the best seller, as in most shops.
_WEIGHTS = [1 / (4 + place) for place in range(len(shop.PRODUCTS))]
_POPULARITY = _cumulative([weight / sum(_WEIGHTS) for weight in _WEIGHTS])


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


_CURVE = np.array(shop.HOURS) / np.mean(shop.HOURS)


def busyness(time_ms: float) -> float:
    """How busy the shop is at a time of day (UTC), the day's mean being 1."""
    hour = (time_ms % _DAY_MS) / _HOUR_MS - 0.5
    before = int(np.floor(hour))
    part = hour - before
    return float((1 - part) * _CURVE[before % 24] + part * _CURVE[(before + 1) % 24])


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@lru_cache(maxsize=4096)
def _base36(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text or "0"


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
        waiting: dict[int, list[_Rows]] = defaultdict(list)
        index = (since_ms - _LONGEST_VISIT_MS) // self._slice_ms
        while until_ms is None or index * self._slice_ms < until_ms:
            for rows in (self._visits(index), self._log_lines(index)):
                _put(waiting, rows, self._slice_ms)
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

    def _visits(self, index: int) -> _Rows:
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
        device = _drawn(_DEVICES, persona, (user * 2_654_435_761 % 2**32) / 2**32)
        views = 1 + _drawn(_VIEWS, persona, rng.random(count))
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
        page[step == 0] = _drawn(_LANDS_ON, persona, rng.random(count))
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

        clicks = _rows(_CLICK, index, clicked, user[visit], device[visit], page, product)
        orders = _rows(
            _ORDER, index, ordered + line, user[ordering], np.where(line == 0, seen, other), quantity, status
        )
        span = (index * self._slice_ms, (index + 1) * self._slice_ms + _LONGEST_VISIT_MS)
        for outage in self.outages(*span):
            if outage.service in shop.STOPS_ORDERS and len(orders):
                down = (orders[:, _TIME] >= outage.start_ms) & (orders[:, _TIME] < outage.end_ms)
                orders[down & (luck[ordering] > 0.75), _D] = _CANCELLED
                lost = np.zeros(count, dtype=bool)
                lost[ordering[down & (luck[ordering] < 0.65)]] = True
                orders, ordering = orders[~lost[ordering]], ordering[~lost[ordering]]
                kept = ~(lost[visit] & (clicks[:, _C] == _THANKS))
                clicks, visit = clicks[kept], visit[kept]
        return np.concatenate((clicks, orders))

    def _log_lines(self, index: int) -> _Rows:
        """What the services log in a slice on a good day."""
        rng = np.random.default_rng((self._seed, index, 1))
        count = int(rng.poisson(self._expected(index, self.errors_a_s)))
        time = index * self._slice_ms + rng.integers(self._slice_ms, size=count)
        service = np.searchsorted(_SERVICE, rng.random(count), side="right")
        severity = np.searchsorted(_SEVERITY, rng.random(count), side="right")
        return _rows(_ERROR, index, time, service, severity, rng.integers(1_000, size=count), _numbers(rng, count))

    def _outage_lines(self, since_ms: int, until_ms: int) -> list[_Rows]:
        lines = []
        for outage in self.outages(since_ms, until_ms):
            rows = _lines_of(outage, self._seed, self._rate)
            lines.append(rows[(rows[:, _TIME] >= since_ms) & (rows[:, _TIME] < until_ms)])
        return lines

    def _bench_lines(self, began_ms: int, since_ms: int, until_ms: int) -> list[_Rows]:
        if self._fatal_every_ms is None:
            return []
        first = max(1, -((began_ms - since_ms) // self._fatal_every_ms))
        number = np.arange(first, max(first, -((began_ms - until_ms) // self._fatal_every_ms)))
        return [_rows(_BENCH, began_ms, began_ms + number * self._fatal_every_ms, number)]

    def _encoded(self, due: list[_Rows], since_ms: int, until_ms: int | None) -> list[Message]:
        if not due:
            return []
        rows = np.concatenate(due)
        wanted = rows[:, _TIME] >= since_ms
        if until_ms is not None:
            wanted &= rows[:, _TIME] < until_ms
        rows = rows[wanted]
        rows = rows[np.lexsort((rows[:, _NUMBER], rows[:, _ORIGIN], rows[:, _KIND], rows[:, _TIME]))]
        times = np.datetime_as_string(rows[:, _TIME].astype("datetime64[ms]"), timezone="UTC").tolist()
        mark = self._mark
        messages: list[Message] = []
        for (time_ms, kind, origin, number, a, b, c, d), time in zip(rows.tolist(), times, strict=True):
            if kind == _CLICK:
                name = f"c-{mark}-{_base36(origin)}-{number}"
                user = f"u-{a:06d}"
                body = _encode(_Click(name, user, _url(c, d), DEVICE_TYPES[b], time, name))
                messages.append((time_ms, time, CLICKS_TOPIC, user.encode(), body[:-1]))
            elif kind == _ORDER:
                name = f"o-{mark}-{_base36(origin)}-{number}"
                user = f"u-{a:06d}"
                product, _, price = shop.PRODUCTS[b]
                body = _encode(_Order(name, user, product, c, price, STATUSES[d], time, name))
                messages.append((time_ms, time, ORDERS_TOPIC, user.encode(), body[:-1]))
            else:
                name = f"e-{mark}-{_base36(origin)}-{number}"
                if kind == _BENCH:
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


def _rows(kind: int, origin: int, time: _Rows, *fields: _Rows) -> _Rows:
    rows = np.zeros((len(time), 8), dtype=np.int64)
    rows[:, _TIME] = time
    rows[:, _KIND] = kind
    rows[:, _ORIGIN] = origin
    rows[:, _NUMBER] = np.arange(len(time))
    for column, field in enumerate(fields, start=_A):
        rows[:, column] = field
    return rows


def _put(waiting: dict[int, list[_Rows]], rows: _Rows, slice_ms: int) -> None:
    """Sort rows into the slices of time that they belong to."""
    rows = rows[np.argsort(rows[:, _TIME], kind="stable")]
    slices, begin = np.unique(rows[:, _TIME] // slice_ms, return_index=True)
    for index, part in zip(slices.tolist(), np.split(rows, begin[1:]), strict=False):
        waiting[index].append(part)


def _numbers(rng: np.random.Generator, count: int) -> _Rows:
    return rng.integers(2, 9_999, size=count)


@lru_cache(maxsize=16)
def _lines_of(outage: Outage, seed: int, rate: float) -> _Rows:
    """What a failing service logs: a first FATAL within 2 s, then a burst about every 4 s."""
    service = shop.SERVICES.index(outage.service)
    rng = np.random.default_rng((seed, outage.start_ms, outage.end_ms, service, 3))
    length = outage.end_ms - outage.start_ms
    # At 20 events/s about 1.7 lines a second, and never more than a fifth of what a busy shop logs besides.
    lines_a_s = 0.5 + 0.06 * rate
    bursts = max(1, length // _BURST_EVERY_MS)
    sizes = 1 + rng.poisson(max(0.0, lines_a_s * length / 1000 / bursts - 1), size=bursts)
    began = np.sort(rng.integers(length, size=bursts))
    began[0] = min(int(rng.integers(500, 1_500)), length - 1)
    time = np.repeat(began, sizes) + rng.exponential(400, int(sizes.sum())).astype(np.int64)
    severity = np.searchsorted(_OUTAGE_SEVERITY, rng.random(len(time)), side="right")
    time[0], severity[0] = began[0], _FATAL
    rows = _rows(
        _ERROR,
        outage.start_ms,
        outage.start_ms + np.minimum(time, length - 1),
        np.full(len(time), service),
        severity,
        rng.integers(1_000, size=len(time)),
        _numbers(rng, len(time)),
    )
    rows[:, _NUMBER] += service * 1_000_000  # two services may fail in the same millisecond
    return rows


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
