"""What live charts and tiles of boards make of an answer, and how often they ask for one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bokeh.models import Range1d

from console.boards.answers import UnfitAnswer
from console.boards.feed import BoardAnswer, BoardFeed, LiveAsk, answer_of
from console.boards.live import BoardChart, chart_class, hour_of
from console.boards.question import read_question
from console.boards.spec import BoardTile, LiveSpec
from console.boards.tiles import base_words, tile_parts
from console.feed.minutes import starts_of
from console.feed.snapshot import FeedSnapshot
from console.look import tokens
from lakehouse.dremio.errors import NotFound, QueryError
from lakehouse.tables import CATALOG, SCHEMA
from tests.board_cast import a_shop_of_ones_own

NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def chart(**keys: Any) -> type[BoardChart]:
    return chart_class("trade.live0", LiveSpec(title="Orders", question="q", **keys), "$")


def told(*rows: dict[str, Any]) -> BoardAnswer:
    """An answer whose rows have `ago`, minutes before the open one."""
    dated = [{"moment": NOON - row.pop("ago") * MINUTE, **row} for row in rows]
    return BoardAnswer(pa.Table.from_pylist(dated), NOON)


def newest(kind: type[BoardChart], answer: BoardAnswer, minutes: int = 3) -> dict[str, list[float | None]]:
    series, error = hour_of(kind, answer, None)
    assert error == ""
    assert series is not None
    return {name: list(values[-minutes:]) for name, values in series.items()}


def test_a_line_has_gaps_where_bars_have_zeros() -> None:
    rows = ({"ago": 3, "n": 5}, {"ago": 0, "n": 7})
    assert newest(chart(kind="line", values=["n"]), told(*map(dict, rows))) == {"n": [None, None, 7.0]}
    assert newest(chart(kind="bars", values=["n"]), told(*map(dict, rows)), 5) == {"n": [None, 5.0, 0.0, 0.0, 7.0]}
    assert newest(chart(kind="line", values=["n"], gaps=False), told(*map(dict, rows))) == {"n": [0.0, 0.0, 7.0]}


def test_what_belongs_to_no_named_part_is_summed_apart() -> None:
    answer = told(*({"ago": 0, "state": state, "n": 2} for state in ("A", "B", "C", "C", None)))
    kind = chart(kind="stacked", value="n", by="state", parts=["A"])
    assert newest(kind, answer, 1) == {"A": [2.0], "(other)": [8.0]}
    assert newest(chart(kind="heatmap", value="n", by="state", parts=["B", "C"]), answer, 1) == {"B": [2.0], "C": [4.0]}


def test_the_cells_of_a_heatmap_are_the_more_opaque_the_more_there_was() -> None:
    kind = chart(kind="heatmap", value="n", by="state", parts=["A", "B"])
    series, _ = hour_of(kind, told({"ago": 1, "state": "A", "n": 4}, {"ago": 0, "state": "B", "n": 1}), None)
    assert series is not None
    drawn = kind(tokens("dark"), Range1d())
    drawn.update(starts_of(NOON), series)
    assert [list(drawn.source.data[f"{part}_alpha"][-2:]) for part in "AB"] == [[1.0, 0.0], [0.0, 0.15 + 0.85 * 0.5]]
    assert list(drawn.source.data["A"][-2:]) == [4.0, 0.0]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (told({"ago": 0, "m": 1}), "'n' is no column of the answer; it has moment, m"),
        (told({"ago": 0, "n": "much"}), "'n' is no number: it holds 'much'"),
        (BoardAnswer(pa.table({"moment": ["noon"], "n": [1]}), NOON), "'moment' is no time: it holds 'noon'"),
    ],
)
def test_an_answer_that_cannot_be_drawn_is_said(answer: BoardAnswer, sentence: str) -> None:
    assert hour_of(chart(kind="bars", values=["n"]), answer, None) == (None, sentence)


TILE = BoardTile.model_validate(
    {
        "title": "Failed", "question": "q", "column": "failed", "unit": "%", "digits": 1, "good": "down",
        "limits": [{"above": 5, "word": "high"}, {"above": 2, "word": "raised", "state": "watch"}],
    }
)  # fmt: skip


def tile(value: float | None, before: float | None) -> dict[str, Any]:
    now, then = (BoardAnswer(pa.table({"failed": pa.array([one], pa.float64())}), NOON) for one in (value, before))
    return tile_parts(TILE, now, then, None, False, base_words(TILE, True, "yesterday"), "$")["tile"]


@pytest.mark.parametrize(
    ("value", "before", "text", "change", "good", "word", "state"),
    [
        (6.25, 4.0, "6.2\u202f%", "+2.2\u202fpt", False, "high", "bad"),
        (3.0, 4.0, "3.0\u202f%", "−1\u202fpt", True, "raised", "watch"),
        (1.0, None, "1.0\u202f%", "n/a", None, "", "ok"),
        (None, 4.0, "n/a", "", None, "", "none"),
    ],
)
def test_a_tile_says_its_figure_its_change_and_its_word(
    value: float | None, before: float | None, text: str, change: str, good: bool | None, word: str, state: str
) -> None:
    shown = tile(value, before)
    assert [shown[key] for key in ("text", "change", "good", "word", "state")] == [text, change, good, word, state]
    assert shown["base"] == "5 min, vs the same yesterday"


def test_a_tile_of_words_is_refused() -> None:
    with pytest.raises(UnfitAnswer, match="'failed' is no number: it holds 'many'"):
        tile_parts(TILE, BoardAnswer(pa.table({"failed": ["many"]}), NOON), None, None, False, "", "$")


class Viewer:
    watches, present = "trade", True

    def wake(self) -> None: ...


class Answers:
    """A Dremio that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = False

    def sql(self, text: str) -> pa.Table:
        self.asked.append(text)
        if self.fails:
            raise QueryError("Column 'x' not found in any table.")
        return pa.table({"orders": [len(self.asked)]})


@pytest.fixture
def asked(tmp_path: Path) -> LiveAsk:
    a_shop_of_ones_own(tmp_path, plain="SELECT 1 AS orders FROM {orders_processed}", others="SELECT 1 AS orders")
    return LiveAsk(read_question("plain", tmp_path / "questions"), timedelta(minutes=5))


def at(commit: str) -> FeedSnapshot:
    return FeedSnapshot(commit=commit, as_of=NOON)


class AtOnce:
    """A pool that has done what it is given when it returns."""

    def submit(self, call: Callable[..., None], *args: object) -> None:
        call(*args)


class Feed:
    """A feed whose clock is set by hand, and whose answers are there at once."""

    def __init__(self) -> None:
        self.dremio, self.now = Answers(), 0.0
        self.feed = BoardFeed(self.dremio, clock=lambda: self.now)
        self.feed.close()
        self.feed._threads = AtOnce()  # type: ignore[assignment]

    def get(self, ask: LiveAsk, commit: str) -> BoardAnswer:
        return self.feed.get(ask, at(commit), Viewer())


def test_a_question_is_asked_once_a_commit_for_all_who_look(asked: LiveAsk) -> None:
    feed = Feed()
    assert [feed.get(asked, "a").commit for _ in range(5)] == ["a"] * 5
    assert len(feed.dremio.asked) == 1
    assert feed.get(asked, "b").commit == "b"
    assert len(feed.dremio.asked) == 2


@pytest.mark.parametrize(
    ("text", "wrong", "place"),
    [
        ("SELECT x FROM {orders_processed}", "x FROM", "line 1, column 8: "),
        ("-- What?\n\nSELECT\n  x\nFROM {orders_processed}", "x\nFROM", "line 4, column 3: "),
        ("/* of\n two */ SELECT a, -- b\n  x FROM {orders_processed}", "x FROM", "line 3, column 3: "),
        ("SELECT :since, x FROM {orders_processed}", "x FROM", "line 1, column 16: "),
        ("SELECT 1 AS n FROM {orders_processed} WHERE y = 1", "y = 1", "line 1, column 45: "),
        ("SELECT 1 AS n FROM {orders_processed} WHERE\n:since < y LIMIT 100000", "y LIMIT", "line 2, column 10: "),
        (f"SELECT 1 AS n FROM {CATALOG}.{SCHEMA}.orders_processed\nWHERE y = 1", "y = 1", "line 2, column 7: "),
        # The file names the table by more letters than are asked with.
        (f"SELECT 1 AS n FROM {CATALOG}.{SCHEMA}.orders_processed WHERE y = 1", "y = 1", "line 1: "),
    ],
)
def test_a_mistake_is_placed_where_it_stands_in_the_file(tmp_path: Path, text: str, wrong: str, place: str) -> None:
    a_shop_of_ones_own(tmp_path, plain=text)
    question = read_question("plain", tmp_path / "questions")

    class Refusing:
        def sql(self, text: str) -> pa.Table:
            before = text[: text.index(wrong)]
            line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
            raise NotFound("Column not found.", text, line, column)

    with pytest.raises(NotFound) as caught:
        answer_of(Refusing(), question, "a1", {"since": NOON}, 50)
    assert str(caught.value) == f"{place}Column not found."
    assert question.told(str(caught.value)) == f"plain.sql, {place}Column not found."


def test_a_question_that_fails_keeps_the_last_answer_and_is_asked_less_and_less(asked: LiveAsk) -> None:
    feed = Feed()
    feed.get(asked, "a")
    feed.dremio.fails = True
    failed = feed.get(asked, "b")
    assert (failed.commit, failed.error) == ("a", "plain.sql: Column 'x' not found in any table.")
    times = []
    for second in range(1, 40):
        feed.now = float(second)
        count = len(feed.dremio.asked)
        feed.get(asked, f"c{second}")
        times += [second] * (len(feed.dremio.asked) - count)
    assert times == [5, 15, 35]
    feed.dremio.fails, feed.now = False, 200.0
    assert feed.get(asked, "d").error is None


def test_a_table_of_others_is_asked_by_its_own_clock(asked: LiveAsk, tmp_path: Path) -> None:
    feed, ask = Feed(), LiveAsk(read_question("others", tmp_path / "questions"), None)
    for second, commit in ((0, "a"), (1, "b"), (59, "c"), (61, "c"), (62, "d")):
        feed.now = float(second)
        assert feed.get(ask, commit).read_at is not None
    assert len(feed.dremio.asked) == 2
