"""What import-linter cannot see: spark-apps is a folder of scripts, no package."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from lakehouse import ROOT

OURS = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"deploy", "tests"}
SCRIPTS = sorted((ROOT / "spark-apps").rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The top names of all modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_on_spark_knows_only_the_contract_and_the_core(path: Path) -> None:
    assert imported(path) & OURS <= {"lakehouse", "pipeline"}


def test_the_scripts_on_spark_do_not_import_each_other_in_a_circle() -> None:
    names = {path.stem for path in SCRIPTS}
    TopologicalSorter({path.stem: imported(path) & names for path in SCRIPTS}).prepare()
