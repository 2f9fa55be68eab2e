"""The command `tillwatch`: demo, status, doctor, and every part by its name.

Imports stay inside the commands: `tillwatch status` must answer while everything else is busy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

from lakehouse.settings import Shared, exit_on_user_error
from tillwatch.parts import PARTS, Part

app = typer.Typer(
    name="tillwatch",
    help="Watch an online shop as it sells: a live console and an alert notifier over an Iceberg lakehouse.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def demo(
    rate: Annotated[float | None, typer.Option(help="Simulated events a second, the day's mean.")] = None,
    fill_rate: Annotated[
        float | None, typer.Option(help="The same for the past that is filled in; else --rate.")
    ] = None,
    flat: Annotated[
        bool | None, typer.Option("--flat/--no-flat", help="Every hour alike, or with the shop's day curve.")
    ] = None,
    lite: Annotated[bool | None, typer.Option("--lite/--no-lite", help="Start the small page too.")] = None,
    fill: Annotated[bool | None, typer.Option("--fill/--no-fill", help="Fill the past in.")] = None,
    incident: Annotated[
        bool | None, typer.Option("--incident/--no-incident", help="Let payments fail 60 s after the start, for 90 s.")
    ] = None,
    run_for: Annotated[str | None, typer.Option("--for", help="End by itself after so long, like '10 min'.")] = None,
) -> None:
    """Everything on this machine, with simulated shoppers. Ctrl-C ends it; the data stays."""
    from tillwatch.demo import DemoSettings, run

    given = {
        "rate": rate,
        "fill_rate": fill_rate,
        "flat": flat,
        "lite": lite,
        "fill": fill,
        "incident": incident,
        "run_for": run_for,
    }
    settings = DemoSettings.load(**{name: value for name, value in given.items() if value is not None})
    raise typer.Exit(run(settings, Shared.load()))


@app.command()
def status() -> None:
    """Is it running, how old is the data: one screen of text within 2 s. Exits 1 when a part is down."""
    from tillwatch.status import show, time_left

    raise typer.Exit(0 if show(Shared.load(), within_s=time_left()) else 1)


@app.command()
def doctor() -> None:
    """What keeps the demo from starting here: Python, packages, data directory, ports."""
    from tillwatch.doctor import examine

    raise typer.Exit(0 if examine(Shared.load()) else 1)


@app.command("clean-data")
def clean_data() -> None:
    """Remove the data directory (not while the demo runs)."""
    from tillwatch.demo import remove_data

    typer.echo(remove_data(Shared.load()))


def _starter(part: Part) -> Callable[[typer.Context], None]:
    def start(context: typer.Context) -> None:
        line = part.argv(*context.args)
        os.execv(line[0], line)

    start.__doc__ = f"Start this part alone: {part.doc}."
    return start


for _part in PARTS:
    app.command(
        _part.name,
        rich_help_panel="Parts",
        # Words and --help belong to the part.
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(_starter(_part))


def main() -> None:
    with exit_on_user_error():
        app(standalone_mode=True)


if __name__ == "__main__":
    main()
