"""A page of plain Bokeh with the console's four charts and a line of text, streamed to by a thread: what bench console
is measured by. Nothing is asked, compared or escaped for it."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

from bokeh.document import Document
from bokeh.models import ColumnDataSource
from bokeh.models.widgets import Div
from bokeh.plotting import figure
from panel.io import hold

from bench.console_shop import PUBLISHED

CHARTS = (("revenue",), ("orders",), ("fatal", "error"), ("users",))
MINUTES = 60
_pages: weakref.WeakSet[Page] = weakref.WeakSet()


class Page:
    """One document of it."""

    def __init__(self, doc: Document) -> None:
        self.doc = doc
        self.text = Div(text="")
        self.sources = []
        doc.add_root(self.text)
        for columns in CHARTS:
            source = ColumnDataSource({"x": list(range(MINUTES)), **{name: [1.0] * MINUTES for name in columns}})
            plot = figure(height=180, sizing_mode="stretch_width", toolbar_location=None, tools="")
            plot.vbar_stack(list(columns), x="x", width=0.9, source=source)
            doc.add_root(plot)
            self.sources.append((source, columns))
        self.tick = doc.locked_callback(self._tick, policy="latest")
        _pages.add(self)

    async def _tick(self) -> None:
        commit = next(reversed(PUBLISHED))
        with hold(self.doc):
            self.text.text = commit
            for source, columns in self.sources:
                last = len(source.data["x"]) - 1
                source.patch({name: [(last, time.time() % 100)] for name in columns})


def _run() -> None:
    told = 0
    while True:
        time.sleep(0.002)
        if len(PUBLISHED) != told:
            told = len(PUBLISHED)
            for page in list(_pages):
                page.tick()


def follow() -> None:
    """Tell all pages of each commit, from a thread of its own."""
    threading.Thread(target=_run, name="raw", daemon=True).start()


def build(doc: Document) -> Any:
    page = Page(doc)

    # The document keeps its page, nothing else does.
    def gone(_context: Any) -> None:
        _pages.discard(page)

    doc.on_session_destroyed(gone)
    return page
