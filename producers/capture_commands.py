"""The commands `database` and `connector`: a shop that writes into its own database, and what sends its changes."""

from pathlib import Path
from typing import Annotated

import typer

from lakehouse.settings.base import Shared
from lakehouse.settings.database import DatabaseSettings
from lakehouse.stop import Stop
from producers.connector import Connect, keep, read_connector
from producers.database import keep_shop
from producers.pace import SystemClock


def database(
    rate: Annotated[float, typer.Option(help="Changes a second: inserts, updates and deletes.", min=0.01)] = 2.0,
    seed: Annotated[int, typer.Option(help="The same seed does the same to the same database.", min=0)] = 1,
    orders: Annotated[int | None, typer.Option(help="End once so many orders were made; else run on.", min=1)] = None,
) -> None:
    """A simulated shop that writes into the PostgreSQL database of the settings (section database)."""
    settings = DatabaseSettings.load()
    typer.echo(f"{rate:g} changes/s in {settings.host}:{settings.port_there}/{settings.name}; Ctrl-C ends it.")
    done = keep_shop(settings, seed, rate, orders, SystemClock(), Stop.on_signals())
    typer.echo("Orders " + (", ".join(f"{what} {count:,}" for what, count in done.items()) or "untouched"))


def connector(
    file: Annotated[Path, typer.Argument(help="The connector's configuration, like examples/cdc/connector.json.")],
    name: Annotated[str, typer.Option(help="What Kafka Connect calls it.")] = "shop",
    connect: Annotated[str | None, typer.Option(help="http://HOST:PORT of Kafka Connect; else the stack's.")] = None,
) -> None:
    """Register a connector with Kafka Connect, and start it again whenever it has given up."""
    url = connect or f"http://127.0.0.1:{Shared.load().port('connect')}"
    keep(Connect(url), name, read_connector(file), Stop.on_signals(), typer.echo)
