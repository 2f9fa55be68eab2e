"""What a message tells: as a browser that takes each in turn holds it, and no field twice."""

from __future__ import annotations

import json
from typing import Any

from console.message import PageMessages, text_of
from console.parts import SharedPart


class Browser:
    """Takes messages as console.js does."""

    def __init__(self) -> None:
        self.held: dict[str, Any] = {}

    def take(self, text: str) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(text)
        changed = message.get("changed", {})
        for place, fields in [*message.get("parts", {}).items(), *changed.items()]:
            before = self.held.get(place, {})
            now = {**before, **fields} if place in changed else dict(fields)
            if "rows" in fields:
                rows = {row["key"]: row for row in before.get("rows", ())}
                now["rows"] = [rows[row] if isinstance(row, str) else row for row in fields["rows"]]
            self.held[place] = now
        return message


def test_of_a_part_that_is_there_only_what_differs_is_told() -> None:
    messages, browser = PageMessages(), Browser()
    rows = [{"key": str(number), "total": f"${number}"} for number in range(3)]
    ticks: list[dict[str, Any]] = [
        {"tile.orders": {"text": "3", "state": "ok"}, "list.rows": {"rows": rows[:2], "stale": False}},
        {"tile.orders": {"text": "4", "state": "ok"}, "list.rows": {"rows": rows, "stale": False}},
        {"tile.orders": {"text": "4", "state": "ok"}, "list.rows": {"rows": rows, "stale": True}},
        {"tile.orders": {"text": "4", "state": "ok"}, "list.rows": {"rows": rows, "stale": True}},
        # Fields that are no more, and a part that has none.
        {"tile.orders": {"text": "4"}, "list.rows": {"rows": [], "stale": True, "words": "0"}},
        {"tile.orders": {}, "list.rows": {"rows": rows, "stale": False}},
    ]
    told = []
    for parts in ticks:
        told.append(browser.take(text_of(messages.next(parts))))
        assert browser.held == parts
    assert told[1]["changed"] == {"tile.orders": {"text": "4"}, "list.rows": {"rows": ["0", "1", rows[2]]}}
    assert told[2]["changed"] == {"list.rows": {"stale": True}}
    assert not {"parts", "changed"} & told[3].keys()
    assert told[4]["parts"]["tile.orders"] == {"text": "4"}


def test_the_view_is_told_whole_for_the_browser_sets_some_of_it_at_once() -> None:
    messages = PageMessages()
    messages.next({"view": {"query": "tab=orders", "without_effect": []}})
    assert messages.next({"view": {"query": "tab=errors", "without_effect": []}})["parts"] == {
        "view": {"query": "tab=errors", "without_effect": []}
    }


def test_pages_that_look_alike_share_what_is_told() -> None:
    one, other = PageMessages(), PageMessages()
    before, now = (SharedPart({"text": text, "state": "ok"}) for text in ("3", "4"))
    told = []
    for messages in (one, other):
        messages.next({"tile.orders": before})
        told.append(messages.next({"tile.orders": now})["changed"]["tile.orders"])
    assert told[0] is told[1]
    assert told[0] == {"text": "4"}


def test_a_browser_that_lacks_something_is_told_all_anew() -> None:
    messages, parts = PageMessages(), {"tile.orders": {"text": "3", "state": "ok"}}
    messages.next(parts)
    messages.forget()
    assert messages.next(parts)["parts"] == parts
    assert messages.next(parts, full=True)["parts"] == parts
