"""The command `replay`: real data from a file, checked whole, then sent."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.settings.base import Shared
from lakehouse.sinks import EventLogSink
from lakehouse.sources import load_sources
from lakehouse.stop import Stop
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from producers.bad_lines import BadLines
from producers.joined import Partners
from producers.layout import Layout
from producers.lines import Lines
from producers.mapped import read_mapped
from producers.options import BrokersOption, SinkOption, duration_of, opened, time_of, where_to
from producers.pace import SystemClock, iso
from producers.reading import read
from producers.replay import replay
from producers.shop import ORDERS_TOPIC


def replay_file(
    file: Annotated[
        Path,
        typer.Argument(
            help="What to send: CSV, text in columns, JSON lines, a JSON array or Parquet; text may be packed by gzip "
            "or zstd."
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="csv, whitespace, jsonl, json (an array, or lines), parquet or cdnow; else by the file's ending.",
        ),
    ] = None,
    topic: Annotated[str | None, typer.Option(help=f"one of {', '.join(TOPICS)}; {ORDERS_TOPIC} without it.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="NAME of config/sources.yaml: each line goes through its map, as a live message would. Columns are "
            "called as the header does, without one 1, 2, ...; `_line` is the line's number, `_file` the file's mark."
        ),
    ] = None,
    join: Annotated[
        Path | None,
        typer.Option(
            help="With --source: another file, whose columns each line gets from its line with the same value in --on, "
            "like the orders of a file of order items."
        ),
    ] = None,
    on: Annotated[str | None, typer.Option(help="The column that both files have.")] = None,
    header: Annotated[
        bool | None, typer.Option(help="Whether the first line names the columns; csv has one, whitespace has not.")
    ] = None,
    delimiter: Annotated[str, typer.Option(help=r"Between the columns of a csv file, like ; or \t.")] = ",",
    encoding: Annotated[
        str, typer.Option(help="Of text: utf-8 (with or without a byte order mark), cp1252, latin-1, utf-16 ...")
    ] = "utf-8-sig",
    unpack_at_most: Annotated[
        float, typer.Option(help="GiB that a packed file may hold; more is refused.", min=0.001)
    ] = 8.0,
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
    decimal_comma: Annotated[
        bool,
        typer.Option(
            "--decimal-comma", help="Numbers like 1.234,50; a point, blank or apostrophe only between groups of three."
        ),
    ] = False,
    date_format: Annotated[
        str | None,
        typer.Option(
            help="Of the event's time, like %Y%m%d; else ISO 8601. Without an offset (%z) UTC, without a time "
            "of day 00:00. %y: 69 to 99 are 19.., 00 to 68 are 20.. `excel`: days as Excel counts them from 1900, like "
            "40513.3507; its 60, 29 February 1900, never was and is refused."
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
    skip_bad: Annotated[
        Path | None,
        typer.Option(
            help="Send the good lines, and list the others in this CSV file: line, reason, column, value, why. Without "
            "it one bad line keeps all from being sent."
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
    _check_times(original_times, rebase_to_now, anchor, where, clock)
    if (join is None) != (on is None) or (join is not None and source is None):
        raise UserError("--join FILE, --on COLUMN and --source NAME go together; give all three.")
    through = None
    if source is not None:
        _refuse_own_map(topic, columns, constants, price_from_total, decimal_comma, date_format)
        through = load_sources(as_given=True).named(source)
    layout_of = partial(Layout.of, header=header, delimiter=delimiter, encoding=encoding, unpack_at_most=unpack_at_most)
    layout = layout_of(
        file,
        form=form,
        topic=topic or ORDERS_TOPIC,
        columns=_pairs("--map", columns),
        constants=_pairs("--const", constants),
        price_from_total=price_from_total,
        date_format=date_format,
        decimal_comma=decimal_comma,
    )
    span = duration_of("--rebase-to-now", rebase_to_now) if rebase_to_now is not None else None
    now = datetime.fromtimestamp(clock.now(), UTC)
    end = time_of("--anchor", anchor) if anchor else now.replace(microsecond=0)
    with _left_out(skip_bad, file) as bad_lines:
        if through is None:
            lines = read(file, layout, bad_lines, clock)
        else:
            partners = Partners.read(join, on, layout_of(join)) if join and on else None
            lines = read_mapped(file, layout, through, bad_lines, partners, clock)
        for sentence in lines.told:
            typer.echo(sentence)
        lines = _kept(lines, bad_lines, span, now, where)
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
    of = f"events of the {lines.noun}s" if through is not None else f"{lines.noun}s"
    typer.echo(f"{sent:,} of {len(timed.times):,} {of} of {file}{onto}")
    if bad_lines is not None and bad_lines.counts:
        what = "" if through is not None else f" {lines.noun}s"  # of a line with several elements one may be bad
        typer.echo(f"{bad_lines.counts.total():,}{what} left out: {bad_lines.words}; {skip_bad} lists them")


def _refuse_own_map(*given: object) -> None:
    options = ("--topic", "--map", "--const", "--price-from-total", "--decimal-comma", "--date-format")
    for option, value in zip(options, given, strict=True):
        if value:
            raise UserError(f"{option} does not go with --source, whose map says it; leave one out.")


def _check_times(original: bool, rebase: str | None, anchor: str | None, where: str, clock: SystemClock) -> None:
    if original == (rebase is not None):
        raise UserError("Say what the events' times become: either --original-times or --rebase-to-now SPAN.")
    if anchor is not None and rebase is None:
        raise UserError("--anchor goes with --rebase-to-now; leave it out.")
    if rebase is not None and anchor is None and where != "log":
        raise UserError(
            "--rebase-to-now onto Kafka needs --anchor TIME, like --anchor "
            f"{datetime.fromtimestamp(clock.now(), UTC):%Y-%m-%dT%H:%M:%SZ}: the same anchor again adds nothing, "
            "another one adds all lines at other times."
        )


@contextmanager
def _left_out(path: Path | None, file: Path) -> Iterator[BadLines | None]:
    if path is None:
        yield None
        return
    with BadLines.beside(path, file) as bad_lines:
        yield bad_lines


def _kept(lines: Lines, bad_lines: BadLines | None, span: timedelta | None, now: datetime, where: str) -> Lines:
    """The good lines; those that are left out stand in their list from now on. Raises UserError where none is good."""
    if bad_lines is None:
        return lines
    kept = lines
    if span is None:
        kept = lines.in_time(now, Shared.load().max_event_age if where == "log" else None, bad_lines.add)
    if lines.times and not kept.times:
        lines.refuse_future(now)
        lines.refuse_stale(now)
    bad_lines.keep()
    if not kept.times:
        raise UserError(
            f"{lines.file}: none of its {lines.noun}s is good: {bad_lines.words}; {bad_lines.path} lists them. Nothing "
            "was sent."
        )
    return kept


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
