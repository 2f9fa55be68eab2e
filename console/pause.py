"""A page that stands still under the eye: what it shows meanwhile, and what is new since. No moment of a URL: who opens
the same address sees now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from console.choices import FAILURES
from console.drill.finding import FIND
from console.feed.asker import Got, Want, want
from console.feed.pins import Pin
from console.feed.questions import whole_minute
from console.parts import Part, iso_ms
from console.view import View


class Pause:
    """`parts` are those of the tab as it was paused with a view at `pin`; once it is `turned`, it shows other rows of
    that moment. What is new is counted by minutes, so that all who paused in the same one ask alike."""

    def __init__(self, parts: Mapping[str, Part], pin: Pin | None, view: View) -> None:
        self.parts = parts
        self.pin = pin
        self.turned = False
        self._view = view
        self._before: dict[str, int] | None = None
        self._since: dict[str, int] | None = None

    def turn(self, view: View, *, finds: bool) -> bool:
        """Go to another view. False where it would no longer stand still: all but the zone, and where the tab `finds`,
        the text looked for, order and page of rows, is another choice."""
        before, self._view = self._view, view
        if replace(view, zone=before.zone) == before:
            return True
        self.turned = finds and _without_rows(view) == _without_rows(before)
        return self.turned

    def part(self, newest: Pin | None, answer: Callable[[Want], Got | None]) -> Part:
        """Since when, and how many orders and errors came meanwhile; null while nobody knows yet."""
        if self.pin is not None and newest is not None:
            self._before = self._before or self._count(self.pin, self.pin, answer)
            self._since = self._count(self.pin, newest, answer) or self._since
        new = None
        if self._before is not None and self._since is not None:
            new = {name: max(0, count - self._before[name]) for name, count in self._since.items()}
        return {"at": iso_ms(self.pin.as_of) if self.pin else None, "new": new}

    @staticmethod
    def _count(paused: Pin, pin: Pin, answer: Callable[[Want], Got | None]) -> dict[str, int] | None:
        """Orders and errors of the minutes from the one that was paused in, as a commit knows them."""
        since = whole_minute(paused.as_of)
        got = answer(want("minutes", pin.commit, since=since, as_of=max(pin.as_of, paused.as_of)))
        if got is None or got.table is None:
            return None
        counts = {"orders": 0, "errors": 0}
        for row in got.table.to_pylist():
            if row["series"] == "orders" or (row["series"] == "errors" and row["part"] in FAILURES):
                counts[row["series"]] += int(row["n"])
        return counts


def _without_rows(view: View) -> View:
    """A view without what says which of its rows are shown, and in what order."""
    return replace(view.filtered(FIND.name, ()), zone="local", sort="", page=1)
