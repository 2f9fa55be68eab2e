"""A live chart of one page: built once its tab is opened, sent what is new."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
from bokeh.models import Column, Range1d

from console import look
from console.boards.board_page import LEFT_OUT, BoardPage, known, panel_part
from console.boards.feed import LIVE_ROWS, BoardAnswer, LiveAsk
from console.boards.live import BoardChart, colour_names, hour_of
from console.boards.load import Board
from console.boards.spec import OTHERS
from console.feed.minutes import Series, starts_of
from console.feed.snapshot import FeedSnapshot
from console.live_events import limits_of
from console.parts import Part, iso_ms
from console.straight import Patch
from console.tab import OpenedPlace
from console.view import COMPARED, View

logger = logging.getLogger(__name__)


class LivePanel:
    """One live chart of a board; `error` is why it is not of the newest answer."""

    def __init__(self, kind: type[BoardChart], number: int, board: Board) -> None:
        assert board.questions is not None
        self.kind = kind
        self._ask = LiveAsk(board.questions[kind.question], None)
        self._place = ("live", number)
        self._board = board
        self._hour: tuple[BoardAnswer, Mapping[str, Series]] | None = None
        self._chart: BoardChart | None = None
        self._drawn: object = None
        self.error = ""
        root = OpenedPlace(kind.name, kind.title).root
        self.holder = Column(name=root, sizing_mode="stretch_both", margin=0)

    @property
    def chart(self) -> BoardChart | None:
        """None until it is built."""
        return self._chart

    @property
    def waits(self) -> bool:
        """Whether there is something to draw, and no chart yet."""
        return self._hour is not None and self._chart is None

    @property
    def table(self) -> pa.Table | None:
        """The answer that is drawn."""
        return self._hour[0].table if self._hour else None

    @property
    def as_of(self) -> datetime | None:
        return self._hour[0].as_of if self._hour else None

    def parts(
        self, page: BoardPage, view: View, snapshot: FeedSnapshot, empty: dict[str, str | None]
    ) -> dict[str, Part]:
        """Its words and its legend; what stands in place of an empty chart goes into `empty`."""
        name, spec = self.kind.name, self.kind.spec
        told = known(page, self._ask, snapshot)
        self.error = ""
        if told is None:
            self._hour = None
            empty[name] = LEFT_OUT
            return {f"panel.{name}": panel_part("", left_out=True)}
        then = None
        if view.compare != "before" and not self.kind.apart:
            then = known(page, LiveAsk(self._ask.question, None, COMPARED[view.compare]), snapshot)
        series, unfit = hour_of(self.kind, told, then)
        self.error = f"{self._board.where(*self._place)}: {unfit}." if unfit else told.error or ""
        if series is not None:
            self._hour = told, series
            empty[name] = None if any(any(series[each]) for each in self.kind.values) else spec.empty
        elif self.error:
            empty[name] = " "
        full = told.table is not None and told.table.num_rows >= LIVE_ROWS
        parts: dict[str, Part] = {f"panel.{name}": panel_part(self.error, read_at=iso_ms(told.read_at), full=full)}
        if len(spec.series) > 1 and spec.kind != "heatmap":
            colours = dict(zip(spec.series, colour_names(spec.series, spec.colours), strict=True))
            if series is not None and not any(series.get(OTHERS, ())):
                colours.pop(OTHERS, None)
            parts[f"legend.{name}"] = {"colours": [[part, colour] for part, colour in colours.items()]}
        return parts

    def build(self, page: BoardPage, hour: Range1d) -> None:
        """Build the chart, and put it into its place."""
        colours = look.tokens("dark")
        chart = self.kind(colours, hour)
        page.events.behind(chart, colours, limits_of(page.figures, *self.kind.shows))
        self._chart = chart
        self.follow(None)
        self.holder.children = [chart.root]

    def follow(self, patch: Patch | None) -> None:
        """Send what is new to the chart that stands."""
        if self._chart is None or self._hour is None or self._drawn is self._hour[1]:
            return
        told, series = self._hour
        assert told.as_of is not None
        try:
            self._chart.update(starts_of(told.as_of), series, patch)
        except Exception:
            # One broken chart must not keep the others from their news.
            logger.exception("%s could not be drawn", self.kind.name)
        self._drawn = series

    def drop(self) -> None:
        self._chart, self._drawn = None, None
        self.holder.children = []
