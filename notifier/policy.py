"""What becomes of an alert: pure functions from rows and what was sent to planned deliveries. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from notifier.model import NOBODY, AlertRow, DeliveryDraft, MessageKind, Muted, Target, Thread, delivery_key


def reason_to_mute(alert: AlertRow, max_age: timedelta, mute_before: datetime | None) -> Muted | None:
    """Why this alert wakes nobody, or None."""
    if alert.alert_timestamp < alert.received_at - max_age:
        return Muted.OLD
    if mute_before is not None and alert.ingested_at < mute_before:
        return Muted.OLD
    return None


def in_order(alerts: Iterable[AlertRow]) -> list[AlertRow]:
    """As they were published; of one publish, what fires before what resolves."""
    return sorted(
        alerts, key=lambda row: (row.ingested_at, row.status == "RESOLVED", row.alert_timestamp, row.alert_id)
    )


def plan(
    alerts: Sequence[AlertRow],
    targets: Mapping[str, Sequence[Target]],
    threads: Mapping[tuple[str, Target], Thread],
    now_ms: int,
    *,
    max_age: timedelta,
    gather: timedelta,
    mute_before: datetime | None,
) -> list[DeliveryDraft]:
    """The deliveries that new alerts call for.

    alerts: in order, none of them planned before. targets: by severity. threads: what is known of their incidents.

    1. A RESOLVED row goes once to each target that was told of its incident, and to nobody else.
    2. Another row that is old, or has no target or a severity of no route, is listed as muted: one delivery for each
       incident and reason.
    3. An incident's first other row goes at once.
    4. Later ones join the message that waits, or make one that waits until `gather` after the newest.
    """
    drafts: dict[str, DeliveryDraft] = {}
    book = _Threads(dict(threads), drafts, now_ms, int(gather.total_seconds() * 1000))
    for alert in alerts:
        if alert.status == "RESOLVED":
            for target in book.told(alert.incident_id):
                book.resolve(alert, target)
            continue
        muted = reason_to_mute(alert, max_age, mute_before)
        routed = targets.get(alert.severity, ())
        if not routed:
            # Routed severities are all there, with an empty list while no channel is set up.
            book.mute(alert, NOBODY, muted or (Muted.NO_CHANNEL if alert.severity in targets else Muted.SEVERITY))
        for target in routed:
            if muted:
                book.mute(alert, target, muted)
            else:
                book.tell(alert, target)
    return list(drafts.values())


@dataclass
class _Threads:
    threads: dict[tuple[str, Target], Thread]
    drafts: dict[str, DeliveryDraft]
    now_ms: int
    gather_ms: int

    def told(self, incident_id: str) -> list[Target]:
        return [
            target for (incident, target), thread in self.threads.items() if incident == incident_id and thread.told
        ]

    def resolve(self, alert: AlertRow, target: Target) -> None:
        thread = self._thread(alert, target)
        if not thread.resolved:
            self._new(alert, target, MessageKind.RESOLVED, self.now_ms, told=True, resolved=True, waiting=None)

    def mute(self, alert: AlertRow, target: Target, reason: Muted) -> None:
        thread = self._thread(alert, target)
        held = thread.muted.get(reason)
        if held:
            self._add(held, alert, target, MessageKind.FIRST)
            return
        key = self._new(alert, target, MessageKind.FIRST, self.now_ms, muted=reason)
        now = self._thread(alert, target)
        self._set(alert, target, now, muted={**now.muted, reason: key})

    def tell(self, alert: AlertRow, target: Target) -> None:
        thread = self._thread(alert, target)
        if not thread.told:
            self._new(alert, target, MessageKind.FIRST, self.now_ms, told=True, newest_ms=self.now_ms)
        elif thread.waiting:
            self._add(thread.waiting, alert, target, MessageKind.MORE)
        else:
            due = max(self.now_ms, (thread.newest_ms or self.now_ms) + self.gather_ms)
            key = self._new(alert, target, MessageKind.MORE, due, newest_ms=due)
            self._set(alert, target, self._thread(alert, target), waiting=key)

    def _new(
        self,
        alert: AlertRow,
        target: Target,
        kind: MessageKind,
        due_ms: int,
        muted: Muted | None = None,
        **changes: Any,
    ) -> str:
        thread = self._thread(alert, target)
        sequence = thread.sequence + 1
        key = delivery_key(target, alert.incident_id, kind, sequence)
        self.drafts[key] = DeliveryDraft(
            key, target, alert.incident_id, kind, sequence, alert.alert_id, 1, due_ms, muted
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
