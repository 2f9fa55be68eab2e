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
from console.live_chart import LiveChart
from console.pages.overview import BEHIND
from console.settings import ConsoleSettings
from console.tab import RowList
from console.tabs import CARDS, CHARTS, FILTERS, HOME, TABS
from console.url import link
from console.view import COMPARED_WORDS, RANGE_WORDS, View
from console.words import BROWSER, KEYS, LENGTHS, STALE_S, TILE_BASES, WAITING

PAGE = get_env().from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))

SOON = "a second after"

# Loaded at once, not one after the other as each is found to import the next. The small page's script is none of them.
MODULES = sorted(path.name for path in (Path(__file__).parent / "static").glob("*.js") if path.stem != "lite")


@cache
def declared() -> dict[str, Any]:
    """Variables of the template that are alike for all pages."""
    settings = ConsoleSettings.load()
    currency = settings.currency
    told = {
        "home": HOME,
        "tabs": {name: {"ranged": tab.heeds_range, "live": tab.live, "title": tab.title} for name, tab in TABS.items()},
        "lists": {one.name: _list(one) for tab in TABS.values() for one in tab.lists()},
        "filters": {name: one.default for name, one in FILTERS.items() if one.default},
        "charts": {name: _chart(chart, currency) for name, chart in CHARTS.items()},
        "worst": WORST,
        "at_provider": settings.auth == "oidc",
        "stale_s": STALE_S,
        "words": BROWSER,
        "keys": KEYS,
    }
    text = json.dumps(told)
    return {
        "tabs": [(tab, CARDS[name], issubclass(tab, DrillTab)) for name, tab in TABS.items()],
        "home": HOME,
        "tiles": TILES,
        "currency": currency,
        "tile_bases": TILE_BASES,
        "behind": {key: link(View(tab, range="15m")) for key, tab in BEHIND.items()},
        "waiting": WAITING,
        "worst": WORST,
        "ranges": RANGE_WORDS,
        "compared": COMPARED_WORDS,
        "modules": MODULES,
        "lengths": LENGTHS,
        "declared": text,
        # Alike for all, so that browsers keep it as they keep the scripts.
        "declared_at": made_address("declared.js", f"window.tillwatchDeclared = {text}"),
    }


def in_script(value: object) -> str:
    """JSON that may stand in a script element: nothing in it ends the element."""
    return json.dumps(value).replace("<", "\\u003c")


def _chart(chart: type[LiveChart], currency: str) -> dict[str, Any]:
    unit = chart.unit.replace("{currency}", currency)
    return {"title": chart.title, "values": chart.values, "unit": unit, "digits": chart.digits}


def _list(one: RowList) -> dict[str, Any]:
    columns = [
        {name: value for name, value in vars(column).items() if value and name != "head"} for column in one.columns
    ]
    return {
        "columns": columns,
        "items": one.items,
        "choose": one.choose,
        "whole": one.whole,
        "empty": one.empty.format(soon=SOON),
    }
