"""Everything the notifier lets be observed, in one list; each label value stands at 0 from the start."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from notifier.model import DeliveryState, Muted

OUTCOMES = (DeliveryState.SENT, DeliveryState.RETRY, DeliveryState.UNKNOWN, DeliveryState.DEAD)
DEAD_REASONS = ("refused", "gave_up")
POLLS = ("planned", "nothing_new", "unchanged", "failed")
TIMER_EVENTS = ("error", "missed")


class Metrics:
    """One registry a daemon; `channels` are those that are set up."""

    def __init__(self, channels: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        names = tuple(channels)

        # Looks for new commits, by how they ended.
        self.polls = self._counter("polls", "Looks for new commits", "outcome", POLLS)
        # Alerts read from the table and planned or muted.
        self.alerts = self._counter("alerts", "Alerts planned, by status", "status", ("FIRING", "RESOLVED"))
        # Rows of the table with an odd or missing value; each is counted once, logged once, and planned.
        self.bad_rows = Counter("tillwatch_notifier_bad_rows", "Alerts with an odd value", registry=self.registry)
        # Deliveries listed and not sent.
        self.muted = self._counter("muted", "Deliveries muted", "reason", tuple(Muted))
        # Attempts, by how they ended.
        self.attempts = Counter(
            "tillwatch_notifier_attempts",
            "Attempts to send, by outcome",
            ("channel", "outcome"),
            registry=self.registry,
        )
        # Deliveries that will not be sent.
        self.dead = Counter(
            "tillwatch_notifier_dead", "Deliveries given up", ("channel", "reason"), registry=self.registry
        )
        # Sent again because no trace of the first attempt was found (or because the channel has nowhere to look).
        self.resent = self._counter("resent_unconfirmed", "Sent again after an unknown outcome", "channel", names)
        # Sent again and marked, because the history could not be read.
        self.repeats = self._counter("possible_repeats", "Sent again marked (possible repeat)", "channel", names)
        # Settled by reading the history: it had been taken.
        self.settled = self._counter("settled", "Unknown outcomes found as sent", "channel", names)
        # Times of the timer that did not run as they should.
        self.timer = self._counter("timer_events", "The timer's troubles", "event", TIMER_EVENTS)
        # Faults in our own code, caught and logged.
        self.errors = Counter("tillwatch_notifier_errors", "Unexpected errors, logged", registry=self.registry)
        # Publish of an incident's first alert to its receipt, seconds.
        self.latency = Histogram(
            "tillwatch_notifier_latency_seconds",
            "Publish of an incident's first alert to its receipt",
            ("channel",),
            buckets=(0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        # Deliveries not yet sent, by channel.
        self.open = Gauge("tillwatch_notifier_open", "Deliveries not yet sent", ("channel",), registry=self.registry)
        # 1 while the data's door answers.
        self.data_up = Gauge("tillwatch_notifier_data_up", "1 while Dremio answers", registry=self.registry)
        # 1 while the ledger can be read and written.
        self.ledger_up = Gauge("tillwatch_notifier_ledger_up", "1 while the ledger works", registry=self.registry)
        # 1 while a channel is left alone after a 429.
        self.parked = Gauge("tillwatch_notifier_parked", "1 while rate limited", ("channel",), registry=self.registry)
        # Age of the newest finished look for commits, seconds.
        self.cycle_age = Gauge(
            "tillwatch_notifier_cycle_age_seconds", "Since the newest finished look", registry=self.registry
        )
        for name in names:
            self.latency.labels(name)
            self.open.labels(name)
            self.parked.labels(name)
            for outcome in OUTCOMES:
                self.attempts.labels(name, outcome)
            for reason in DEAD_REASONS:
                self.dead.labels(name, reason)

    def _counter(self, name: str, text: str, label: str, values: Iterable[str]) -> Counter:
        counter = Counter(f"tillwatch_notifier_{name}", text, (label,), registry=self.registry)
        for value in values:
            counter.labels(value)
        return counter
