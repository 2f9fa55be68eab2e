"""A board's file, read and checked against its questions: what is wrong is one sentence with file, line and key."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from console.boards.question import Question, read_question
from console.boards.spec import OF_LIST, RANGE_BINDS, BoardSpec
from console.tab import TabFilter
from console.tabs import FILTERS, RESERVED, TABS
from lakehouse.checked_file import CheckedFile, Place
from lakehouse.tables import TABLES
from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import line_of

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
        return f"{self.path.name}, line {line_of(self.text, *place)}"


def load_board(path: Path, others: Iterable[Board] = ()) -> Board:
    """The board of a file, whose questions lie in ../questions. Raises UserError."""
    file = _BoardFile(path, "it aside", OF_LIST)
    if not isinstance(file.content, dict) or "title" not in file.content:
        file.refuse((), "the key 'title' is missing; add it")
    spec = file.read(BoardSpec, "title")
    name = spec.url or path.stem
    others = tuple(others)
    _check_name(file, name, "url" if spec.url else None, others)
    _check_filters(file, spec, others)
    questions = _questions(file, spec, path.parent.parent / "questions")
    for number, tile in enumerate(spec.tiles):
        if tile.leads and tile.leads not in (known := {*TABS, name, *(one.name for one in others), *_stems(path)}):
            file.refuse(("tiles", number, "leads"), f"there is no tab '{tile.leads}'{near(tile.leads, known)}")
    for number, live in enumerate(spec.live):
        if live.shows:
            _check_shown(file, ("live", number, "shows"), *live.shows)
    for number, table in enumerate(spec.tables):
        if not table.columns and questions[table.question].columns is None:
            what = "name its columns, or let the question declare them in a line `-- Columns: …`"
            file.refuse(("tables", number, "question"), what)
    editions = (file.text, *(question.edition for question in questions.values()))
    edition = hashlib.sha256("\0".join(editions).encode()).hexdigest()[:12]
    return Board(name, path, file.text, spec, questions, edition)


class _BoardFile(CheckedFile):
    """A file of boards/."""

    @property
    def text(self) -> str:
        return self._text

    def _invalid(self, error: ErrorDetails, model: type[BaseModel], whole: str) -> NoReturn:
        value, what = error["input"], error["msg"]
        place: Place = tuple(error["loc"])
        if (
            isinstance(value, str | int | float)
            and not what.startswith("Value error")
            and "forbid" not in error["type"]
        ):
            key = next((part for part in reversed(place) if isinstance(part, str)), whole)
            self.refuse(place, f"'{key}' has the value '{value}': {what[:1].lower()}{what[1:]}")
        super()._invalid(error, model, whole)


def _stems(path: Path) -> set[str]:
    return {one.stem for one in path.parent.glob("*.yaml")}


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


def _check_filters(file: _BoardFile, spec: BoardSpec, others: Iterable[Board]) -> None:
    held: dict[str, tuple[TabFilter, str]] = {name: (one, "another tab") for name, one in FILTERS.items()}
    for other in others:
        if other.spec is not None:
            held |= {one.name: (one.tab_filter, other.path.name) for one in other.spec.filters if one.name not in held}
    file.once("filters", [one.name for one in spec.filters])
    for number, one in enumerate(spec.filters):
        place: Place = ("filters", number, "name")
        if one.name in (*RESERVED, *RANGE_BINDS, FIND, "sorted", "skip"):
            file.refuse(place, f"'{one.name}' means another thing in an address or a question; rename the filter")
        if one.name in held and held[one.name][0] != one.tab_filter:
            file.refuse(place, f"'{one.name}' has other choices than that of {held[one.name][1]}; rename the filter")
    names = [one.name for one in spec.filters]
    for number, chart in enumerate(spec.charts):
        if chart.filter and chart.filter not in names:
            what = f"there is no filter '{chart.filter}'{near(chart.filter, names)}; add it under `filters:`"
            file.refuse(("charts", number, "filter"), what)


def _questions(file: _BoardFile, spec: BoardSpec, folder: Path) -> dict[str, Question]:
    found: dict[str, Question] = {}
    for place, name, columns, given in spec.asking():
        try:
            question = found[name] = found.get(name) or read_question(name, folder)
        except UserError as error:
            if str(error).startswith(str(folder)):
                raise UserError(f"{str(error).rstrip('.')}; {file.path.name} asks it.") from None
            file.refuse(place, str(error))
        lacking = sorted(question.binds - given)
        if lacking:
            what = f"'{name}' needs a value for ':{lacking[0]}'{near(lacking[0], given)}; here it is given"
            file.refuse(place, f"{what} {', '.join(f':{one}' for one in sorted(given))}")
        if question.columns is not None:
            known = [column for column, _ in question.columns.kinds]
            for column in columns:
                if column not in known:
                    _no_column(file, place, column, name, known)
    return found


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
        file.refuse(place, f"there is no table '{table}'{near(table, TABLES)}")
    known = [one.name for one in TABLES[table].columns]
    if column not in known:
        file.refuse(place, f"'{column}' is no column of {table}{near(column, known)}; it has {', '.join(known)}")
