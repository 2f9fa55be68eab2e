"""A backup taken while the pipeline runs, and what comes of it when Nessie and the object store are lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.mixture import Message, mixture
from bench.servers import NO_ANCESTOR
from lakehouse.backup import restore
from lakehouse.dremio import Dremio, DremioError, fill
from lakehouse.nessie import MAIN, Nessie
from lakehouse.objects import Objects
from lakehouse.settings import S3Settings, UserError
from lakehouse.sinks import KafkaSink
from lakehouse.tables import TABLES
from lakehouse.topics import log_ends
from tests.stack.conftest import Program, Stack


@pytest.fixture
def nessie(stack: Stack) -> Iterator[Nessie]:
    with closing(Nessie(stack.servers.nessie_uri)) as client:
        yield client


@pytest.fixture
def objects(stack: Stack) -> Iterator[Objects]:
    with closing(Objects(S3Settings.load())) as client:
        yield client


def send(stack: Stack, messages: list[Message]) -> None:
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


def lose(nessie: Nessie, objects: Objects, bucket: str) -> None:
    """As new servers are: main before its first commit, no object."""
    for reference in nessie.references():
        if reference.name == MAIN:
            nessie.assign(MAIN, reference.hash, NO_ANCESTOR)
        else:
            nessie.delete(reference.name, reference.hash, reference.type)
    objects.delete([found.uri for found in objects.list(f"s3://{bucket}/")])


def ended(program: Program) -> tuple[int, str]:
    return program.ends(60), program.said()


def test_what_was_saved_is_restored_and_what_came_after_is_read_again(
    stack: Stack, nessie: Nessie, objects: Objects, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    messages = mixture(1200, 5, datetime.now(UTC))
    bucket = stack.servers.variables["TILLWATCH_NESSIE_WAREHOUSE"].removeprefix("s3://").split("/")[0]
    assert ended(stack.start("nothing", ["-m", "lakehouse.backup", "save", str(folder)]))[0] == 2
    with stack.gateway() as dremio:
        with stack.driver() as driver:
            send(stack, messages[:800])
            driver.until(lambda: is_in(stack, dremio), 120)
            code, said = ended(stack.start("save", ["-m", "lakehouse.backup", "save", str(folder)]))
            assert code == 0, said
            send(stack, messages[800:])
            driver.until(lambda: is_in(stack, dremio), 120)
            code, said = ended(stack.start("restore-too-early", ["-m", "lakehouse.backup", "restore", str(folder)]))
            assert (code, "A driver seems to run" in said) == (2, True)
            assert driver.stop() == 0
        assert [reference.name for reference in nessie.references()] == ["main"], "the backup's tag is left"
        backup = json.loads((folder / "backup.json").read_text(encoding="utf-8"))
        saved, newest = everything(dremio, backup["commit"]), everything(dremio, nessie.head())
        assert len(saved["orders_processed"]) < len(newest["orders_processed"])
        with pytest.raises(UserError, match="is not empty"):
            restore(folder, nessie, objects)

        lose(nessie, objects, bucket)
        code, said = ended(stack.start("restore", ["-m", "lakehouse.backup", "restore", str(folder)]))
        assert code == 0, said
        assert everything(dremio, nessie.head()) == saved
        with stack.driver() as driver:
            driver.until(lambda: is_in(stack, dremio), 120)
            assert driver.stop() == 0
        after = everything(dremio, nessie.head())
        for name in ("orders_processed", "clicks_processed", "errors_processed", "dead_letters"):
            assert len(after[name]) == len(newest[name]), name
        # A second backup into the same directory copies what is new and no more.
        code, said = ended(stack.start("again", ["-m", "lakehouse.backup", "save", str(folder)]))
        assert code == 0
        again: dict[str, Any] = json.loads((folder / "backup.json").read_text(encoding="utf-8"))
        assert set(again["files"]) & set(backup["files"])
        assert f"{len(again['files'])} files, {len(set(again['files']) - set(backup['files']))} of them" in said


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
