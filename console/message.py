"""What a page is sent: parts by the place they fill, and of each only what differs from what the browser has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from cachetools import LRUCache

from console.catalogue import Catalogue, current
from console.feed.pins import Pin
from console.feed.snapshot import FeedSnapshot, now_utc
from console.parts import Part, SharedPart, iso_ms
from console.url import moment_text, query, without_effect
from console.view import View
from lakehouse.texts import REASON_LETTERS, visible


class PageMessages:
    """The messages of one page, and what they brought so far."""

    def __init__(self) -> None:
        self._number = 0
        self._sent: dict[str, Part] = {}

    def forget(self) -> None:
        """The browser lacks something: the next message brings all."""
        self._sent.clear()

    def next(self, parts: Mapping[str, Part], *, full: bool = False) -> dict[str, Any]:
        """What differs from what was sent, under a number by which the browser sees a gap.

        `parts` are whole; of those in `changed` it has all but the fields that are told.
        """
        told: dict[str, dict[str, Part]] = {"parts": {}, "changed": {}}
        for place, part in parts.items():
            before = None if full else self._sent.get(place)
            news = part if before is None else _news_once(place, before, part)
            # Also where nothing is new: pages that look alike then hold the same objects, and share what is found.
            self._sent[place] = part
            if news is not None:
                told["parts" if news.keys() == part.keys() else "changed"][place] = news
        self._number += 1
        return {"n": self._number, "now": iso_ms(now_utc()), **told}


def text_of(message: Mapping[str, Any]) -> str:
    """A message as JSON."""
    kinds = (
        f'"{kind}":{{{",".join(f"{json.dumps(place)}:{_text_once(part)}" for place, part in message[kind].items())}}}'
        for kind in ("parts", "changed")
        if message[kind]
    )
    return f"{{{','.join((f'"n":{message["n"]}', f'"now":"{message["now"]}"', *kinds))}}}"


# What is kept holds the parts it is about, so that they stay known by their identity.
_news: LRUCache[tuple[int, int], tuple[Part, Part, Part | None]] = LRUCache(256)
_texts: LRUCache[int, tuple[Part, str]] = LRUCache(256)


def _news_once(place: str, before: Part, part: Part) -> Part | None:
    """What is to be told of a part where `before` was told last; None where they are the same."""
    if not isinstance(part, SharedPart):
        return _news_of(place, before, part)
    key = (id(before), id(part))
    if key not in _news:
        found = _news_of(place, before, part)
        _news[key] = before, part, found if found is None else SharedPart(found)
    return _news[key][2]


def _news_of(place: str, before: Part, part: Part) -> Part | None:
    if before == part:
        return None
    # The browser has other fields, or has set some itself.
    whole = before.keys() != part.keys() or place == "view"
    news = {name: value for name, value in part.items() if whole or before[name] != value}
    if place.startswith("list.") and "rows" in news:
        # A list names rows that the browser has by their key alone.
        held = {row["key"]: row for row in before["rows"]}
        news["rows"] = [row["key"] if held.get(row["key"]) == row else row for row in part["rows"]]
    return news


def _text_once(part: Part) -> str:
    if not isinstance(part, SharedPart):
        return json.dumps(part, separators=(",", ":"))
    if id(part) not in _texts:
        _texts[id(part)] = part, json.dumps(part, separators=(",", ":"))
    return _texts[id(part)][1]


def before_all(view: View, snapshot: FeedSnapshot) -> list[str]:
    """The sentence that says why nothing lies in the chosen range, where it ends before the first event of all."""
    first = min((moment for moment in snapshot.first_events.values() if moment), default=None)
    if view.span is None or first is None or view.span[1] > first:
        return []
    return [f"Nothing is there of the range that is shown: the first event is of {moment_text(first)}."]


def head_part(snapshot: FeedSnapshot, *, viewers: int, open_incidents: int, failed: Mapping[str, str]) -> Part:
    """What the line at the top says of the feed; `failed` are tabs beside the feed's questions."""
    return {
        "commit": snapshot.commit,
        "as_of": iso_ms(snapshot.as_of),
        "fed_as_of": iso_ms(snapshot.as_of),
        "every_s": None,
        "frozen": False,
        "paused": None,
        "viewers": max(1, viewers),
        "error": snapshot.error and visible(snapshot.error, REASON_LETTERS),
        "notice": snapshot.clock_ahead or visible(snapshot.kpis_left_out, REASON_LETTERS),
        "failed": {name: visible(why, REASON_LETTERS) for name, why in {**snapshot.failed, **failed}.items()},
        "open": open_incidents,
        "open_words": f"{open_incidents} open {'incident' if open_incidents == 1 else 'incidents'}",
        "polled": snapshot.polled_at is not None,
    }


def commit_part(pin: Pin | None, every_s: float | None) -> Part:
    """What it says of the commit that is shown, and how often a tab that is paced moves on."""
    commit, as_of = (pin.commit, pin.as_of) if pin else (None, None)
    return {"commit": commit, "as_of": iso_ms(as_of), "every_s": every_s}


def boards_part() -> Part:
    """The tabs as they are now, for pages that were made before: name, title and edition each."""
    return _boards_part(current())


@lru_cache(maxsize=2)
def _boards_part(catalogue: Catalogue) -> Part:
    editions = catalogue.editions
    return SharedPart({"tabs": [[name, tab.title, editions.get(name, "")] for name, tab in catalogue.tabs.items()]})


def view_part(view: View, notices: list[str], at: datetime | None) -> Part:
    """The selection, as the controls show it; at: the moment that is shown, where that is not now."""
    return {
        # With every choice another part: the browser clears what is without effect until it is told anew.
        "query": query(view),
        "tab": view.tab,
        "range": view.range,
        "span": [iso_ms(moment) for moment in view.span] if view.span else None,
        "theme": view.theme,
        "zone": view.zone,
        "at": iso_ms(at),
        "kiosk": view.kiosk,
        "compare": view.compare,
        "last": view.last,
        "notices": notices,
        "without_effect": without_effect(view),
    }
