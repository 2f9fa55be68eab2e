"""The command: `python -m producers shoppers|replay`."""

import logging
import re
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.events import ORDERS_TOPIC, parse_time
from lakehouse.settings import UserError, exit_on_user_error, parse_duration
from lakehouse.sinks import open_sink
from producers import shop
from producers.pace import Stop, SystemClock, iso, send_filled, send_live
from producers.replay import Layout, read, replay
from producers.shoppers import Outage, Shop

app = typer.Typer(help="Send a shop's events to the event log or to Kafka.", no_args_is_help=True, add_completion=False)

_INCIDENT = re.compile(r"(?P<service>[^@]+)@(?P<start>[^+]+)(?:\+(?P<length>.+))?")
_INCIDENT_LENGTH = timedelta(seconds=90)

SinkOption = Annotated[str, typer.Option(help="Where to: log (the data directory's event log) or kafka://HOST:PORT,…")]


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
    fatal_every: Annotated[
        float | None, typer.Option(help="One FATAL each so many seconds, of another service each time.", min=0.001)
    ] = None,
    sink: SinkOption = "log",
) -> None:
    """Simulated people: visits lead to carts, carts to orders; services fail now and then."""
    clock, stop = SystemClock(), _stop_on_signal()
    span = _span(begin, end, clock.now())
    since = span[0].timestamp() if span else clock.now()
    if span and duration:
        raise UserError("--duration does not go with --from and --to; leave it out.")
    until = since + _duration("--duration", duration).total_seconds() if duration else None
    since_ms = int(since * 1000)
    simulated = Shop(
        seed=seed,
        rate=rate,
        flat=flat,
        outages=outages,
        incidents=[_incident(text, since_ms) for text in incident or ()],
        fatal_every_ms=max(1, round(fatal_every * 1000)) if fatal_every else None,
    )
    target, began = open_sink(sink), clock.now()
    try:
        if span:
            messages = simulated.messages(since_ms, int(span[1].timestamp() * 1000))
            sent = send_filled(messages, target, stop)
            typer.echo(
                f"{sent:,} events from {iso(since)} to {iso(span[1].timestamp())} in {clock.now() - began:.1f} s"
            )
        else:
            typer.echo(f"About {rate:g} events/s to {sink}; Ctrl-C ends it.")
            sent = send_live(simulated.messages(since_ms), target, clock, stop, until)
            typer.echo(f"{sent:,} events in {clock.now() - since:.1f} s")
    finally:
        target.close()


@app.command("replay")
def replay_file(
    file: Annotated[Path, typer.Argument(help="What to send: CSV, text in columns, or JSON lines.")],
    form: Annotated[
        str | None,
        typer.Option("--format", help="csv, whitespace, jsonl or cdnow; else by the file's ending."),
    ] = None,
    topic: Annotated[str, typer.Option(help="orders_topic, clicks_topic or errors_topic.")] = ORDERS_TOPIC,
    header: Annotated[
        bool | None, typer.Option(help="Whether the first line names the columns; csv has one, whitespace has not.")
    ] = None,
    delimiter: Annotated[str, typer.Option(help="Between the columns of a csv file.")] = ",",
    columns: Annotated[
        list[str] | None,
        typer.Option("--map", help="FIELD=COLUMN by name, or by number from 1. Repeatable."),
    ] = None,
    constants: Annotated[
        list[str] | None, typer.Option("--const", help="FIELD=VALUE for every line. Repeatable.")
    ] = None,
    price_from_total: Annotated[
        bool, typer.Option("--price-from-total", help="price = order_total / quantity.")
    ] = False,
    date_format: Annotated[
        str | None,
        typer.Option(help="Of the event's time, like %Y%m%d; else ISO 8601. Without a time of day: 00:00 UTC."),
    ] = None,
    original_times: Annotated[bool, typer.Option("--original-times", help="Send the times as they are.")] = False,
    rebase_to_now: Annotated[
        str | None, typer.Option(help="Map the times onto the span of this length that ends at the anchor, like 1h.")
    ] = None,
    anchor: Annotated[str | None, typer.Option(help="End of that span (ISO 8601); else now.")] = None,
    rate: Annotated[float | None, typer.Option(help="Lines a second; else as fast as it goes.", min=0.01)] = None,
    sink: SinkOption = "log",
) -> None:
    """Real data from a file, checked whole before the first line is sent. The same replay twice adds nothing."""
    clock, stop = SystemClock(), _stop_on_signal()
    if original_times == (rebase_to_now is not None):
        raise UserError("Say what the events' times become: either --original-times or --rebase-to-now SPAN.")
    if anchor is not None and rebase_to_now is None:
        raise UserError("--anchor goes with --rebase-to-now; leave it out.")
    layout = Layout.of(
        file,
        form=form,
        topic=topic,
        header=header,
        delimiter=delimiter,
        columns=_pairs("--map", columns),
        constants=_pairs("--const", constants),
        price_from_total=price_from_total,
        date_format=date_format,
    )
    span = _duration("--rebase-to-now", rebase_to_now) if rebase_to_now is not None else None
    now = datetime.fromtimestamp(clock.now(), UTC)
    end = _time("--anchor", anchor) if anchor else now.replace(microsecond=0)
    lines = read(file, layout)
    if span is not None:
        lines = lines.rebased(span, end)
    lines.refuse_future(now)
    if sink == "log":
        lines.refuse_stale(now)
    target = open_sink(sink)
    try:
        sent = replay(lines, target, clock, stop, rate)
    finally:
        target.close()
    onto = f", times ending at {iso(end.timestamp())} (--anchor)" if span is not None else ""
    typer.echo(f"{sent:,} of {len(lines.times):,} lines of {file}{onto}")


def _stop_on_signal() -> Stop:
    stop = Stop()
    signal.signal(signal.SIGTERM, stop.request)
    signal.signal(signal.SIGINT, stop.request)
    return stop


def _duration(option: str, text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise UserError(f"{option} is '{text}': {error}.") from None
    assert isinstance(found, timedelta)
    return found


def _time(option: str, text: str) -> datetime:
    found = parse_time(text)
    if found is None:
        raise UserError(f"{option} is '{text}'; expected a time like 2026-11-23T12:00:00Z.")
    return found


def _span(begin: str | None, end: str | None, now: float) -> tuple[datetime, datetime] | None:
    if begin is None and end is None:
        return None
    if begin is None or end is None:
        raise UserError("--from and --to go together; give both.")
    span = _time("--from", begin), _time("--to", end)
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
    start = since_ms + round(_duration("--incident", found["start"]).total_seconds() * 1000)
    length = _duration("--incident", found["length"]) if found["length"] else _INCIDENT_LENGTH
    return Outage(found["service"], start, start + max(1, round(length.total_seconds() * 1000)))


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"{option} is '{text}'; expected FIELD=…, like {option} user_id=1.")
        pairs[name.strip()] = value
    return pairs


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kafka").setLevel(logging.WARNING)
    with exit_on_user_error():
        app(standalone_mode=True)


if __name__ == "__main__":
    main()
