"""No code is written twice: what both engines do stands in pipeline/, what three places do in one.

Lines are compared but for names and values. Only what functions do counts: imports, signatures, docstrings and the
lines of a table or a list look alike without being so.
"""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from lakehouse import ROOT

PARTS = ("lakehouse", "pipeline", "embedded", "spark-apps", "producers", "console", "notifier", "tillwatch", "deploy")
VALUES = (tokenize.NUMBER, tokenize.STRING, tokenize.FSTRING_MIDDLE)
NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)

type Run = tuple[str, ...]


def lines_of(node: ast.stmt | ast.expr) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def counted(tree: ast.AST) -> set[int]:
    """The lines that count."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = {line for function in functions for each in function.body for line in lines_of(each)}
    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                found.difference_update(lines_of(node))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.difference_update(range(node.lineno, node.body[0].lineno))
            case ast.Dict() | ast.List() | ast.Tuple() | ast.Set():
                found.difference_update(lines_of(node)[1:])
    return found


@cache
def shapes(path: Path) -> list[tuple[int, str]]:
    """The lines that count, each with its number and without names and values."""
    text = path.read_text(encoding="utf-8")
    shape: defaultdict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            name = token.type == tokenize.NAME and not keyword.iskeyword(token.string)
            shape[token.start[0]].append("name" if name else "value" if token.type in VALUES else token.string)
    return [(line, " ".join(shape[line])) for line in sorted(counted(ast.parse(text)) & shape.keys())]


def runs(size: int, *parts: str) -> Mapping[Run, list[str]]:
    """Where each run of so many lines begins."""
    found: defaultdict[Run, list[str]] = defaultdict(list)
    for path in (path for part in parts for path in sorted((ROOT / part).rglob("*.py"))):
        lines = shapes(path)
        for at in range(len(lines) - size + 1):
            found[tuple(shape for _, shape in lines[at : at + size])].append(f"{path.relative_to(ROOT)}:{lines[at][0]}")
    return found


def test_no_six_lines_stand_in_both_engines() -> None:
    embedded, spark = runs(6, "embedded"), runs(6, "spark-apps")
    assert {run: (embedded[run], spark[run]) for run in embedded.keys() & spark.keys()} == {}


def test_no_twelve_lines_stand_in_three_places() -> None:
    assert {run: places for run, places in runs(12, *PARTS).items() if len(places) > 2} == {}
