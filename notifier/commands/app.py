"""The commands, by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from notifier.commands import (
    backtest,
    check,
    deliveries,
    incidents,
    reconcile,
    render,
    replay,
    routes,
    send_test,
    silences,
)

app = typer.Typer(
    name="notifier",
    help="Tells people when something breaks. Without a command: runs until SIGTERM or Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_COMMANDS: Mapping[str, Callable[..., None]] = {
    "check-config": check.check_config,
    "render": render.render,
    "send-test": send_test.send_test,
    "incidents": incidents.incidents,
    "ack": incidents.ack,
    "unack": incidents.unack,
    "note": incidents.note,
    "escalate": incidents.escalate,
    "mark": incidents.mark,
    "reconcile": reconcile.reconcile_,
    "replay": replay.replay,
    "backtest": backtest.backtest,
}
for name, command in _COMMANDS.items():
    app.command(name)(command)
app.add_typer(routes.app, name="routes")
app.add_typer(silences.app, name="silence")
app.add_typer(deliveries.app, name="deliveries")
