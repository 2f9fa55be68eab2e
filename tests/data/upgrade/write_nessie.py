"""Writes nessie.tar.xz, run by the code of commit 8e2ce12 on its real stack: see README.md.

    python write_nessie.py OUT.tar.xz TABLE.COLUMN ...     columns that the contract is to lack

The same program is the driver: the contract must lack the columns there too.
"""

from __future__ import annotations

import base64
import json
import runpy
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from bench.mixture import Message, mixture
from bench.pipelines import Stack
from bench.processes import free_offset
from bench.servers import Servers
from lakehouse.settings import ROOT
from lakehouse.tables import TABLES, full_name

WAREHOUSE = "s3://upgrade/wh"
DRIVER = "--driver="
SETTINGS = {
    "NESSIE_WAREHOUSE": WAREHOUSE,
    "INGEST_HEARTBEAT_EVERY": "2 s",
    "INGEST_MAINTENANCE_EVERY": "10 s",
}
BY_AGE = ("FUTURE_TIME", "STALE_TIME")
"""Verdicts that another one comes to who reads the same message later."""


def without(names: list[str]) -> None:
    """Take columns out of the contract."""
    for name in names:
        table, _, column = name.partition(".")
        kept = tuple(found for found in TABLES[table].columns if found.name != column)
        object.__setattr__(TABLES[table], "columns", kept)


def drive(names: list[str]) -> None:
    """spark-apps/stream.py, by that contract."""
    without(names)
    sys.argv = ["stream.py", "--verbose"]
    sys.path.insert(0, str(ROOT / "spark-apps"))
    runpy.run_path(str(ROOT / "spark-apps" / "stream.py"), run_name="__main__")


def live(pipeline: Stack, messages: list[Message]) -> None:
    """Four batches, then time for a maintenance run and a heartbeat."""
    pipeline.send(messages[:150])
    pipeline.start_engine()
    for piece in (messages[150:240], messages[240:320], messages[320:]):
        pipeline.wait_until_read()
        pipeline.send(piece)
    pipeline.wait_until_read()
    while not _rows(pipeline, "maintenance_runs") or not _rows(pipeline, "pipeline_metrics"):
        pass
    assert pipeline.stop_engine() == 0


def _rows(pipeline: Stack, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pipeline.dremio.sql(f"SELECT * FROM {full_name(TABLES[table])}").to_pylist()
    return found


def pack(out: Path, folder: Path, messages: list[Message], before: dict[str, list[str]]) -> None:
    """One archive: the backup, what was sent, and what readers saw."""
    sent = [
        {
            "topic": message.topic,
            "kind": message.kind,
            "key": None if message.key is None else message.key.decode(),
            "value": None if message.value is None else base64.b64encode(message.value).decode(),
        }
        for message in messages
    ]
    with tarfile.open(out, "w:xz") as archive:

        def add(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))

        files = [found for found in sorted(folder.rglob("*")) if found.is_file()]
        for found in sorted(files, key=lambda file: (file.suffix, file.parent)):
            add(f"backup/{found.relative_to(folder)}", found.read_bytes())
        add("sent.json", json.dumps(sent, indent=0).encode())
        add("before.json", json.dumps(before, indent=0).encode())


def main() -> None:
    out, lacking = Path(sys.argv[1]).resolve(), sys.argv[2:]
    messages = [message for message in mixture(450, 20, datetime.now(UTC)) if message.kind not in BY_AGE]
    with tempfile.TemporaryDirectory(prefix="upgrade-") as name:
        folder = Path(name)
        with Servers(folder / "servers", free_offset()) as servers:
            servers.clean()
            with Stack(servers, folder / "pipeline", SETTINGS) as pipeline:
                Stack.ENGINE = (__file__, f"{DRIVER}{','.join(lacking)}")
                live(pipeline, messages)
                before = {
                    table: sorted(json.dumps(row, default=str, sort_keys=True) for row in _rows(pipeline, table))
                    for table in TABLES
                }
                save = [sys.executable, "-m", "lakehouse.backup", "save", str(folder / "backup")]
                subprocess.run(save, cwd=ROOT, env=pipeline.environment, check=True)
        pack(out, folder / "backup", messages, before)
    print({table: len(rows) for table, rows in before.items()})
    print(out.stat().st_size, "bytes")


if __name__ == "__main__":
    if sys.argv[1].startswith(DRIVER):
        drive(sys.argv[1].removeprefix(DRIVER).split(","))
    else:
        main()
