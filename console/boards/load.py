"""A board's file, read and checked against its questions: what is wrong is one sentence with file, line and key."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

from console.boards.question import Question, read_question
from console.boards.spec import OF_LIST, RANGE_BINDS, BoardSpec
from console.tab import TabFilter
from console.tabs import FILTERS, RESERVED, TABS
from lakehouse.checked_file import CheckedFile, Place
from lakehouse.mistakes import AlreadyTold, is_left_out, is_wrong, noted
from lakehouse.tables import TABLES
from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, line_of, read_text

FIND = "find"


@dataclass(frozen=True, eq=False)
class Board:
    """A board, its questions by name, and in `trouble` why its file is not what is shown; without `spec` there is
    nothing to show yet. `edition` is another with each change of the file or of a question."""

    name: str
    path: Path
    text: str = ""
    spec: BoardSpec | None = None
    questions: Mapping[str, Question] | None = None
    edition: str = ""
    trouble: str = ""

    def where(self, *place: str | int) -> str:
        """File and line of a place in it."""
        return f"{self.path.name}, line {self.line(*place)}"

    def line(self, *place: str | int) -> int:
        return line_of(self.text, *place)


def load_board(path: Path, others: Iterable[Board] = (), planned: Mapping[str, Sequence[str]] | None = None) -> Board:
    """The board of a file, whose questions lie in ../questions. Raises UserError.

    planned: columns of questions that declare none, where somebody knows them.
    """
    file = _BoardFile(path, "it aside", OF_LIST)
    if not isinstance(file.content, dict) or "title" not in file.content:
        file.refuse((), "the key 'title' is missing; add it")
    spec = file.read(BoardSpec, "title")
    name = spec.url or path.stem
    others = tuple(others)
    with noted(path):
        _check_name(file, name, "url" if spec.url else None, others)
    lacking = _check_filters(file, spec, others)
    questions = _questions(file, spec, path.parent.parent / "questions", planned or {}, lacking)
    for number, tile in enumerate(spec.tiles):
        if tile.leads and tile.leads not in (known := {*TABS, name, *(one.name for one in others), *_tabs(path)}):
            with noted(path):
                file.refuse(("tiles", number, "leads"), f"there is no tab '{tile.leads}'{near(tile.leads, known)}")
    for number, live in enumerate(spec.live):
        if live.shows:
            with noted(path):
                _check_shown(file, ("live", number, "shows"), *live.shows)
    for number, table in enumerate(spec.tables):
        asked = questions.get(table.question)
        if not table.columns and asked is not None and asked.columns is None:
            with noted(path):
                what = "name its columns, or let the question declare them in a line `-- Columns: …`"
                file.refuse(("tables", number, "question"), what)
    editions = (file.text, *(question.edition for question in questions.values()))
    edition = hashlib.sha256("\0".join(editions).encode()).hexdigest()[:12]
    return Board(name, path, file.text, spec, questions, edition)


def board_files(folder: Path) -> list[Path]:
    """The files of boards in a folder, in the order in which they are read."""
    return sorted(path for suffix in ("yaml", "yml") for path in folder.glob(f"*.{suffix}"))


class _BoardFile(CheckedFile):
    """A file of boards/."""

    @property
    def text(self) -> str:
        return self._text


def _tabs(path: Path) -> set[str]:
    """Names of the tabs of all files beside this one, also of those that are read later."""
    found = set()
    for one in board_files(path.parent):
        found.add(one.stem)
        with suppress(NotYaml):
            found.update(re.findall(r"^url: *(\w+)", read_text(one), re.MULTILINE))
    return found


@cache
def _ids() -> frozenset[str]:
    """Names that something else on the page has."""
    page = Path(__file__).parents[1] / "page.html"
    return frozenset(re.findall(r'id="([a-z]+)"', page.read_text(encoding="utf-8")))


def _check_name(file: _BoardFile, name: str, key: str | None, others: Iterable[Board]) -> None:
    place: Place = (key,) if key else ()
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        what = f"'{name}' is no name for a tab; name the file in small letters, digits and _, or set `url:`"
        file.refuse(place, what)
    if name in TABS or name in _ids():
        file.refuse(place, f"'{name}' is the name of something else in the console; set another `url:`")
    for other in others:
        if other.name == name:
            file.refuse(place, f"'{name}' is the name of {other.path.name} already; give one of them another `url:`")


def _check_filters(file: _BoardFile, spec: BoardSpec, others: Iterable[Board]) -> set[str]:
    """The filters that charts name and that are not there."""
    held: dict[str, tuple[TabFilter, str]] = {name: (one, "another tab") for name, one in FILTERS.items()}
    for other in others:
        if other.spec is not None:
            held |= {one.name: (one.tab_filter, other.path.name) for one in other.spec.filters if one.name not in held}
    right = 0
    with noted(file.path):
        file.once("filters", [one.name for one in spec.filters])
        right += 1
    for number, one in enumerate(spec.filters):
        place: Place = ("filters", number, "name")
        with noted(file.path):
            if one.name in (*RESERVED, *RANGE_BINDS, FIND, "sorted", "skip"):
                file.refuse(place, f"'{one.name}' means another thing in an address or a question; rename the filter")
            if one.name in held and held[one.name][0] != one.tab_filter:
                what = f"'{one.name}' has other choices than that of {held[one.name][1]}; rename the filter"
                file.refuse(place, what)
            right += 1
    if right <= len(spec.filters):
        raise AlreadyTold("what names a filter that is wrong is not told")
    names = [one.name for one in spec.filters]
    lacking: set[str] = set()
    for number, chart in enumerate(spec.charts):
        if chart.filter and chart.filter not in (*names, *lacking):
            lacking.add(chart.filter)
            with noted(file.path):
                what = f"there is no filter '{chart.filter}'{near(chart.filter, names)}; add it under `filters:`"
                file.refuse(("charts", number, "filter"), what)
    return lacking


def _questions(
    file: _BoardFile, spec: BoardSpec, folder: Path, planned: Mapping[str, Sequence[str]], told: set[str]
) -> dict[str, Question]:
    """The questions that could be read, by name. told: values that are known to be lacking."""
    found: dict[str, Question] = {}
    missing: set[tuple[str, str]] = set()
    for place, name, columns, given in spec.asking():
        with noted(file.path):
            question = found[name] = found.get(name) or _question(file, place, name, folder)
            lacking = sorted(question.binds - given - told)
            if lacking:
                told.add(lacking[0])
                what = f"'{name}' needs a value for ':{lacking[0]}'{near(lacking[0], given)}; here it is given"
                file.refuse(place, f"{what} {', '.join(f':{one}' for one in sorted(given))}")
            known = planned.get(name)
            if question.columns is not None:
                known = [column for column, _ in question.columns.kinds]
            if known is None or is_left_out(question.path):
                continue
            for column in dict.fromkeys(columns):
                if column not in known and (name, column) not in missing:
                    missing.add((name, column))
                    with noted(file.path):
                        _no_column(file, place, column, name, known)
    return found


def _question(file: _BoardFile, place: Place, name: str, folder: Path) -> Question:
    try:
        return read_question(name, folder)
    except UserError as error:
        if is_left_out(folder / f"{name}.sql"):
            raise AlreadyTold(f"{name} is left out") from None
        if str(error).startswith(str(folder)):
            raise UserError(f"{str(error).rstrip('.')}; {file.path.name} asks it.") from None
        file.refuse(place, str(error))


def _no_column(file: _BoardFile, place: Place, column: str, question: str, known: Iterable[str]) -> NoReturn:
    known = list(known)
    what = f"'{column}' is no column of '{question}'{near(column, known)}; it has {', '.join(known)}"
    # Where it is named: in this entry, under one of the keys that name columns.
    entry = file.content
    for part in place[:-1]:
        entry = entry[part]
    found = next((key for key, value in entry.items() if column == value or column in _names(value)), place[-1])
    file.refuse((*place[:-1], found), what)


def _names(value: object) -> list[object]:
    if not isinstance(value, list):
        return []
    return [one.get("column") if isinstance(one, dict) else one for one in value]


def _check_shown(file: _BoardFile, place: Place, table: str, column: str) -> None:
    if table not in TABLES:
        if is_wrong(table):
            raise AlreadyTold(f"{table} is left out")
        file.refuse(place, f"there is no table '{table}'{near(table, TABLES)}")
    known = [one.name for one in TABLES[table].columns]
    if column not in known:
        file.refuse(place, f"'{column}' is no column of {table}{near(column, known)}; it has {', '.join(known)}")
