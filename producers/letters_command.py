"""The command `dead-letters`: see rejected messages, correct them, send them again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.decode import Reason
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from lakehouse.sources import load_sources
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from producers import dead_letters
from producers.options import BrokersOption, SinkOption, duration_of, opened, topics_named, where_to
from producers.pace import SystemClock

letters = typer.Typer(help="Rejected messages: see them, correct them, send them again.", no_args_is_help=True)
SinceOption = Annotated[str, typer.Option(help="Received at most this long ago, like 2h or 15d.")]
TopicOption = Annotated[list[str] | None, typer.Option("--topic", help="Of this topic of the log only. Repeatable.")]
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
    where = where_to(sink, brokers)
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
        with opened(where) as target:
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
    begin = datetime.now(UTC) - duration_of("--since", since)
    topics = load_sources().log_topics
    return dead_letters.Chosen(begin, until, topics_named("--topic", topic, topics) or topics, tuple(reason or reasons))


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
