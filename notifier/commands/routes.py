"""`routes test`: where would such an alert go, now or at another time, and why?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from lakehouse.texts import near
from lakehouse.user_error import UserError
from notifier.commands.output import Json, say
from notifier.model import NOBODY, AlertRow
from notifier.routing.decide import Decision, Router, Surroundings
from notifier.routing.matchers import COLUMNS
from notifier.settings import NotifierSettings, destinations_of

app = typer.Typer(help="What config/routes.yaml makes of alerts.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A group of its own, for there will be more of them."""


@app.command("test")
def where_to(
    columns: Annotated[list[str], typer.Argument(metavar="COLUMN=VALUE …", help="Of the alert: severity=FATAL …")],
    at: Annotated[str | None, typer.Option(help="The moment (ISO 8601, UTC without an offset); now.")] = None,
    as_json: Json = False,
) -> None:
    """Where such an alert goes. Exits 0, 1 where nobody is told, 2 for a wrong question or file."""
    settings = NotifierSettings.load()
    channels = settings.open_channels()
    router = Router(settings.load_routes(channels), destinations_of(channels), settings.gather)
    moment = _moment(at)
    decisions = router.decide(_alert(columns, moment), Surroundings(moment, old=lambda alert: False))
    say("\n".join(decision.said for decision in decisions), [_shown(each) for each in decisions], as_json)
    if all(decision.muted for decision in decisions):
        raise typer.Exit(1)


def _moment(given: str | None) -> datetime:
    if given is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise UserError(f"'{given}' is no time for --at; write it like 2027-01-31T22:00:00+01:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _alert(columns: list[str], moment: datetime) -> AlertRow:
    given: dict[str, Any] = {}
    for written in columns:
        name, equals, value = written.partition("=")
        if not equals or name not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise UserError(f"'{written}' is no COLUMN=VALUE of an alert{near(name, COLUMNS)}; columns are {known}.")
        try:
            given[name] = float(value) if COLUMNS[name].type == "double" else value
        except ValueError:
            raise UserError(f"'{value}' is no number for {name}; write it like {name}=1.5.") from None
    texts = dict.fromkeys(("alert_id", "incident_id", "alert_type", "rule", "severity", "description"), "")
    times = dict.fromkeys(("alert_timestamp", "received_at", "ingested_at", "starts_at"), moment)
    return AlertRow(**{**texts, **times, "status": "FIRING", "commit": "", **given})


def _shown(decision: Decision) -> dict[str, Any]:
    told = decision.target != NOBODY
    return {
        "route": list(decision.route),
        "channel": decision.target.channel if told else None,
        "destination": decision.target.destination if told else None,
        "muted": decision.muted.why if decision.muted else None,
        "detail": decision.muted.detail if decision.muted else "",
        "wait_s": decision.policy.wait.total_seconds(),
        "interval_s": decision.policy.interval.total_seconds(),
    }
