"""The tabs that there are now: those of console/pages, and a shop's own boards among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from console.drill.tab import DrillTab
from console.tab import Card, Tab, TabFilter
from console.tabs import CARDS, FILTERS, SORTS, TABS


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Tabs in their order with their cards; filters and the fields that some list can be ordered by, of all of them.
    `editions` tells one state of a board from another."""

    tabs: Mapping[str, type[Tab]]
    cards: Mapping[str, list[Card]]
    filters: Mapping[str, TabFilter]
    sorts: frozenset[str]
    editions: Mapping[str, str] = field(default_factory=dict)

    def drill_tabs(self) -> list[type[DrillTab]]:
        return [kind for kind in self.tabs.values() if issubclass(kind, DrillTab)]


SHIPPED = Catalogue(TABS, CARDS, FILTERS, SORTS)
_current = SHIPPED


def current() -> Catalogue:
    return _current


def put(boards: Iterable[tuple[type[Tab], str]]) -> None:
    """From now on these stand among the shipped tabs, each with its edition."""
    global _current
    boards = list(boards)
    own = {tab.name: tab for tab, _ in boards}
    tabs = dict(sorted({**TABS, **own}.items(), key=lambda entry: (entry[1].order, entry[0])))
    filters = {**FILTERS, **{one.name: one for tab in own.values() for one in tab.filters if one.name not in FILTERS}}
    sorts = {column.field for tab in own.values() for rows in tab.lists() for column in rows.columns if column.sort}
    cards = {**CARDS, **{name: list(tab.cards) for name, tab in own.items()}}
    _current = Catalogue(tabs, cards, filters, SORTS | sorts, {tab.name: edition for tab, edition in boards})
