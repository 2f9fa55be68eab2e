"""A backup taken while everything runs, and what comes of it when Nessie, the object store and the ledger are lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.mixture import MixedMessage, mixture
from bench.servers import NO_ANCESTOR
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.statement import fill
from lakehouse.kafka import log_ends
from lakehouse.settings.base import Shared
from lakehouse.sinks import KafkaSink
from lakehouse.tables import TABLES
from lakehouse.user_error import UserError
from notifier.model import OPEN
from pipeline.settings import S3Settings
from pipeline.storage.backup import restore
from pipeline.storage.nessie import MAIN, Nessie
from pipeline.storage.objects import Objects
from tests.stack.conftest import Program, Stack
from tillwatch.demo import wiring


@pytest.fixture
def nessie(stack: Stack) -> Iterator[Nessie]:
    with closing(Nessie(stack.servers.nessie_uri)) as client:
        yield client


@pytest.fixture
def objects(stack: Stack) -> Iterator[Objects]:
    with closing(Objects(S3Settings.load())) as client:
        yield client


def send(stack: Stack, messages: list[MixedMessage]) -> None:
    with KafkaSink(stack.servers.brokers) as sink:
        for message in messages:
            sink.send(message.topic, message.key, message.value)


def everything(dremio: Dremio, commit: str) -> dict[str, list[str]]:
    """Every row of every table at a commit."""
    found = {}
    for name in TABLES:
        rows = dremio.sql(fill(f"SELECT * FROM {{{name}}}", commit, {})).to_pylist()
        found[name] = sorted(repr(sorted(row.items())) for row in rows)
    return found


def is_in(stack: Stack, dremio: Dremio) -> bool:
    """Whether all that is in the log is in the tables."""
    try:
        rows = dremio.sql(fill("SELECT topic, next_offset FROM {ingest_positions}", None, {})).to_pylist()
    except DremioError:
        return False
    ends = {topic: reach.end for (topic, _), reach in log_ends(stack.servers.brokers).items()}
    return {row["topic"]: row["next_offset"] for row in rows} == ends


def lose(nessie: Nessie) -> None:
    """As a new one is: main before its first commit."""
    for reference in nessie.references():
        if reference.name == MAIN:
            nessie.assign(MAIN, reference.hash, NO_ANCESTOR)
        else:
            nessie.delete(reference.name, reference.hash, reference.type)


@contextmanager
def notifier(stack: Stack) -> Iterator[Program]:
    """One that tells the sandbox."""
    hasty = {"NOTIFIER_GATHER": "1 s", "NOTIFIER_SLACK_PER_S": "100"}
    settings = {name.removeprefix("TILLWATCH_"): value for name, value in wiring("notifier", Shared.load()).items()}
    program = stack.start("notifier", ["-m", "notifier"], **settings | hasty)
    try:
        program.until(lambda: "running" in program.said(), 60)
        yield program
    finally:
        program.kill()


def told(ledger: Path) -> list[tuple[object, ...]]:
    """Every alert and every delivery that a ledger knows; none where there is no ledger yet."""
    if not ledger.exists():
        return []
    with closing(sqlite3.connect(ledger)) as held:
        tables = {name for (name,) in held.execute("SELECT name FROM sqlite_master")}
        if not {"alerts", "deliveries"} <= tables:
            return []
        return [row for table in ("alerts", "deliveries") for row in held.execute(f"SELECT * FROM {table} ORDER BY 1")]


def is_told(ledger: Path) -> bool:
    """Whether both channels were told something, and nothing is left to tell."""
    if not told(ledger):
        return False
    with closing(sqlite3.connect(ledger)) as held:
        states = set(held.execute("SELECT channel, state FROM deliveries").fetchall())
    return {("slack", "sent"), ("email", "sent")} <= states and not {state for _, state in states} & set(OPEN)


def ended(program: Program) -> tuple[int, str]:
    return program.ends(60), program.said()


def test_what_was_saved_is_restored_and_what_came_after_is_read_again(
    stack: Stack, nessie: Nessie, objects: Objects, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    ledger = tmp_path / "data" / "ledger.db"
    messages = mixture(1200, 5, datetime.now(UTC))
    bucket = stack.servers.variables["TILLWATCH_NESSIE_WAREHOUSE"].removeprefix("s3://").split("/")[0]
    assert ended(stack.start("nothing", ["-m", "pipeline.storage.backup", "save", str(folder)]))[0] == 2
    with ExitStack() as at_end, stack.gateway() as dremio:
        at_end.callback(stack.start("sandbox", ["-m", "embedded.sandbox"]).kill)
        with stack.driver() as driver, notifier(stack) as telling:
            send(stack, messages[:800])
            driver.until(lambda: is_in(stack, dremio), 120)
            telling.until(lambda: is_told(ledger), 60)
            code, said = ended(stack.start("save", ["-m", "pipeline.storage.backup", "save", str(folder)]))
            assert code == 0, said
            saving = ["-m", "notifier", "--save-ledger", str(folder / "ledger.db")]
            code, said = ended(stack.start("save-ledger", saving))
            assert code == 0, said
            assert telling.stop() == 0
            known = told(ledger)
            assert known
            slack = stack.slack()
            send(stack, messages[800:])
            driver.until(lambda: is_in(stack, dremio), 120)
            begun = ["-m", "pipeline.storage.backup", "restore", str(folder)]
            code, said = ended(stack.start("restore-too-early", begun))
            assert (code, "A driver seems to run" in said) == (2, True)
            assert driver.stop() == 0
        assert [reference.name for reference in nessie.references()] == ["main"], "the backup's tag is left"
        backup = json.loads((folder / "backup.json").read_text(encoding="utf-8"))
        saved, newest = everything(dremio, backup["commit"]), everything(dremio, nessie.head())
        assert len(saved["orders_processed"]) < len(newest["orders_processed"])
        with pytest.raises(UserError, match="is not empty"):
            restore(folder, nessie, objects)

        lose(nessie)
        objects.delete([found.uri for found in objects.list(f"s3://{bucket}/")])
        for left in ledger.parent.glob("ledger.db*"):
            left.unlink()
        code, said = ended(stack.start("restore", ["-m", "pipeline.storage.backup", "restore", str(folder)]))
        assert code == 0, said
        shutil.copy(folder / "ledger.db", ledger)
        assert everything(dremio, nessie.head()) == saved
        assert told(ledger) == known
        with stack.driver() as driver, notifier(stack) as telling:
            assert stack.slack() == slack
            driver.until(lambda: is_in(stack, dremio), 120)
            telling.until(lambda: is_told(ledger), 60)
            assert len(set(stack.slack())) == len(stack.slack()), "one was told twice"
            assert driver.stop() == 0
        after = everything(dremio, nessie.head())
        for name in ("orders_processed", "clicks_processed", "errors_processed", "refunds_processed", "dead_letters"):
            assert len(after[name]) == len(newest[name]), name
        nessie.create("backup-20260101T000000Z", nessie.head(), kind="TAG")  # as a backup that was killed leaves one
        # A second backup into the same directory copies what is new and no more.
        code, said = ended(stack.start("again", ["-m", "pipeline.storage.backup", "save", str(folder)]))
        assert (code, "tag backup-20260101T000000Z" in said) == (0, True), said
        again: dict[str, Any] = json.loads((folder / "backup.json").read_text(encoding="utf-8"))
        assert set(again["files"]) & set(backup["files"])
        assert f"{len(again['files'])} files, {len(set(again['files']) - set(backup['files']))} of them" in said
        code, said = ended(stack.start("forget", ["-m", "pipeline.storage.backup", "forget"]))
        assert (code, "deleted: backup-20260101T000000Z" in said) == (0, True), said
        assert [reference.name for reference in nessie.references()] == ["main"]
        # A new Nessie over the same files, as its store is made small again.
        lose(nessie)
        code, said = ended(stack.start("restore-nessie", ["-m", "pipeline.storage.backup", "restore", str(folder)]))
        assert (code, " files, 0 of them copied now" in said) == (0, True), said
        assert everything(dremio, nessie.head()) == after


def test_a_backup_that_is_not_whole_changes_nothing(
    stack: Stack, nessie: Nessie, objects: Objects, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"There is no .*backup\.json, so no backup"):
        restore(tmp_path, nessie, objects)
    entry = {"key": ["ecommerce_db"], "content": {"type": "NAMESPACE", "elements": ["ecommerce_db"]}}
    content = {"format": 1, "commit": "0", "taken_at": "2026-11-23T12:00:00+00:00", "contents": [entry]}
    path = tmp_path / "backup.json"
    path.write_text(json.dumps(content | {"files": {"s3://shop/wh/a.parquet": 12}}), encoding="utf-8")
    with pytest.raises(UserError, match=r"lacks 1 files, s3://shop/wh/a\.parquet among them"):
        restore(tmp_path, nessie, objects)
    path.write_text(json.dumps(content | {"files": {"s3://../../../etc/passwd": 1}}), encoding="utf-8")
    with pytest.raises(UserError, match="is no address of a table's file"):
        restore(tmp_path, nessie, objects)
    path.write_text(json.dumps(content | {"format": 2, "files": {}}), encoding="utf-8")
    with pytest.raises(UserError, match="has format 2, and this tillwatch knows 1"):
        restore(tmp_path, nessie, objects)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read"):
        restore(tmp_path, nessie, objects)
    assert nessie.head() == NO_ANCESTOR
