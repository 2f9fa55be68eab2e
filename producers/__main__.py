"""The command: `python -m producers shoppers|load|replay|dead-letters`."""

import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.sinks import EventLogSink
from lakehouse.stop import Stop
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError, exit_on_user_error
from producers import shop
from producers.layout import Layout
from producers.letters_command import letters
from producers.load import made_before, send_load
from producers.messages import Message
from producers.options import BrokersOption, SinkOption, duration_of, opened, time_of, topics_named, where_to
from producers.outages import Outage
from producers.own_events import with_own
from producers.pace import SystemClock, iso, send_filled, send_live
from producers.replay import Lines, read, replay
from producers.shop import ORDERS_TOPIC
from producers.shoppers import Shop

app = typer.Typer(help="Send a shop's events to the event log or to Kafka.", no_args_is_help=True, add_completion=False)
app.add_typer(letters, name="dead-letters")
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


@app.command("replay")
def replay_file(
    file: Annotated[Path, typer.Argument(help="What to send: CSV, text in columns, or JSON lines.")],
    form: Annotated[
        str | None,
        typer.Option("--format", help="csv, whitespace, jsonl or cdnow; else by the file's ending."),
    ] = None,
    topic: Annotated[str, typer.Option(help=f"one of {', '.join(TOPICS)}.")] = ORDERS_TOPIC,
    header: Annotated[
        bool | None, typer.Option(help="Whether the first line names the columns; csv has one, whitespace has not.")
    ] = None,
    delimiter: Annotated[str, typer.Option(help=r"Between the columns of a csv file, like ; or \t.")] = ",",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="FIELD=COLUMN by name, or by number from 1. Repeatable. Else the column of the field's name, "
            "whatever its case, blanks and hyphens.",
        ),
    ] = None,
    constants: Annotated[
        list[str] | None, typer.Option("--const", help="FIELD=VALUE for every line. Repeatable.")
    ] = None,
    price_from_total: Annotated[
        bool, typer.Option("--price-from-total", help="price = order_total / quantity.")
    ] = False,
    date_format: Annotated[
        str | None,
        typer.Option(
            help="Of the event's time, like %Y%m%d; else ISO 8601. Without an offset (%z) UTC, without a time "
            "of day 00:00. %y: 69 to 99 are 19.., 00 to 68 are 20.."
        ),
    ] = None,
    original_times: Annotated[bool, typer.Option("--original-times", help="Send the times as they are.")] = False,
    rebase_to_now: Annotated[
        str | None, typer.Option(help="Map the times onto the span of this length that ends at the anchor, like 1h.")
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            help="End of that span (ISO 8601). Without it: that of the first replay of that file onto that span, now "
            "if this is the first; the event log remembers. Kafka does not, so there it must be given."
        ),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Lines a second; else as fast as it goes.", min=0.01)] = None,
    sink: SinkOption = None,
    brokers: BrokersOption = None,
) -> None:
    """Real data from a file, checked whole before the first line is sent. The same replay twice adds nothing.

    Of each line the same file, line number and time make the event that is known again. What is not used is told.
    """
    clock = SystemClock()
    where = where_to(sink, brokers)
    if original_times == (rebase_to_now is not None):
        raise UserError("Say what the events' times become: either --original-times or --rebase-to-now SPAN.")
    if anchor is not None and rebase_to_now is None:
        raise UserError("--anchor goes with --rebase-to-now; leave it out.")
    if rebase_to_now is not None and anchor is None and where != "log":
        raise UserError(
            "--rebase-to-now onto Kafka needs --anchor TIME, like --anchor "
            f"{datetime.fromtimestamp(clock.now(), UTC):%Y-%m-%dT%H:%M:%SZ}: the same anchor again adds nothing, "
            "another one adds all lines at other times."
        )
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
    span = duration_of("--rebase-to-now", rebase_to_now) if rebase_to_now is not None else None
    now = datetime.fromtimestamp(clock.now(), UTC)
    end = time_of("--anchor", anchor) if anchor else now.replace(microsecond=0)
    lines = read(file, layout)
    for sentence in lines.told:
        typer.echo(sentence)
    timed = _timed(lines, span, end, now, where)
    with opened(where) as target:
        if span is not None and isinstance(target, EventLogSink):
            # Remembered only now, when nothing keeps the lines from being sent; the first replay's moment stays.
            first = time_of("--anchor", target.remember(_replay_name(lines, span), end.isoformat()))
            if anchor is None:
                end = first
                timed = _timed(lines, span, end, now, where)
        sent = replay(timed, target, clock, Stop.on_signals(), rate)
    onto = f", times ending at {iso(end.timestamp())} (--anchor)" if span is not None else ""
    typer.echo(f"{sent:,} of {len(lines.times):,} lines of {file}{onto}")


def _timed(lines: Lines, span: timedelta | None, end: datetime, now: datetime, where: str) -> Lines:
    """The lines with the times that they are sent with. Raises UserError where one of them would be rejected."""
    timed = lines if span is None else lines.rebased(span, end)
    timed.refuse_future(now)
    if where == "log":
        timed.refuse_stale(now)
    return timed


def _replay_name(lines: Lines, span: timedelta) -> str:
    """What the event log remembers the anchor of a replay by."""
    return f"replay of {lines.content.hex()} to {lines.topic} over {span.total_seconds():g} s"


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


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"{option} is '{text}'; expected FIELD=…, like {option} user_id=1.")
        if name.strip() in pairs:
            raise UserError(f"{option} names '{name.strip()}' twice; leave one out.")
        pairs[name.strip()] = value
    return pairs


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # It logs each connection that is refused; our own sentence says it once.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    with exit_on_user_error():
        app(standalone_mode=True)


if __name__ == "__main__":
    main()
