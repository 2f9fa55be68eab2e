"""Given to `panel serve --setup` by bench console: the same shop, for a page that is plain Bokeh."""

from __future__ import annotations

from bench.console_shop import start
from bench.raw_page import follow

start()
follow()
