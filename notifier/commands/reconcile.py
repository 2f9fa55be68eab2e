"""`reconcile`: is anything missing between the table alerts and the ledger?"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Annotated

import typer

from lakehouse.settings.durations import write_duration
from lakehouse.user_error import UserError
from notifier.clock import from_ms, wall_ms
from notifier.commands.arguments import span_of
from notifier.commands.output import Json, say, table
from notifier.commands.setup import NO_CHANNEL, ledger_path, the_data
from notifier.config import load_config
from notifier.cursor import as_of, something_published
from notifier.ledger.look import look
from notifier.past import read_alerts
from notifier.reconcile import Missing, reconcile, to_be_told


def reconcile_(
    since: Annotated[str, typer.Option(help="How far back the table is read, like 24h, in the data's time.")] = "24h",
    as_json: Json = False,
) -> None:
    """Alerts of the table (FATAL, or routed) that the ledger does not know, and open incidents, routed and unmuted,
    that nobody was told of. The notifier may run beside it, or not. Exits 0 where nothing is missing, 1 where something
    is, 2 for a wrong question, file or setting, 3 where the data cannot be reached."""
    config = load_config()
    router = config.router()
    span = span_of("--since", since)
    if span > config.settings.keep:
        raise UserError(
            f"--since is {since}, and the ledger remembers {write_duration(config.settings.keep)} (notifier.keep)."
        )
    path = ledger_path()
    with look(path):
        pass  # a ledger that is not there is said before the data is asked
    with the_data() as data:
        commit = data.head()
        moment = (as_of(data, commit) if something_published(commit) else None) or from_ms(wall_ms())
        alerts = to_be_told(router, read_alerts(data, commit, max(moment - span, from_ms(0))))
    missing = reconcile(partial(look, path), alerts, router, config.manners)
    content = {
        "commit": commit,
        "since": (moment - span).isoformat(),
        "alerts": len(alerts),
        "open_incidents": missing.incidents,
        "channels": [channel.name for channel in config.channels],
        "unseen": [
            {"alert_id": each.alert_id, "incident_id": each.incident_id, "status": each.status}
            | {"severity": each.severity, "service_name": each.service_name, "rule": each.rule}
            | {"ingested_at": each.ingested_at.isoformat()}
            for each in missing.unseen
        ],
        "untold": [
            {"incident_id": each.incident.incident_id, **vars(each.target), "why": each.why} for each in missing.untold
        ],
    }
    say(_text(missing, len(alerts), span, bool(config.channels)), content, as_json)
    if missing:
        raise typer.Exit(1)


def _text(missing: Missing, alerts: int, span: timedelta, set_up: bool) -> str:
    lines = [
        f"Alerts of {write_duration(span)}: {alerts:,}; not in the ledger: {len(missing.unseen):,}",
        f"Open incidents: {missing.incidents:,}; not told, by place: {len(missing.untold):,}",
    ]
    if not set_up:
        lines.append(NO_CHANNEL)
    if missing.unseen:
        rows = [
            (each.alert_id, each.status, each.severity, each.service_name or each.rule, each.ingested_at)
            for each in missing.unseen
        ]
        lines += ["", table(("NOT IN THE LEDGER", "STATUS", "SEVERITY", "WHAT", "PUBLISHED (UTC)"), rows)]
    if missing.untold:
        told = [
            (each.incident.incident_id, f"{each.target.channel} {each.target.destination}", each.why)
            for each in missing.untold
        ]
        lines += ["", table(("INCIDENT", "NOT TOLD AT", "WHY"), told)]
    return "\n".join(lines)
