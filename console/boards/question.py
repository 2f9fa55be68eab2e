"""A question that a board asks: a shop's own, of questions/ beside the settings file, or a shipped one."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from lakehouse.dremio.columns import Columns, declared
from lakehouse.dremio.errors import ProtocolError, QueryError
from lakehouse.dremio.statement import QUESTIONS, Fragment, Value, fill, named_in, without_comments, written_at
from lakehouse.mistakes import AlreadyTold, is_wrong
from lakehouse.settings.durations import parse_duration, write_duration
from lakehouse.settings.shop import OrdersSettings
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, read_text

EVERY = timedelta(seconds=60)
"""How often a table that tillwatch does not write is asked, unless the question says."""
FASTEST = timedelta(seconds=5)

_EVERY = re.compile(r"^-- Every: (.*?)\.?\s*$", re.MULTILINE)
_QUOTED = re.compile(r"'(?:[^']|'')*'")
_NAME = r'(?:"[^"]+"|\w+)'
_OURS = re.compile(rf'"?{CATALOG}"?\s*\.\s*"?{SCHEMA}"?\s*\.\s*(?:"(\w+)"|(\w+))', re.IGNORECASE)
_OTHERS = re.compile(rf"\b(?:FROM|JOIN)\s+{_NAME}(?:\s*\.\s*{_NAME})+", re.IGNORECASE)
_LAST_LIMIT = re.compile(r"LIMIT\s+(\d{1,9})\s*", re.IGNORECASE)
_WRAP = "SELECT * FROM (\n"
_BOUNDS = re.compile(r"[()]|\b(?:LIMIT|FETCH|OFFSET)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """`written` is the file's text, `edition` another with each change of it. With `every` it reads tables that no
    commit of ours holds, and is asked so often; else it is asked at a commit."""

    name: str
    path: Path
    written: str
    template: str
    binds: frozenset[str]
    columns: Columns | None
    every: timedelta | None
    edition: str

    @property
    def key(self) -> str:
        return f"{self.path.name} ({self.edition})"

    @property
    def outside(self) -> bool:
        return self.every is not None

    def statement(self, commit: str | None, binds: Mapping[str, Value | Fragment], most: int) -> str:
        """SQL of at most `most` rows."""
        used = {name: value for name, value in binds.items() if name in self.binds}
        text = fill(self.template, None if self.outside else commit, used, self.path.name)
        bound = _outer_bound(text)
        if bound is None:
            return f"{text}\nLIMIT {most}"
        # An order within brackets binds nobody: what is bounded low enough stays as it is written.
        if "most" in self.binds or bound <= most:
            return text
        return f"{_WRAP}{text}\n) AS asked\nLIMIT {most}"

    def place(
        self, error: QueryError, commit: str | None, binds: Mapping[str, Value | Fragment], most: int | None = None
    ) -> str:
        """In words where in its file the mistake is that an error tells of its statement: "line 2, column 8".

        The line alone where the file names a table by a longer path than the template does; empty where nothing tells.
        `most`: rows that were asked for; None where the template was filled, and no more.
        """
        if error.line is None or error.column is None:
            return ""
        used = {name: value for name, value in binds.items() if name in self.binds}
        at, line = None if self.outside else commit, error.line
        if most is not None:
            inside = fill(self.template, at, used)
            line -= self.statement(commit, binds, most).startswith(_WRAP) and not inside.startswith(_WRAP)
        line, column = written_at(self.template, at, used, line, error.column)
        lines, own = self.template.split("\n"), self.written.split("\n")
        if len(lines) != len(own):
            return ""
        return f"line {line}, column {column}" if lines[line - 1] == own[line - 1] else f"line {line}"

    def told(self, error: str) -> str:
        """What its file is told for: `error` begins with a place in the file, where that is known."""
        return f"{self.path.name}{', ' if error.startswith('line ') else ': '}{error}"

    def check(self, schema: pa.Schema) -> None:
        """Raises ProtocolError where it declares columns, and the answer has others."""
        if self.columns is not None:
            self.columns.check(schema)


def read_question(name: str, folder: Path) -> Question:
    """The question of a name, own before shipped. Raises UserError: a file that cannot be used, with its line."""
    path = folder / f"{name}.sql"
    if not re.fullmatch(r"\w+", name) or not path.exists():
        path = QUESTIONS / f"{name}.sql"
        if not re.fullmatch(r"\w+", name) or not path.exists():
            known = {one.stem for place in (folder, QUESTIONS) for one in place.glob("*.sql")}
            raise UserError(f"there is no question '{name}'{near(name, known)}; write {folder.name}/{name}.sql")
    try:
        text = read_text(path)
    except NotYaml as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    template = OrdersSettings.load().counting.filled(_OURS.sub(lambda found: _braced(found), text))
    plain = _QUOTED.sub("''", without_comments(template))
    tables, binds = named_in(template)
    for table in sorted(tables):
        if table not in TABLES:
            if is_wrong(table):
                raise AlreadyTold(f"{table} is left out")
            line = text[: text.find("{" + table + "}")].count("\n") + 1
            raise UserError(f"{path}, line {line}: there is no table '{table}'{near(table, TABLES)}")
    if not plain.strip():
        raise UserError(f"{path}, line 1: it asks nothing; write a SELECT")
    every = _every(path, text)
    if every is None and (not tables or _OTHERS.search(plain)):
        every = EVERY
    try:
        columns = declared(template, path.name)
    except ProtocolError as error:
        line = text[: text.find("-- Columns:")].count("\n") + 1
        raise UserError(f"{path}, line {line}: {_said(error, path)}") from None
    edition = hashlib.sha256(text.encode()).hexdigest()[:8]
    return Question(name, path, text, template, frozenset(binds), columns, every, edition)


def _said(error: ProtocolError, path: Path) -> str:
    return str(error).rstrip(".").replace(f"{path.name} declares", "'Columns' declares", 1)


def _braced(found: re.Match[str]) -> str:
    """A table of ours, which may be asked at a commit; another in the same place is somebody else's."""
    name = (found[1] or found[2]).lower()
    return "{" + name + "}" if name in TABLES else found[0]


def _every(path: Path, text: str) -> timedelta | None:
    match = _EVERY.search(text)
    if match is None:
        return None
    try:
        every = parse_duration(match[1])
        assert isinstance(every, timedelta)
        if every < FASTEST:
            raise ValueError(f"expected {write_duration(FASTEST)} at least")
    except ValueError as error:
        line = text[: match.start()].count("\n") + 1
        raise UserError(f"{path}, line {line}: 'Every' has the value '{match[1]}'; {error}") from None
    return every


def _outer_bound(text: str) -> float | None:
    """Rows of the bound of its own that a statement ends with, inf where that is no plain number; one within brackets
    is another's."""
    depth = 0
    plain = _QUOTED.sub("''", text)
    for match in _BOUNDS.finditer(plain):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0 and match[0] not in "()":
            last = _LAST_LIMIT.fullmatch(plain, match.start())
            return int(last[1]) if last else math.inf
    return None
