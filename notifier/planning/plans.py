"""From alerts and what time ends to a change of the board: the part of planning that needs no table and no file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from notifier.model import AlertRow, DeliveryDraft, Incident, Target, Thread
from notifier.planning.board import Worksheet
from notifier.reasons import Decided
from notifier.routing.decide import Decision, OpenAlert, Router, Silence, Surroundings

type Change = Callable[[Worksheet], None]


class Book(Protocol):
    """The part of notifier.ledger.ledger.Ledger that these, and duties, work on."""

    def plan(
        self,
        alerts: Sequence[AlertRow],
        groups: Iterable[str],
        decide: Change,
        now_ms: int,
        *,
        incident_ids: Iterable[str] = (),
    ) -> list[DeliveryDraft]: ...

    def silences(self) -> list[Silence]: ...

    def ended_silences(self, since_ms: int, until_ms: int) -> list[Silence]: ...

    def open_alerts(self) -> Sequence[OpenAlert]: ...

    def muted_alerts(self) -> list[tuple[AlertRow, set[Target]]]: ...

    def alert(self, alert_id: str) -> AlertRow: ...

    def lapsed(self, now_ms: int) -> list[Incident]: ...

    def due_incidents(self, now_ms: int) -> list[Incident]: ...

    def due_threads(self, now_ms: int) -> list[tuple[Thread, list[AlertRow]]]: ...

    def put_off(self, incidents: Sequence[str], threads: Sequence[str], until_ms: int) -> None: ...


def surroundings(
    book: Book, router: Router, now: datetime, old: Callable[[AlertRow], bool], alerts: Sequence[AlertRow] = ()
) -> Surroundings:
    """What decisions of now look at; `alerts` are about to be planned, and open or end incidents."""

    def open_alerts() -> Iterator[OpenAlert]:
        found: dict[str, OpenAlert] = {alert.incident_id: alert for alert in book.open_alerts()}
        for alert in alerts:
            if alert.status == "RESOLVED":
                found.pop(alert.incident_id, None)
            elif not old(alert):
                found[alert.incident_id] = alert
        yield from found.values()

    return Surroundings(now, old, book.silences(), open_alerts() if router.routing.inhibit else ())


@dataclass(frozen=True)
class Hearing:
    """What alerts make of the board: the groups that they belong to, a change that lets it hear them, in order, and
    what was decided of each."""

    groups: set[str]
    hear: Change
    decided: list[Decided]


def hearing(router: Router, alerts: Sequence[AlertRow], around: Surroundings) -> Hearing:
    """Decide on each of these alerts."""
    decisions: dict[str, list[Decision]] = {
        alert.alert_id: router.decide(alert, around) for alert in alerts if alert.status != "RESOLVED"
    }

    def hear(board: Worksheet) -> None:
        for alert in alerts:
            if alert.status == "RESOLVED":
                board.resolve(alert)
            else:
                board.hear(alert, decisions[alert.alert_id], around.old(alert))

    incidents = {alert.alert_id: alert.incident_id for alert in alerts}
    decided = [(incidents[alert_id], each) for alert_id, of_alert in decisions.items() for each in of_alert]
    return Hearing({each.group for _, each in decided}, hear, decided)


def unmute(
    book: Book, router: Router, look: Callable[[], Surroundings], now_ms: int
) -> tuple[list[DeliveryDraft], list[Decided]]:
    """Tell of open incidents that nothing mutes any more. look: the surroundings, asked where something is muted."""
    muted = book.muted_alerts()
    if not muted:
        return [], []
    around = look()
    told: dict[str, list[Decision]] = {}
    alerts = []
    for alert, places in muted:
        decisions = router.decide(alert, around)
        told[alert.incident_id] = [each for each in decisions if not each.muted and each.target in places]
        if told[alert.incident_id]:
            alerts.append(alert)
    if not alerts:
        return [], []

    def tell(board: Worksheet) -> None:
        for alert in alerts:
            board.unmute(alert, told[alert.incident_id])

    decided = [(incident, each) for incident, decisions in told.items() for each in decisions]
    groups = {each.group for _, each in decided}
    return book.plan((), groups, tell, now_ms, incident_ids=[alert.incident_id for alert in alerts]), decided
