"""What people do with incidents: list, take, let go, note, escalate; and marks. Asked of the running notifier."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from lakehouse.oncall import OnCall, OnCallIncident, Status
from notifier.commands.arguments import one_of, past_of, span_of
from notifier.commands.oncall import MOST, TokenFile, Url, on_call
from notifier.commands.output import Json, say, shown, table

Which = Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id, or the beginning of it where only one has it.")]


def incidents(
    status: Annotated[Status | None, typer.Option(help="Only those.")] = None,
    since: Annotated[str | None, typer.Option(help="Alive since then: a time (ISO 8601), or a span like 24h.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="So many at most.")] = 100,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Incidents, newest alert first. Exits 0, 2 for a wrong question or token, 3 where the notifier does not answer."""
    begin = None if since is None else past_of("--since", since, datetime.now(UTC))
    with on_call(url, token_file) as client:
        found = _all(client, status, begin, limit)
    head = ("INCIDENT", "STATE", "SEVERITY", "WHAT", "SINCE (UTC)", "ALERTS", "WHO", "TOLD")
    say(table(head, map(_row, found)), [each.model_dump(mode="json") for each in found], as_json)


def ack(
    incident: Which,
    span: Annotated[str | None, typer.Option("--for", help="How long, like 2h; else notifier.ack_for.")] = None,
    note: Annotated[str, typer.Option(help="A line for its history.")] = "",
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Take an incident: nobody else is called. Exits 0, 2 for a wrong question or an incident that is over, 3 where
    the notifier does not answer."""
    until = None if span is None else datetime.now(UTC) + span_of("--for", span)
    with on_call(url, token_file) as client:
        before = _one(client, incident)
        done = client.ack(before.incident_id, until, note, before.revision)
    had = f"; {before.ack.by} had it" if before.ack else ""
    end = f" until {shown(done.ack.until)} UTC" if done.ack and done.ack.until else ""
    say(f"{_named(done)}: {done.ack.by if done.ack else 'nobody'} has it{end}{had}.", _json(done), as_json)


def unack(incident: Which, url: Url = None, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Let an incident go: others are called again. Exits 0 (also where nobody had it), 2 for a wrong question or an
    incident that is over, 3 where the notifier does not answer."""
    with on_call(url, token_file) as client:
        before = _one(client, incident)
        done = client.unack(before.incident_id, before.revision)
    had = f"{before.ack.by} had it" if before.ack else "nobody had it"
    say(f"{_named(done)}: {had}, nobody has it now.", _json(done), as_json)


def note(
    incident: Which,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The line.")],
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Add a line to an incident's history, also to that of one that is over. Exits 0, 2 for a wrong question, 3 where
    the notifier does not answer."""
    with on_call(url, token_file) as client:
        done = client.note(_one(client, incident).incident_id, text)
    say(f"{_named(done)}: noted.", _json(done), as_json)


def escalate(incident: Which, url: Url = None, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Go on to the next step of its route now. Exits 0, 1 where there is no further step, 2 for a wrong question or an
    incident that is over, 3 where the notifier does not answer."""
    with on_call(url, token_file) as client:
        before = _one(client, incident)
        done = client.escalate(before.incident_id, before.revision)
    went = done.level > before.level
    said = f"step {done.level} is told" if went else "its route has no further step, and nobody is told"
    say(f"{_named(done)}: {said}.", _json(done), as_json)
    if not went:
        raise typer.Exit(1)


def mark(
    text: Annotated[str, typer.Argument(metavar="TEXT", help='What was done: "deploy 1.4".')],
    at: Annotated[str | None, typer.Option(help="When: a time (ISO 8601), or a span like 10min ago; now.")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Note that something was done: messages of what breaks soon after name it. Exits 0, 2 for a wrong question, 3
    where the notifier does not answer."""
    moment = None if at is None else past_of("--at", at, datetime.now(UTC))
    with on_call(url, token_file) as client:
        done = client.mark(text, moment)
    say(f"{shown(done.at)} UTC: {done.text}.", done.model_dump(mode="json"), as_json)


def _all(
    client: OnCall, status: Status | None, since: datetime | None, limit: int, begins: str | None = None
) -> Sequence[OnCallIncident]:
    answer = client.incidents(status, since, limit=MOST, begins=begins)
    return answer.incidents[:limit] if answer else ()


def _one(client: OnCall, begins: str) -> OnCallIncident:
    known = {each.incident_id: each for each in _all(client, None, None, MOST, begins)}
    return known[one_of(begins, known, "incident", "incidents")]


def _row(incident: OnCallIncident) -> tuple[object, ...]:
    told = sorted({f"{each.channel} {each.state}" for each in incident.told})
    who = incident.ack.by if incident.ack else None
    what = incident.service_name or incident.rule
    return (
        *(incident.incident_id, incident.word, incident.severity, what, incident.starts_at, incident.alerts, who),
        ", ".join(told),
    )


def _named(incident: OnCallIncident) -> str:
    return f"{incident.incident_id} ({incident.severity} in {incident.service_name or incident.rule})"


def _json(incident: OnCallIncident) -> object:
    return incident.model_dump(mode="json")
