"""Own questions and boards: SQL without an answer, an answer that is not as its file declares, boards beside both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from console.boards.load import Board, board_files, load_board
from console.boards.question import Question, read_question
from console.boards.ranged import among, containing
from console.boards.spec import BoardSpec
from lakehouse.dremio.columns import kind_of
from lakehouse.dremio.errors import DremioError, NotFound, QueryError
from lakehouse.dremio.statement import QUESTIONS, Fragment, Value, fill, named_in
from lakehouse.mistakes import is_left_out, noted
from lakehouse.own import own_files
from lakehouse.texts import near
from lakehouse.user_error import UserError
from lakehouse.yaml_file import NotYaml, read_yaml
from tillwatch.checks.planning import StatementPlanner, with_near
from tillwatch.checks.questions import MOMENT, skipped

type Place = tuple[str | int, ...]

_ANY = Fragment("(1 = 1)", {})
"""A filter's condition while nothing is chosen."""
_USUAL: Mapping[str, Value | Fragment] = {
    **dict.fromkeys(("since", "until", "as_of"), MOMENT),
    "step": "MINUTE",
    "most": 10,
    "skip": 0,
    "sorted": Fragment("1 DESC NULLS LAST", {}),
}
_KINDS = {
    "int": "a number", "decimal": "a number", "double": "a number", "boolean": "a number",
    "timestamp": "a time", "date": "a time", "string": "a text", "binary": "bytes",
}  # fmt: skip
"""What the kinds of declared columns are to a board, which takes a truth for 0 or 1."""


def check_questions(folder: Path, plans: StatementPlanner, notes: list[str]) -> dict[str, pa.Schema]:
    """What each own question answers, where that could be planned; what is wrong is noted. folder: of the boards, which
    say what may be asked for."""
    found = {}
    given = {*_USUAL, "find", *_filters(folder)}
    for path in own_files("questions", ".sql"):
        with noted(path):
            question = _question(path)
            # A value that nobody gives is told of the board that asks.
            schema = _answer(question, plans, notes) if question.binds <= given else None
            if schema is not None:
                _compare(question, schema)
                found[question.name] = schema
    return found


def check_boards(folder: Path, answers: Mapping[str, pa.Schema], plans: StatementPlanner, notes: list[str]) -> set[str]:
    """The questions that the boards of a folder ask; what is wrong is noted. answers: of questions, by name."""
    boards: list[Board] = []
    planned = {name: schema.names for name, schema in answers.items()}
    for path in board_files(folder):
        with noted(path):
            boards.append(load_board(path, boards, planned))
    asked: set[str] = set()
    for board in boards:
        assert board.spec is not None
        questions = {name: one for name, one in (board.questions or {}).items() if not is_left_out(one.path)}
        # What could not be planned at all cannot be planned with a choice.
        chosen = {name: one for name, one in questions.items() if name in answers or one.path.parent == QUESTIONS}
        for sentence in (*_unfit(board, board.spec, questions, answers), *_no_choice(board, board.spec, chosen, plans)):
            with noted(board.path):
                raise UserError(sentence)
        notes += _idle(board, board.spec, questions)
        asked |= {name for _, name, _, _ in board.spec.asking()}
    return asked


def _filters(folder: Path) -> set[str]:
    """Names of the filters of all boards, whatever else is wrong with them."""
    found = set()
    for path in board_files(folder):
        with suppress(NotYaml):
            content = read_yaml(path)
            listed = content.get("filters") if isinstance(content, dict) else None
            found |= {str(one.get("name")) for one in listed or () if isinstance(one, dict)}
    return found


def _question(path: Path) -> Question:
    if not re.fullmatch(r"\w+", path.stem):
        raise UserError(f"{path}, line 1: '{path.stem}' is no name of a question; rename it to letters, digits and _.")
    try:
        return read_question(path.stem, path.parent)
    except UserError as error:
        error.args = (f"{str(error).rstrip('.')}.",)
        raise


def _answer(question: Question, plans: StatementPlanner, notes: list[str]) -> pa.Schema | None:
    """The columns of an answer; None where nobody who knows its tables could be asked. Raises UserError."""
    tables, _ = named_in(question.template)
    binds = _binds(question, {})
    most = None
    try:
        schema = _planned(question, plans, {})
        # As it is asked: with a bound on its rows.
        most = 10
        plans.schema(question.statement(None, binds, most), tables)
    except DremioError as error:
        if plans.knows(error):
            place = question.place(error, None, binds, most) if isinstance(error, QueryError) else ""
            place = place or f"line {skipped(question.template) + 1}"
            raise UserError(f"{question.path}, {place}: {with_near(error, tables)}") from None
        said = f"The question {question.path.name} was not planned: {with_near(error, tables)}"
        notes.append(f"{said} Start Dremio or a gateway that has it." if isinstance(error, NotFound) else said)
        return None
    return schema


def _planned(question: Question, plans: StatementPlanner, conditions: Mapping[str, Fragment]) -> pa.Schema:
    tables, _ = named_in(question.template)
    return plans.schema(fill(question.template, None, _binds(question, conditions), question.path.name), tables)


def _binds(question: Question, conditions: Mapping[str, Fragment]) -> dict[str, Value | Fragment]:
    return {name: {**_USUAL, **conditions}.get(name, _ANY) for name in question.binds}


def _compare(question: Question, schema: pa.Schema) -> None:
    """Raises UserError for the first column that is not as the question's file declares it."""
    if question.columns is None:
        return
    names, there = [name for name, _ in question.columns.kinds], list(schema.names)
    what = ""
    for name, kind in question.columns.kinds:
        if name not in there:
            what = f"'{name}' is declared, which the answer does not have{near(name, there)}; it has {', '.join(there)}"
            break
        if not question.columns.fits(name, schema.field(name).type):
            what = f"'{name}' is declared as {kind}, and is {schema.field(name).type} in the answer; correct it"
            break
    else:
        more = next((name for name in there if name not in names), None)
        if more is not None:
            what = (
                f"the answer has a column '{more}', which is not declared; add it, or ask for no more than is declared"
            )
        elif names != there:
            what = f"columns are declared in another order than the answer has them; it has {', '.join(there)}"
    if what:
        line = question.template[: question.template.find("-- Columns:")].count("\n") + 1
        raise UserError(f"{question.path}, line {line}: {what}.")


# ---- boards


def _unfit(
    board: Board, spec: BoardSpec, questions: Mapping[str, Question], answers: Mapping[str, pa.Schema]
) -> Iterator[str]:
    """Columns that are there, but of a kind that cannot be drawn."""
    for place, question, column, expected in _drawn(spec):
        if question not in questions:
            continue
        kind = _kind(questions[question], column, answers)
        if kind and kind != expected:
            line = board.line(*place)
            yield f"{board.path}, line {line}: '{column}' of '{question}' is {kind}; expected {expected}."


def _drawn(spec: BoardSpec) -> Iterator[tuple[Place, str, str, str]]:
    """Where a column is named, or meant, its question, the column and what it must be."""
    number, time = "a number", "a time"
    for at, tile in enumerate(spec.tiles):
        yield ("tiles", at, "column"), tile.question, tile.column, number
        if tile.spark:
            yield ("tiles", at, "spark", "column"), tile.spark.question, tile.spark.column, number
            yield ("tiles", at, "spark", "question"), tile.spark.question, "moment", time
    for at, live in enumerate(spec.live):
        yield ("live", at, "question"), live.question, "moment", time
        for key, columns in (("values", live.values), ("value", filter(None, (live.value,)))):
            for column in columns:
                yield ("live", at, key), live.question, column, number
    for at, chart in enumerate(spec.charts):
        yield ("charts", at, "value"), chart.question, chart.value, number
        if chart.kind != "ranking":
            yield ("charts", at, "question"), chart.question, "moment", time
    for at, table in enumerate(spec.tables):
        for place, cell in enumerate(table.columns):
            if cell.kind in ("number", "time"):
                yield ("tables", at, "columns", place, "kind"), table.question, cell.column, f"a {cell.kind}"


def _kind(question: Question, column: str, answers: Mapping[str, pa.Schema]) -> str:
    """A number, a time, a text or bytes; empty where that is not known."""
    if question.columns is not None:
        return _KINDS.get(dict(question.columns.kinds).get(column, ""), "")
    schema = answers.get(question.name)
    return "" if schema is None or column not in schema.names else _KINDS.get(kind_of(schema.field(column).type), "")


def _no_choice(
    board: Board, spec: BoardSpec, questions: Mapping[str, Question], plans: StatementPlanner
) -> Iterator[str]:
    """Filters, and columns to find in, that a question cannot be asked for."""
    chosen: list[tuple[Place, str, str, Fragment]] = [
        (
            ("filters", at, "column" if one.column else "name"),
            one.name,
            f"the filter '{one.name}'",
            among(one.of, one.choices or ("1",)),
        )
        for at, one in enumerate(spec.filters)
    ]
    chosen += [(("find", at), "find", "the key 'find'", containing((one,), "x")) for at, one in enumerate(spec.find)]
    for place, bind, what, condition in chosen:
        for name, question in questions.items():
            if bind not in question.binds:
                continue
            try:
                _planned(question, plans, {bind: condition})
            except DremioError as error:
                if not plans.knows(error):
                    continue
                said = with_near(error, named_in(question.template)[0])
                yield f"{board.path}, line {board.line(*place)}: {what} does not go with '{name}': {said}"
                break


def _idle(board: Board, spec: BoardSpec, questions: Mapping[str, Question]) -> Iterator[str]:
    """Notes of filters that change nothing."""
    if any(name not in questions for _, name, _, _ in spec.asking()):
        return
    used = {bind for question in questions.values() for bind in question.binds}
    for one in spec.filters:
        if one.name not in used:
            what = f"The filter '{one.name}' of {board.path.name} changes nothing"
            yield f"{what}: no question of it asks for :{one.name}."
    if spec.find and "find" not in used:
        yield f"The key 'find' of {board.path.name} finds nothing: no question of it asks for :find."
