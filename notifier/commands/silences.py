"""`silence add|list|end`: what wakes nobody until a time. Asked of the running notifier."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from lakehouse.oncall import OnCallSilence
from lakehouse.user_error import UserError
from notifier.commands.arguments import condition_of, moment_of, one_of, span_of
from notifier.commands.oncall import TokenFile, Url, on_call
from notifier.commands.output import Json, say, shown, table

app = typer.Typer(help="What wakes nobody until a time.", no_args_is_help=True)


@app.command("add")
def add(
    conditions: Annotated[
        list[str],
        typer.Argument(metavar="COLUMN=VALUE …", help="That must all hold; also != =~ !~, like service_name=~pay.*"),
    ],
    reason: Annotated[str, typer.Option(help="Why, for whoever wonders.")],
    span: Annotated[str | None, typer.Option("--for", help="How long, like 2h.")] = None,
    until: Annotated[str | None, typer.Option(help="Or until when (ISO 8601, UTC without an offset).")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Mute what meets all conditions; it stays listed, and what is open still is told at the end. Exits 0, 2 for a
    wrong question or a refusal, 3 where the notifier does not answer."""
    if (span is None) == (until is None):
        raise UserError("A silence has an end: give --for like 2h, or --until a time, and not both.")
    end = moment_of("--until", until) if until is not None else datetime.now(UTC) + span_of("--for", span or "")
    matchers = [condition_of(written) for written in conditions]
    with on_call(url, token_file) as client:
        made = client.silence([vars(matcher) for matcher in matchers], reason, end)
    say(f"Silence {made.id}: {_written(made)} until {shown(made.until)} UTC.", made.model_dump(mode="json"), as_json)


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Silences, the newest first. Exits 0, 2 for a wrong token, 3 where the notifier does not answer."""
    with on_call(url, token_file) as client:
        found = [each for each in client.silences() if every or _holds(each)]
    head = ("SILENCE", "WHAT", "BY", "UNTIL (UTC)", "REASON")
    rows = [(each.id, _written(each), each.by, each.ended or each.until, each.reason) for each in found]
    say(table(head, rows), [each.model_dump(mode="json") for each in found], as_json)


@app.command("end")
def end(
    silence: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.")],
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """End a silence before its time: what it muted and is still open is told. Exits 0 (also where it is over), 2 for a
    wrong question, 3 where the notifier does not answer."""
    with on_call(url, token_file) as client:
        known = {each.id: each for each in client.silences()}
        one = known[one_of(silence, known, "silence", "silence list --all")]
        client.end_silence(one.id)
    held = _holds(one)
    say(f"Silence {one.id} {'ended' if held else 'was over'}.", {"id": one.id, "ended": held}, as_json)


def _holds(silence: OnCallSilence) -> bool:
    return silence.ended is None and silence.until > datetime.now(UTC)


def _written(silence: OnCallSilence) -> str:
    return ", ".join(f"{each.column} {each.op} {each.value}" for each in silence.matchers)
