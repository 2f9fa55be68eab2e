"""What a page shows, as its URL says it: the codec between a query string and a View.

?tab=orders&range=24h&status=CANCELLED
?tab=errors&at=2026-11-28T09:14:00Z
?tab=orders&from=1997-01-01T00:00:00Z&to=1998-07-01T00:00:00Z&brush=1997-03-01T00:00:00Z~1997-04-01T00:00:00Z
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from console.catalogue import current
from console.tabs import HOME
from console.view import COMPARED, COMPARED_WORDS, LAST_WORDS, LASTS, RANGES, THEMES, ZONES, Span, View
from lakehouse.texts import visible

YEARS = (1900, 2200)
AHEAD = timedelta(seconds=5)
"""A moment may lie so far past our clock: whoever wrote the link has another one."""
FURTHEST = timedelta(days=30)
"""No range begins later than so far ahead: a clock that is ahead stamps events of tomorrow, which can be looked at."""
LONGEST_QUERY = 4000
"""Characters of a query string. It stands in the websocket's address and in the session's token, and a header that
holds more than twice as much is refused."""
FILTER_VALUES = 50
NAMED = 3
"""Values of one parameter that could not be used and are told one by one."""
_SAFE = ":~"
CUT = "cut"
"""Says that what the URL asked for was longer."""

_DEFAULT = View(HOME)


def query(view: View) -> str:
    """A View as a query string, without `?`; choices at their default are left out, so that equal views look alike."""
    pairs: list[tuple[str, str]] = []
    if view.tab != HOME:
        pairs.append(("tab", view.tab))
    if view.span:
        pairs += [("from", moment_text(view.span[0])), ("to", moment_text(view.span[1]))]
    elif view.range != _DEFAULT.range:
        pairs.append(("range", view.range))
    if view.compare != _DEFAULT.compare:
        pairs.append(("compare", view.compare))
    if view.last != _DEFAULT.last:
        pairs.append(("last", view.last))
    if view.theme != _DEFAULT.theme:
        pairs.append(("theme", view.theme))
    if view.zone != _DEFAULT.zone:
        pairs.append(("zone", view.zone))
    pairs += [(name, value) for name in current().filters for value in view.chosen(name)]
    if view.brush:
        pairs.append(("brush", "~".join(map(moment_text, view.brush))))
    if view.incident:
        pairs.append(("incident", view.incident))
    if view.sort:
        pairs.append(("sort", view.sort))
    if view.page > 1:
        pairs.append(("page", str(view.page)))
    if view.kiosk:
        pairs.append(("kiosk", "1"))
    if view.at:
        pairs.append(("at", moment_text(view.at)))
    return urlencode(pairs, safe=_SAFE)


def link(view: View) -> str:
    """The address of a view within the page. Every link made from data goes this way, so that the data stays data."""
    return f"?{query(view)}"


def fitting(view: View) -> View:
    """The same, with as many of the chosen values of any text as a URL has room for."""
    free = [name for name, one in current().filters.items() if not one.choices]
    room = LONGEST_QUERY - len(f"&{CUT}=1")
    found = view
    for name in free:
        found = found.filtered(name, ())
    for name in free:
        for value in view.chosen(name):
            more = found.filtered(name, (*found.chosen(name), value))
            found = more if len(query(more)) < room else found
    return found


def without_effect(view: View) -> list[str]:
    """Choices that the tab keeps for others and does not heed itself, in words."""
    catalogue, kept = current(), list[str]()
    tab = catalogue.tabs.get(view.tab)
    if tab is None:
        return kept
    if not tab.heeds_range and (view.span or view.range != _DEFAULT.range):
        kept.append("the range from – to" if view.span else f"the range {view.range}")
    if not tab.heeds_brush and view.brush:
        kept.append("the brushed time")
    if not tab.compares and view.compare != _DEFAULT.compare:
        kept.append(f"the comparison with {COMPARED_WORDS[view.compare]}")
    if not tab.live and view.last != _DEFAULT.last:
        kept.append(f"the last {LAST_WORDS[view.last]} of live charts")
    heeded = {one.name for one in tab.filters}
    for name in catalogue.filters:
        values = view.chosen(name)
        if values and name not in heeded:
            kept.append(f"{name} {', '.join(map(_short, values[:3]))}{'…' if len(values) > 3 else ''}")
    return kept


def query_of(arguments: Mapping[str, list[bytes]]) -> str:
    """The query string of a request's arguments, encoded as a View encodes its own: so lengths can be compared."""
    return urlencode([(name, value) for name, values in arguments.items() for value in values], safe=_SAFE)


def parse(query: str, now: datetime | None = None, *, shop_zone: bool = True) -> tuple[View, list[str]]:
    """The View of a query string, and a sentence for each value that could not be used and fell back; with `now` also
    for times that have not come yet.

    Names it does not know are ignored, and so is a name without a value. shop_zone: whether the shop has a zone.
    """
    given: dict[str, list[str]] = {}
    # Bytes that are no text come as surrogates, which nothing else can give.
    for name, value in parse_qsl(query.lstrip("?"), errors="surrogateescape"):
        given.setdefault(name, []).append(value)
    notices: list[str] = []
    if CUT in given:
        notices.append(f"The address was longer than {LONGEST_QUERY} characters: what had no room is left out.")

    def one(name: str, known: tuple[str, ...], default: str) -> str:
        value = given.get(name, [default])[-1]
        if value in known:
            return value
        notices.append(f"'{_short(value)}' is no {name}; shown is {default}.")
        return default

    def left_out(name: str, values: list[str], why: str) -> None:
        odd = list(dict.fromkeys(values))
        notices.extend(f"'{_short(value)}' is no {name}{why}; it is left out." for value in odd[:NAMED])
        if len(odd) > NAMED:
            notices.append(f"So are {len(odd) - NAMED} more.")

    def some(name: str, known: tuple[str, ...]) -> tuple[str, ...]:
        values = given.get(name, [])
        left_out(name, [value for value in values if value not in known], "")
        return tuple(choice for choice in known if choice in values)

    def any_of(name: str) -> tuple[str, ...]:
        # A zero character and what is no text have no place in SQL, nor have they one in an id.
        values = {value for value in given.get(name, []) if "\0" not in value and _is_text(value)}
        left_out(name, [value for value in given.get(name, []) if value not in values], ", for it is not text")
        if len(values) > FILTER_VALUES:
            notices.append(f"{len(values)} values of {name} are given; the first {FILTER_VALUES} are taken.")
        return tuple(sorted(values))[:FILTER_VALUES]

    span: Span | None = None
    if "from" in given or "to" in given:
        try:
            span = _span(given.get("from", [""])[-1], given.get("to", [""])[-1])
            _not_after("from", span[0], now and now + FURTHEST)
        except ValueError as error:
            span = None
            notices.append(f"The range cannot be shown: {error}; shown is live.")
    brush: Span | None = None
    if "brush" in given:
        start, _, end = given["brush"][-1].partition("~")
        try:
            brush = _span(start, end)
        except ValueError as error:
            notices.append(f"The brushed times cannot be shown: {error}; nothing is brushed.")
    incident = given.get("incident", [""])[-1]
    if not re.fullmatch(r"[0-9a-fA-F-]{0,36}", incident):
        notices.append(f"'{_short(incident)}' is no incident.")
        incident = ""
    sort = given.get("sort", [""])[-1]
    if sort.removesuffix(".asc") not in current().sorts and sort:
        notices.append(f"'{_short(sort)}' is no column that rows are ordered by; shown is the usual order.")
        sort = ""
    page = given.get("page", ["1"])[-1]
    if not re.fullmatch(r"[1-9][0-9]{0,2}", page):
        notices.append(f"'{_short(page)}' is no page; shown is the first.")
        page = "1"
    at: datetime | None = None
    if text := given.get("at", [""])[-1].strip():
        try:
            at = _moment("at", text)
            _not_after("at", at, now and now + AHEAD)
        except ValueError as error:
            at = None
            notices.append(f"The moment cannot be shown: {error}; shown is now.")
    view = View(
        tab=one("tab", tuple(current().tabs), HOME),
        range=_DEFAULT.range if span else one("range", tuple(RANGES), _DEFAULT.range),
        span=span,
        theme=one("theme", THEMES, _DEFAULT.theme),
        zone=one("zone", ZONES if shop_zone else ZONES[:2], _DEFAULT.zone),
        filters={
            name: values
            for name, known in current().filters.items()
            if (values := some(name, known.choices) if known.choices else any_of(name))
        },
        brush=brush,
        incident=incident,
        at=at,
        kiosk=one("kiosk", ("0", "1"), "0") == "1",
        compare=one("compare", tuple(COMPARED), _DEFAULT.compare),
        last=one("last", tuple(LASTS), _DEFAULT.last),
        sort=sort,
        page=int(page),
    )
    return view, notices


def moment_text(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond where it has any, with Z."""
    moment = moment.astimezone(UTC)
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _span(start: str, end: str) -> Span:
    """Two times in order. Raises ValueError with the words that say what is wrong with them."""
    since, until = _moment("from", start), _moment("to", end)
    if since >= until:
        raise ValueError(f"'to' ({moment_text(until)}) is not after 'from' ({moment_text(since)})")
    return since, until


def _not_after(name: str, moment: datetime, last: datetime | None) -> None:
    if last is not None and moment > last:
        raise ValueError(f"'{name}' ({moment_text(moment)}) lies in the future")


def _moment(name: str, text: str) -> datetime:
    """A time without an offset is UTC; cut to milliseconds, as Dremio keeps them."""
    if not text.strip():
        raise ValueError(f"it needs two times, and '{name}' is not given")
    try:
        moment = datetime.fromisoformat(text.strip())
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"'{_short(text)}' is no time for '{name}', which is like 1997-01-01T00:00:00Z") from None
    if not YEARS[0] <= moment.year <= YEARS[1]:
        raise ValueError(f"'{name}' ({_short(text)}) lies outside the years {YEARS[0]} to {YEARS[1]}")
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _is_text(value: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _short(value: str) -> str:
    return visible(value, 40)
