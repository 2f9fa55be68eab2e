"""What several commands are told, and how it is read: every mistake is one sentence."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated

import typer

from lakehouse.decode.values import parse_time
from lakehouse.settings.durations import parse_duration
from lakehouse.sinks import EventLogSink, KafkaSink, open_sink
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError

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


def where_to(sink: str | None, brokers: str | None) -> str:
    if sink is not None and brokers is not None:
        raise UserError("--brokers is --sink kafka://…; give one of them.")
    return f"kafka://{brokers}" if brokers is not None else sink or "log"


@contextmanager
def opened(where: str) -> Iterator[EventLogSink | KafkaSink]:
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


def topics_named(option: str, texts: list[str] | None, known: Collection[str] = TOPICS) -> tuple[str, ...]:
    """The topics named, in any number, of the known ones; none for all."""
    names = [name.strip() for text in texts or () for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UserError(f"{option} is '{name}'; expected one of {', '.join(known)}.")
    return tuple(names)


def duration_of(option: str, text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise UserError(f"{option} is '{text}': {error}.") from None
    assert isinstance(found, timedelta)
    return found


def time_of(option: str, text: str) -> datetime:
    found = parse_time(text)
    if found is None:
        raise UserError(f"{option} is '{text}'; expected a time like 2026-11-23T12:00:00Z.")
    return found
