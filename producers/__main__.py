"""The command: `python -m producers shoppers|replay|dead-letters`."""

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.events import ORDERS_TOPIC, TOPICS, Reason, parse_time
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.durations import parse_duration
from lakehouse.sinks import EventLogSink, KafkaSink, open_sink
from lakehouse.stop import Stop
from lakehouse.user_error import UserError, exit_on_user_error
from producers import dead_letters, shop
from producers.layout import Layout
from producers.pace import SystemClock, iso, send_filled, send_live
from producers.replay import Lines, read, replay
from producers.shoppers import Message, Outage, Shop

app = typer.Typer(help="Send a shop's events to the event log or to Kafka.", no_args_is_help=True, add_completion=False)
letters = typer.Typer(help="Rejected messages: see them, correct them, send them again.", no_args_is_help=True)
app.add_typer(letters, name="dead-letters")

_INCIDENT = re.compile(r"(?P<service>[^@]+)@(?P<start>[^+]+)(?:\+(?P<length>.+))?")
_INCIDENT_LENGTH = timedelta(seconds=90)

SinkOption = Annotated[
    str | None,
    typer.Option(
        help="Where to: log (the data directory's event log, the default), kafka (the brokers of the settings) "
        "or kafka://HOST:PORT,…"
    ),
]
BrokersOption = Annotated[
    str | None, typer.Option(help="HOST:PORT,… of Kafka's brokers; the same as --sink kafka://HOST:PORT,…")
]


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
    where, wanted = _where(sink, brokers), _topics("--topics", topics)
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
    with _opened(where) as target:
        stop, began = Stop.on_signals(), clock.now()
        if span:
            messages = _only(simulated.messages(since_ms, int(span[1].timestamp() * 1000)), wanted)
            sent = send_filled(messages, target, stop, clock)
            typer.echo(
                f"{sent:,} events from {iso(since)} to {iso(span[1].timestamp())} in {clock.now() - began:.1f} s"
            )
        else:
            typer.echo(f"About {rate:g} events/s to {where}; Ctrl-C ends it.")
            sent = send_live(_only(simulated.messages(since_ms), wanted), target, clock, stop, until)
            typer.echo(f"{sent:,} events in {clock.now() - since:.1f} s")


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
    where = _where(sink, brokers)
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
    span = _duration("--rebase-to-now", rebase_to_now) if rebase_to_now is not None else None
    now = datetime.fromtimestamp(clock.now(), UTC)
    end = _time("--anchor", anchor) if anchor else now.replace(microsecond=0)
    lines = read(file, layout)
    for sentence in lines.told:
        typer.echo(sentence)
    timed = _timed(lines, span, end, now, where)
    with _opened(where) as target:
        if span is not None and isinstance(target, EventLogSink):
            # Remembered only now, when nothing keeps the lines from being sent; the first replay's moment stays.
            first = _time("--anchor", target.remember(_replay_name(lines, span), end.isoformat()))
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


SinceOption = Annotated[str, typer.Option(help="Received at most this long ago, like 2h or 15d.")]
TopicOption = Annotated[list[str] | None, typer.Option("--topic", help="Of this topic only. Repeatable.")]
ReasonOption = Annotated[
    list[str] | None, typer.Option("--reason", help="Rejected for this reason only, like BAD_VALUE. Repeatable.")
]
IdArgument = Annotated[list[str] | None, typer.Argument(help="TOPIC:PARTITION:OFFSET, as `list` shows them.")]
_SHOWN = 60


@letters.command("list")
def list_letters(
    since: SinceOption = "1d",
    topic: TopicOption = None,
    reason: ReasonOption = None,
    most: Annotated[int, typer.Option(help="Show at most so many.", min=1, max=dead_letters.MOST)] = 20,
) -> None:
    """How many there are, by topic and reason, and the newest of them."""
    chosen = _chosen(since, topic, reason)
    with _asked() as dremio:
        counts = dead_letters.counted(dremio, chosen)
        newest = dead_letters.newest(dremio, chosen, most) if counts else []
    total = sum(row["letters"] for row in counts)
    typer.echo(f"{total:,} dead letters of the last {since}{':' if counts else ''}")
    for row in counts:
        typer.echo(f"  {row['letters']:>9,}  {row['topic']:<13} {row['reason']}")
    for letter in newest:
        payload = "(tombstone)" if letter.payload is None else letter.payload[:_SHOWN].decode(errors="replace")
        detail = letter.detail if len(letter.detail) <= _SHOWN else f"{letter.detail[: _SHOWN - 1]}…"
        typer.echo(
            f"{letter.id:<24} {letter.received_at:%Y-%m-%d %H:%M:%S}  {letter.reason:<13} {detail}  "
            f"{' '.join(payload.split())}"
        )


@letters.command("show")
def show_letters(
    ids: IdArgument = None, since: SinceOption = "1d", topic: TopicOption = None, reason: ReasonOption = None
) -> None:
    """Letters as lines of JSON, the named ones or all that are chosen; correct `event` in them for `replay --file`."""
    for letter in _read(ids, since, topic, reason):
        typer.echo(dead_letters.line(letter))


@letters.command("replay")
def replay_letters(
    ids: IdArgument = None,
    file: Annotated[
        str | None, typer.Option(help="Corrected letters, as `show` writes them; - reads standard input.")
    ] = None,
    since: SinceOption = "1d",
    topic: TopicOption = None,
    reason: ReasonOption = None,
    check: Annotated[bool, typer.Option("--check", help="Only say what would be sent and what not.")] = False,
    sink: SinkOption = None,
    brokers: BrokersOption = None,
) -> None:
    """Send letters again: corrected ones from a file, or the named or chosen ones as they are.

    What would only be rejected once more is not sent. However often a letter is sent, it is stored once.
    """
    clock = SystemClock()
    where = _where(sink, brokers)
    if file is not None:
        if ids or topic or reason:
            raise UserError("--file says which letters; leave ids, --topic and --reason out.")
        messages = list(dead_letters.corrected(_text_of(file), file))
        dead_letters.refuse_two(messages)
    elif ids or topic or reason:
        messages = [dead_letters.as_it_was(letter) for letter in _read(ids, since, topic, reason)]
    else:
        raise UserError("Say which letters: by their ids, by --reason or --topic, or with --file.")
    now = datetime.fromtimestamp(clock.now(), UTC)
    good, bad = dead_letters.judged(messages, now, Shared.load().max_event_age)
    for message, why in bad:
        typer.echo(f"{message.id} would be rejected again: {why.reason} {why.detail}", err=True)
    sent = 0
    if check:
        typer.echo(f"{len(good):,} of {len(messages):,} dead letters would be sent")
    elif good:
        with _opened(where) as target:
            sent = dead_letters.send(good, target, clock, Stop.on_signals())
    if not check:
        typer.echo(f"{sent:,} of {len(messages):,} dead letters sent again")
    if bad:
        raise typer.Exit(1)


def _read(
    ids: list[str] | None, since: str, topic: list[str] | None, reason: list[str] | None
) -> list[dead_letters.Letter]:
    if ids and (topic or reason):
        raise UserError("Ids name the letters; leave --topic and --reason out.")
    with _asked() as dremio:
        return dead_letters.by_id(dremio, ids) if ids else dead_letters.every(dremio, _chosen(since, topic, reason))


def _chosen(since: str, topic: list[str] | None, reason: list[str] | None) -> dead_letters.Chosen:
    # To the end of time: the log's clock may have been ahead by any span.
    until = datetime(9999, 12, 31, tzinfo=UTC)
    reasons = tuple(Reason)
    for text in reason or ():
        if text not in reasons:
            raise UserError(f"--reason is '{text}'; expected one of {', '.join(reasons)}.")
    begin = datetime.now(UTC) - _duration("--since", since)
    return dead_letters.Chosen(begin, until, _topics("--topic", topic) or TOPICS, tuple(reason or reasons))


@contextmanager
def _asked() -> Iterator[Dremio]:
    with Dremio(DremioSettings.load()) as dremio:
        try:
            yield dremio
        except DremioError as error:
            raise UserError(f"The dead letters cannot be read. {error}") from None


def _text_of(file: str) -> str:
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}; correct the path.") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8; convert it. Nothing was sent.") from None


def _where(sink: str | None, brokers: str | None) -> str:
    if sink is not None and brokers is not None:
        raise UserError("--brokers is --sink kafka://…; give one of them.")
    return f"kafka://{brokers}" if brokers is not None else sink or "log"


@contextmanager
def _opened(where: str) -> Iterator[EventLogSink | KafkaSink]:
    """The sink; at the end a report of what was delivered, whatever the end."""
    target = open_sink(where)
    try:
        yield target
    finally:
        try:
            target.close()
        finally:
            counts = ", ".join(f"{topic} {count:,}" for topic, count in sorted(target.delivered.items()))
            typer.echo(f"Delivered to {where}: {counts or 'nothing'}")


def _topics(option: str, texts: list[str] | None) -> tuple[str, ...]:
    """The topics named, in any number; none for all."""
    names = [name.strip() for text in texts or () for name in text.split(",")]
    for name in names:
        if name not in TOPICS:
            raise UserError(f"{option} is '{name}'; expected one of {', '.join(TOPICS)}.")
    return tuple(names)


def _only(messages: Iterator[list[Message]], topics: tuple[str, ...]) -> Iterator[list[Message]]:
    if not topics:
        return messages
    return ([message for message in batch if message[2] in topics] for batch in messages)


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
