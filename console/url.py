"""What a page shows, as its URL says it: the codec between a query string and a View.

?tab=orders&range=24h&status=CANCELLED
?tab=orders&from=1997-01-01T00:00:00Z&to=1998-07-01T00:00:00Z&brush=1997-03-01T00:00:00Z~1997-04-01T00:00:00Z
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

TABS = ("overview", "orders", "errors", "alerts")
RANGES = {
    "live": timedelta(hours=1),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}
THEMES = ("dark", "light")
ZONES = ("local", "utc")
STATUSES = ("CREATED", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED")
SEVERITIES = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
LONGEST = timedelta(days=3660)

type Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class View:
    """A page's deliberate choices. `span` is set only for an absolute range; empty filters let all through."""

    tab: str = "overview"
    range: str = "live"
    span: Span | None = None
    theme: str = "dark"
    zone: str = "local"
    statuses: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    brush: Span | None = None
    incident: str = ""

    def query(self) -> str:
        """The query string, without `?`; choices at their default are left out, so that equal views look alike."""
        pairs: list[tuple[str, str]] = []
        if self.tab != "overview":
            pairs.append(("tab", self.tab))
        if self.span:
            pairs += [("from", moment_text(self.span[0])), ("to", moment_text(self.span[1]))]
        elif self.range != "live":
            pairs.append(("range", self.range))
        if self.theme != "dark":
            pairs.append(("theme", self.theme))
        if self.zone != "local":
            pairs.append(("zone", self.zone))
        for name, values in (
            ("status", self.statuses),
            ("product", self.products),
            ("severity", self.severities),
            ("service", self.services),
        ):
            pairs += [(name, value) for value in values]
        if self.brush:
            pairs.append(("brush", "~".join(map(moment_text, self.brush))))
        if self.incident:
            pairs.append(("incident", self.incident))
        return urlencode(pairs, safe=":~")

    def without_effect(self) -> list[str]:
        """Choices that the tab keeps for others and does not heed itself, in words."""
        kept: list[str] = []
        if self.tab == "overview" and (self.span or self.range != "live"):
            kept.append("the range from – to" if self.span else f"the range {self.range}")
        if self.tab in ("overview", "alerts") and self.brush:
            kept.append("the brushed time")
        for tab, name, values in (
            ("orders", "status", self.statuses),
            ("orders", "product", self.products),
            ("errors", "severity", self.severities),
            ("errors", "service", self.services),
        ):
            if values and tab != self.tab:
                kept.append(f"{name} {', '.join(map(_short, values[:3]))}{'…' if len(values) > 3 else ''}")
        return kept

    def bounds(self, as_of: datetime) -> Span:
        """The range as [from, to): the absolute one, else the length that ends at `as_of`."""
        return self.span or (as_of - RANGES[self.range], as_of)


def parse(query: str) -> tuple[View, list[str]]:
    """The View of a query string, and a sentence for each value that could not be used and fell back.

    Names it does not know are ignored.
    """
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.lstrip("?"), max_num_fields=200):
        given.setdefault(name, []).append(value)
    notices: list[str] = []

    def one(name: str, known: tuple[str, ...], default: str) -> str:
        value = given.get(name, [default])[-1]
        if value in known:
            return value
        notices.append(f"'{_short(value)}' is no {name}; shown is {default}.")
        return default

    def some(name: str, known: tuple[str, ...]) -> tuple[str, ...]:
        values = given.get(name, [])
        for value in values:
            if value not in known:
                notices.append(f"'{_short(value)}' is no {name}; it is left out.")
        return tuple(choice for choice in known if choice in values)

    def any_of(name: str) -> tuple[str, ...]:
        # A zero character has no place in SQL; nor has it one in an id.
        values = [value for value in given.get(name, []) if "\0" not in value]
        return tuple(sorted(set(values)))[:50]

    span: Span | None = None
    if "from" in given or "to" in given:
        span = _span(given.get("from", [""])[-1], given.get("to", [""])[-1])
        if span is None:
            notices.append("The range from and to needs two times in order, like 1997-01-01T00:00:00Z; shown is live.")
    brush: Span | None = None
    if "brush" in given:
        start, _, end = given["brush"][-1].partition("~")
        brush = _span(start, end)
        if brush is None:
            notices.append("The brushed times cannot be read; nothing is brushed.")
    incident = given.get("incident", [""])[-1]
    if not re.fullmatch(r"[0-9a-fA-F-]{0,36}", incident):
        notices.append(f"'{_short(incident)}' is no incident.")
        incident = ""
    view = View(
        tab=one("tab", TABS, "overview"),
        range="live" if span else one("range", tuple(RANGES), "live"),
        span=span,
        theme=one("theme", THEMES, "dark"),
        zone=one("zone", ZONES, "local"),
        statuses=some("status", STATUSES),
        products=any_of("product"),
        severities=some("severity", SEVERITIES),
        services=any_of("service"),
        brush=brush,
        incident=incident,
    )
    return view, notices


def moment_text(moment: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond where it has any, with Z."""
    moment = moment.astimezone(UTC)
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def _span(start: str, end: str) -> Span | None:
    try:
        since, until = _moment(start), _moment(end)
        if not timedelta(0) < until - since <= LONGEST:
            return None
    except (ValueError, OverflowError):
        return None
    return since, until


def _moment(text: str) -> datetime:
    """A time without an offset is UTC; cut to milliseconds, as Dremio keeps them."""
    moment = datetime.fromisoformat(text.strip())
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not 1900 <= moment.year <= 2200:
        raise ValueError(text)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:39]}…"
