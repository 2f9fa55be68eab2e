"""What becomes of threads: alerts, resolves, people and time turned into deliveries. In memory; no clock and no I/O.

A thread belongs to a destination and a group key: one outage, one thread. Its first message, the root, is edited to say
what is open; what is new comes below it. The ledger loads the part of the board that a change touches, and writes down
what has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from notifier.clock import span_ms, to_ms
from notifier.manner import Manner
from notifier.model import (
    BY_HAND,
    Ack,
    AlertRow,
    AlertSource,
    Incident,
    Member,
    MessageKind,
    Target,
    Thread,
    ThreadKind,
    rank,
    thread_key,
)
from notifier.planning.deliveries import Deliveries
from notifier.planning.past import NoPast
from notifier.planning.storm import Storms, fold
from notifier.routing.decide import Decision, MuteReason

RECURS_MS = 3_600_000
"""An incident of the same rule and entity that begins so soon after a thread's end goes on in it."""
STORM = "storm"
"""The group of a digest."""


@dataclass
class Note:
    """A line of an incident's history."""

    incident_id: str
    at_ms: int
    who: str
    via: str
    action: str
    text: str = ""


class Worksheet:
    """The incidents, threads and members that a change touches, and what it makes of them. manners: of all places.

    Loaded by the ledger: incidents by id; their members by place; threads that are open, or ended within RECURS_MS, of
    the places and groups at hand; in `out`, deliveries that are still to go.
    """

    def __init__(
        self,
        now_ms: int,
        manners: Mapping[Target, Manner],
        storms: Storms,
        past: NoPast | None = None,
        born_ms: int = 0,
    ) -> None:
        """born_ms: the ledger's birth: of what was published before it, another ledger may have told."""
        self.now_ms = now_ms
        self._born_ms = born_ms
        self._past = past or NoPast()
        self.incidents: dict[str, Incident] = {}
        self.members: dict[str, dict[Target, Member]] = {}
        self.threads: dict[str, Thread] = {}
        self.out = Deliveries(now_ms, manners)
        self.storms = storms
        self._manners = manners
        self._of_group: dict[tuple[Target, str], list[Thread]] = {}
        # What has changed.
        self._cleared: dict[str, str] = {}
        self.notes: list[Note] = []
        self._touched: set[str] = set()
        self._joined: set[tuple[str, Target]] = set()

    def load_thread(self, thread: Thread) -> None:
        self.threads[thread.thread_id] = thread
        self._of_group.setdefault((thread.target, thread.group), []).append(thread)

    def load_member(self, member: Member) -> None:
        self.members.setdefault(member.incident_id, {})[member.target] = member

    @property
    def has_changed(self) -> bool:
        """Whether there is something to write down."""
        out = self.out
        return bool(self._touched or self._joined or self.notes or out.drafts or out.dropped or out.moved)

    @property
    def changed_incidents(self) -> Iterator[Incident]:
        return (self.incidents[key] for key in self._touched)

    @property
    def changed_threads(self) -> Iterator[Thread]:
        return (self.threads[key] for key in self.out.moved)

    @property
    def changed_members(self) -> Iterator[Member]:
        return (self.members[incident][target] for incident, target in self._joined)

    def touch(self, incident: Incident) -> None:
        """It is to be written down."""
        self._touched.add(incident.incident_id)

    def changed(self, member: Member) -> None:
        """It is to be written down."""
        self._joined.add((member.incident_id, member.target))

    # ---- alerts

    def hear(self, alert: AlertRow, decisions: Sequence[Decision], old: bool) -> None:
        """A FIRING row that was not heard before, and what was decided on it."""
        incident = self._heard(alert, old)
        for decision in decisions:
            thread = self._told(incident, decision.target)
            if decision.muted:
                self._list(alert, incident, decision, decision.muted)
                if thread:
                    self.out.edit(alert, thread)
            elif thread:
                self._count_down(incident, decision)
                self._more(alert, incident, thread, decision)
            else:
                self._join(alert, incident, decision)

    def _heard(self, alert: AlertRow, old: bool) -> Incident:
        at_ms = to_ms(alert.alert_timestamp)
        incident = self.incidents.get(alert.incident_id)
        if incident is None:
            incident = self.incidents[alert.incident_id] = Incident(
                alert.incident_id,
                alert.rule,
                alert.severity,
                alert.service_name,
                alert.owner,
                alert.source,
                to_ms(alert.starts_at),
                at_ms,
                alert.alert_id,
                old=old,
            )
        elif at_ms >= incident.newest_ms:
            incident.newest_ms, incident.newest_alert = at_ms, alert.alert_id
        incident.alerts += 1
        incident.old = incident.old and old
        if rank(alert.severity) > rank(incident.severity):
            incident.severity = alert.severity
        if incident.ack and rank(incident.severity) > rank(incident.ack.severity):
            self.let_go(incident, "notifier", "notifier", f"it is {incident.severity} now")
        self._touched.add(incident.incident_id)
        return incident

    def resolve(self, alert: AlertRow) -> None:
        """The RESOLVED row of an incident: to all that were told of it, once, and to nobody else."""
        incident = self.incidents.get(alert.incident_id)
        if incident is None:
            # Of one that never fired here: it is listed nowhere.
            return
        if incident.resolved_ms is not None:
            return
        free = incident.ack is None
        incident.resolved_ms = to_ms(alert.alert_timestamp)
        incident.ack, incident.next_ms = None, None
        self._touched.add(incident.incident_id)
        self.notes.append(Note(incident.incident_id, self.now_ms, "rules", _via(alert), "resolved", alert.description))
        for member in list(self.members.get(incident.incident_id, {}).values()):
            if member.thread_id and not member.over:
                thread = self.threads[member.thread_id]
                self._over(alert, incident, member, thread)
                whole = thread.resolved_ms is None and self.out.takes_whole(thread.target)
                if free and whole and self._past.has_taken(thread.thread_id):
                    # It may have been the last that nobody has.
                    self.out.taken(alert, thread)

    def _over(self, alert: AlertRow, incident: Incident, member: Member, thread: Thread) -> None:
        member.over = True
        self._joined.add((incident.incident_id, member.target))
        thread.open_members -= 1
        self.out.moved.add(thread.thread_id)
        if thread.open_members <= 0:
            thread.resolved_ms = self.now_ms
            # The end tells how many alerts there were, and what ended with it.
            self.out.drop(self.out.waiting.pop(thread.thread_id, None))
            self.out.drop(self._cleared.pop(thread.thread_id, None))
            self.out.send(alert, thread, MessageKind.RESOLVED, route=member.route)
        elif thread.thread_id in self._cleared:
            self.out.add(self._cleared[thread.thread_id], alert)
        elif thread.kind is ThreadKind.GROUP:
            key = self.out.send(alert, thread, MessageKind.CLEARED, route=member.route)
            if key:
                self._cleared[thread.thread_id] = key
        elif not self.out.edits(thread.target):
            self.out.digest(alert, thread)
        self.out.edit(alert, thread)

    def close(self, alert: AlertRow) -> None:
        """An incident that is over as soon as it is told: its end is told to nobody."""
        incident = self.incidents[alert.incident_id]
        incident.resolved_ms = to_ms(alert.alert_timestamp)
        for thread in self._threads(incident):
            thread.open_members, thread.resolved_ms = 0, self.now_ms
        for member in self.members.get(incident.incident_id, {}).values():
            member.over = True

    # ---- what passes

    def unmute(self, alert: AlertRow, decisions: Sequence[Decision]) -> None:
        """Nothing mutes an open incident any more at some places: those that were told nothing are told now."""
        incident = self.incidents[alert.incident_id]
        for decision in decisions:
            if not decision.muted and self._told(incident, decision.target) is None:
                self._join(alert, incident, decision)

    def remind(self, alert: AlertRow, thread: Thread) -> None:
        """The thread is open for long, and nobody has taken it."""
        self.out.send(alert, thread, MessageKind.REMINDER, broadcast=True)

    def escalate(
        self,
        alert: AlertRow,
        incident: Incident,
        level: int,
        decisions: Iterable[Decision],
        next_ms: int | None,
        *,
        by_hand: bool = False,
    ) -> None:
        """The incident reaches a step of its route: these are told, or told again. next_ms: when the next is due.

        A thread, be it of a storm, is told of a step once for all that nobody has taken for so long.
        """
        since_ms, step = incident.level_ms or incident.told_ms or self.now_ms, f"step {level}"
        incident.level, incident.next_ms = level, next_ms
        self._touched.add(incident.incident_id)
        self.notes.append(Note(incident.incident_id, self.now_ms, "notifier", "notifier", "escalated", step))
        for decision in decisions:
            thread = self._told(incident, decision.target)
            if thread is None:
                self._join(alert, incident, decision, MessageKind.ESCALATED)
            elif by_hand or not self._past.has_called(thread.thread_id, step, since_ms, rank(incident.severity)):
                self.out.send(alert, thread, MessageKind.ESCALATED, broadcast=True)
        for draft in self.out.drafts.values():
            if draft.kind is MessageKind.ESCALATED or (by_hand and draft.kind is MessageKind.FIRST):
                draft.detail = BY_HAND if by_hand else step
        self._edit_all(alert, incident)

    # ---- people

    def take(self, alert: AlertRow, incident: Incident, ack: Ack) -> None:
        """Somebody has it."""
        incident.ack, incident.next_ms = ack, None
        self._touched.add(incident.incident_id)
        self.notes.append(Note(incident.incident_id, self.now_ms, ack.by, ack.via, "acknowledged", ack.note))
        for thread in self._threads(incident):
            self.out.taken(alert, thread)
        self._edit_all(alert, incident, at_once=True)

    def let_go(self, incident: Incident, who: str, via: str, why: str) -> None:
        """Nobody has it any more: the steps of escalation begin anew."""
        incident.ack = None
        incident.level, incident.level_ms, incident.next_ms = 0, self.now_ms, self.now_ms
        self._touched.add(incident.incident_id)
        self.notes.append(Note(incident.incident_id, self.now_ms, who, via, "unacknowledged", why))

    def said(self, alert: AlertRow, incident: Incident) -> None:
        """Something else of it has changed that its roots tell."""
        self._touched.add(incident.incident_id)
        self.show(alert, incident)

    def show(self, alert: AlertRow, incident: Incident) -> None:
        """Its roots are to say what is now, though nothing of it has changed: a silence."""
        self._edit_all(alert, incident, at_once=True)

    def _edit_all(self, alert: AlertRow, incident: Incident, *, at_once: bool = False) -> None:
        for thread in self._threads(incident):
            self.out.edit(alert, thread, at_once=at_once)

    def _threads(self, incident: Incident) -> list[Thread]:
        """Where it was told and is open."""
        members = self.members.get(incident.incident_id, {}).values()
        return [self.threads[member.thread_id] for member in members if member.thread_id and not member.over]

    def _told(self, incident: Incident, target: Target) -> Thread | None:
        """The thread that tells of it there."""
        member = self.members.get(incident.incident_id, {}).get(target)
        return self.threads[member.thread_id] if member and member.thread_id else None

    # ---- threads

    def _join(
        self, alert: AlertRow, incident: Incident, decision: Decision, kind: MessageKind = MessageKind.JOINED
    ) -> None:
        """An incident's first unmuted row at a place: into the thread of its group, or the beginning of one."""
        thread = self._thread_for(alert, decision)
        if thread is None:
            self._begin(alert, incident, decision, decision.route[-1] if kind is MessageKind.ESCALATED else None)
            return
        again = thread.resolved_ms is not None
        louder = rank(incident.severity) > rank(thread.severity)
        self._add_member(alert, incident, thread, decision)
        thread.resolved_ms = None
        held = self.out.waiting.get(thread.thread_id)
        if held and self.out.adds_to_first(held):
            self.out.add(held, alert)
        else:
            self.out.send(alert, thread, kind, broadcast=again or louder, route=_way(decision))
        self.out.edit(alert, thread)

    def _thread_for(self, alert: AlertRow, decision: Decision) -> Thread | None:
        """The thread of its group that is open, or was until lately and told of the same before."""
        lately: Thread | None = None
        for thread in self._of_group.get((decision.target, decision.group), ()):
            if thread.resolved_ms is None:
                return thread
            if self.now_ms - thread.resolved_ms <= RECURS_MS and alert.recurs in thread.recurs:
                lately = thread if lately is None or thread.opened_ms > lately.opened_ms else lately
        return lately

    def _begin(self, alert: AlertRow, incident: Incident, decision: Decision, step: str | None) -> None:
        """step: that of escalation, where it is one that tells this place of it."""
        kind = fold(alert)
        may, as_new = self.storms.lets_begin(decision.target, kind)
        group = decision.group if may else STORM
        if not may:
            for thread in self._of_group.get((decision.target, STORM), ()):
                if thread.resolved_ms is None:
                    self._add_member(alert, incident, thread, decision)
                    self.out.digest(alert, thread)
                    return
        manner = self._manners.get(decision.target)
        interval_ms = span_ms(decision.policy.interval)
        if not may and manner is not None:
            interval_ms = manner.digest_every_ms
        thread = Thread(
            self._new_key(decision.target, group, incident),
            decision.target,
            group,
            ThreadKind.GROUP if may else ThreadKind.STORM,
            kind,
            incident.severity,
            self.now_ms,
            as_new_kind=as_new,
            interval_ms=interval_ms,
            repeat_ms=span_ms(decision.policy.repeat) if decision.policy.repeat else None,
        )
        self.load_thread(thread)
        self._add_member(alert, incident, thread, decision)
        due_ms = self.now_ms + (span_ms(decision.policy.wait) if may else 0)
        key = self.out.send(alert, thread, MessageKind.FIRST, due_ms, route=_way(decision))
        if key and due_ms > self.now_ms:
            self.out.waiting[thread.thread_id] = key
        if key:
            self.out.fresh.add(thread.thread_id)
            self.out.drafts[key].detail = step
            self.out.drafts[key].look_up = to_ms(alert.ingested_at) < self._born_ms

    def _new_key(self, target: Target, group: str, incident: Incident) -> str:
        """The key of a new thread: one whose first message died may have had the first."""
        number, key = 1, thread_key(target, group, incident.incident_id)
        while key in self.threads or self._past.has_thread(key):
            number += 1
            key = thread_key(target, group, f"{incident.incident_id} {number}")
        return key

    def _add_member(self, alert: AlertRow, incident: Incident, thread: Thread, decision: Decision) -> None:
        held = self.members.get(incident.incident_id, {}).get(decision.target)
        member = Member(
            incident.incident_id,
            decision.target,
            thread.thread_id,
            _way(decision),
            self.now_ms,
            muted=held.muted if held else {},
        )
        self.load_member(member)
        self._joined.add((incident.incident_id, decision.target))
        thread.open_members += 1
        thread.all_members += 1
        if thread.kind is ThreadKind.GROUP:
            thread.recurs.add(alert.recurs)
        if rank(incident.severity) > rank(thread.severity):
            thread.severity = incident.severity
        self.out.moved.add(thread.thread_id)
        if incident.told_ms is None:
            incident.told_ms = incident.level_ms = self.now_ms
            self._touched.add(incident.incident_id)
        self._count_down(incident, decision)

    def _count_down(self, incident: Incident, decision: Decision) -> None:
        """When to look for the first step of escalation, where none is reached yet."""
        if decision.calls_after is None or incident.next_ms is not None or incident.level or incident.ack:
            return
        incident.next_ms = (incident.level_ms or self.now_ms) + span_ms(decision.calls_after)
        self._touched.add(incident.incident_id)

    def _more(self, alert: AlertRow, incident: Incident, thread: Thread, decision: Decision) -> None:
        """Another row of an incident that the thread tells of."""
        held = self.out.waiting.get(thread.thread_id)
        if thread.kind is ThreadKind.STORM:
            self.out.digest(alert, thread)
        elif held:
            self.out.add(held, alert)
        elif incident.ack is None:
            # Whoever has it looks at the figures; the root says how many there are.
            due_ms = max(self.now_ms, (thread.newest_ms or self.now_ms) + thread.interval_ms)
            key = self.out.send(alert, thread, MessageKind.MORE, due_ms, route=_way(decision))
            if key:
                self.out.waiting[thread.thread_id] = key
        self.out.edit(alert, thread)

    def _list(self, alert: AlertRow, incident: Incident, decision: Decision, reason: MuteReason) -> None:
        """A muted row: one delivery for each incident, place and reason lists it."""
        target = decision.target
        member = self.members.get(incident.incident_id, {}).get(target)
        if member is None:
            member = Member(incident.incident_id, target, route=_way(decision), since_ms=self.now_ms)
            self.load_member(member)
        self._joined.add((incident.incident_id, target))
        held = member.muted.get(str(reason))
        if held:
            self.out.add(held, alert)
        else:
            member.muted[str(reason)] = self.out.list(alert, target, reason, len(member.muted), _way(decision))


def _via(alert: AlertRow) -> str:
    """Where its rule is judged, for an incident's history."""
    return "question" if alert.source is AlertSource.QUESTION else "table"


def _way(decision: Decision) -> str:
    return " > ".join(decision.route)
