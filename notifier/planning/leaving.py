"""Incidents that leave their thread before anybody was told of them there, for something mutes them now."""

from __future__ import annotations

from notifier.model import AlertRow, Incident, MessageKind, Target
from notifier.planning.board import Worksheet
from notifier.routing.decide import MuteReason


def hush(
    board: Worksheet, alert: AlertRow, incident: Incident, target: Target, reason: MuteReason, listed: str | None = None
) -> None:
    """It is as if it had been muted from the first. listed: the delivery that lists it; None: one is made."""
    places = board.members[incident.incident_id]
    member = places[target]
    thread = board.threads[member.thread_id or ""]
    thread.all_members -= 1
    thread.open_members -= not member.over
    board.out.moved.add(thread.thread_id)
    member.thread_id = None
    if listed is None and str(reason) not in member.muted:
        listed = board.out.list(alert, target, reason, len(member.muted), member.route)
        board.out.drafts[listed].alert_count = incident.alerts
    if listed is not None:
        member.muted[str(reason)] = listed
    board.changed(member)
    if incident.resolved_ms is None and not incident.level and not any(each.thread_id for each in places.values()):
        # Its steps count from when somebody is told.
        incident.told_ms = incident.level_ms = incident.next_ms = None
        board.touch(incident)


def left(board: Worksheet, thread_id: str, ended: AlertRow | None) -> None:
    """A thread that some have left: it is over where nothing is open in it any more, and says so where it was told.

    ended: an alert of an incident that is told there and is over.
    """
    thread = board.threads[thread_id]
    if thread.open_members > 0 or thread.resolved_ms is not None:
        return
    thread.resolved_ms = board.now_ms
    board.out.moved.add(thread_id)
    if ended is None:
        thread.recurs.clear()
        return
    board.out.drop(board.out.waiting.pop(thread_id, None))
    board.out.send(ended, thread, MessageKind.RESOLVED)
    board.out.edit(ended, thread)


def remind_later(board: Worksheet, thread_id: str) -> None:
    """A reminder is due again as soon as nothing mutes it."""
    thread = board.threads[thread_id]
    thread.newest_ms = board.now_ms - (thread.repeat_ms or 0)
    board.out.moved.add(thread_id)


def step_back(board: Worksheet, incident: Incident, number: int) -> None:
    """A step of escalation that nobody was told of is due again, unless a later one had its turn."""
    if incident.level == number and incident.ack is None and incident.resolved_ms is None:
        incident.level, incident.next_ms = number - 1, board.now_ms
        board.touch(incident)
