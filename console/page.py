"""The HTML around the charts, and what the browser code is told once: what there is to draw, and in which words."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from bokeh.core.templates import get_env

from console.assets import made_address
from console.choices import WORST
from console.drill.tab import DrillTab
from console.feed.tiles import TILES
from console.pages.overview import BEHIND
from console.settings import ConsoleSettings
from console.tab import RowList
from console.tabs import CARDS, FILTERS, HOME, TABS
from console.url import link
from console.view import RANGE_WORDS, View
from console.words import BROWSER, KEYS, LENGTHS, STALE_S, TILE_BASE, WAITING

PAGE = get_env().from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))

SOON = "a second after"

# Loaded at once, not one after the other as each is found to import the next. The small page's script is none of them.
MODULES = sorted(path.name for path in (Path(__file__).parent / "static").glob("*.js") if path.stem != "lite")


@cache
def declared() -> dict[str, Any]:
    """Variables of the template that are alike for all pages."""
    told = {
        "home": HOME,
        "tabs": {name: {"ranged": tab.heeds_range, "title": tab.title} for name, tab in TABS.items()},
        "lists": {one.name: _list(one) for tab in TABS.values() for one in tab.lists()},
        "filters": {name: one.default for name, one in FILTERS.items() if one.default},
        "worst": WORST,
        "stale_s": STALE_S,
        "words": BROWSER,
        "keys": KEYS,
    }
    text = json.dumps(told)
    return {
        "tabs": [(tab, CARDS[name], issubclass(tab, DrillTab)) for name, tab in TABS.items()],
        "home": HOME,
        "tiles": TILES,
        "currency": ConsoleSettings.load().currency,
        "tile_base": TILE_BASE,
        "behind": {key: link(View(tab, range="15m")) for key, tab in BEHIND.items()},
        "waiting": WAITING,
        "worst": WORST,
        "ranges": RANGE_WORDS,
        "modules": MODULES,
        "lengths": LENGTHS,
        "declared": text,
        # Alike for all, so that browsers keep it as they keep the scripts.
        "declared_at": made_address("declared.js", f"window.tillwatchDeclared = {text}"),
    }


def in_script(value: object) -> str:
    """JSON that may stand in a script element: nothing in it ends the element."""
    return json.dumps(value).replace("<", "\\u003c")


def _list(one: RowList) -> dict[str, Any]:
    columns = [
        {name: value for name, value in vars(column).items() if value and name != "head"} for column in one.columns
    ]
    return {"columns": columns, "items": one.items, "choose": one.choose, "empty": one.empty.format(soon=SOON)}
