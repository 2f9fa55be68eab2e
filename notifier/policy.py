"""What becomes of an alert: pure functions from rows and what was sent to planned deliveries. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from notifier.clock import span_ms
from notifier.model import AlertRow, DeliveryDraft, MessageKind, Target, Thread, delivery_key
from notifier.routing.decide import Decision, Reason


def is_old(alert: AlertRow, max_age: timedelta, mute_before: datetime | None) -> bool:
    """Whether this alert tells of the past: it wakes nobody."""
    if alert.alert_timestamp < alert.received_at - max_age:
        return True
    return mute_before is not None and alert.ingested_at < mute_before


def in_order(alerts: Iterable[AlertRow]) -> list[AlertRow]:
    """As they were published; of one publish, what fires before what resolves."""
    return sorted(
        alerts, key=lambda row: (row.ingested_at, row.status == "RESOLVED", row.alert_timestamp, row.alert_id)
    )


def plan(
    alerts: Sequence[AlertRow],
    decide: Callable[[AlertRow], Sequence[Decision]],
    threads: Mapping[tuple[str, Target], Thread],
    now_ms: int,
) -> list[DeliveryDraft]:
    """The deliveries that new alerts call for.

    alerts: in order, none of them planned before. threads: what is known of their incidents.

    1. A RESOLVED row goes once to each target that was told of its incident, and to nobody else.
    2. Another row that is muted is listed: one delivery for each incident, target and reason.
    3. An incident's first other row goes when its route's `wait` is over, at once where there is none; later ones of
       that time join it.
    4. Later ones join the message that waits, or make one that waits until the route's `interval` after the newest.
    """
    drafts: dict[str, DeliveryDraft] = {}
    book = _Threads(dict(threads), drafts, now_ms)
    for alert in alerts:
        if alert.status == "RESOLVED":
            for target in book.told(alert.incident_id):
                book.resolve(alert, target)
            continue
        for decision in decide(alert):
            if decision.muted:
                book.mute(alert, decision, decision.muted)
            else:
                book.tell(alert, decision)
    return list(drafts.values())


def plan_unmuted(
    alerts: Sequence[AlertRow],
    told: Mapping[str, Sequence[Decision]],
    threads: Mapping[tuple[str, Target], Thread],
    now_ms: int,
) -> list[DeliveryDraft]:
    """First messages of open incidents, now that nothing mutes them.

    alerts: the newest of each incident. told: where, by incident: all that was planned there is muted.
    """
    drafts: dict[str, DeliveryDraft] = {}
    book = _Threads(dict(threads), drafts, now_ms)
    for alert in alerts:
        for decision in told[alert.incident_id]:
            book.tell(alert, decision)
    return list(drafts.values())


@dataclass
class _Threads:
    threads: dict[tuple[str, Target], Thread]
    drafts: dict[str, DeliveryDraft]
    now_ms: int

    def told(self, incident_id: str) -> list[Target]:
        return [
            target for (incident, target), thread in self.threads.items() if incident == incident_id and thread.told
        ]

    def resolve(self, alert: AlertRow, target: Target) -> None:
        thread = self._thread(alert, target)
        if not thread.resolved:
            self._new(alert, target, MessageKind.RESOLVED, self.now_ms, told=True, resolved=True, waiting=None)

    def mute(self, alert: AlertRow, decision: Decision, reason: Reason) -> None:
        target = decision.target
        thread = self._thread(alert, target)
        held = thread.muted.get(str(reason))
        if held:
            self._add(held, alert, target, MessageKind.FIRST)
            return
        key = self._new(alert, target, MessageKind.FIRST, self.now_ms, decision)
        now = self._thread(alert, target)
        self._set(alert, target, now, muted={**now.muted, str(reason): key})

    def tell(self, alert: AlertRow, decision: Decision) -> None:
        target = decision.target
        thread = self._thread(alert, target)
        if not thread.told:
            due = self.now_ms + span_ms(decision.policy.wait)
            key = self._new(alert, target, MessageKind.FIRST, due, decision, told=True, newest_ms=due)
            if due > self.now_ms:
                self._set(alert, target, self._thread(alert, target), waiting=key)
        elif thread.waiting:
            self._add(thread.waiting, alert, target, MessageKind.MORE)
        else:
            due = max(self.now_ms, (thread.newest_ms or self.now_ms) + span_ms(decision.policy.interval))
            key = self._new(alert, target, MessageKind.MORE, due, decision, newest_ms=due)
            self._set(alert, target, self._thread(alert, target), waiting=key)

    def _new(
        self,
        alert: AlertRow,
        target: Target,
        kind: MessageKind,
        due_ms: int,
        decision: Decision | None = None,
        **changes: Any,
    ) -> str:
        thread = self._thread(alert, target)
        sequence = thread.sequence + 1
        key = delivery_key(target, alert.incident_id, kind, sequence)
        muted = decision.muted if decision else None
        self.drafts[key] = DeliveryDraft(
            key,
            target,
            alert.incident_id,
            kind,
            sequence,
            alert.alert_id,
            1,
            due_ms,
            interval_ms=span_ms(decision.policy.interval) if decision else 0,
            muted=muted.why if muted else None,
            detail=muted.detail or None if muted else None,
            route=" > ".join(decision.route) if decision else None,
        )
        self._set(alert, target, thread, sequence=sequence, **changes)
        return key

    def _add(self, key: str, alert: AlertRow, target: Target, kind: MessageKind) -> None:
        draft = self.drafts.get(key)
        if draft is None:
            self.drafts[key] = DeliveryDraft(key, target, alert.incident_id, kind, 0, alert.alert_id, 1, 0, added=True)
        else:
            draft.alert_id = alert.alert_id
            draft.alert_count += 1

    def _thread(self, alert: AlertRow, target: Target) -> Thread:
        return self.threads.get((alert.incident_id, target), Thread())

    def _set(self, alert: AlertRow, target: Target, thread: Thread, **changes: Any) -> None:
        self.threads[(alert.incident_id, target)] = replace(thread, **changes)
