"""The page: run by `panel serve` for every session."""

from __future__ import annotations

import panel as pn

from console.session import open_session

assert pn.state.curdoc is not None, "serve this file with panel serve"
open_session(pn.state.curdoc)
