"""All tabs and live charts, as found in console/pages/ and console/live/, and what follows from them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial

from console.drill.tab import DrillTab
from console.feed.compared import interest
from console.feed.questions import MINUTES_SHOWN, Ask, TabQuestions, first_minute
from console.feed.snapshot import FeedAnswer
from console.folder import declared_in
from console.live_chart import LiveChart
from console.tab import Card, LivePlace, Tab, TabFilter
from console.view import COMPARED, LASTS
from lakehouse.dremio.statement import QUESTIONS
from lakehouse.kpis import Counting
from lakehouse.user_error import UserError

RESERVED = (
    "tab",
    "range",
    "from",
    "to",
    "theme",
    "zone",
    "brush",
    "incident",
    "at",
    "kiosk",
    "compare",
    "last",
    "sort",
    "page",
    "cut",
)
"""Parameters of a URL that no filter may take as its name."""

TABS: Mapping[str, type[Tab]] = declared_in("console.pages", Tab)
CHARTS: Mapping[str, type[LiveChart]] = declared_in("console.live", LiveChart)
HOME = next(iter(TABS))
"""The tab of a URL that names none."""


def drill_tabs() -> list[type[DrillTab]]:
    return [kind for kind in TABS.values() if issubclass(kind, DrillTab)]


def filters_of(tabs: Iterable[type[Tab]]) -> dict[str, TabFilter]:
    """All filters of some tabs, by name. Raises UserError where a name has another meaning already."""
    found: dict[str, TabFilter] = {}
    for tab in tabs:
        for one in tab.filters:
            file = f"console/pages/{tab.name}.py"
            if one.name in RESERVED:
                raise UserError(f"{file} has a filter '{one.name}', which means another thing in a URL; rename it.")
            if found.setdefault(one.name, one) != one:
                raise UserError(f"{file} has a filter '{one.name}' with other choices than another tab's; rename it.")
    return found


def check_charts(charts: Mapping[str, type[LiveChart]]) -> None:
    """Raises UserError for a chart that asks a question, leads to a tab or stands beside a chart that is not there."""
    for name, chart in charts.items():
        file = f"console/live/{name}.py"
        if not (QUESTIONS / f"{chart.question}.sql").exists():
            raise UserError(
                f"{file} asks '{chart.question}', and there is no lakehouse/questions/{chart.question}.sql; "
                "write it, or name another."
            )
        if chart.leads and chart.leads not in TABS:
            raise UserError(f"{file} leads to '{chart.leads}', which is no tab; name one of {', '.join(TABS)}.")
        if chart.beside and (chart.beside not in charts or charts[chart.beside].beside):
            raise UserError(f"{file} stands beside '{chart.beside}', which has no card of its own; name one that has.")


def check_names(tabs: Iterable[type[Tab]]) -> None:
    """Raises UserError where two tabs give the same name to a list or a place, for messages find them by it."""
    held: dict[str, str] = {}
    for tab in tabs:
        file = f"console/pages/{tab.name}.py"
        for name in (block.name for card in tab.cards for block in card.blocks):
            if name in held:
                raise UserError(f"{file} has a place '{name}', as {held[name]} has; rename it.")
            held[name] = file


check_charts(CHARTS)
check_names(TABS.values())
FILTERS: Mapping[str, TabFilter] = filters_of(TABS.values())
"""A choice made on one tab holds on each that has the filter."""
SORTS = frozenset(
    column.field for tab in TABS.values() for rows in tab.lists() for column in rows.columns if column.sort
)
"""Fields that some list can be ordered by."""


def cards_of(tab: type[Tab]) -> list[Card]:
    """A tab's cards in order, those of the live charts among them."""
    if not tab.live:
        return list(tab.cards)
    live = [
        Card(
            tuple(_place(one) for one in CHARTS.values() if name in (one.name, one.beside)),
            columns=chart.columns,
            order=chart.order,
        )
        for name, chart in CHARTS.items()
        if not chart.beside
    ]
    return sorted([*tab.cards, *live], key=lambda card: card.order)


def _place(chart: type[LiveChart]) -> LivePlace:
    return LivePlace(chart.name, chart.title, chart.note, chart.legend)


CARDS: Mapping[str, list[Card]] = {name: cards_of(tab) for name, tab in TABS.items()}


def questions() -> dict[str, TabQuestions]:
    """What the poller asks for each tab, and of live ones for each comparison and length; the longest first, for who
    looks at fewer minutes is shown what was asked for them."""
    live = {
        interest(name, compare, last): _with_charts(tab, minutes, compare)
        for last, minutes in sorted(LASTS.items(), key=lambda one: -one[1])
        for compare in COMPARED
        for name, tab in TABS.items()
        if tab.live and minutes >= MINUTES_SHOWN
    }
    return live | {name: tab.ask for name, tab in TABS.items() if not tab.live}


def _with_charts(tab: type[Tab], minutes: int, compare: str) -> TabQuestions:
    def ask_all(ask: Ask, as_of: datetime, held: Mapping[str, FeedAnswer], counting: Counting, /) -> None:
        tab.ask(ask, as_of, held, counting, minutes)
        _ask_charts(ask, as_of, minutes)
        if compare != "before":
            then, ask_then = as_of - COMPARED[compare], partial(ask, then=compare)
            tab.ask_then(ask_then, then, counting)
            _ask_charts(ask_then, then, minutes)

    return ask_all


def _ask_charts(ask: Ask, as_of: datetime, minutes: int) -> None:
    for question in dict.fromkeys(chart.question for chart in CHARTS.values()):
        ask(question, since=first_minute(as_of, minutes), as_of=as_of)
