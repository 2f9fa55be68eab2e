"""Load: events that were made before, sent again and again as new ones, so that sending is nearly all the work."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, cycle, islice

from lakehouse.sinks import Sink
from lakehouse.stop import Stop
from lakehouse.topics import TOPICS
from producers.messages import Message
from producers.own_events import with_own
from producers.pace import Clock, deliver, iso, paced
from producers.shoppers import Shop

MADE_BEFORE = 50_000
"""Events of a shop, with its people, products and pages; each is sent again once all were sent."""
_A_SECOND = 1_000
_ONCE_MS = 1_700_000_000_000  # any time: each event gets another


def made_before(seed: int, topics: Sequence[str]) -> list[Message]:
    """Messages of these topics, from a shop that is busy but has no outage."""
    shop = Shop(seed=seed, rate=_A_SECOND, flat=True, outages=False)
    messages = chain.from_iterable(with_own(shop.messages(_ONCE_MS)))
    return list(islice((message for message in messages if message[2] in topics), MADE_BEFORE))


def send_load(
    messages: Sequence[Message], sink: Sink, clock: Clock, stop: Stop, rate: float | None, total: int, mark: str
) -> int:
    """Send `total` messages, `rate` a second (None: as fast as they are taken), each as a new event of now.

    Returns how many were sent. mark: what tells their event_ids from those of other runs. Where the sink takes fewer
    than the rate, as many as it takes: those that are late are sent at once. Raises SinkError.
    """
    # A message ends with its event time and its event_id: what stands before them stays.
    heads = cycle(
        [
            (topic, key, body[: body.rindex(b'"%b":"' % TOPICS[topic].time.encode())])
            for _, _, topic, key, body in messages
        ]
    )
    sent = 0
    for batch in paced(total, rate, clock, stop):
        now = iso(clock.now()).encode()
        begins = {
            t: b'"%b":"%b","event_id":"%b-' % (topic.time.encode(), now, mark.encode()) for t, topic in TOPICS.items()
        }
        end = b'","produced_at":"%b"}' % now
        for number, (topic, key, head) in zip(batch, heads, strict=False):
            sink.send(topic, key, b"%b%b%d%b" % (head, begins[topic], number, end))
        deliver(sink, clock, stop)
        sent += len(batch)
    return sent
