"""Decode of eight kinds of message by sources.yaml, beside plain messages: events a second of one process."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

from bench.report import Report
from lakehouse.decode import Logged, Message, Rejected, decoder
from lakehouse.sources import sources_of
from tests.source_cast import RECEIVED, YAML, kinds, order, packed

AT_LEAST = 0.40
"""Of the speed without a map, that of a plain message with one."""
PLAIN = """
plain_with_a_map:
  topic: orders_topic
  event_id: event
  map:
    order_id: id
    user_id: customer.id
    product_id: sku
    quantity: n
    price: price
    status: state
    order_time: at
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000, help="of each kind, a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    report = Report("sources", f"{arguments.messages:,} messages of each kind, median of {arguments.rounds} rounds")
    for name, (speed, share) in measured(arguments.messages, arguments.rounds).items():
        report.row(name, speed, "events/s")
        report.row(f"{name}, of plain", share, "share", at_least=AT_LEAST if name == "plain with a map" else None)
    report.finish()


def measured(messages: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Events a second of each kind, and their share of the speed of plain messages; rounds take turns."""
    sources = sources_of(YAML + PLAIN, "bench")
    runs: dict[str, tuple[Callable[[Logged], Sequence[object]], list[Message]]] = {
        "plain": (decoder("orders_topic", None), _messages(_plain, messages)),
        "plain with a map": (sources.decoder("plain_with_a_map", None), _messages(_mapped, messages)),
    }
    for name, kind in kinds().items():
        runs[name] = (
            sources.decoder(kind.log_topic, None),
            [Message(kind.value, RECEIVED, None, kind.headers)] * messages,
        )
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (decode_one, held) in runs.items():
            speeds[name].append(_speed(decode_one, held))
    plain = median(speeds["plain"])
    return {name: (median(held), median(held) / plain) for name, held in speeds.items()}


def _messages(make: Callable[[int], bytes], count: int) -> list[Message]:
    return [Message(make(number), RECEIVED) for number in range(count)]


def _plain(number: int) -> bytes:
    return packed(order(f"e-{number}", f"o-{number}", f"p-{number % 100}", price=number % 50 + 0.5))


def _mapped(number: int) -> bytes:
    """The same in other words."""
    held = order(f"e-{number}", f"o-{number}", f"p-{number % 100}", price=number % 50 + 0.5)
    return packed(
        {
            "event": held["event_id"],
            "id": held["order_id"],
            "customer": {"id": held["user_id"]},
            "sku": held["product_id"],
            "n": held["quantity"],
            "price": held["price"],
            "state": held["status"],
            "at": held["order_time"],
        }
    )


def _speed(decode_one: Callable[[Logged], Sequence[object]], messages: list[Message]) -> float:
    events = 0
    began = time.perf_counter()
    for message in messages:
        events += len(decode_one(message))
    seconds = time.perf_counter() - began
    assert not any(isinstance(each, Rejected) for each in decode_one(messages[-1]))
    return events / seconds


if __name__ == "__main__":
    main()
