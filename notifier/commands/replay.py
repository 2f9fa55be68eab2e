"""`replay`: what would have been sent for past alerts."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from lakehouse.user_error import UserError
from notifier.commands.arguments import range_of
from notifier.commands.output import Json, say, table
from notifier.commands.setup import NO_CHANNEL, style_of, the_data
from notifier.config import Config, load_config
from notifier.model import AlertRow
from notifier.past import read_alerts
from notifier.render import Style
from notifier.replay.simulation import Rules, SimulatedMessage, Simulation

From = Annotated[str, typer.Option("--from", help="A time (ISO 8601, UTC without an offset), or a span like 7d ago.")]
To = Annotated[str | None, typer.Option("--to", help="The same; now.")]


def replay(
    since: From,
    until: To = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; there is no other way.")] = False,
    as_json: Json = False,
) -> None:
    """What a notifier with an empty ledger would have sent for the alerts published in that time, by the settings and
    routes in force, where nobody takes anything. Nothing is sent. Exits 0, 2 for a wrong question or file, and without
    --dry-run, 3 where the data cannot be reached."""
    if not dry_run:
        raise UserError("Nothing is sent twice by hand: `replay` only says what would be sent; add --dry-run.")
    begin, end = range_of(since, until, datetime.now(UTC))
    config = load_config()
    rules = rules_of(config)
    alerts = alerts_between(begin, end)
    simulation = run(rules, alerts, end, style_of(config.settings))
    muted = Counter(str(draft.muted) for draft in simulation.ledger.listed.values())
    rows = [
        (message.at, f"{message.target.channel} {message.target.destination}", message.kind, message.title)
        for message in simulation.messages
    ]
    lines = [
        f"{len(alerts):,} alerts in {len(simulation.ledger.incidents):,} incidents: {len(rows):,} messages.",
        *(f"Not sent, {reason}: {count:,}." for reason, count in muted.most_common()),
        *([] if rules.manners else [NO_CHANNEL]),
    ]
    content = {
        "from": begin.isoformat(),
        "to": end.isoformat(),
        "alerts": len(alerts),
        "incidents": len(simulation.ledger.incidents),
        "muted": muted,
        "messages": [_shown(message) for message in simulation.messages],
    }
    say("\n".join([*lines, "", table(("AT (UTC)", "PLACE", "KIND", "TITLE"), rows)]), content, as_json)


def _shown(message: SimulatedMessage) -> dict[str, Any]:
    return {
        "at": message.at.isoformat(),
        **vars(message.target),
        "kind": message.kind,
        "title": message.title,
        "incident_id": message.incident_id,
        "alerts": message.alerts,
        "route": message.route,
    }


def rules_of(config: Config) -> Rules:
    return Rules(config.router(), config.manners, config.settings.storm_after, config.max_age)


def alerts_between(begin: datetime, end: datetime) -> list[AlertRow]:
    with the_data() as data:
        return read_alerts(data, data.head(), begin, end)


def run(rules: Rules, alerts: list[AlertRow], end: datetime, style: Style | None = None) -> Simulation:
    simulation = Simulation(rules, style)
    simulation.run(alerts, end)
    return simulation
