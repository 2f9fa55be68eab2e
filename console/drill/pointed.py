"""What the charts over time of a tab share when one of them is pointed at: a line across all, and one set of words,
which static/tip.js makes of what they show."""

from __future__ import annotations

from typing import Any

from bokeh.events import MouseLeave, MouseMove
from bokeh.models import CrosshairTool, CustomJS, HoverTool
from bokeh.models.annotations import Span


def held_columns() -> HoverTool:
    """What lets HoloViews give a browser all columns of what is drawn; it says nothing itself."""
    return HoverTool(tooltips=None)


class Pointed:
    """The line; its models are of one document, and leave it with the charts."""

    def __init__(self, colour: str = "#9fabb8") -> None:
        self.line = Span(dimension="height", line_width=1, line_alpha=0.6, line_color=colour)

    def join(self, figure: Any, unit: str, digits: str) -> None:
        """Let a figure have it: at each drawing, for all but the first time only the words may be others. `digits` is
        how a number is written, as 0,0.[00]."""
        decimals = digits.partition(".")[2]
        figure.tags = [unit, 0 if "[" in decimals else len(decimals), len(decimals.strip("[]"))]
        if not figure.js_event_callbacks.get(MouseMove.event_name):
            figure.add_tools(CrosshairTool(overlay=self.line, dimensions="height"))
            figure.js_on_event(MouseMove, CustomJS(code="window.tillwatch.pointOver(cb_obj)"))
            figure.js_on_event(MouseLeave, CustomJS(code="window.tillwatch.pointOver(null)"))


class OverTime:
    """A chart over time. Until its tab lets it share another, it has a line of its own."""

    pointed: Pointed

    def pointed_by(self, plot: Any, unit: str, digits: str = "0,0") -> None:
        self.pointed.join(plot.state, unit, digits)
