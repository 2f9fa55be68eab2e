"""What the notifier knows, as parts of a message: who has an incident, who was told, what happened, what wakes all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from console.choices import WORST
from console.feed.incidents import ListedIncident
from console.on_call.acts import Actor
from console.on_call.watch import Duty
from console.parts import Part, incident_link, iso_ms
from console.tab import ListColumn, RowList
from lakehouse.oncall import HistoryLine, OnCallDetail, OnCallIncident
from lakehouse.texts import REASON_LETTERS, visible

HISTORY = RowList(
    "history",
    "What happened",
    (
        ListColumn("Time", "at", "time"),
        ListColumn("Who", "who"),
        ListColumn("By", "via"),
        ListColumn("What", "action"),
        ListColumn("Note", "note", hover="{note}", css="wide"),
    ),
    "The notifier has written nothing of this incident.",
    long=True,
)
TOLD = RowList(
    "told",
    "Who was told",
    (
        ListColumn("Time", "at", "time"),
        ListColumn("Channel", "channel"),
        ListColumn("Place", "destination"),
        ListColumn("State", "state"),
        ListColumn("Receipt or reason", "why", hover="{why}", css="wide"),
    ),
    "Nobody was told of this incident: no route takes it, or no channel is set up.",
)
BANNER_NAMES = 5
NEWS_MOST = 50
NEWS_LETTERS = 120


def duty_part(
    incident: ListedIncident, duty: Duty, actor: Actor, detail: OnCallDetail | str | None, *, past: bool = False
) -> dict[str, Part]:
    """What stands on an incident's page beside its rows: who has it, what one may do, its history and its messages.

    past: a moment is shown: its history up to then, and nobody acts in it. Whom messages reached is of now, each with
    its time: that of the message that led there is later than the moment it names.
    """
    known = None if past else duty.incidents.get(incident.incident_id)
    told = detail if isinstance(detail, OnCallDetail) else None
    if told is not None and not past and (known is None or told.revision > known.revision):
        known = told
    error = duty.error or (detail if isinstance(detail, str) and known else None)
    facts = _facts(known) if known else []
    if past and told is not None and incident.state == "open":
        facts = [[_had_then(told.history), None]]
    parts: dict[str, Part] = {
        "duty": {
            "incident": incident.incident_id,
            "revision": known.revision if known else None,
            "error": error and visible(error, REASON_LETTERS),
            "may": actor.may_act,
            "person": visible(actor.person or ""),
            "open": incident.state == "open",
            "facts": facts,
            "taken": bool(known and known.ack),
            "had": known.ack.by if known and known.ack else "",
            "silence": known.silenced.id if known and known.silenced else None,
        }
    }
    lines = [
        {
            "key": f"{number}",
            "at": iso_ms(line.at),
            "who": visible(line.who),
            "via": visible(line.via),
            "action": visible(line.action),
            "note": visible(line.note),
        }
        for number, line in enumerate(told.history if told else ())
    ]
    why = None if told else _not_known(detail)
    parts[f"list.{HISTORY.name}"] = {"rows": lines[::-1], "empty": why and f"What happened {why}"}
    heard = known or told
    parts[f"list.{TOLD.name}"] = {
        "rows": [
            {
                "key": f"{number}",
                "at": iso_ms(each.at),
                "channel": each.channel,
                "destination": visible(each.destination),
                "state": each.state,
                "why": visible(each.receipt or each.reason or ""),
            }
            for number, each in enumerate(heard.told if heard else ())
        ],
        "empty": None if heard else f"Who was told {_not_known(detail)}",
    }
    return parts


def _not_known(detail: str | OnCallDetail | None) -> str:
    """That the notifier has not said it, and why; the end of a sentence."""
    if isinstance(detail, str):
        return f"is not known: {visible(detail, REASON_LETTERS)}"
    return "is being asked."


def _had_then(history: Iterable[HistoryLine]) -> str:
    """Who had it once all that happened, in words."""
    who = None
    for line in history:
        if line.action == "acknowledged":
            who = line.who
        elif line.action in ("unacknowledged", "resolved"):
            who = None
    return f"{visible(who)} had it then" if who else "nobody had it then"


def _facts(known: OnCallIncident) -> list[list[str | None]]:
    """Words, each with a time that stands behind them."""
    facts: list[list[str | None]] = []
    if known.status != "open":
        return facts
    if known.ack:
        facts.append([f"{visible(known.ack.by)} has it", None])
        facts.append(["until", iso_ms(known.ack.until)] if known.ack.until else ["until it resolves", None])
    else:
        facts.append(["nobody has it", None])
    if known.silenced:
        facts.append([f"silenced by {visible(known.silenced.by)} until", iso_ms(known.silenced.until)])
    if known.level:
        facts.append([f"escalated to step {known.level}", None])
    if known.owner:
        facts.append([f"owner {visible(known.owner)}", None])
    return facts


def words_of(incident: ListedIncident, duty: Duty) -> tuple[str, str] | None:
    """State (a class of the row) and its words of an open incident that somebody has, or that is silenced."""
    known = duty.incidents.get(incident.incident_id) if incident.state == "open" else None
    if known is None or known.status != "open":
        return None
    if known.silenced:
        return "silenced", "silenced"
    if known.ack:
        return "taken", f"{visible(known.ack.by)} has it"
    return ("open", "escalated") if known.level else None


def banner_part(incidents: Iterable[ListedIncident], duty: Duty, beyond: int = 0) -> Part:
    """What every tab carries while the worst is open: those that nobody has, and those that are silenced. beyond: more
    of them that nobody is known to have."""
    alone: list[ListedIncident] = []
    silenced: list[tuple[ListedIncident, datetime]] = []
    for incident in incidents:
        if incident.state != "open" or incident.severity.upper() != WORST:
            continue
        known = duty.incidents.get(incident.incident_id)
        if known and known.silenced:
            silenced.append((incident, known.silenced.until))
        elif not (known and known.ack):
            alone.append(incident)
    return {
        "alone": [_entry(each, each.starts_at) for each in alone[:BANNER_NAMES]],
        "more": max(0, len(alone) - BANNER_NAMES) + beyond,
        "silenced": [_entry(each, until) for each, until in silenced[:BANNER_NAMES]],
        "count": len(alone) + beyond,
        # Nobody can have it where nobody can be asked who does.
        "unknown": duty.error is not None,
    }


def news_part(incidents: Iterable[ListedIncident], duty: Duty, *, ready: bool) -> Part:
    """What a page says once, when it comes: the worst that are open, and what people did. Of either the browser tells
    what it did not know when it was ready, and the notifier known: what a page finds as it is opened is no news."""
    worst = [one for one in incidents if one.state == "open" and one.severity.upper() == WORST]
    return {
        "ready": ready,
        "known": duty.revision is not None,
        "fatal": [_fatal(one, duty.incidents.get(one.incident_id)) for one in worst[:NEWS_MOST]],
        "acts": _acts_of(duty),
    }


def _fatal(incident: ListedIncident, known: OnCallIncident | None) -> Part:
    name = visible(incident.service_name or incident.rule)
    return {
        "key": incident.incident_id,
        "href": incident_link(incident.incident_id),
        "words": f"{WORST} {name}: {visible(incident.description, NEWS_LETTERS)}",
        # Whom it does not wake, it does not call either.
        "quiet": bool(known and (known.silenced or known.ack)),
    }


# All pages look at the same: the first one pays.
@lru_cache(maxsize=2)
def _acts_of(duty: Duty) -> list[Part]:
    """What somebody did, each once: a silence is one, whatever it covers."""
    acks, silences = list[tuple[datetime, Part]](), dict[str, Part]()
    for known in duty.incidents.values():
        name, href = visible(known.service_name or known.rule), incident_link(known.incident_id)
        if known.status == "open" and known.ack:
            key = f"ack {known.incident_id} {iso_ms(known.ack.at)}"
            words = f"{name}: acknowledged by {visible(known.ack.by)}"
            acks.append((known.ack.at, {"key": key, "href": href, "words": words}))
        if known.status == "open" and known.silenced:
            key, words = f"silence {known.silenced.id}", f"{name}: silenced by {visible(known.silenced.by)}"
            silences.setdefault(key, {"key": key, "href": href, "words": words})
    acks.sort(key=lambda one: one[0], reverse=True)
    marks = [
        {
            "key": f"mark {iso_ms(mark.at)} {mark.who}",
            "href": "",
            "words": f"{visible(mark.who)} marked: {visible(mark.text, NEWS_LETTERS)}",
        }
        for mark in duty.marks
    ]
    kinds = ([act for _, act in acks], list(silences.values()), marks)
    return [act for kind in kinds for act in kind[:NEWS_MOST]]


def _entry(incident: ListedIncident, at: datetime) -> Part:
    name = visible(incident.service_name or incident.rule)
    return {"href": incident_link(incident.incident_id), "name": name, "at": iso_ms(at)}
