"""The tiles of a board on one page."""

from __future__ import annotations

from console.boards.answers import UnfitAnswer
from console.boards.board_page import BoardPage, known, panel_part
from console.boards.feed import LiveAsk
from console.boards.load import Board
from console.boards.spec import BoardTile
from console.boards.tiles import base_words, tile_parts
from console.feed.snapshot import FeedSnapshot
from console.parts import Part
from console.view import COMPARED, View


def tile_name(board: str, number: int) -> str:
    """A tile's name on the page."""
    return f"{board}.tile{number}"


class TileRow:
    """All tiles of a board, asked each by itself; `error` says which could not be, and why."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.error = ""

    def parts(self, page: BoardPage, view: View, snapshot: FeedSnapshot) -> dict[str, Part]:
        assert self._board.spec is not None
        assert self._board.questions is not None
        tiles, questions = self._board.spec.tiles, self._board.questions
        parts: dict[str, Part] = {}
        errors: list[str] = []
        for number, tile in enumerate(tiles):
            parts |= self._tile(page, view, snapshot, number, tile, errors)
        self.error = " ".join(dict.fromkeys(errors))
        left_out = page.frozen and any(questions[tile.question].outside for tile in tiles)
        if tiles:
            parts[f"panel.{self._board.name}"] = panel_part(self.error, left_out=left_out)
        return parts

    def _tile(
        self, page: BoardPage, view: View, snapshot: FeedSnapshot, number: int, tile: BoardTile, errors: list[str]
    ) -> dict[str, Part]:
        assert self._board.questions is not None
        question = self._board.questions[tile.question]
        key = tile_name(self._board.name, number)
        timed = bool(question.binds & {"since", "until", "as_of"})
        told = known(page, LiveAsk(question, tile.span), snapshot)
        if told is None:
            return {f"tile.{key}": _no_figure("left out")}
        back = tile.span if view.compare == "before" else COMPARED[view.compare]
        before = known(page, LiveAsk(question, tile.span, back), snapshot) if timed and tile.compare else None
        spark = None
        if tile.spark:
            spark = known(page, LiveAsk(self._board.questions[tile.spark.question], None), snapshot)
        errors += [f"{tile.title}: {one.error}" for one in (told, spark) if one is not None and one.error]
        if told.table is None:
            return {f"tile.{key}": _no_figure("not asked")} if told.error else {}
        base = base_words(tile, timed, view.compare)
        try:
            made = tile_parts(tile, told, before, spark, told.error is not None, base, page.settings.currency)
        except UnfitAnswer as unfit:
            errors.append(f"{tile.title}: {self._board.where('tiles', number)}: {unfit}.")
            return {f"tile.{key}": _no_figure("no figure")}
        return {f"{kind}.{key}": part for kind, part in made.items()}


def _no_figure(why: str) -> Part:
    return {
        "text": "n/a", "value": None, "exact": "", "change": "", "good": None, "state": "none", "word": "",
        "why": why, "produced_at": None, "tip": None, "stale": False, "base": "",
    }  # fmt: skip
