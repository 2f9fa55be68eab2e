"""`render`: what messages look like."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from lakehouse.texts import near
from lakehouse.user_error import UserError
from notifier.channels import CHANNELS
from notifier.clock import to_ms
from notifier.commands.arguments import alert_of, moment_of, one_of
from notifier.commands.output import Json, say
from notifier.commands.setup import ledger_path, style_of
from notifier.example import OTHERWISE, example
from notifier.ledger.look import look
from notifier.ledger.queries import newest_of
from notifier.ledger.rows import DELIVERIES, INCIDENTS, MEMBERS, to_delivery
from notifier.ledger.views import newest_alert, view_of
from notifier.model import MessageKind
from notifier.render import Notification, Style, notification
from notifier.settings import NotifierSettings


def render(
    columns: Annotated[
        list[str] | None, typer.Argument(metavar="COLUMN=VALUE …", help="Of the alert: severity=FATAL …")
    ] = None,
    incident: Annotated[
        str | None, typer.Option(help="Instead: one of the ledger, by its id or the beginning of it.")
    ] = None,
    channel: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    at: Annotated[str | None, typer.Option(help="The moment (ISO 8601, UTC without an offset); now.")] = None,
    as_json: Json = False,
) -> None:
    """The message of such an alert, on each channel; with status=RESOLVED the one that ends it; of an incident of the
    ledger, the first message of its thread as it is now. Nothing is sent. Exits 0, 2 for a wrong question or file."""
    settings = NotifierSettings.load()
    style = style_of(settings)
    moment = datetime.now(UTC) if at is None else moment_of("--at", at)
    names = channel or list(CHANNELS)
    for name in names:
        if name not in CHANNELS:
            raise UserError(f"'{name}' is no channel{near(name, CHANNELS)}; channels are {', '.join(CHANNELS)}.")
    if (incident is None) == (not columns):
        raise UserError("Say what to render: COLUMN=VALUE of an alert, or --incident, and not both.")
    if incident is not None:
        notes = _notes_of(incident, names, style, to_ms(moment))
    else:
        note = example(alert_of(columns or [], moment, **OTHERWISE), style, to_ms(moment))
        notes = dict.fromkeys(names, note)
    parts = {name: dict(CHANNELS[name].show(note)) for name, note in notes.items()}
    say("\n\n".join(_written(name, part, what) for name in parts for part, what in parts[name].items()), parts, as_json)


def _notes_of(begins: str, names: Sequence[str], style: Style, now_ms: int) -> dict[str, Notification]:
    """What is said of an incident at each channel; where it is told at none of it, what another says, or would say."""
    with look(ledger_path()) as db:
        known = db.scalars(sa.select(INCIDENTS.c.incident_id)).all()
        incident = one_of(begins, known, "incident", "incidents")
        m = MEMBERS
        rows = db.execute(sa.select(m.c.channel, m.c.thread_id).where(m.c.incident_id == incident)).all()
        roots = {row.channel: _root(db, row.thread_id, style, now_ms) for row in rows if row.thread_id}
        told = {name: note for name, note in roots.items() if note is not None}
        otherwise = next(iter(told.values()), None)
        if otherwise is None:
            [alert] = newest_of(db, [incident], 1)
            otherwise = example(alert, style, now_ms)
    return {name: told.get(name, otherwise) for name in names}


def _root(db: sa.Connection, thread_id: str, style: Style, now_ms: int) -> Notification | None:
    """The first message of a thread as it is now; None where its channel has a use for none."""
    d = DELIVERIES
    row = db.execute(sa.select(d).where(d.c.thread_id == thread_id).order_by(d.c.sequence.desc())).first()
    if row is None:
        return None
    delivery = replace(to_delivery(row), kind=MessageKind.EDIT)
    return notification(delivery, newest_alert(db, delivery), view_of(db, thread_id, now_ms), style, now_ms)


def _written(channel: str, part: str, what: Any) -> str:
    text = what if isinstance(what, str) else json.dumps(what, indent=2, ensure_ascii=False)
    return f"--- {channel}: {part}\n{text.rstrip()}"
