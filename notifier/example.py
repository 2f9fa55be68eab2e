"""The message of an alert that never was, for people to look at, or to try a channel with."""

from __future__ import annotations

from dataclasses import replace

from notifier.manner import Manner
from notifier.model import AlertRow, MessageKind, Target
from notifier.render import Notification, Style, notification
from notifier.replay.memory import MemoryLedger
from notifier.routing.decide import Decision, Policy, group_of

OTHERWISE = {
    "severity": "FATAL",
    "incident_id": "example",
    "rule": "example",
    "alert_type": "EXAMPLE",
    "description": "An example of a message.",
    "commit": "example",
}
"""Columns of an alert where nobody says them."""
_PLACE = Target("example", "")


def example(alert: AlertRow, style: Style, now_ms: int) -> Notification:
    """The first message of such an alert, or, where it is RESOLVED, the one that ends its thread."""
    ledger = MemoryLedger({_PLACE: Manner(frozenset(MessageKind))}, 0, ())
    group = group_of(alert, Policy().group_by)
    firing = replace(alert, alert_id=f"{alert.alert_id} FIRING", status="FIRING")
    decision = Decision(_PLACE, ("example",), Policy(), group)
    ledger.plan([firing], [group], lambda board: board.hear(firing, [decision], old=False), now_ms)
    waiting = ledger.next_due(now_ms)
    assert waiting is not None  # the first message waits for nothing
    if alert.status == "RESOLVED":
        ledger.sent(waiting, now_ms)
        ledger.plan([alert], [group], lambda board: board.resolve(alert), now_ms)
        waiting = ledger.next_due(now_ms)
        assert waiting is not None
    return notification(*ledger.view(waiting), style, now_ms)
