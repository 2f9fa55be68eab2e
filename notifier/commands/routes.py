"""`routes test`: where would such an alert go, now or at another time, and why?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer

from lakehouse.oncall import OnCallIncident
from lakehouse.settings.durations import write_duration
from lakehouse.user_error import UserError
from notifier.commands.arguments import alert_of, moment_of
from notifier.commands.oncall import MOST, TokenFile, Url, on_call
from notifier.commands.output import Json, say
from notifier.config import load_config
from notifier.model import NOBODY
from notifier.routing.decide import Decision, OpenAlert, Silence, Stage, Surroundings
from notifier.routing.matchers import COLUMNS, Matcher

app = typer.Typer(help="What config/routes.yaml makes of alerts.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A group of its own, for there will be more of them."""


@app.command("test")
def where_to(
    columns: Annotated[list[str], typer.Argument(metavar="COLUMN=VALUE …", help="Of the alert: severity=FATAL …")],
    at: Annotated[str | None, typer.Option(help="The moment (ISO 8601, UTC without an offset); now.")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Json = False,
) -> None:
    """Where such an alert goes; with the silences and open incidents of the notifier, where it answers. Exits 0, 1
    where nobody is told, 2 for a wrong question or file, 3 where the notifier of --url does not answer."""
    router = load_config().router()
    moment = datetime.now(UTC) if at is None else moment_of("--at", at)
    alert = alert_of(columns, moment)
    known = _known(url, token_file)
    around = Surroundings(moment, old=lambda alert: False, silences=known.silences, open_alerts=known.open_alerts)
    decisions, stages = router.decide(alert, around), router.stages(alert, around)
    told = [line for each in decisions for line in (each.said, *_how(each))]
    told += [_step(number, stage) for number, stage in enumerate(stages, 1)]
    say("\n".join(told), [_shown(each, stages) for each in decisions], as_json)
    if known.missing:
        typer.echo(f"Silences and open incidents are left out: {known.missing}", err=True)
    if all(decision.muted for decision in decisions):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Known:
    """What the notifier has that mutes; missing: why it cannot be asked."""

    silences: Sequence[Silence] = ()
    open_alerts: Sequence[OpenAlert] = ()
    missing: str = ""


def _known(url: str | None, token_file: Path | None) -> _Known:
    try:
        with on_call(url, token_file) as client:
            answer = client.incidents("open", limit=MOST)
            silences = [
                Silence(
                    each.id,
                    tuple(Matcher(one.column, one.op, one.value) for one in each.matchers),
                    each.reason,
                    each.by,
                    each.until,
                    each.created,
                    ended=each.ended,
                )
                for each in client.silences()
            ]
    except UserError as error:
        if url or token_file:
            raise
        return _Known(missing=str(error))
    return _Known(silences, [_alert(each) for each in answer.incidents] if answer else ())


def _alert(incident: OnCallIncident) -> OpenAlert:
    """The newest alert of an incident, as far as conditions look at it."""
    others = {"alert_id": "", "status": "FIRING", "metric_value": incident.value}
    values = {name: others[name] if name in others else getattr(incident, name) for name in COLUMNS}
    found: OpenAlert = SimpleNamespace(**values)
    return found


def _how(decision: Decision) -> list[str]:
    """How a route tells, below the sentence of where."""
    if decision.target == NOBODY:
        return []
    policy = decision.policy
    how = [
        f"a thread for each {', '.join(policy.group_by) or 'incident'} ({decision.group})",
        f"its first message after {write_duration(policy.wait)}" if policy.wait else "its first message at once",
        f"one in {write_duration(policy.interval)}",
    ]
    if policy.repeat:
        how.append(f"again after {write_duration(policy.repeat)} where nobody has it")
    return [f"    {'; '.join(how)}"]


def _step(number: int, stage: Stage) -> str:
    places = ", ".join(f"{each.target.channel} {each.target.destination}" for each in stage.decisions)
    return f"step {number} after {write_duration(stage.after)} where nobody has it: {places or 'nobody is set up'}"


def _shown(decision: Decision, stages: Sequence[Stage]) -> dict[str, Any]:
    told, policy = decision.target != NOBODY, decision.policy
    return {
        "route": list(decision.route),
        "channel": decision.target.channel if told else None,
        "destination": decision.target.destination if told else None,
        "muted": decision.muted.why if decision.muted else None,
        "detail": decision.muted.detail if decision.muted else "",
        "wait_s": policy.wait.total_seconds(),
        "interval_s": policy.interval.total_seconds(),
        "group_by": list(policy.group_by),
        "group": decision.group,
        "repeat_s": _seconds(policy.repeat),
        "steps": [
            {
                "after_s": _seconds(stage.after),
                "to": [
                    {"channel": each.target.channel, "destination": each.target.destination} for each in stage.decisions
                ],
            }
            for stage in stages
        ],
    }


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()
