"""The command `tillwatch init`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.sources.envelope import Envelope
from lakehouse.texts import visible
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from tillwatch.init.choices import Choices, Given, flag, short
from tillwatch.init.folder import refuse_used, settings_text, write_folder
from tillwatch.init.guess import guess_topic, guessed
from tillwatch.init.names import NAMES
from tillwatch.init.proof import Proof, other_currencies, prove
from tillwatch.init.questions import (
    Take,
    ask,
    lacking,
    take_currency,
    take_grain,
    take_topic,
    take_zone,
    unsaid,
)
from tillwatch.init.sample import Sample, read_sample
from tillwatch.init.source import sources_for
from tillwatch.init.text import sources_text
from tillwatch.init.times import EPOCHS
from tillwatch.init.told import seen, told

command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@command.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The folder to write: a new one, or an empty one.")],
    sample: Annotated[
        Path | None,
        typer.Option(
            help="A message of your shop (JSON, also as Debezium, Kafka Connect or CloudEvents wrap it), JSON lines, "
            "an array, the first lines of a CSV, or Parquet."
        ),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="What it holds: orders, clicks, errors or refunds.")] = None,
    key: Annotated[
        str | None,
        typer.Option("--id", help="The column, or path, of its id; `_line`: each line of a file is one."),
    ] = None,
    time: Annotated[str | None, typer.Option(help="The column of when it was.")] = None,
    date_format: Annotated[
        str | None,
        typer.Option(help="How times are written: a form like %d.%m.%Y, excel, or s, ms, us, ns since 1970."),
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Of times without one, like Europe/Berlin; else UTC.")] = None,
    total: Annotated[
        str | None, typer.Option(help="The column of the amount; `-`: it is price times quantity.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="The shop's currency, like EUR; a column of others is --map currency=COLUMN.")
    ] = None,
    minor: Annotated[
        int | None, typer.Option(help="Digits of amounts behind the point: 2 for cents.", min=0, max=8)
    ] = None,
    decimal: Annotated[str | None, typer.Option(help="What stands before decimals: . or a comma.")] = None,
    customer: Annotated[str | None, typer.Option(help="The column of the customer; `-`: all are guests.")] = None,
    grain: Annotated[str | None, typer.Option(help="What a message, or line, is: order, or line (of one).")] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--map", help="FIELD=COLUMN for any other field. Repeatable.")
    ] = None,
    constants: Annotated[
        list[str] | None, typer.Option("--const", help="FIELD=VALUE for all messages. Repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The source's name; else the sample's file's.")] = None,
    reads: Annotated[
        str | None, typer.Option(help="The log's (Kafka's) topic that the messages come by; else the source's name.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help=r"Between the columns of a CSV, like ; or \t.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Of a CSV: utf-8, cp1252, utf-16 ...")] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Messages of the sample that do not fit may be dead letters.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is guessed.")] = False,
) -> None:
    """Write a config/ for your shop from a sample of what it sends, by six questions or by flags.

    What is guessed stands behind each question; what the sample becomes is shown, and nothing is written where it does
    not fit.
    """
    refuse_used(folder)
    if sample is None:
        raise UserError(
            "Give a message of your shop, or the first lines of its CSV, by --sample FILE: it says what to write."
        )
    found = read_sample(sample, "\t" if delimiter == r"\t" else delimiter, encoding)
    given = Given(
        paths=_pairs("--map", columns),
        constants=_pairs("--const", constants),
        form=date_format,
        minor=minor,
        decimal=decimal,
    )
    for option, value, take in (
        ("--topic", topic, take_topic),
        ("--zone", zone, take_zone),
        ("--currency", currency, take_currency),
        ("--grain", grain, take_grain),
    ):
        given = given if value is None else _taken(option, value, given, take)
    if decimal not in (None, ".", ","):
        raise UserError(f"--decimal is '{visible(str(decimal), 20)}'; expected . or a comma.")
    _check_form(date_format)
    given = _with_columns(found, given, {"--id": key, "--time": time, "--total": total, "--customer": customer})
    if not yes and not at_terminal():
        if missing := unsaid(found, given):
            raise UserError(
                f"There is no terminal to ask at: say {' '.join(missing)} (as guessed), or --yes to take the guesses."
            )
    elif not yes:
        typer.echo("\n".join(seen(found)))
        given = ask(found, given)
    choices = guessed(found, given)
    if needed := lacking(choices):
        raise UserError(
            f"Nothing in {sample} looks like {_words(choices, needed[0])}; name it by {needed[0]}"
            f"{'' if needed[0].endswith('=') else ' '}COLUMN{_or_each_line(found, needed[0])}. It has "
            f"{visible(', '.join(found.columns.by_path), 600)}."
        )
    written = sources_for(found, choices, name or _name_of(found), reads or _topic_of(found) or name or _name_of(found))
    text = sources_text(written, sample.name)
    proof = prove(
        found, text, f"{folder / 'sources.yaml'}", [each.name for each in written if "map" in each.content], skip_bad
    )
    counted = ("CREATED",) if written[-1].name.endswith("_changes") else _counted(choices, proof)
    others = other_currencies(proof, choices.currency)
    files = {
        "tillwatch.yaml": settings_text(_settings(folder, choices, counted)),
        "sources.yaml": text,
        **({"rates.csv": "date,currency,rate\n"} if others else {}),
    }
    write_folder(folder, files)
    typer.echo("\n".join(told(folder, found, choices, proof, written[0].name, counted)))


def at_terminal() -> bool:
    return sys.stdin.isatty()


# What was said --------------------------------------------------------------------------------------------------------


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UserError(f"{option} is '{visible(text, 60)}'; expected FIELD=…, like {option} product_id=sku.")
        if name.strip() in found:
            raise UserError(f"{option} names '{name.strip()}' twice; leave one out.")
        found[name.strip()] = value.strip()
    return found


def _taken(option: str, value: str, given: Given, take: Take) -> Given:
    try:
        return take(given, value)
    except UserError as error:
        raise UserError(f"{option}: {error}") from None


def _with_columns(sample: Sample, given: Given, said: dict[str, str | None]) -> Given:
    """The columns of flags that mean a field each topic calls by a name of its own."""
    topic = TOPICS[given.topic or guess_topic(sample)]
    fields = {flag(topic.name, each.name): each.name for each in topic.fields if each.name in NAMES[topic.name]}
    paths = dict(given.paths)
    for option, path in said.items():
        if path is None:
            continue
        if option not in fields:
            raise UserError(f"{option} says nothing of {short(topic.name)}; leave it out, or correct --topic.")
        if fields[option] in paths:
            raise UserError(f"{option} and --map {fields[option]}= both name a column; leave one out.")
        paths[fields[option]] = path
    return replace(given, paths=paths)


def _check_form(form: str | None) -> None:
    if form is None or form in EPOCHS:
        return
    moment = datetime(2024, 12, 31, 23, 59, 58, tzinfo=UTC)
    try:
        read = datetime.strptime(moment.strftime(form), form)  # noqa: DTZ007  # only its day is looked at
    except ValueError:
        read = None
    if read is None or read.date() != moment.date():
        raise UserError(
            f"--date-format is '{visible(form, 60)}'; expected a form like %d.%m.%Y, or one of {', '.join(EPOCHS)}."
        )


def _name_of(sample: Sample) -> str:
    """A source's name: the table's that a change is of, else the file's."""
    table = sample.columns.by_path.get("source.table")
    of = table.given[0] if table is not None and table.given else sample.file.name.partition(".")[0]
    found = re.sub(r"[^A-Za-z0-9_-]+", "_", of).strip("_-")[:60]
    return found if re.match(r"[A-Za-z]", found) else f"shop_{found}".strip("_")


def _topic_of(sample: Sample) -> str | None:
    """The log's topic that Debezium gives a table's changes."""
    if sample.envelope is not Envelope.DEBEZIUM:
        return None
    columns = sample.columns.by_path
    parts = [
        columns[path].given[0]
        for path in ("source.name", "source.schema" if _given(sample, "source.schema") else "source.db", "source.table")
        if _given(sample, path)
    ]
    found = ".".join(parts)
    return found if len(parts) == 3 and re.fullmatch(r"[A-Za-z0-9._-]{1,249}", found) else None


def _given(sample: Sample, path: str) -> bool:
    column = sample.columns.by_path.get(path)
    return column is not None and bool(column.given)


def _counted(choices: Choices, proof: Proof) -> tuple[str, ...]:
    """The status that orders begin with, where they come again with others: then that one counts."""
    found = proof.first_statuses if choices.shape.grain == "order" else ()
    return found if len(found) == 1 else ()


def _settings(folder: Path, choices: Choices, counted: Sequence[str]) -> dict[str, str]:
    """What the settings file says otherwise than the shipped one."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", folder.absolute().name).strip("-")
    found = {"data_dir": f".tillwatch-{name or 'shop'}", "demo.shoppers": "false"}
    if choices.shape.grain == "line":
        found["orders.grain"] = "line"
    if choices.currency:
        found["orders.currency"] = f'"{choices.currency}"'
    if counted:
        found["orders.counted_statuses"] = f"[{', '.join(counted)}]"
    return found


def _words(choices: Choices, option: str) -> str:
    of = {"--id": "the id", "--time": "the time", "--total": "the amount"}.get(
        option, option.removeprefix("--map ")[:-1]
    )
    return f"{of} of {short(choices.topic)}"


def _or_each_line(sample: Sample, option: str) -> str:
    return ", or by --id _line where each line is one" if option == "--id" and sample.tabular else ""
