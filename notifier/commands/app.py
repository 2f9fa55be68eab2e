"""The commands, by their names."""

from __future__ import annotations

import typer

from notifier.commands import check, routes

app = typer.Typer(
    name="notifier",
    help="Tells people when something breaks. Without a command: runs until SIGTERM or Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("check-config")(check.check_config)
app.add_typer(routes.app, name="routes")
