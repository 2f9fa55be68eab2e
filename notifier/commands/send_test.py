"""`send-test`: whether messages arrive."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from lakehouse.texts import near
from lakehouse.user_error import UserError
from notifier.channel import Channel, Outcome, Sent
from notifier.channels import CHANNELS
from notifier.clock import wall_ms
from notifier.commands.arguments import alert_of
from notifier.commands.output import Json, say, table
from notifier.commands.setup import style_of
from notifier.config import Config, load_config
from notifier.example import OTHERWISE, example
from notifier.model import MessageKind, Target
from notifier.redact import Redactor
from notifier.render import Notification, Style


def send_test(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="[CHANNEL[:DESTINATION] …]", help="slack, slack:C0123456789; all.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send a marked test message to these places, past the ledger; the notifier may run beside it. A channel that
    calls people is told its end at once. Exits 0, 1 where a place did not take it, 2 for a wrong place or setting."""
    config = load_config()
    channels = {channel.name: channel for channel in config.channels}
    if not channels:
        switches = " or ".join(f"notifier.{declared.switch}" for declared in CHANNELS.values())
        raise UserError(f"No channel is set up, so there is nobody to send to; set {switches}.")
    redact = Redactor(*config.settings.logins())
    rows = []
    for target in _targets(places or list(channels), config):
        outcome = _send_one(channels[target.channel], target.destination, style_of(config.settings))
        well = isinstance(outcome, Sent)
        said = outcome.receipt if isinstance(outcome, Sent) else redact(outcome.error)
        word = type(outcome).__name__.lower()
        rows.append({**vars(target), "sent": well, "outcome": word, "said": said})
    lines = [(f"{row['channel']} {row['destination']}", row["outcome"], row["said"]) for row in rows]
    say(table(("PLACE", "OUTCOME", "WHAT IT SAID"), lines), rows, as_json)
    if not all(row["sent"] for row in rows):
        raise typer.Exit(1)


def _targets(names: Sequence[str], config: Config) -> list[Target]:
    """The places that are named; of a channel that is named alone, its own, and not those of single people."""
    up = [channel.name for channel in config.channels]
    found: list[Target] = []
    for name in names:
        channel, _, destination = name.partition(":")
        if channel not in up:
            if channel in CHANNELS:
                switch = CHANNELS[channel].switch
                raise UserError(f"The channel '{channel}' is not set up; set notifier.{switch}.")
            raise UserError(f"'{channel}' is no channel{near(channel, up)}; there are {', '.join(up)}.")
        known = [target.destination for target in config.manners if target.channel == channel]
        if destination and destination not in known:
            raise UserError(
                f"'{destination}' is no destination of {channel}{near(destination, known)}; the settings have "
                f"{', '.join(known)}."
            )
        named = Target(channel, destination)
        found += [named] if destination else [target for target in config.targets if target.channel == channel]
    return list(dict.fromkeys(found))


def _send_one(channel: Channel, destination: str, style: Style) -> Outcome:
    now_ms = wall_ms()
    given = {"incident_id": f"test {uuid.uuid4().hex}", "service_name": "tillwatch", "severity": "INFO", "rule": "test"}
    given["description"] = f"Sent by `tillwatch notifier send-test` on {socket.gethostname()}."
    alert = alert_of((), datetime.now(UTC), **OTHERWISE | given)
    outcome = channel.send(destination, _marked(example(alert, style, now_ms)))
    if isinstance(outcome, Sent) and MessageKind.TAKEN in channel.manner.wants:
        # Whoever is called by it need not end it by hand.
        over = replace(alert, status="RESOLVED", alert_id="over")
        note = replace(_marked(example(over, style, now_ms)), root=outcome.receipt)
        ended = channel.send(destination, note)
        return outcome if isinstance(ended, Sent) else ended
    return outcome


def _marked(note: Notification) -> Notification:
    title = "Test message: nothing is wrong"
    return replace(note, title=title, subject=f"{title} [{note.thread_id[:8]}]")
