"""A ledger in memory. Planning asks it as it asks the file's; whatever is due is taken as sent.

The file's, at a few statements an alert, would take minutes for 100,000 of them.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from notifier.ledger.rows import Delivery, planned_delivery
from notifier.ledger.views import ThreadView, view_from
from notifier.manner import Manner
from notifier.model import (
    PASSING,
    AlertRow,
    DeliveryDraft,
    Held,
    Incident,
    Member,
    MessageKind,
    Target,
    Thread,
    ThreadKind,
    rank,
)
from notifier.planning.board import RECURS_MS, STORM, Worksheet
from notifier.planning.past import NoPast
from notifier.planning.plans import Change
from notifier.planning.storm import KNOWN_FOR_MS, Storms
from notifier.routing.decide import MuteReason, Silence

type Begun = tuple[Target, int, str, bool]
"""A thread that began: where, when, its kind, whether it was let through as the first of that kind."""


@dataclass
class WaitingDelivery:
    """A delivery that is still to go, at `due_ms` and after those of its thread that it waits for."""

    draft: DeliveryDraft
    planned_ms: int
    due_ms: int


class MemoryLedger(NoPast):
    """What notifier.planning.plans.Book asks of a ledger, and what senders do with it.

    manners: of all places. silences: that held at the time; nobody acknowledges anything.
    """

    def __init__(self, manners: Mapping[Target, Manner], storm_after: int, silences: Sequence[Silence]) -> None:
        self.incidents: dict[str, Incident] = {}
        self.listed: dict[str, DeliveryDraft] = {}
        """Deliveries that are muted, by their key."""
        self._manners = manners
        self._storm_after = storm_after
        self._less = {at: manner.storm_after for at, manner in manners.items() if manner.storm_after is not None}
        self._silences = silences
        self._alerts: dict[str, AlertRow] = {}
        self._open: dict[str, Incident] = {}
        self._members: dict[str, dict[Target, Member]] = {}
        self._threads: dict[str, Thread] = {}
        self._of_group: dict[str, list[Thread]] = {}
        self._of_thread: dict[str, dict[str, Member]] = {}
        self._thread_of: dict[tuple[str, Target], str] = {}
        self._told: dict[str, int] = {}
        self._begun: deque[Begun] = deque()
        self._muted: dict[tuple[str, Target], None] = {}
        self._waiting: dict[str, WaitingDelivery] = {}
        self._in_line: dict[str, list[WaitingDelivery]] = {}
        self._blocked: dict[str, list[WaitingDelivery]] = {}
        self._due: list[tuple[int, int, str]] = []
        self._steps, self._repeats = _Alarms(), _Alarms()
        self._called: dict[tuple[str, str], list[tuple[int, str]]] = {}
        """Threads and the steps that they were told of: when, and of which incident."""
        self._number = 0

    # ---- planning

    def plan(
        self,
        alerts: Sequence[AlertRow],
        groups: Iterable[str],
        decide: Change,
        now_ms: int,
        *,
        incident_ids: Iterable[str] = (),
    ) -> list[DeliveryDraft]:
        board = self._board(now_ms, {*incident_ids, *(alert.incident_id for alert in alerts)}, groups)
        for alert in alerts:
            self._alerts.setdefault(alert.alert_id, alert)
        decide(board)
        for incident in board.changed_incidents:
            self._keep_incident(incident)
        for thread in board.changed_threads:
            self._keep_thread(thread)
        for member in board.changed_members:
            self._keep_member(member)
        for draft in board.out.drafts.values():
            self._keep_draft(draft, now_ms)
        for key in board.out.dropped & self._waiting.keys():
            self._drop(key)
        return list(board.out.drafts.values())

    def _board(self, now_ms: int, incident_ids: Iterable[str], groups: Iterable[str]) -> Worksheet:
        """As notifier.ledger.boards.load makes one of the file."""
        board = Worksheet(now_ms, self._manners, self._storms(now_ms), self)
        for incident_id in incident_ids:
            if incident_id in self.incidents:
                board.incidents[incident_id] = self.incidents[incident_id]
            board.members[incident_id] = self._members.setdefault(incident_id, {})
        for group in {*groups, STORM}:
            for thread in self._lately(group, now_ms):
                board.load_thread(thread)
        for places in board.members.values():
            for member in places.values():
                if member.thread_id and member.thread_id not in board.threads:
                    board.load_thread(self._threads[member.thread_id])
        first = set()
        for thread_id in board.threads:
            for waiting in self._in_line.get(thread_id, ()):
                draft = waiting.draft
                if draft.kind is MessageKind.EDIT:
                    board.out.editing.add(thread_id)
                elif draft.kind is MessageKind.MORE:
                    board.out.waiting[thread_id] = draft.key
                elif draft.kind is MessageKind.FIRST:
                    board.out.fresh.add(thread_id)
                    if waiting.due_ms > waiting.planned_ms:
                        board.out.waiting[thread_id] = draft.key
                        first.add(draft.key)
        board.out.first_waiting = frozenset(first)
        return board

    # ---- what was before

    def has_thread(self, thread_id: str) -> bool:
        return thread_id in self._threads

    def has_called(self, thread_id: str, step: str, since_ms: int, least: int) -> bool:
        called = self._called.get((thread_id, step), ())
        return any(at_ms >= since_ms and rank(self.incidents[key].severity) >= least for at_ms, key in called)

    def _storms(self, now_ms: int) -> Storms:
        while self._begun and self._begun[0][1] <= now_ms - KNOWN_FOR_MS:
            self._begun.popleft()
        return _LateStorms(self._storm_after, now_ms, self._less, self._begun if self._storm_after else ())

    def _lately(self, group: str, now_ms: int) -> list[Thread]:
        """Threads of a group that may go on."""
        found = [
            thread
            for thread in self._of_group.get(group, ())
            if thread.resolved_ms is None or thread.resolved_ms >= now_ms - RECURS_MS
        ]
        if found:
            self._of_group[group] = found
        return found

    def _keep_incident(self, incident: Incident) -> None:
        self.incidents[incident.incident_id] = incident
        if incident.resolved_ms is None:
            self._open[incident.incident_id] = incident
            self._steps.set(incident.incident_id, incident.next_ms)
        else:
            self._open.pop(incident.incident_id, None)

    def _keep_thread(self, thread: Thread) -> None:
        if thread.thread_id not in self._threads:
            self._threads[thread.thread_id] = thread
            self._of_group.setdefault(thread.group, []).append(thread)
            if thread.kind is ThreadKind.GROUP:
                self._begun.append((thread.target, thread.opened_ms, thread.fold, thread.as_new_kind))
        self._set_repeat(thread)

    def _keep_member(self, member: Member) -> None:
        self._members[member.incident_id][member.target] = member
        if member.thread_id:
            self._of_thread.setdefault(member.thread_id, {})[member.incident_id] = member
            self._thread_of[member.incident_id, member.target] = member.thread_id
            self._muted.pop((member.incident_id, member.target), None)
        else:
            was = self._thread_of.pop((member.incident_id, member.target), None)
            if was:
                # What it waited in, it has left.
                del self._of_thread[was][member.incident_id]
                self._muted[member.incident_id, member.target] = None

    def _keep_draft(self, draft: DeliveryDraft, now_ms: int) -> None:
        if draft.added:
            held = self.listed.get(draft.key) or self._waiting[draft.key].draft
            held.alert_count += draft.alert_count
            held.alert_id = draft.alert_id
        elif draft.muted:
            self.listed[draft.key] = draft
            if draft.muted in PASSING and self._members[draft.incident_id][draft.target].thread_id is None:
                self._muted[draft.incident_id, draft.target] = None
        else:
            if draft.kind in (MessageKind.ESCALATED, MessageKind.FIRST) and draft.detail:
                self._called.setdefault((draft.thread_id or "", draft.detail or ""), []).append(
                    (now_ms, draft.incident_id)
                )
            waiting = WaitingDelivery(draft, now_ms, draft.not_before_ms)
            self._waiting[draft.key] = waiting
            self._in_line.setdefault(draft.thread_id or "", []).append(waiting)
            self._put(waiting)

    # ---- the last look before a message

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def in_thread(self, thread_id: str) -> tuple[Thread, list[Held]]:
        held = []
        for key, member in self._of_thread[thread_id].items():
            incident = self.incidents[key]
            held.append(Held(incident, self._alerts[incident.newest_alert], member.since_ms, member.over))
        return self._threads[thread_id], held

    def told_ms(self, thread_id: str) -> int | None:
        return self._told.get(thread_id)

    def hush(self, delivery: Delivery, reason: MuteReason, now_ms: int, *, all_of_it: bool) -> bool:
        waiting = self._waiting[delivery.delivery_key]
        line = self._drop(delivery.delivery_key)
        for each in list(line) if all_of_it else ():
            self._drop(each.draft.key)
        draft = waiting.draft
        self._called.get((draft.thread_id or "", draft.detail or ""), []).clear()
        draft.muted, draft.detail = reason.why, reason.detail or None
        self.listed[draft.key] = draft
        return True

    def pass_on(self, delivery: Delivery, gone: Mapping[str, int], heir: AlertRow | None, now_ms: int) -> None:
        for waiting in self._in_line[delivery.thread_id or ""]:
            draft = waiting.draft
            if draft.incident_id in gone and heir is not None:
                draft.incident_id, draft.alert_id = heir.incident_id, heir.alert_id
            if draft.key == delivery.delivery_key and draft.kind is MessageKind.FIRST:
                draft.alert_count = max(1, draft.alert_count - sum(gone.values()))

    # ---- reading

    def silences(self) -> list[Silence]:
        return list(self._silences)

    def ended_silences(self, since_ms: int, until_ms: int) -> list[Silence]:
        # They hold all the time.
        return []

    def alert(self, alert_id: str) -> AlertRow:
        return self._alerts[alert_id]

    def open_alerts(self) -> list[AlertRow]:
        found = sorted(self._open.values(), key=lambda incident: -incident.newest_ms)
        return [self._alerts[incident.newest_alert] for incident in found if not incident.old]

    def muted_alerts(self) -> list[tuple[AlertRow, set[Target]]]:
        places: dict[str, set[Target]] = {}
        for incident_id, target in list(self._muted):
            if incident_id in self._open:
                places.setdefault(incident_id, set()).add(target)
            else:
                del self._muted[incident_id, target]
        return [(self._alerts[self.incidents[key].newest_alert], where) for key, where in places.items()]

    @property
    def something_muted(self) -> bool:
        """Whether something may be told once what mutes it has passed."""
        return bool(self._muted)

    def lapsed(self, now_ms: int) -> list[Incident]:
        # Nobody has taken anything.
        return []

    def due_incidents(self, now_ms: int) -> list[Incident]:
        return [self.incidents[key] for key in self._steps.ring(now_ms) if key in self._open]

    def due_threads(self, now_ms: int) -> list[tuple[Thread, list[AlertRow]]]:
        found = []
        for thread_id in self._repeats.ring(now_ms):
            still = [self.incidents[key] for key, member in self._of_thread[thread_id].items() if not member.over]
            if still:
                still.sort(key=lambda incident: -incident.newest_ms)
                found.append((self._threads[thread_id], [self._alerts[each.newest_alert] for each in still]))
        return found

    def put_off(self, incidents: Sequence[str], threads: Sequence[str], until_ms: int) -> None:
        for incident_id in incidents:
            self._steps.set(incident_id, until_ms)
        for thread_id in threads:
            self._repeats.set(thread_id, until_ms)

    def view(self, waiting: WaitingDelivery) -> tuple[Delivery, AlertRow, ThreadView]:
        """What a delivery's message tells; without marks, which nobody set."""
        thread = self._threads[waiting.draft.thread_id or ""]
        members = [(self.incidents[key], member.over) for key, member in self._of_thread[thread.thread_id].items()]
        members.sort(key=lambda member: -member[0].newest_ms)
        view = view_from(thread, members)
        newest = {each.incident_id: self._alerts[each.newest_alert] for each in view.incidents}
        delivery = planned_delivery(waiting.draft, waiting.planned_ms)
        return delivery, self._alerts[waiting.draft.alert_id], replace(view, newest=newest)

    # ---- what is due

    def next_ms(self) -> int | None:
        """When something is next to be sent, or done."""
        due = [each for each in (self._due[0][0] if self._due else None, self._steps.next, self._repeats.next) if each]
        return min(due, default=None)

    def next_due(self, now_ms: int) -> WaitingDelivery | None:
        """A delivery to send now: one waits for all earlier ones of its thread, an edit for the first message alone."""
        while self._due and self._due[0][0] <= now_ms:
            due_ms, _, key = heapq.heappop(self._due)
            waiting = self._waiting.get(key)
            if waiting is None or waiting.due_ms != due_ms:
                continue
            if self._waits(waiting):
                self._blocked.setdefault(waiting.draft.thread_id or "", []).append(waiting)
                continue
            return waiting
        return None

    def _waits(self, waiting: WaitingDelivery) -> bool:
        draft = waiting.draft
        return any(
            earlier.draft.kind is MessageKind.FIRST
            or (draft.kind is not MessageKind.EDIT and earlier.draft.kind is not MessageKind.EDIT)
            for earlier in self._in_line[draft.thread_id or ""]
            if earlier.draft.sequence < draft.sequence
        )

    def sent(self, waiting: WaitingDelivery, now_ms: int) -> None:
        """As notifier.ledger.outbox.Outbox.sent: more of the same thread waits its interval from now."""
        draft = waiting.draft
        thread = self._threads[draft.thread_id or ""]
        line = self._drop(draft.key)
        if thread.root is None:
            thread.root = draft.key
        if draft.kind is MessageKind.EDIT:
            thread.edited_ms = now_ms
        else:
            thread.newest_ms = self._told[thread.thread_id] = now_ms
            self._set_repeat(thread)
            for each in line:
                if each.draft.kind is MessageKind.MORE:
                    each.due_ms = now_ms + thread.interval_ms
                    self._put(each)

    def _drop(self, key: str) -> list[WaitingDelivery]:
        """It is to go no more; what of its thread is."""
        waiting = self._waiting.pop(key)
        thread_id = waiting.draft.thread_id or ""
        line = self._in_line[thread_id]
        line.remove(waiting)
        for each in self._blocked.pop(thread_id, ()):
            self._put(each)
        return line

    def _put(self, waiting: WaitingDelivery) -> None:
        self._number += 1
        heapq.heappush(self._due, (waiting.due_ms, self._number, waiting.draft.key))

    def _set_repeat(self, thread: Thread) -> None:
        manner = self._manners.get(thread.target)
        due = thread.repeat_ms is not None and thread.newest_ms is not None and thread.resolved_ms is None
        due = due and manner is not None and MessageKind.REMINDER in manner.wants
        self._repeats.set(thread.thread_id, (thread.newest_ms or 0) + (thread.repeat_ms or 0) if due else None)


class _LateStorms(Storms):
    """Reads what began only where a thread is about to begin: most alerts begin none."""

    def __init__(self, after: int, now_ms: int, less: Mapping[Target, int], begun: Iterable[Begun]) -> None:
        super().__init__(after, now_ms, less)
        self._unread: Iterable[Begun] = begun

    def lets_begin(self, target: Target, kind: str) -> tuple[bool, bool]:
        self.load(self._unread)
        self._unread = ()
        return super().lets_begin(target, kind)


class _Alarms:
    """When something is to be done about each of many, at one time each."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def set(self, key: str, at_ms: int | None) -> None:
        if at_ms is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at_ms:
            self._at[key] = at_ms
            heapq.heappush(self._heap, (at_ms, key))

    @property
    def next(self) -> int | None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def ring(self, now_ms: int) -> list[str]:
        """Those that are due, once."""
        found = []
        while (at_ms := self.next) is not None and at_ms <= now_ms:
            _, key = heapq.heappop(self._heap)
            del self._at[key]
            found.append(key)
        return found
