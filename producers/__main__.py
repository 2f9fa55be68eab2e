"""The command: `python -m producers shoppers|load|replay|dead-letters|database|connector`."""

import logging
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated

import typer

from lakehouse.logs import log_to_stderr
from lakehouse.stop import Stop
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError, exit_on_user_error
from producers import shop
from producers.capture_commands import connector, database
from producers.letters_command import letters
from producers.load import made_before, send_load
from producers.messages import Message
from producers.options import BrokersOption, SinkOption, duration_of, opened, time_of, topics_named, where_to
from producers.outages import Outage
from producers.own_events import with_own
from producers.pace import SystemClock, iso, send_filled, send_live
from producers.replay_command import replay_file
from producers.shoppers import Shop

app = typer.Typer(help="Send a shop's events to the event log or to Kafka.", no_args_is_help=True, add_completion=False)
app.add_typer(letters, name="dead-letters")
app.command("replay")(replay_file)
app.command()(database)
app.command()(connector)
_INCIDENT = re.compile(r"(?P<service>[^@]+)@(?P<start>[^+]+)(?:\+(?P<length>.+))?")
_INCIDENT_LENGTH = timedelta(seconds=90)


@app.command()
def shoppers(
    rate: Annotated[float, typer.Option(help="Events a second over all topics, the day's mean.", min=0.01)] = 20.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events at the same times.", min=0)] = 1,
    flat: Annotated[bool, typer.Option("--flat", help="Without the day curve: every hour is alike.")] = False,
    outages: Annotated[bool, typer.Option(help="Let services fail by themselves, about every second hour.")] = True,
    duration: Annotated[str | None, typer.Option(help="End after this long, like 90s or 10min; else run on.")] = None,
    incident: Annotated[
        list[str] | None,
        typer.Option(help="SERVICE@START[+LENGTH]: that service fails START after the begin, for 90s. Repeatable."),
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="With --to: write that past span at once (ISO 8601, UTC).")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of the span, excluded.")] = None,
    at_most: Annotated[
        float | None,
        typer.Option(help="With --from: events a second, at most; else as fast as they are taken.", min=1),
    ] = None,
    fatal_every: Annotated[
        float | None, typer.Option(help="One FATAL each so many seconds, of another service each time.", min=0.001)
    ] = None,
    topics: Annotated[
        list[str] | None,
        typer.Option(
            help="Send these topics only, with commas between; with the same seed the others fit. Repeatable."
        ),
    ] = None,
    sink: SinkOption = None,
    brokers: BrokersOption = None,
) -> None:
    """Simulated people: visits lead to carts, carts to orders; services fail now and then."""
    clock = SystemClock()
    where, wanted = where_to(sink, brokers), topics_named("--topics", topics)
    span = _span(begin, end, clock.now())
    since = span[0].timestamp() if span else clock.now()
    if span and duration:
        raise UserError("--duration does not go with --from and --to; leave it out.")
    until = since + duration_of("--duration", duration).total_seconds() if duration else None
    since_ms = int(since * 1000)
    simulated = Shop(
        seed=seed,
        rate=rate,
        flat=flat,
        outages=outages,
        incidents=[_incident(text, since_ms) for text in incident or ()],
        fatal_every_ms=max(1, round(fatal_every * 1000)) if fatal_every else None,
    )
    with opened(where) as target:
        stop, begun = Stop.on_signals(), clock.passed()
        if span:
            messages = _only(with_own(simulated.messages(since_ms, int(span[1].timestamp() * 1000))), wanted)
            sent = send_filled(messages, target, stop, clock, at_most)
            typer.echo(
                f"{sent:,} events from {iso(since)} to {iso(span[1].timestamp())} in {clock.passed() - begun:.1f} s"
            )
        else:
            typer.echo(f"About {rate:g} events/s to {where}; Ctrl-C ends it.")
            sent = send_live(_only(with_own(simulated.messages(since_ms)), wanted), target, clock, stop, until)
            typer.echo(f"{sent:,} events in {clock.now() - since:.1f} s")


@app.command()
def load(
    rate: Annotated[float, typer.Option(help="Events a second over all topics.", min=1)] = 1_000.0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same events.", min=0)] = 1,
    duration: Annotated[str | None, typer.Option(help="End after this long, like 90s or 10min; else run on.")] = None,
    topics: Annotated[
        list[str] | None, typer.Option(help="Send these topics only, with commas between. Repeatable.")
    ] = None,
    sink: SinkOption = None,
    brokers: BrokersOption = None,
) -> None:
    """As many events as are asked for, made before and sent in bulk: to see what the pipeline can take."""
    clock, where = SystemClock(), where_to(sink, brokers)
    messages = made_before(seed, tuple(topics_named("--topics", topics) or TOPICS))
    with opened(where) as target:
        stop, begun = Stop.on_signals(), clock.passed()
        total = int(rate * duration_of("--duration", duration).total_seconds()) if duration else sys.maxsize
        typer.echo(f"{rate:,.0f} events/s to {where}; Ctrl-C ends it.")
        sent = send_load(messages, target, clock, stop, rate, total, f"l-{int(clock.now() * 1000):x}")
        seconds = max(clock.passed() - begun, 0.001)
        typer.echo(f"{sent:,} events in {seconds:.1f} s, {sent / seconds:,.0f} a second")


def _only(messages: Iterator[list[Message]], topics: tuple[str, ...]) -> Iterator[list[Message]]:
    if not topics:
        return messages
    return ([message for message in batch if message[2] in topics] for batch in messages)


def _span(begin: str | None, end: str | None, now: float) -> tuple[datetime, datetime] | None:
    if begin is None and end is None:
        return None
    if begin is None or end is None:
        raise UserError("--from and --to go together; give both.")
    span = time_of("--from", begin), time_of("--to", end)
    if span[0] >= span[1]:
        raise UserError(f"--from {begin} is not before --to {end}; exchange them.")
    if span[1].timestamp() > now:
        raise UserError(f"--to {end} is yet to come; use a time up to {iso(now)}.")
    return span


def _incident(text: str, since_ms: int) -> Outage:
    found = _INCIDENT.fullmatch(text)
    if found is None or found["service"] not in shop.SERVICES:
        known = ", ".join(shop.SERVICES)
        raise UserError(
            f"--incident is '{text}'; expected SERVICE@START[+LENGTH] like payments@60s, SERVICE of {known}."
        )
    start = since_ms + round(duration_of("--incident", found["start"]).total_seconds() * 1000)
    length = duration_of("--incident", found["length"]) if found["length"] else _INCIDENT_LENGTH
    return Outage(found["service"], start, start + max(1, round(length.total_seconds() * 1000)))


def main() -> None:
    log_to_stderr()
    # It logs each connection that is refused; our own sentence says it once.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    with exit_on_user_error():
        app(standalone_mode=True)


if __name__ == "__main__":
    main()
