"""`python -m console`: the ops console in the browser."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from console.gate import gate_of
from console.settings import SIGNED_IN_DAYS, ConsoleSettings
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import claim_port
from lakehouse.user_error import exit_on_user_error

HERE = Path(__file__).resolve().parent

cli = typer.Typer(add_completion=False)


def serve_arguments(
    port: int, settings: ConsoleSettings, setup: Path = HERE / "setup.py", plugins: Sequence[str] = ()
) -> list[str]:
    """The command line of `panel serve`.

    A file app builds pages on the event loop (a callable one races). Panel takes plugins with `--server fastapi` only:
    that is its asgi server with FastAPI's routes in front, on the same uvicorn.
    """
    arguments = [
        "serve",
        str(HERE / "app.py"),
        *("--server", "fastapi"),
        *("--port", str(port)),
        *("--address", settings.address),
        *("--setup", str(setup)),
        "--liveness",
        *("--static-dirs", f"look={HERE / 'static'}"),
        *("--basic-login-template", str(HERE / "sign_in.html")),
        *("--logout-template", str(HERE / ("signed_out.html" if settings.auth == "oidc" else "sign_in.html"))),
        *("--oauth-error-template", str(HERE / "signed_out.html")),
        *("--oauth-expiry-days", str(SIGNED_IN_DAYS)),
        # What the sign-in page itself is drawn with.
        *("--oauth-guest-endpoints", *(f"/look/{name}" for name in ("tokens.css", "console.css", "icon.svg"))),
        *("--unused-session-lifetime", "60000"),
        *("--check-unused-sessions", "5000"),
        *("--keep-alive", "10000"),
        *("--log-level", "warning"),
    ]
    if settings.root_path:
        arguments += ["--root-path", settings.root_path]
    for origin in settings.origins(port):
        arguments += ["--allow-websocket-origin", origin]
    for name in ("console.assets", "console.exports", "console.plugins", *plugins):
        arguments += ["--plugins", name]
    return arguments


def serve(setup: Path = HERE / "setup.py", plugins: Sequence[str] = ()) -> None:
    """Serve until a signal. Raises UserError for a wrong setting or a busy port."""
    # All that is imported stays: looking through it for garbage is a tenth of the start. running.start turns it on.
    gc.disable()
    settings = ConsoleSettings.load()
    gate = gate_of(settings)
    DremioSettings.load()
    # What a tab or chart declares wrongly is refused here, in a sentence.
    import console.tabs  # noqa: F401

    port = Shared.load().port("console")
    claim_port(port, host=settings.address)
    os.chdir(HERE.parent)
    # A line for every probe says nothing; uvicorn sets its levels itself, later, so they are of no use here.
    logging.getLogger("uvicorn.access").addFilter(lambda _record: False)
    print(f"console: http://localhost:{port}/", flush=True)
    from panel.command import main

    from console.sign_in import set_up

    set_up(settings, gate)
    # Panel's command reads the process's own arguments in places.
    sys.argv = ["panel", *serve_arguments(port, settings, setup, plugins)]
    main()


@cli.command()
def run(
    port_offset: Annotated[int | None, typer.Option(help="Added to port 5006; as TILLWATCH_PORT_OFFSET.")] = None,
) -> None:
    """Show the live shop in the browser, on port 5006."""
    with exit_on_user_error():
        if port_offset is not None:
            os.environ["TILLWATCH_PORT_OFFSET"] = str(port_offset)
        serve()


if __name__ == "__main__":
    sys.exit(cli(prog_name="python -m console"))
