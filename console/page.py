"""The HTML around the charts, and what the browser code is told once: what there is to draw, and in which words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from bokeh.core.templates import get_env

from console.assets import made_address
from console.boards.live import BoardChart
from console.boards.tab import BoardTab
from console.catalogue import Catalogue, current
from console.choices import WORST
from console.drill.tab import DrillTab
from console.feed.tiles import TILES
from console.live_chart import LiveChart
from console.pages.overview import BEHIND
from console.settings import ConsoleSettings
from console.tab import RowList, Tab
from console.tabs import CHARTS, HOME
from console.url import link
from console.view import COMPARED_WORDS, LAST_WORDS, RANGE_WORDS, View
from console.words import BROWSER, KEYS, LENGTHS, STALE_S, TILE_BASES, WAITING, ZONE_WORDS

PAGE = get_env().from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))

SOON = "a second after"

# Loaded at once, not one after the other as each is found to import the next. The small page's script is none of them.
MODULES = sorted(path.name for path in (Path(__file__).parent / "static").glob("*.js") if path.stem != "lite")


def declared() -> dict[str, Any]:
    """Variables of the template that are alike for all pages that have the same tabs."""
    return _declared(current())


@lru_cache(maxsize=2)
def _declared(catalogue: Catalogue) -> dict[str, Any]:
    settings = ConsoleSettings.load()
    currency = settings.currency
    told = {
        "home": HOME,
        "tabs": {name: _tab(catalogue, name) for name in catalogue.tabs},
        "lists": {one.name: _list(one) for tab in catalogue.tabs.values() for one in tab.lists()},
        "filters": {name: one.default for name, one in catalogue.filters.items() if one.default},
        "charts": {chart.name: told for tab in catalogue.tabs.values() for chart, told in _charts(tab, currency)},
        "worst": WORST,
        "at_provider": settings.auth == "oidc",
        "stale_s": STALE_S,
        "zones": ZONE_WORDS if settings.zone else ZONE_WORDS[:2],
        "shop_zone": settings.zone,
        "words": BROWSER,
        "keys": KEYS,
    }
    text = json.dumps(told)
    return {
        "tabs": [(tab, catalogue.cards[name], issubclass(tab, DrillTab)) for name, tab in catalogue.tabs.items()],
        "home": HOME,
        "tiles": TILES,
        "currency": currency,
        "tile_bases": TILE_BASES,
        "behind": {key: link(View(tab, range="15m")) for key, tab in BEHIND.items()},
        "waiting": WAITING,
        "worst": WORST,
        "ranges": RANGE_WORDS,
        "compared": COMPARED_WORDS,
        "lasts": LAST_WORDS,
        "modules": MODULES,
        "lengths": LENGTHS,
        "declared": text,
        # Alike for all, so that browsers keep it as they keep the scripts.
        "declared_at": made_address("declared.js", f"window.tillwatchDeclared = {text}"),
    }


def in_script(value: object) -> str:
    """JSON that may stand in a script element: nothing in it ends the element."""
    return json.dumps(value).replace("<", "\\u003c")


def _tab(catalogue: Catalogue, name: str) -> dict[str, Any]:
    tab = catalogue.tabs[name]
    edition = catalogue.editions.get(name, "")
    return {
        "ranged": tab.heeds_range,
        "live": tab.live,
        "compares": tab.compares,
        "title": tab.title,
        "edition": edition,
    }


def _charts(tab: type[Tab], currency: str) -> Iterator[tuple[type[LiveChart], dict[str, Any]]]:
    """The live charts of a tab, with what is said where one is pointed at."""
    charts: Iterable[type[LiveChart]] = CHARTS.values() if tab.live else ()
    if issubclass(tab, BoardTab):
        charts = tab.kinds
    for chart in charts:
        unit = chart.unit.replace("{currency}", currency)
        apart = issubclass(chart, BoardChart) and chart.apart
        told = {"title": chart.title, "values": chart.values, "unit": unit, "digits": chart.digits}
        behind = {"leads": chart.leads, "minutes": chart.minutes_behind, "parted": chart.parted_by}
        yield chart, told | behind | {"tab": tab.name, "apart": apart}


def _list(one: RowList) -> dict[str, Any]:
    columns = [
        {name: value for name, value in vars(column).items() if value and (name != "head" or one.stacks)}
        for column in one.columns
    ]
    return {
        "columns": columns,
        "items": one.items,
        "choose": one.choose,
        "whole": one.whole,
        "empty": one.empty.format(soon=SOON),
    }
