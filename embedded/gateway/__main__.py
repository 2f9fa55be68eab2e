"""Starts the gateway: tillwatch gateway, or python -m embedded.gateway"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import secrets
import threading
from pathlib import Path

from embedded.gateway import command_line
from embedded.gateway.command_line import Start
from embedded.gateway.commits import Commits, SqliteCommits
from embedded.gateway.engine import Engine, Remote
from embedded.gateway.files import Files, LocalFiles
from embedded.gateway.server import Gateway, hide_tracebacks
from embedded.gateway.sessions import Sessions
from embedded.gateway.settings import check_door, tls_pair, users_of
from embedded.gateway.statements import Statements
from lakehouse.logs import log_to_stderr
from lakehouse.memory import few_arenas, large_ones_apart
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.ports import claim_port
from lakehouse.stop import Stop
from lakehouse.user_error import exit_on_user_error
from pipeline.settings import NessieSettings, S3Settings

logger = logging.getLogger("embedded.gateway")

_LAST_WORDS_S = 1.0
_KEY_BYTES = 32


def main() -> None:
    log_to_stderr()
    with exit_on_user_error():
        serve(command_line.read())


def serve(start: Start) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises UserError for an open door (settings.check_door), a busy port and a data directory that cannot be used.
    """
    settings, dremio, port = start.gateway, start.dremio, start.port
    check_door(settings, dremio)
    tls, users = tls_pair(settings), users_of(settings, dremio)
    claim_port(port, "--port or TILLWATCH_PORT_OFFSET", settings.host)
    data_dir = open_data_dir(start.data_dir, "stack" if start.nessie else "embedded").resolve()
    commits: Commits
    files: Files
    if start.nessie is not None:
        folder = data_dir / "run" / f"gateway-files-{port}"
        commits, files, readable, remote = _from_nessie(start.nessie, folder, settings.files_on_disk)
    else:
        commits, files = SqliteCommits(data_dir / "catalog.db"), LocalFiles()
        readable, remote = data_dir / "warehouse", None
    hide_tracebacks()
    few_arenas()
    large_ones_apart()
    engine = Engine(
        readable=readable,
        spill=data_dir / "run" / f"gateway-spill-{port}",
        threads=settings.threads,
        memory_limit_mb=settings.memory_limit,
        timeout_s=settings.statement_timeout.total_seconds(),
        remote=remote,
        spill_limit_mb=settings.spill_limit,
        heavy_at_once=settings.heavy_at_once,
    )
    sessions = Sessions(users, settings.session_ttl.total_seconds())
    key = ticket_key(data_dir / "run" / "gateway.key")
    statements = Statements(
        commits, engine, settings.rows_in_memory, files, key, settings.most_rows, settings.statements_a_user
    )
    server = Gateway(f"grpc{'+tls' if tls else ''}://{settings.host}:{port}", sessions, statements, tls)
    # What is there now stays: the collector need not look through the libraries again and again.
    gc.freeze()
    stop = Stop.on_signals()
    logger.info("ready on %s:%d, data in %s", settings.host, port, start.nessie.uri if start.nessie else data_dir)
    stop.wait()
    # Running statements are cancelled, and what still streams to a slow client is cut off.
    engine.close()
    closing = threading.Thread(target=server.shutdown, daemon=True)
    closing.start()
    closing.join(_LAST_WORDS_S)
    logger.info("ended")
    logging.shutdown()
    os._exit(0)


def ticket_key(path: Path) -> bytes:
    """The key that signs tickets, made at the first start: what was planned before a restart can be read after it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
    key = path.read_bytes()
    # A key cut short by a full disk proves nothing.
    return key if len(key) == _KEY_BYTES else secrets.token_bytes(_KEY_BYTES)


def _from_nessie(nessie: NessieSettings, folder: Path, files_on_disk: int) -> tuple[Commits, Files, Path, Remote]:
    """Commits and files of the stack. Neither server need be there yet."""
    # Here, so that the embedded gateway starts and lives without them.
    from embedded.gateway.nessie import NessieCommits
    from embedded.gateway.s3 import S3, TIMEOUT_S, S3Files
    from pipeline.storage.nessie import Nessie

    s3_settings = S3Settings.load()
    s3 = S3(s3_settings)
    remote = Remote(
        f"s3://{nessie.bucket}/",  # tables of others lie beside ours
        s3_settings.endpoint,
        s3_settings.access_key,
        s3_settings.secret_key.get_secret_value(),
        s3_settings.region,
    )
    commits = NessieCommits(Nessie(nessie.uri, timeout_s=TIMEOUT_S), s3)
    return commits, S3Files(s3, folder, files_on_disk), folder, remote


if __name__ == "__main__":
    main()
