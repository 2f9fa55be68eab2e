"""The HTML around the charts."""

from __future__ import annotations

from pathlib import Path

from bokeh.core.templates import get_env

PAGE = get_env().from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
