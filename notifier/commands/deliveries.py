"""`deliveries list|retry`: what was sent, waits, or failed. Asked of the running notifier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from lakehouse.oncall import OnCall, OnCallDeliveries, OnCallDelivery, OnCallError
from lakehouse.texts import near
from lakehouse.user_error import UserError
from notifier.channels import CHANNELS
from notifier.commands.arguments import one_of
from notifier.commands.oncall import MOST, TokenFile, Url, on_call
from notifier.commands.output import Json, say, table
from notifier.model import DeliveryState

app = typer.Typer(help="What was sent, waits, or failed.", no_args_is_help=True)


@app.command("list")
def list_(
    state: Annotated[DeliveryState | None, typer.Option(help="Only those.")] = None,
    incident: Annotated[str | None, typer.Option(help="Of one: its id, or the beginning of it.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="So many at most.")] = 100,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Deliveries, newest planned first. Exits 0, 2 for a wrong question or token, 3 where the notifier does not
    answer."""
    with on_call(url, token_file) as client:
        whole = None
        if incident is not None:
            answer = client.incidents(limit=MOST, begins=incident)
            known = [each.incident_id for each in answer.incidents] if answer else []
            whole = one_of(incident, known, "incident", "incidents")
        found = client.deliveries(state, whole, limit)
    say(_text(found), found.model_dump(mode="json"), as_json)


@app.command("retry")
def retry(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[KEY|CHANNEL]", help="A delivery's key, or its beginning; with --parked or --dead a channel."
        ),
    ] = None,
    parked: Annotated[bool, typer.Option("--parked", help="All that wait for a place to be mended.")] = False,
    dead: Annotated[bool, typer.Option("--dead", help="All of a channel that were given up.")] = False,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Try deliveries again now. Exits 0, 1 where there was none to try, 2 for a wrong question or one that was sent, 3
    where the notifier does not answer."""
    if parked and dead:
        raise UserError("--parked and --dead are two questions; ask one after the other.")
    if which is None and not parked:
        raise UserError("Name a delivery's key, or --parked, or --dead CHANNEL; `notifier deliveries list` shows them.")
    with on_call(url, token_file) as client:
        if parked or dead:
            state = DeliveryState.PARKED if parked else DeliveryState.DEAD
            tried = _tried_all(client, state, _channel(which))
        else:
            known = [each.delivery_key for each in client.deliveries(limit=MOST, begins=which).deliveries]
            tried = list(_tried(client, [one_of(which or "", known, "delivery", "deliveries list")], one=True))
    said = f"{len(tried)} tried again." if tried else "There was none to try again."
    say(said, {"retried": tried}, as_json)
    if not tried:
        raise typer.Exit(1)


def _tried_all(client: OnCall, state: DeliveryState, channel: str | None) -> list[str]:
    """As many as the API gives at once, while it gives others: what is tried is of another state then."""
    tried: dict[str, None] = {}
    seen: set[str] = set()
    while True:
        found = client.deliveries(state, limit=MOST).deliveries
        keys = [each.delivery_key for each in found if channel in (None, each.channel)]
        fresh = [key for key in keys if key not in seen]
        seen.update(fresh)
        tried.update(dict.fromkeys(_tried(client, fresh, one=False)))
        if not fresh or len(found) < MOST:
            return list(tried)


def _tried(client: OnCall, keys: Iterable[str], one: bool) -> Iterable[str]:
    for key in keys:
        try:
            client.retry(key)
        except OnCallError as error:
            # Of many, one may be on its way since it was listed.
            if one or error.status != 404:
                raise
        else:
            yield key


def _channel(name: str | None) -> str | None:
    if name is not None and name not in CHANNELS:
        raise UserError(f"'{name}' is no channel{near(name, CHANNELS)}; channels are {', '.join(CHANNELS)}.")
    return name


def _text(found: OnCallDeliveries) -> str:
    counts = ", ".join(f"{count:,} {state}" for state, count in found.counts.items() if count)
    head = ("KEY", "PLANNED (UTC)", "PLACE", "KIND", "STATE", "WHY", "INCIDENT")
    return f"In all: {counts or 'none'}.\n{table(head, map(_row, found.deliveries))}"


def _row(each: OnCallDelivery) -> tuple[object, ...]:
    why = each.reason or each.error
    if each.detail:
        why = f"{why} ({each.detail})" if why else each.detail
    place = f"{each.channel} {each.destination}"
    return each.delivery_key[:12], each.planned_at, place, each.kind, each.state, why, each.incident_id
