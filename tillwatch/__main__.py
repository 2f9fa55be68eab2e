"""The command `tillwatch`: demo, stack, status, doctor, and every part by its name.

Imports stay inside the commands: `tillwatch status` must answer while everything else is busy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from lakehouse.settings.base import Shared
from lakehouse.user_error import exit_on_user_error
from tillwatch.parts import BY_NAME, CDC_SERVERS, DRIVER, PARTS, SERVERS, Part

app = typer.Typer(
    name="tillwatch",
    help="Watch an online shop as it sells: a live console and an alert notifier over an Iceberg lakehouse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


Rate = Annotated[float | None, typer.Option(help="Simulated events a second, the day's mean.")]
FillRate = Annotated[float | None, typer.Option(help="The same for the past that is filled in; else --rate.")]
Flat = Annotated[bool | None, typer.Option("--flat/--no-flat", help="Every hour alike, or with the shop's day curve.")]
Lite = Annotated[bool | None, typer.Option("--lite/--no-lite", help="Start the small page too.")]
Fill = Annotated[bool | None, typer.Option("--fill/--no-fill", help="Fill the past in.")]
Incident = Annotated[
    bool | None, typer.Option("--incident/--no-incident", help="Let payments fail 60 s after the start, for 90 s.")
]
With = Annotated[
    list[Path] | None,
    typer.Option(
        "--with", help="Lay the files of this folder, like examples/payments, over config/ for this run. Repeatable."
    ),
]
RunFor = Annotated[str | None, typer.Option("--for", help="End by itself after so long, like '10 min'.")]
OfStack = Annotated[
    bool, typer.Option("--stack", help="Of the stack, in .tillwatch-stack unless a setting names another.")
]


@app.command()
def demo(
    rate: Rate = None,
    fill_rate: FillRate = None,
    flat: Flat = None,
    lite: Lite = None,
    fill: Fill = None,
    incident: Incident = None,
    run_for: RunFor = None,
    over: With = None,
) -> None:
    """Everything on this machine, with simulated shoppers. Ctrl-C ends it; the data stays."""
    from tillwatch.overlay import use

    said = use(over or (), Shared.load().data_dir, "embedded")
    from tillwatch.demo import run
    from tillwatch.settings import DemoSettings

    settings = DemoSettings.load(**_given(rate, fill_rate, flat, lite, fill, incident, run_for))
    raise typer.Exit(run(settings, Shared.load(), said))


@app.command()
def stack(
    rate: Rate = None,
    fill_rate: FillRate = None,
    flat: Flat = None,
    lite: Lite = None,
    fill: Fill = None,
    incident: Incident = None,
    run_for: RunFor = None,
    cdc: Annotated[
        bool | None,
        typer.Option("--cdc/--no-cdc", help="Orders come from a PostgreSQL database, by change data capture."),
    ] = None,
    over: With = None,
) -> None:
    """The same on Kafka, Spark, Nessie and S3, as plain processes of this machine. Ctrl-C ends it; the data stays."""
    from tillwatch.overlay import use
    from tillwatch.settings import DemoSettings, StackSettings, stack_shared

    said = use(over or (), stack_shared().data_dir, "stack")
    from tillwatch.stack import run

    settings = DemoSettings.load(**_given(rate, fill_rate, flat, lite, fill, incident, run_for))
    with_cdc = StackSettings.load(**({} if cdc is None else {"cdc": cdc})).cdc
    raise typer.Exit(run(settings, stack_shared(), said, cdc=with_cdc))


@app.command("stack-down")
def stack_down() -> None:
    """End the stack, or what a crash left of it."""
    from tillwatch.stack import down

    typer.echo(down(_shared(of_stack=True)))


@app.command()
def status(stack: OfStack = False) -> None:
    """Is it running, how old is the data: one screen of text within 2 s. Exits 1 when a part is down."""
    from tillwatch.status import show, time_left

    raise typer.Exit(0 if show(_shared(stack), within_s=time_left()) else 1)


@app.command()
def doctor(stack: OfStack = False) -> None:
    """What keeps the demo, or the stack, from starting here: Python, packages, Java, jars, data directory, ports."""
    from tillwatch.doctor import examine

    raise typer.Exit(0 if examine(_shared(stack), stack) else 1)


@app.command("clean-data")
def clean_data(stack: OfStack = False) -> None:
    """Remove the data directory (not while the demo runs)."""
    from tillwatch.leftovers import remove_data

    typer.echo(remove_data(_shared(stack)))


@app.command()
def check(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: file, line and sentence of each.")] = False,
) -> None:
    """Read all of config/ as the parts would, and say everything that is wrong. Exits 1 where there is something."""
    from tillwatch.check import examine

    raise typer.Exit(0 if examine(as_json) else 1)


@app.command()
def contract() -> None:
    """Print all topics, tables and questions as Markdown: docs/contract.md, and your own of config/."""
    from lakehouse.contract import main

    main([])


@app.command("init", add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def begin(context: typer.Context) -> None:
    """Write a config/ for your shop from a sample of what it sends, by six questions or by flags."""
    from tillwatch.init.command import command

    command(args=context.args, prog_name="tillwatch init")


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def mark(context: typer.Context) -> None:
    """Note that something was done, like "deploy 1.4": messages of what breaks soon after name it."""
    line = BY_NAME["notifier"].argv("mark", *context.args)
    os.execv(line[0], line)


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def sources(context: typer.Context) -> None:
    """Messages of other shapes: `sources check` of config/sources.yaml, `sources try FILE` shows what they become."""
    from tillwatch.sources_command import sources as command

    command(args=context.args, prog_name="tillwatch sources")


@app.command()
def password() -> None:
    """Ask for a password twice, and print its hash for `password:` of somebody in config/people.yaml."""
    from lakehouse.passwords import hash_of

    typer.echo(hash_of(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)))


def _given(
    rate: float | None,
    fill_rate: float | None,
    flat: bool | None,
    lite: bool | None,
    fill: bool | None,
    incident: bool | None,
    run_for: str | None,
) -> dict[str, object]:
    """What was said on the command line; the rest is for settings to say."""
    given = {
        "rate": rate,
        "fill_rate": fill_rate,
        "flat": flat,
        "lite": lite,
        "fill": fill,
        "incident": incident,
        "run_for": run_for,
    }
    return {name: value for name, value in given.items() if value is not None}


def _shared(of_stack: bool) -> Shared:
    if not of_stack:
        return Shared.load()
    from tillwatch.settings import stack_shared

    return stack_shared()


def _starter(part: Part) -> Callable[[typer.Context], None]:
    def start(context: typer.Context) -> None:
        line = part.argv(*context.args)
        os.execv(line[0], line)

    start.__doc__ = f"Start this part alone: {part.doc}."
    return start


for _part in (*PARTS, DRIVER, *SERVERS, *CDC_SERVERS):
    app.command(
        _part.name,
        rich_help_panel="Parts" if _part in PARTS else "Parts of the stack",
        # Words and --help belong to the part.
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_starter(_part))


def main() -> None:
    with exit_on_user_error():
        app(standalone_mode=True)


if __name__ == "__main__":
    main()
