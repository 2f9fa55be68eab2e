"""What `stack --cdc` brings beside the stack's servers: PostgreSQL with a small shop's tables, and Kafka Connect."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lakehouse import ROOT
from lakehouse.settings.base import Shared
from lakehouse.settings.database import DatabaseSettings
from lakehouse.user_error import UserError
from tillwatch import jars
from tillwatch.java import java
from tillwatch.overlay import lay_over
from tillwatch.parts import Part
from tillwatch.server import Server, home_of, write_properties
from tillwatch.settings import DemoSettings

EXAMPLE = ROOT / "examples" / "cdc"
"""The tables, the connector and the source of a shop's database."""
READER = "tillwatch"
"""The role that the connector signs in as."""
OF_SHOPPERS = ("--topics", "clicks_topic,errors_topic")
"""What simulated shoppers are told: orders are left to the database."""
_DEBIAN = Path("/usr/lib/postgresql")
# initdb and postgres refuse root. A user namespace in which root is called nobody needs no account, and leaves the
# files root's own: a data directory below a folder that only root may enter works too.
_AS_NOBODY = ("--user", "--map-user=65534", "--map-group=65534")


_FIRST_OID = 16384
"""Of what is not PostgreSQL's own (FirstNormalObjectId)."""


def postgres(shared: Shared) -> Server:
    """PostgreSQL with the tables of examples/cdc/schema.sql; makes its directory at the first start."""
    data = home_of(shared, "postgres") / "data"
    programs = find_postgres()
    if not (data / "PG_VERSION").exists():
        _make(data, programs, DatabaseSettings.load())
    options = {
        "port": shared.port("postgres"),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        # What change data capture asks of a database: changes of rows in its log, a sender and a slot for who reads it.
        "wal_level": "logical",
        "max_wal_senders": 4,
        "max_replication_slots": 4,
        "shared_buffers": "32MB",
        "max_connections": 20,
        "jit": "off",
    }
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    return Server([*_unprivileged(), str(programs / "postgres"), "-D", str(data), *words])


def find_postgres() -> Path:
    """The directory of PostgreSQL's programs: of those on the PATH, else of Debian's newest package.

    Raises UserError where there is none.
    """
    if (on_path := shutil.which("initdb")) and shutil.which("postgres"):
        return Path(on_path).resolve().parent
    versions = [path for path in _DEBIAN.glob("*/bin") if (path / "initdb").exists()]
    if not versions:
        raise UserError(
            "`stack --cdc` needs PostgreSQL, and there is none on the PATH nor in /usr/lib/postgresql: install it "
            "(Debian, Ubuntu: apt install postgresql; macOS: brew install postgresql@17)."
        )
    return max(versions, key=lambda path: float(path.parent.name))


def connect(shared: Shared) -> Server:
    """Kafka Connect, one worker as examples/cdc/worker.properties has it."""
    lines = (EXAMPLE / "worker.properties").read_text(encoding="utf-8").splitlines()
    worker = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    config = home_of(shared, "connect") / "connect.properties"
    write_properties(
        config,
        worker
        | {
            "bootstrap.servers": f"127.0.0.1:{shared.port('kafka')}",
            "listeners": f"http://127.0.0.1:{shared.port('connect')}",
            **{f"{kind}.storage.replication.factor": 1 for kind in ("config", "offset", "status")},
        },
    )
    database = DatabaseSettings.load()
    where = [f"{jars.directory(name)}/*" for name in jars.OF_CDC]
    return Server(
        [
            str(java()),
            *("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *("-cp", os.pathsep.join(where), "org.apache.kafka.connect.cli.ConnectDistributed", str(config)),
        ],
        {
            "SHOP_DB_HOST": database.host,
            "SHOP_DB_PORT": str(database.port_there),
            "SHOP_DB_NAME": database.name,
            "SHOP_DB_USER": READER,
            "SHOP_DB_PASSWORD": database.password.get_secret_value(),
        },
    )


def words(part: Part, settings: DemoSettings) -> list[str]:
    """What a part is told beside what it is told without --cdc."""
    match part.name:
        case "producers":
            return list(OF_SHOPPERS)
        case "database":
            return ["--rate", f"{max(1.0, settings.rate / 20):g}"]
        case "connector":
            return [str(EXAMPLE / "connector.json")]
    return []


def environment(data_dir: Path) -> dict[str, str]:
    """Settings of all parts: config/ with the sources of the shop's database laid over it, and that an order counts
    when it is made."""
    settings = lay_over([EXAMPLE], data_dir, "run/config")
    return {"TILLWATCH_CONFIG": str(settings), "TILLWATCH_ORDERS_COUNTED_STATUSES": '["CREATED"]'}


def _make(data: Path, programs: Path, settings: DatabaseSettings) -> None:
    """A database directory with the shop's tables, whole or not at all."""
    new, secret = data.with_name("new"), settings.password.get_secret_value()
    shutil.rmtree(new, ignore_errors=True)
    file = data.with_name("password")
    file.touch(mode=0o600)
    file.write_text(secret + "\n", encoding="utf-8")
    try:
        words = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]
        _run([str(programs / "initdb"), "-D", str(new), "-U", settings.user, f"--pwfile={file}", *words])
    finally:
        file.unlink()
    # Without a server it goes on with the numbers of its own catalog, and publishes no table with such a number.
    _run([str(programs / "pg_resetwal"), f"--next-oid={_FIRST_OID}", "-D", str(new)])
    schema = (EXAMPLE / "schema.sql").read_text(encoding="utf-8")
    role = f"ALTER ROLE {READER} PASSWORD '{secret.replace("'", "''")}';\n\n"
    # Without a server: each statement ends by a semicolon and an empty line.
    alone = [str(programs / "postgres"), "--single", "-j", "-D", str(new), "-c", "exit_on_error=on"]
    _run([*alone, "postgres"], f'CREATE DATABASE "{settings.name}";\n\n')
    _run([*alone, settings.name], f"{schema}\n\n{role}")
    new.rename(data)


def _run(argv: Sequence[str], given: str = "") -> None:
    done = subprocess.run([*_unprivileged(), *argv], input=given, capture_output=True, text=True)
    if done.returncode != 0:
        said = " ".join((done.stdout + done.stderr).split())[-400:]
        raise UserError(f"PostgreSQL's {Path(argv[0]).name} does not make the shop's database: {said}")


def _unprivileged() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, *_AS_NOBODY, "true"], capture_output=True).returncode != 0:
        raise UserError(
            "PostgreSQL does not run as root, and this machine lets root be nobody else in a user namespace "
            "(unshare --user): start the stack as another user."
        )
    return (unshare, *_AS_NOBODY)
