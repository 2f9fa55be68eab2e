"""The command `tillwatch init`."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.texts import visible
from lakehouse.user_error import UserError
from tillwatch.init.choices import Choices, Given
from tillwatch.init.folder import refuse_used, settings_text, write_folder
from tillwatch.init.guess import guessed
from tillwatch.init.naming import log_topic_of, name_of
from tillwatch.init.proof import Proof, other_currencies, prove
from tillwatch.init.questions import (
    ask,
    take_currency,
    take_grain,
    take_topic,
    take_zone,
    unsaid,
)
from tillwatch.init.said import check_form, pairs, refuse_lacking, taken, with_columns
from tillwatch.init.sample import read_sample
from tillwatch.init.source import sources_for
from tillwatch.init.text import sources_text
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

    What is guessed stands behind each question. A sample that does not fit is refused, and nothing is written.
    """
    refuse_used(folder)
    if sample is None:
        raise UserError(
            "Give a message of your shop, or the first lines of its CSV, by --sample FILE: it says what to write."
        )
    found = read_sample(sample, "\t" if delimiter == r"\t" else delimiter, encoding)
    given = Given(
        paths=pairs("--map", columns),
        constants=pairs("--const", constants),
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
        given = given if value is None else taken(option, value, given, take)
    if decimal not in (None, ".", ","):
        raise UserError(f"--decimal is '{visible(str(decimal), 20)}'; expected . or a comma.")
    check_form(date_format)
    given = with_columns(found, given, {"--id": key, "--time": time, "--total": total, "--customer": customer})
    if not yes and not at_terminal():
        if missing := unsaid(found, given):
            raise UserError(
                f"There is no terminal to ask at: say {' '.join(missing)} (as guessed), or --yes to take the guesses."
            )
    elif not yes:
        typer.echo("\n".join(seen(found)))
        given = ask(found, given)
    choices = guessed(found, given)
    refuse_lacking(found, choices)
    name = name or name_of(found)
    written = sources_for(found, choices, name, reads or log_topic_of(found) or name)
    reading = [each.name for each in written if "map" in each.content]
    text = sources_text(written, sample.name)
    proof = prove(found, text, str(folder / "sources.yaml"), reading, skip_bad)
    # Beside the source of orders there is one of what becomes of them.
    counted = ("CREATED",) if len(reading) > 1 else _counted(choices, proof)
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
