"""What import-linter cannot see: spark-apps is a folder of scripts, no package; who asks of which kind a rule is; what
classes are called.
"""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from lakehouse import ROOT
from tests.test_alike import PARTS

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


def test_nobody_but_a_kind_of_rule_itself_asks_of_which_kind_one_is() -> None:
    kinds = ROOT / "lakehouse" / "rules" / "kinds"
    paths = [path for part in PARTS for path in (ROOT / part).rglob("*.py")]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    of_kinds = [(node, path) for path in kinds.glob("*.py") for node in trees[path].body]
    home = {node.name: path for node, path in of_kinds if isinstance(node, ast.ClassDef)}
    assert "QuestionRule" in home
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno} asks for {name.id}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
        for name in ast.walk(node.args[1])
        if isinstance(name, ast.Name) and home.get(name.id, path) != path
    ]
    assert asked == []


def test_a_class_has_a_name_of_its_own() -> None:
    """One word, one thing: who reads a name knows which of the house's it is."""
    found = Counter(
        node.name
        for part in (*PARTS, "bench")
        for path in (ROOT / part).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    # One class twice, for a type checker and as it is built; and a bench's own copy of three lines, kept out of the
    # product.
    twice = {"_Joined", "_NoPayload"}
    assert {name for name, times in found.items() if times > 1} <= twice
