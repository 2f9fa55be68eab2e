"""`routes test`: where would such an alert go, now or at another time, and why?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from notifier.commands.arguments import alert_of, moment_of
from notifier.commands.output import Json, say
from notifier.config import load_config
from notifier.model import NOBODY
from notifier.routing.decide import Decision, Surroundings

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
    router = load_config().router()
    moment = datetime.now(UTC) if at is None else moment_of("--at", at)
    decisions = router.decide(alert_of(columns, moment), Surroundings(moment, old=lambda alert: False))
    say("\n".join(decision.said for decision in decisions), [_shown(each) for each in decisions], as_json)
    if all(decision.muted for decision in decisions):
        raise typer.Exit(1)


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
