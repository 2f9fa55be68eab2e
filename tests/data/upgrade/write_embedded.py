"""Writes embedded.tar.xz or embedded-older.tar.xz, run by the code of commit 8e2ce12: see README.md.

    python write_embedded.py OUT.tar.xz [TABLE.COLUMN ...]      columns that the contract is to lack

The directory is written under a path of LENGTH bytes, and packed with PLACEHOLDER in its place: Iceberg's metadata
names its files by absolute path, and Avro writes a text's length before it, so a test may put in any path so long.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import tarfile
import tempfile
from contextlib import closing
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import embedded.catalog
from lakehouse.dremio import Dremio
from lakehouse.settings import DremioSettings
from lakehouse.tables import TABLES, full_name
from tests.conftest import Shop
from tests.test_gateway import start_gateway, stop

LENGTH = 200
PLACEHOLDER = "/where/the/test/puts/it/".ljust(LENGTH, "_")
MINUTE = timedelta(minutes=1)
PATHS = (
    ("publications", "tables"),
    ("retired", "path"),
    ("iceberg_tables", "metadata_location"),
    ("iceberg_tables", "previous_metadata_location"),
)


def without(name: str) -> None:
    """Take a column out of the contract."""
    table, _, column = name.partition(".")
    kept = tuple(found for found in TABLES[table].columns if found.name != column)
    object.__setattr__(TABLES[table], "columns", kept)


def live(shop: Shop, small: int) -> None:
    """Two and a half hours of a shop with `small` publishes in the last one, and what came after its last publish."""
    draw = random.Random(20)
    users = [f"user-{number}" for number in range(12)]

    def some(count: int) -> None:
        for _ in range(count):
            late = timedelta(seconds=draw.choice((0, 1, 5, 40, 200, 1500)))
            at, user = shop.now - late, draw.choice(users)
            match draw.randrange(4):
                case 0:
                    status = draw.choice(("CREATED", "SHIPPED", "CANCELLED"))
                    shop.order(at, user_id=user, status=status, quantity=draw.randrange(1, 4), price="19.99")
                case 1:
                    service = draw.choice(("search", "cart"))
                    shop.error(at, service_name=service, severity=draw.choice(("WARN", "ERROR")))
                case _:
                    url = draw.choice(("/", "/page/cart", "/page/checkout"))
                    shop.click(at, user_id=user, url=url, event_id=f"click-{draw.getrandbits(40):x}")

    def again(count: int) -> None:
        """Messages that are in the log already."""
        for topic in ("orders_topic", "clicks_topic", "errors_topic"):
            for record in draw.sample(shop.log.read(topic, 0, 1000), count):
                shop.message(topic, record.value)

    for step in range(6):  # two hours, in which one incident began and ended
        some(20)
        if step == 1:
            shop.error(service_name="payments", severity="FATAL", error_message="cannot reach the bank")
            shop.message("orders_topic", b'{"order_id": "broken')
            shop.message("clicks_topic", None)
        if step == 3:
            again(5)
            shop.order(order_time="2099-01-01T00:00:00Z")
            shop.order(order_time="1997-01-01T00:00:00Z")
        shop.publish()
        shop.pass_time(20 * MINUTE)
    for _ in range(small):  # and small files of one hour, which become one
        some(4)
        shop.publish()
        shop.pass_time(MINUTE)
    shop.ingest.publish(heartbeat=True)
    shop.ingest._maintain()
    shop.pass_time(MINUTE)
    shop.error(service_name="accounts", severity="FATAL", error_message="disk full")
    some(10)
    shop.publish()  # with an incident that is open
    shop.pass_time(MINUTE)
    again(5)
    some(30)
    shop.error(service_name="accounts", severity="FATAL", error_message="disk still full")
    shop.message("errors_topic", b"hello")


def seen(data_dir: Path) -> dict[str, Any]:
    """What the gateway of this code says of every table at the head and at two commits before: by commit and table."""
    with closing(sqlite3.connect(data_dir / "catalog.db")) as db:
        rows = db.execute("SELECT commit_id, as_of FROM publications ORDER BY sequence").fetchall()
    commits = [rows[4], rows[len(rows) // 2], rows[-1]]
    found: dict[str, Any] = {}
    process, port = start_gateway(data_dir)
    try:
        with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as dremio:
            for commit, _ in commits:
                found[commit] = {}
                for name, table in TABLES.items():
                    told = dremio.sql(f'SELECT * FROM {full_name(table)} AT COMMIT "{commit}"').to_pylist()
                    found[commit][name] = sorted(json.dumps(row, default=str, sort_keys=True) for row in told)
    finally:
        stop(process)
    return found


def pack(data_dir: Path, out: Path, before: dict[str, Any], now: float) -> None:
    """One archive: the directory, under another path of that length, and what its readers saw, before.json."""
    path, other = str(data_dir), PLACEHOLDER
    with closing(sqlite3.connect(data_dir / "catalog.db", isolation_level=None)) as db:
        for table, column in PATHS:
            db.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (path, other))
        db.execute("VACUUM")
        db.execute("PRAGMA journal_mode=DELETE")
    with closing(sqlite3.connect(data_dir / "events.db")) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    with tarfile.open(out, "w:xz") as archive:

        def add(name: str, content: bytes) -> None:
            assert path.encode() not in content, name
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), int(now)
            archive.addfile(entry, BytesIO(content))

        files = [found for found in sorted(data_dir.rglob("*")) if found.is_file()]
        # By kind, for like compresses with like.
        for found in sorted(files, key=lambda file: (file.suffix, file.name.rpartition("-")[2], file.parent)):
            add(f"data/{found.relative_to(data_dir)}", found.read_bytes().replace(path.encode(), other.encode()))
        add("before.json", json.dumps(before, indent=0).encode())


def main() -> None:
    out = Path(sys.argv[1])
    for name in sys.argv[2:]:
        without(name)
    with tempfile.TemporaryDirectory(prefix="upgrade-") as folder:
        base = Path(folder).resolve()
        data_dir = base / ("_" * (LENGTH - len(str(base)) - 1))
        assert len(str(data_dir)) == LENGTH
        shop = Shop(data_dir)
        # So that times of commits are those of the shop.
        embedded.catalog.now_us = lambda: int(shop.now.timestamp() * 1e6)
        live(shop, small=2 if sys.argv[2:] else 18)
        shop.close()
        (data_dir / "profile").write_text("embedded\n", encoding="utf-8")
        before = seen(data_dir)
        pack(data_dir, out, before, shop.now.timestamp())
    print({commit: {name: len(rows) for name, rows in tables.items()} for commit, tables in before.items()})
    print(out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
