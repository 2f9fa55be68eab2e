"""A data directory may have any name that a file system takes; what cannot be used is refused in one sentence."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from embedded.catalog import Catalog
from lakehouse.dremio.client import Dremio
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.dremio import DremioSettings
from lakehouse.user_error import UserError
from notifier.ledger.ledger import Ledger
from tests.test_gateway import Published, start_gateway, stop
from tillwatch import demo, stack
from tillwatch.settings import DemoSettings

ODD = "100% \"o'brien's\" #1 ;2 ?3 a%20b [x]* {y} $HOME ä"


def test_tables_in_a_directory_of_any_name_are_written_and_read(tmp_path: Path) -> None:
    data_dir = tmp_path / ODD
    Published(data_dir)
    with closing(Catalog(data_dir)) as catalog:  # what was written is found again
        assert catalog.sequence >= 2
        assert sum(file.rows for file in catalog.tables["orders_processed"].live.values()) == 3
    process, port = start_gateway(data_dir)
    try:
        with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as dremio:
            assert dremio.sql(
                "SELECT COUNT(*) AS n FROM nessie_minio_catalog.ecommerce_db.orders_processed"
            ).to_pylist()
    finally:
        stop(process)
    assert [path.name for path in tmp_path.iterdir()] == [ODD]


@pytest.mark.parametrize("how", ["moved", "moved, with a link in its old place", "copied"])
def test_a_directory_that_was_moved_or_copied_is_refused_and_stays_whole(tmp_path: Path, how: str) -> None:
    """Its tables name their files by absolute path: a sweep would delete what lies in the new place."""
    old, new = tmp_path / "old", tmp_path / "new"
    Published(old)
    if how == "copied":
        shutil.copytree(old, new)
    else:
        old.rename(new)
        if "link" in how:
            old.symlink_to(new)
    files = sorted(new.rglob("*.*"))
    for path in files:
        os.utime(path, (0, 0))  # what a sweep deletes is not new
    with pytest.raises(UserError, match=f"The tables of {new} were made in {old} and name their files there: move"):
        Catalog(old if "link" in how else new)
    assert [path for path in sorted(new.rglob("*.*")) if path.parent != new] == [p for p in files if p.parent != new]


def test_a_ledger_in_a_directory_of_any_name_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / ODD / "ledger.db"
    path.parent.mkdir()
    for _ in range(2):
        ledger = Ledger(path)
        ledger.close()
    assert path.exists()
    assert [found.name for found in tmp_path.iterdir()] == [ODD]


def test_a_leading_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TILLWATCH_DATA_DIR", "~/shop")
    assert Shared.load().data_dir == tmp_path / "shop"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "expected the path of a directory"),
        ("a\nb", "'a\\?b': there is a control character"),
        ("a\udcffb", "'a\\?b': .*no UTF-8"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, says: str) -> None:
    monkeypatch.setenv("TILLWATCH_DATA_DIR", name)
    with pytest.raises(UserError, match=says) as refusal:
        Shared.load()
    assert "\n" not in str(refusal.value)


def test_processes_that_start_side_by_side_all_open_a_new_directory(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as starters:
        for number in range(100):
            new = tmp_path / str(number)
            assert list(starters.map(lambda _, new=new: open_data_dir(new, "stack"), range(8))) == [new] * 8
            assert [file.name for file in new.iterdir()] == ["profile"]


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_what_is_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"The data directory .* cannot be used: .*TILLWATCH_DATA_DIR"):
        open_data_dir(tmp_path / name, "embedded")


def test_a_directory_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "profile").write_text("embedded\n")
    (tmp_path / "run").write_text("in the way")
    shared = Shared.load(data_dir=tmp_path, port_offset=300)
    with pytest.raises(UserError, match=r"The data directory .* cannot be used: .*TILLWATCH_DATA_DIR"):
        demo.run(DemoSettings.load(), shared)


@pytest.mark.parametrize("name", ["a,b", "a#b", "a%b", "a?b", "${a}", "a;b", "a\\b"])
def test_the_stack_refuses_a_name_that_its_servers_would_read_as_more(tmp_path: Path, name: str) -> None:
    shared = Shared.load(data_dir=tmp_path / name)
    with pytest.raises(UserError, match=r"has a '.' in its path, .*TILLWATCH_DATA_DIR"):
        stack.run(DemoSettings.load(), shared)
    assert not shared.data_dir.exists()
