"""The command `tillwatch sources`: is config/sources.yaml right, and what does it make of the messages of a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from lakehouse.decode import Rejected
from lakehouse.sources import Source, Sources, document_of, load_sources
from lakehouse.texts import visible
from lakehouse.user_error import UserError

sources = typer.Typer(
    help="Messages of other shapes (config/sources.yaml): check what is declared, try it on a file.",
    no_args_is_help=True,
)
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="This file in place of sources.yaml beside the settings file.")
]
_SHOWN = 2_000  # letters of a line
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\0")


@sources.command()
def check(config: ConfigOption = None) -> None:
    """Is the file right: what each source reads and fills, or one sentence with file and line."""
    found = load_sources(config)
    if not found.sources:
        typer.echo("There is no source: the log's topics are read as they always were.")
    for source in found.sources.values():
        typer.echo(f"{source.name}: {', '.join(source.reads)} -> {source.topic}")


@sources.command("try")
def try_file(
    file: Annotated[Path, typer.Argument(help="Messages: one on each line, or the whole file is one.")],
    source: Annotated[str | None, typer.Option(help="The source to read them by; where there is one, that.")] = None,
    config: ConfigOption = None,
    most: Annotated[int, typer.Option(help="Show so many messages at most; all are counted.", min=0)] = 20,
) -> None:
    """What each message of a file would become: its events, or the reason with path and value. Nothing is stored.

    Exits 1 when something would be a dead letter. When an event happened is not judged: the log tells when it came.
    """
    chosen = _chosen(load_sources(config), source)
    counts = Counter[str]()
    number = 0
    for number, (line, message) in enumerate(_messages(file), start=1):
        found = chosen.read(message)
        if not found:
            counts["left out"] += 1
        for each in found:
            counts[str(each.reason) if isinstance(each, Rejected) else chosen.topic] += 1
        if number <= most:
            typer.echo("\n".join(f"line {line}: {said}" for said in _said(chosen, found)))
    if number > most:
        typer.echo(f"… and {number - most:,} more")
    typer.echo(f"{number:,} messages: " + (", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"))
    if counts.total() - counts[chosen.topic] - counts["left out"]:
        raise typer.Exit(1)


def _chosen(found: Sources, name: str | None) -> Source:
    if name is not None:
        return found.named(name)
    if len(found.sources) != 1:
        known = ", ".join(found.sources) or "none: write sources.yaml beside the settings file, or name it by --config"
        raise UserError(f"Say by which source with --source; there are {known}.")
    (only,) = found.sources.values()
    return only


def _said(source: Source, found: tuple[object, ...]) -> Iterator[str]:
    if not found:
        yield "left out"
    for each in found:
        if isinstance(each, Rejected):
            yield visible(f"{each.reason} {each.detail}", _SHOWN)
        else:
            document = msgspec.json.encode(document_of(each)).decode()  # type: ignore[arg-type]  # it is an Event
            yield visible(f"{source.topic} {document}", _SHOWN)


def _messages(file: Path) -> Iterator[tuple[int, bytes]]:
    """Line and bytes of each message."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}; correct the path.") from None
    content = content.removeprefix(b"\xef\xbb\xbf")
    lines = content.splitlines()
    first = next((line for line in lines if line.strip()), b"")
    if content.startswith(_PACKED) or (len(lines) > 1 and not _is_json(first)):
        yield 1, content
        return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True
