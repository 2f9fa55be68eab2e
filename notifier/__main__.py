"""`python -m notifier`: tells people what breaks, until SIGTERM or Ctrl-C; its API is on 5007."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import FrameType

import uvicorn

from lakehouse.dremio.client import Dremio
from lakehouse.memory import few_arenas
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.ports import claim_port
from lakehouse.stop import Stop
from lakehouse.user_error import UserError, exit_on_user_error
from notifier.api import create_app
from notifier.config import Config, load_config
from notifier.daemon import Daemon
from notifier.ledger.file import NAME
from notifier.ledger.ledger import Ledger
from notifier.questions.desk import MAX_BYTES, MAX_ROWS
from notifier.redact import RedactingFormatter, Redactor
from notifier.systemd import Systemd
from notifier.tokens import Tokens

logger = logging.getLogger("notifier")

LOG = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(arguments: list[str] | None = None) -> None:
    given = sys.argv[1:] if arguments is None else arguments
    if given and not given[0].startswith("-"):
        # Imported here: the daemon has no use for it.
        from notifier.commands.app import app

        with exit_on_user_error():
            app(given, prog_name="notifier")
        return
    parser = argparse.ArgumentParser(
        prog="python -m notifier",
        description="Tells people when something breaks, by every channel that is set up. Also, each with --help: "
        "check-config, routes, render, send-test, incidents, ack, unack, note, escalate, mark, silence, deliveries, "
        "reconcile, replay, backtest.",
    )
    parser.add_argument(
        "--save-ledger", type=Path, metavar="FILE", help="copy the ledger, of a running daemon too, and end"
    )
    options = parser.parse_args(given)
    logging.basicConfig(level=logging.INFO, format=LOG)
    # It warns each second while a look for commits hangs; metrics and health tell that.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with exit_on_user_error():
        code = save_ledger(options.save_ledger) if options.save_ledger else _run()
    logging.shutdown()
    # A thread that hangs in a call must not keep the process; all that matters is in the ledger.
    os._exit(code)


def save_ledger(to: Path) -> int:
    """A whole copy of the ledger as it is now. Raises UserError where there is none, or it cannot be written."""
    held = Shared.load().data_dir / NAME
    if not held.exists():
        raise UserError(f"There is no ledger {held}; set TILLWATCH_DATA_DIR to the notifier's data directory.")
    try:
        with closing(sqlite3.connect(held)) as source, closing(sqlite3.connect(to)) as copy:
            source.backup(copy)
    except sqlite3.Error as error:
        raise UserError(f"The ledger could not be copied to {to}: {error}; name another file.") from None
    logger.info("%s is a copy of %s", to, held)
    return 0


def _run() -> int:
    # A storm's rows go through many threads once: what they leave behind is to be used again, not kept by each.
    few_arenas(1)
    shared = Shared.load()
    config = load_config()
    settings = config.settings
    dremio_settings = DremioSettings.load()
    redact = Redactor(*dremio_settings.logins(), *settings.logins())
    for handler in logging.getLogger().handlers:
        handler.setFormatter(RedactingFormatter(LOG, redact))
    port = shared.port("notifier")
    claim_port(port, host=settings.host)
    try:
        shared.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The data directory {shared.data_dir} cannot be used: {error.strerror}; set TILLWATCH_DATA_DIR."
        ) from None
    tokens = Tokens(shared.data_dir, settings.api_token.get_secret_value(), settings.token.get_secret_value())
    stop = Stop()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    ledger = Ledger(shared.data_dir / NAME, redact=redact)
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    hangups: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _frame: hangups.append(number))
    asker = Dremio(dremio_settings, max_rows=MAX_ROWS, max_bytes=MAX_BYTES)
    daemon = Daemon(config, Dremio(dremio_settings), ledger, redact, asker=asker)

    def load() -> Config:
        config = load_config()
        # Those of before too: they may stand in what is still to be told.
        redact.learn(*config.settings.logins())
        return config

    server = uvicorn.Server(
        uvicorn.Config(
            create_app(daemon, tokens),
            host=settings.host,
            port=port,
            loop="asyncio",
            http="h11",
            ws="none",
            # Its own handlers would write past the one that hides secrets.
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
    )
    daemon.start()
    threading.Thread(target=server.run, name="api", daemon=True).start()
    logger.info("running; http://localhost:%d/-/ready says how it is", port)
    systemd = Systemd()
    healthy = True
    while healthy and not stop.wait(systemd.turn_s):
        if hangups:
            hangups.clear()
            systemd.reloading()
            daemon.reload(load)
            systemd.reloaded()
        healthy = daemon.watch()
        systemd.watch(server.started and daemon.health.looked, daemon.health.stalled_s() == 0, daemon.readiness())
    systemd.stopping()
    server.should_exit = True
    daemon.stop()
    ledger.close()
    logger.info("done")
    return 0 if healthy else 1


if __name__ == "__main__":
    main()
