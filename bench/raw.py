"""The page of bench.raw_page, as `panel serve` runs it for each session."""

from __future__ import annotations

import panel as pn

from bench.raw_page import build

assert pn.state.curdoc is not None, "serve this file with panel serve"
build(pn.state.curdoc)
