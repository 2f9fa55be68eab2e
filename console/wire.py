"""The one model that carries tiles and lists to a browser, and a viewer's choices back."""

from __future__ import annotations

from bokeh.core.properties import String
from bokeh.model import DataModel


class Wire(DataModel):
    """`down` and `up` hold JSON. Each message replaces the last: console.js reads it as it arrives."""

    down = String("")
    up = String("")
