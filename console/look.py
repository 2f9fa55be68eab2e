"""The look: tokens from static/tokens.css, and the Bokeh theme made from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the small page takes the tokens and needs no Bokeh
    from bokeh.themes import Theme

STATIC = Path(__file__).with_name("static")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


@cache
def tokens(theme: str) -> Mapping[str, str]:
    """Name to value of the custom properties of one theme, without their leading dashes."""
    text = (STATIC / "tokens.css").read_text(encoding="utf-8")
    blocks = dict(re.findall(r':root(?:\[data-theme="(\w+)"\])?\s*\{(.*?)\}', text, re.DOTALL))
    found: dict[str, str] = {}
    for name in ("", theme):
        found |= {key: value.strip() for key, value in re.findall(r"--([\w-]+):\s*([^;]+);", blocks[name])}
    return found


def colour(look: Mapping[str, str], kind: str, word: str) -> str:
    """The colour of a severity or a status; quiet where the tokens have none for it yet."""
    return look.get(f"{kind}-{word.lower()}", look["text-quiet"])


def has_colour(kind: str, word: str) -> bool:
    """Whether a word of a kind has a colour of its own."""
    return f"{kind}-{word.lower()}" in tokens("dark")


@cache
def bokeh_theme(theme: str) -> Theme:
    """Figures, axes and legends in the colours of a theme; HoloViews draws through it too."""
    from bokeh.themes import Theme

    look = tokens(theme)
    return Theme(
        json={
            "attrs": {
                "Plot": {
                    "background_fill_color": None,
                    "border_fill_color": None,
                    "outline_line_color": None,
                    "min_border_top": 8,
                    "min_border_right": 12,
                },
                "Grid": {"grid_line_color": look["line"]},
                "Axis": {
                    "axis_line_color": look["line"],
                    "major_tick_line_color": look["line"],
                    "minor_tick_line_color": None,
                    "major_label_text_color": look["text-quiet"],
                    "major_label_text_font": FONT,
                    "major_label_text_font_size": "12px",
                    "axis_label_text_color": look["text-quiet"],
                    "axis_label_text_font": FONT,
                    "axis_label_text_font_size": "12px",
                    "axis_label_text_font_style": "normal",
                },
                "Legend": {
                    "background_fill_color": None,
                    "border_line_color": None,
                    "label_text_color": look["text-quiet"],
                    "label_text_font": FONT,
                    "label_text_font_size": "12px",
                },
                "Title": {
                    "text_color": look["text"],
                    "text_font": FONT,
                    "text_font_size": "13px",
                    "text_font_style": "normal",
                },
            }
        }
    )
