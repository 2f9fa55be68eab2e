"""What a tab says of itself: its place among the others, its filters, its cards and lists. Drawn by page.html and
static/*.js from this alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from console.feed.questions import MINUTES_SHOWN, Ask
from console.feed.snapshot import FeedAnswer
from lakehouse.kpis import Counting


@dataclass(frozen=True)
class TabFilter:
    """A choice of values, a parameter of the URL. With `choices` a value is one of them; without, any text.

    `default` are the values that hold while the URL names none; without a default all do. A `search` is one text, typed
    into a field that says so.
    """

    name: str
    choices: tuple[str, ...] = ()
    default: tuple[str, ...] = ()
    search: str = ""


_FIT_ON_A_PHONE = 4
"""So many columns of a list stand beside each other on 390 px, where only the first of them is long."""


@dataclass(frozen=True)
class ListColumn:
    """A column of a list: `field` of its rows, under `head`.

    A badge has a dot in the colour of its word among those of `of` (severity, status); a link leads to the row's
    `href`. `hover` is shown on hover, with fields of the row in braces. `css` is a class of the cell: wide takes what
    room there is, spare is left out on a phone, state is the state of an incident. `sort` is the column of the tables
    that the rows can be ordered by (drill.ordering). A `ranged` link leads there with the range that is
    chosen, which its row does not name: rows stay what they are when another is. `leads` is the field of the row that
    holds a link's address.
    """

    head: str
    field: str
    kind: Literal["text", "number", "time", "badge", "link"] = "text"
    of: str = ""
    hover: str = ""
    css: str = ""
    sort: str = ""
    ranged: bool = False
    leads: str = "href"


@dataclass(frozen=True)
class RowList:
    """A list of rows, filled by the part `list.NAME`: {"rows": [{"key", …}], "produced_at", "words", "more", "empty"}.

    `empty` is said without any row, or what the part has of that name; {soon} in it becomes how soon one would appear.
    With `choose`, a click on a row puts its key into that parameter of the URL (a filter's name, or incident), and the
    row that is `chosen` stands out. What `exports` names of the tab's answers can be taken as a file, or without it the
    rows as they are shown; `also` names those of which rows or words are made too: where one could not be asked, the
    list says so. Of a list that is `whole` a click on a row shows all of its fields; its keys are event_key, or its
    rows have that as `event`.
    A `long` list scrolls by itself; `items` are drawn below each other instead of in a table, as incidents are on the
    Overview. `note` stands beside the title until a message brings words.
    """

    name: str
    title: str
    columns: tuple[ListColumn, ...]
    empty: str
    note: str = ""
    items: bool = False
    choose: str = ""
    long: bool = False
    exports: str = ""
    also: tuple[str, ...] = ()
    whole: bool = False
    kind: ClassVar[str] = "list"

    @property
    def needs(self) -> tuple[str, ...]:
        """The tab's answers that it is made of."""
        return (*((self.exports,) if self.exports else ()), *self.also)

    @property
    def stacks(self) -> bool:
        """Whether a row is too wide for a phone, and takes several lines there."""
        long = [column.css == "wide" for column in self.columns if column.css != "spare"]
        return len(long) > _FIT_ON_A_PHONE or any(long[1:])


@dataclass(frozen=True)
class ChartPlace:
    """Where a drill-down tab draws a chart. `empty` is said in its stead where its answer has no row; `of` names that
    among the tab's, `also` the others that it is drawn from. `chooses` is the filter whose values its bars are."""

    name: str
    title: str
    note: str = ""
    of: str = ""
    empty: str = "Nothing of this lies in the range."
    also: tuple[str, ...] = ()
    chooses: str = ""
    kind: ClassVar[str] = "chart"

    @property
    def needs(self) -> tuple[str, ...]:
        """The tab's answers that it is drawn from."""
        return (*((self.of,) if self.of else ()), *self.also)


@dataclass(frozen=True)
class LivePlace:
    """Where a live chart stands. `legend` are words with dots in the colours of the severities or statuses they are."""

    name: str
    title: str
    note: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    kind: ClassVar[str] = "live"


@dataclass(frozen=True)
class OpenedPlace:
    """Where a live chart of a board stands: built when its tab is opened. What its colours are comes with its parts."""

    name: str
    title: str
    note: str = ""
    kind: ClassVar[str] = "live"

    @property
    def root(self) -> str:
        """The name of what holds the chart."""
        return f"place:{self.name}"


@dataclass(frozen=True)
class Card:
    """What stands together, `columns` of twelve wide. Between cards of live charts, `order` says where.

    A card with `detail` is hidden until the part `detail.NAME` shows it: {"shown", "title", "facts", "links"}, as
    static/drill.js paints it. With `acts`, what people may do about an incident stands in it: static/duty.js. Above one
    that `finds` stands the field by which the rows of a tab are looked through that has no line of filters.
    """

    blocks: tuple[RowList | ChartPlace | LivePlace | OpenedPlace, ...]
    columns: int = 12
    order: int = 0
    css: str = ""
    detail: str = ""
    acts: bool = False
    finds: bool = False


class Tab:
    """One tab, declared in a file of console/pages/ whose name is its name. The one with the least `order` is home."""

    name: ClassVar[str]
    title: ClassVar[str]
    order: ClassVar[int]
    cards: ClassVar[tuple[Card, ...]]
    filters: ClassVar[tuple[TabFilter, ...]] = ()
    live: ClassVar[bool] = False
    """Whether tiles and live charts stand on it."""
    compares: ClassVar[bool] = False
    """Whether what it shows can be compared with yesterday or last week."""
    heeds_range: ClassVar[bool] = True
    heeds_brush: ClassVar[bool] = True
    counts_open: ClassVar[bool] = False
    """Whether the number of open incidents stands beside its title."""

    def __init_subclass__(cls) -> None:
        cls.name = cls.__module__.rpartition(".")[2]

    @staticmethod
    def ask(
        ask: Ask, as_of: datetime, held: Mapping[str, FeedAnswer], counting: Counting, minutes: int = MINUTES_SHOWN
    ) -> None:
        """What the poller asks at each commit while somebody looks at the tab, once for all who do. minutes: how many
        its live charts show."""

    @staticmethod
    def ask_then(ask: Ask, as_of: datetime, counting: Counting) -> None:
        """Of that, what is asked a second time with an `as_of` of yesterday or last week, while somebody compares."""

    @classmethod
    def lists(cls) -> Iterator[RowList]:
        for card in cls.cards:
            yield from (block for block in card.blocks if isinstance(block, RowList))
