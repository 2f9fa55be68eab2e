"""`backtest`: what other routes, silences and limits would have made of past alerts, beside those in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from notifier.commands.arguments import conditions_of, range_of
from notifier.commands.output import Json, say, shown, table
from notifier.commands.replay import From, To, alerts_between, rules_of, run
from notifier.commands.setup import NO_CHANNEL
from notifier.config import load_config
from notifier.model import Target
from notifier.replay.tally import MessageTally, tally
from notifier.routing.decide import Silence
from notifier.routing.load import load_routing
from notifier.settings import destinations_of


def backtest(
    since: From,
    until: To = None,
    routes: Annotated[Path | None, typer.Option(help="Other routes than those in force.")] = None,
    silence: Annotated[
        list[str] | None, typer.Option(help='That holds all the time: "service_name=cart severity=ERROR".')
    ] = None,
    storm_after: Annotated[int | None, typer.Option(min=0, max=1000, help="Instead of notifier.storm_after.")] = None,
    as_json: Json = False,
) -> None:
    """What these routes, silences and limits would have made of past alerts, beside those in force: messages by
    destination and hour, and FATAL incidents that nobody would have been told of. Exits 0, 1 where there are such, 2
    for a wrong question or file, 3 where the data cannot be reached."""
    begin, end = range_of(since, until, datetime.now(UTC))
    config = load_config()
    rules = others = rules_of(config)
    if routes is not None:
        routing = load_routing(routes, destinations_of(config.channels), config.roster)
        others = replace(others, router=replace(config, routing=routing).router())
    if storm_after is not None:
        others = replace(others, storm_after=storm_after)
    # Beyond the end: what it mutes is not told as it passes.
    silences = tuple(
        Silence(written, conditions_of(written), "--silence", "", end + timedelta(days=1), begin)
        for written in silence or ()
    )
    others = replace(others, silences=silences)
    alerts = alerts_between(begin, end)
    now = tally(run(rules, alerts, end))
    then = tally(run(others, alerts, end)) if others != rules else now
    places = list(rules.manners)
    content = {
        "from": begin.isoformat(),
        "to": end.isoformat(),
        "alerts": len(alerts),
        "in_force": now.shown(places),
        "would_be": then.shown(places),
        "difference": _difference(now, then, places),
    }
    head = f"{len(alerts):,} alerts from {shown(begin)} to {shown(end)} UTC, in {then.incidents:,} incidents."
    say("\n".join([head, *([] if places else [NO_CHANNEL]), "", _text(now, then, places)]), content, as_json)
    if then.missed:
        raise typer.Exit(1)


def _difference(now: MessageTally, then: MessageTally, places: list[Target]) -> dict[str, Any]:
    """What there is more, or less, by `then` than by `now`."""
    before, after = ({missed.incident.incident_id for missed in each.missed} for each in (now, then))
    return {
        "destinations": [
            {
                **vars(target),
                "messages": then.messages[target] - now.messages[target],
                "edits": then.edits[target] - now.edits[target],
            }
            for target in places
        ],
        "missed": sorted(after - before),
        "missed_no_more": sorted(before - after),
    }


def _text(now: MessageTally, then: MessageTally, places: Sequence[Target]) -> str:
    """Tables: of each place, of what would be missed, of each hour in which something is told."""
    counts: list[tuple[object, ...]] = []
    for target in places:
        counts.append((_name(target), "messages", now.messages[target], then.messages[target]))
        counts.append((_name(target), "edits", now.edits[target], then.edits[target]))
    counts.append(("nobody", "FATAL incidents", len(now.missed), len(then.missed)))
    parts = [table(("TOLD", "WHAT", "IN FORCE", "WOULD BE"), counts)]
    if then.missed:
        missed = [
            (one.incident_id, one.service_name or one.rule, one.alerts, "; ".join(each.reasons))
            for each in then.missed
            for one in [each.incident]
        ]
        parts.append(table(("WOULD BE MISSED", "WHAT", "ALERTS", "WHY"), missed))
    hours = sorted({hour for hour, _ in (*now.hours, *then.hours)})
    told = [
        (hour, _name(target), now.hours[hour, target], then.hours[hour, target])
        for hour in hours
        for target in places
        if (hour, target) in now.hours or (hour, target) in then.hours
    ]
    if told:
        parts.append(table(("HOUR (UTC)", "PLACE", "IN FORCE", "WOULD BE"), told))
    return "\n\n".join(parts)


def _name(target: Target) -> str:
    return f"{target.channel} {target.destination}"
