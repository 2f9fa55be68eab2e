"""Everything the notifier lets be observed, in one list; each label value stands at 0 from the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info

from lakehouse.dremio.state import STATUSES, ConnectionState
from notifier.model import (
    OPEN,
    SEVERITIES,
    Action,
    AlertRow,
    AlertSource,
    DeadReason,
    DeliveryState,
    MessageKind,
    Muted,
    ThreadKind,
    rank,
)
from notifier.own import RULES
from notifier.planning.board import Worksheet

OUTCOMES = ("sent", "retry", "unknown", "parked", "root_gone", "dead")
"""How an attempt ends."""
POLLS = ("planned", "nothing_new", "unchanged", "failed")
TIMER_EVENTS = ("error", "missed")
VIAS = ("console", "operator", "settings", "slack", "other")
"""By what way people act: the token's name, or Slack. Tokens of other names are `other`."""
PROBES = ("mended", "broken")
HEARTBEATS = ("sent", "failed", "withheld")
ASKINGS = ("judged", "failed", "no_data")
RELOADS = ("done", "refused")
SOCKET_EVENTS = ("acted", "refused", "ignored", "failed")


class Metrics:
    """One registry a daemon; `channels` are those that are set up."""

    def __init__(self, channels: Iterable[str]) -> None:
        self.registry = CollectorRegistry()
        self._channels: set[str] = set()
        self._places: set[tuple[str, str, str]] = set()

        # ---- is it well

        # Looks for new commits, by how they ended.
        self.polls = self._counter("polls", "Looks for new commits", outcome=POLLS)
        # Rows of the table with an odd or missing value; each is counted once, logged once, and planned.
        self.bad_rows = self._counter("bad_rows", "Alerts with an odd value")
        # Times of the timer that did not run as they should.
        self.timer = self._counter("timer_events", "The timer's troubles", event=TIMER_EVENTS)
        # Faults in our own code, caught and logged.
        self.errors = self._counter("errors", "Unexpected errors, logged")
        # 1 while the data's door answers.
        self.data_up = self._gauge("data_up", "1 while Dremio answers")
        # How the connection is, how long the newest statement took that was answered, and when that was.
        self.data_state = Enum(
            "tillwatch_notifier_data_state", "Connection to Dremio", states=list(STATUSES), registry=self.registry
        )
        self.data_latency = self._gauge("data_latency_seconds", "Of Dremio's newest answer")
        self.data_last_ok = self._gauge("data_last_ok_timestamp_seconds", "Dremio's newest answer")
        # 1 while alerts can be judged: the data answers, and is young.
        self.judges = self._gauge("judges", "1 while alerts can be judged")
        # Questions of rules, by how they ended; no_data: nobody answered, or the data is too old to judge.
        self.questions = self._counter("questions", "Questions of rules, by outcome", outcome=ASKINGS)
        # Rules that ask and cannot be judged now.
        self.questions_failing = self._gauge("questions_failing", "Rules that ask and cannot be judged")
        # Of each of them: seconds that its newest answer took, and entities that were more than it may have.
        self.question_latency = self._gauge("question_seconds", "Of a rule's newest answer", rule=())
        self.question_left_out = self._gauge("question_left_out", "Entities beyond a rule's `most`", rule=())
        # 1 while the ledger can be read and written.
        self.ledger_up = self._gauge("ledger_up", "1 while the ledger works")
        # Age of the newest finished look for commits, seconds.
        self.cycle_age = self._gauge("cycle_age_seconds", "Since the newest finished look")
        # How long a look hangs, or is overdue; 0 while all is well, however long a look takes that moves on.
        self.stalled = self._gauge("stalled_seconds", "Beyond what a look may take")
        # Settings and routes read again while it runs; refused: the old ones stay.
        self.reloads = self._counter("reloads", "Reloads of settings and routes", result=RELOADS)
        self.reload_well = self._gauge("reload_well", "0 after a reload that was refused")
        self.reload_well.set(1)
        # The first 48 bits of the hash of settings and routes, as a number: it changes when they do.
        self.config_hash = self._gauge("config_hash", "Hash of settings and routes, as a number")
        self.config = Info("tillwatch_notifier_config", "Hash of settings and routes", registry=self.registry)
        # The dead-man's switch; withheld: people could not be told of an alert.
        self.heartbeats = self._counter("heartbeats", "Turns of the dead-man's switch", result=HEARTBEATS)

        # ---- what was told

        # Alerts read from the table and planned or muted.
        self.alerts = self._counter("alerts", "Alerts planned, by status", status=("FIRING", "RESOLVED"))
        # Of these, and beside them: the notifier's own.
        self.own_alerts = self._counter("own_alerts", "The notifier's own", rule=RULES, status=("FIRING", "RESOLVED"))
        # And those of rules that ask, which have no row in the table.
        self.question_alerts = self._counter(
            "question_alerts", "Alerts of rules that ask", status=("FIRING", "RESOLVED")
        )
        # Deliveries that are to be sent.
        self.planned = self._counter("planned", "Deliveries planned, by kind", kind=MessageKind)
        # Deliveries listed and not sent.
        self.muted = self._counter("muted", "Deliveries muted", reason=Muted)
        # Messages that were taken; kind edit: roots edited.
        self.sent = self._counter("sent", "Messages taken", channel=(), kind=())
        # Attempts, by how they ended.
        self.attempts = self._counter("attempts", "Attempts to send, by outcome", channel=(), outcome=())
        # Deliveries that will not be sent.
        self.dead = self._counter("dead", "Deliveries given up", channel=(), reason=())
        # Sent again because no trace of the first attempt was found (or because the channel has nowhere to look).
        self.resent = self._counter("resent_unconfirmed", "Sent again after an unknown outcome", channel=())
        # Sent again and marked, because the history could not be read.
        self.repeats = self._counter("possible_repeats", "Sent again marked (possible repeat)", channel=())
        # Settled by reading the history: it had been taken.
        self.settled = self._counter("settled", "Unknown outcomes found as sent", channel=())
        # Parked places that were tried.
        self.probes = self._counter("probes", "Tries of parked places", channel=(), result=())
        # Storms that were told in one thread.
        self.digests = self._counter("digests", "Digests begun", channel=())

        # ---- how fast

        # Publish of an incident's first alert to its receipt, seconds.
        self.latency = Histogram(
            "tillwatch_notifier_latency_seconds",
            "Publish of an incident's first alert to its receipt",
            ("channel",),
            buckets=(0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300),
            registry=self.registry,
        )

        # ---- what waits

        # Deliveries not yet sent, by channel.
        self.open = self._gauge("open", "Deliveries not yet sent", channel=())
        # All deliveries that the ledger remembers.
        self.deliveries = self._gauge("deliveries", "Deliveries in the ledger", channel=(), state=())
        # Open incidents that somebody should know of, and was not told of for over 5 min: reconcile.
        self.overdue = self._gauge("overdue", "Open incidents at places not told in time")
        # 1 while a channel is left alone after a 429.
        self.parked = self._gauge("parked", "1 while rate limited", channel=())
        # The same by place, `*` for all of a channel; why broken: somebody has to mend it.
        self.parked_places = self._gauge("parked_places", "1 while left alone", channel=(), destination=(), why=())
        # Incidents that are open, told or not.
        self.incidents_open = self._gauge("incidents_open", "Open incidents", severity=SEVERITIES)
        # Threads that are open; kind storm: digests.
        self.threads_open = self._gauge("threads_open", "Open threads", channel=(), kind=())

        # ---- people

        # What people do.
        self.actions = self._counter("actions", "What people did", action=Action, via=VIAS)
        # Steps of escalation that incidents reached.
        self.escalations = self._counter("escalations", "Steps of escalation reached")
        # Acknowledgements that ended by their time or by a higher severity.
        self.lapses = self._counter("lapses", "Acknowledgements that nobody ended")
        # What came from Slack by Socket Mode.
        self.socket_events = self._counter("socket_events", "Buttons pressed in Slack", result=SOCKET_EVENTS)

        for channel in channels:
            self.add_channel(channel)

    def add_channel(self, channel: str) -> None:
        """Its counts begin at 0."""
        self._channels.add(channel)
        for one in (self.resent, self.repeats, self.settled, self.digests, self.latency, self.open, self.parked):
            one.labels(channel)
        for two, values in (
            (self.sent, MessageKind),
            (self.attempts, OUTCOMES),
            (self.dead, DeadReason),
            (self.probes, PROBES),
            (self.deliveries, DeliveryState),
            (self.threads_open, ThreadKind),
        ):
            for value in values:
                two.labels(channel, value)

    def planned_all(self, change: Worksheet, alerts: Iterable[AlertRow]) -> None:
        """Count what was written into the ledger."""
        storms = {thread.thread_id for thread in change.changed_threads if thread.kind is ThreadKind.STORM}
        for draft in change.out.drafts.values():
            if draft.added:
                continue
            if draft.muted is not None:
                self.muted.labels(draft.muted).inc()
                continue
            self.planned.labels(draft.kind).inc()
            if draft.kind is MessageKind.FIRST and draft.thread_id in storms:
                self.digests.labels(draft.target.channel).inc()
        self.muted.labels(Muted.TOLD_BY_END).inc(len(change.out.dropped))
        for note in change.notes:
            if note.action == Action.ESCALATED:
                self.escalations.inc()
            elif note.action == Action.UNACKNOWLEDGED and note.who == "notifier":
                self.lapses.inc()
        for alert in alerts:
            if alert.source is AlertSource.OWN:
                self.own_alerts.labels(alert.rule, alert.status).inc()
            elif alert.source is AlertSource.QUESTION:
                self.question_alerts.labels(alert.status).inc()

    def acted(self, action: Action, via: str) -> None:
        """Count what somebody did."""
        self.actions.labels(action, via if via in VIAS else "other").inc()

    def reloaded(self, well: bool) -> None:
        """Count a reload of settings and routes."""
        self.reloads.labels("done" if well else "refused").inc()
        self.reload_well.set(well)

    def set_data(self, state: ConnectionState) -> None:
        """How the connection to Dremio is."""
        self.data_state.state(state.status)
        self.data_latency.set(state.latency_s or 0.0)
        self.data_last_ok.set(state.last_ok_s)

    def set_config(self, config_hash: str) -> None:
        """config_hash: hex digits; empty while it is not known."""
        self.config_hash.set(int(config_hash[:12] or "0", 16))
        self.config.info({"hash": config_hash})

    def set_ledger(
        self,
        deliveries: Mapping[tuple[str, str], int],
        incidents: Mapping[str, int],
        threads: Mapping[tuple[str, str], int],
    ) -> None:
        """What the ledger holds: deliveries by channel and state, open incidents by severity, open threads by channel
        and kind."""
        for channel in self._channels:
            self.open.labels(channel).set(sum(deliveries.get((channel, state), 0) for state in OPEN))
            for state in DeliveryState:
                self.deliveries.labels(channel, state).set(deliveries.get((channel, state), 0))
            for kind in ThreadKind:
                self.threads_open.labels(channel, kind).set(threads.get((channel, kind), 0))
        by_severity = dict.fromkeys(SEVERITIES, 0)
        for severity, count in incidents.items():
            # A word that is none of ours is as bad as can be.
            by_severity[SEVERITIES[rank(severity)]] += count
        for severity, count in by_severity.items():
            self.incidents_open.labels(severity).set(count)

    def set_places(self, held: Mapping[tuple[str, str, str], bool]) -> None:
        """Whether each place is left alone: by channel, destination and why. Of others nothing is known any more."""
        for gone in self._places - held.keys():
            self.parked_places.remove(*gone)
        self._places = set(held)
        for (channel, place, why), left in held.items():
            self.parked_places.labels(channel, place, why).set(left)
        for channel in self._channels - {channel for channel, _, _ in held}:
            self.parked.labels(channel).set(0)

    def _counter(self, name: str, text: str, **labels: Iterable[str]) -> Counter:
        return _at_zero(Counter(f"tillwatch_notifier_{name}", text, tuple(labels), registry=self.registry), labels)

    def _gauge(self, name: str, text: str, **labels: Iterable[str]) -> Gauge:
        return _at_zero(Gauge(f"tillwatch_notifier_{name}", text, tuple(labels), registry=self.registry), labels)


def _at_zero[M: (Counter, Gauge)](metric: M, labels: Mapping[str, Iterable[str]]) -> M:
    """With every combination of these values; none where a label has none yet."""
    if labels:
        for values in product(*labels.values()):
            metric.labels(*values)
    return metric
