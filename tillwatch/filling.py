"""Fills in the past while a demo or a stack runs, by shoppers beside it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.settings.base import Shared
from lakehouse.settings.dremio import DremioSettings
from lakehouse.stop import Stop
from lakehouse.user_error import UserError
from tillwatch import fill
from tillwatch.cast import READY_WITHIN_S, Cast
from tillwatch.parts import BY_NAME
from tillwatch.settings import DemoSettings
from tillwatch.terminal import note, shown

_NICE: Sequence[str] = ("nice", "-n", "10")


@dataclass
class Filler:
    """Fills in the past of one run, in a thread beside it."""

    cast: Cast
    settings: DemoSettings
    shared: Shared
    data_dir: Path
    ending: Stop
    seen: threading.Event

    def run(self, now: datetime, is_new: bool) -> None:
        def shop(span: fill.Span, in_background: bool) -> None:
            # On two cores the screen needs them first.
            while not self.seen.wait(0.2) and not self.ending.is_set():
                pass
            if self.ending.is_set():
                return
            self.shop(span, in_background)

        try:
            fill_past(self.settings, now, None if is_new else self._hours_with_rows, shop, note, self.ending)
        except (UserError, DremioError) as error:
            if not self.ending.is_set():
                note(f"the past is not filled in: {error}")

    def shop(self, span: fill.Span, in_background: bool) -> None:
        """Run shoppers over a span of the past. Raises UserError when they fail."""
        line = BY_NAME["producers"].argv(
            "shoppers",
            *("--rate", f"{self.settings.fill_rate or self.settings.rate:g}"),
            *("--from", span[0].isoformat()),
            *("--to", span[1].isoformat()),
            *("--at-most", f"{self.cast.fill_at_most:g}"),
            *("--sink", self.cast.sink),
            *self.cast.fill_words,
            *(("--flat",) if self.settings.flat else ()),
            # So that the first incident on the screen is the announced one. Seed and rate as in the live shop: the
            # same people walk on, and events that are there already are known again by their ids.
            *(() if in_background else ("--no-outages",)),
        )
        log = self.data_dir / "logs" / "fill.log"
        with log.open("ab") as out:
            child = subprocess.Popen(
                [*_NICE, *line] if in_background else line,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(self.cast.environment),
                start_new_session=True,
            )
        while child.poll() is None:
            if self.ending.wait(0.05):
                child.kill()
        if child.returncode != 0 and not self.ending.is_set():
            raise UserError(f"the shoppers ended with code {child.returncode}, see {shown(log)}.")

    def _hours_with_rows(self, start: datetime, end: datetime) -> set[datetime]:
        """Starts of the clock hours of [start, end) that have a row, in the tables or still on their way there."""
        ends = self._log_ends()
        deadline = time.monotonic() + READY_WITHIN_S
        settings = DremioSettings.load(uri=f"grpc://localhost:{self.shared.port('gateway')}")
        with Dremio(settings) as dremio:
            while True:
                try:
                    at = Counter[str]()
                    for row in dremio.ask("demo_positions").to_pylist():
                        at[row["topic"]] += row["next_offset"]
                    if all(at[topic] >= end_of for topic, end_of in ends.items()):
                        rows = dremio.ask("demo_hours_with_rows", start=start, end=end)
                        return set(rows.column("hour_start").to_pylist())
                except DremioError:
                    if time.monotonic() > deadline:
                        raise
                if time.monotonic() > deadline:
                    raise UserError("ingest did not catch up, so it is not known which hours are empty.")
                if self.ending.wait(0.5):
                    return set()

    def _log_ends(self) -> Mapping[str, int]:
        """Waits until the log can be asked. Raises UserError when it never can."""
        deadline = time.monotonic() + self.cast.ready_within_s
        while True:
            try:
                return self.cast.log_ends()
            except UserError:
                if time.monotonic() > deadline or self.ending.wait(0.5):
                    raise


def fill_past(
    settings: DemoSettings,
    now: datetime,
    hours_with_rows: Callable[[datetime, datetime], set[datetime]] | None,
    shop: Callable[[fill.Span, bool], None],
    tell: Callable[[str], None],
    ending: Stop,
) -> None:
    """Fill the last hour at once, then the older past in the background, piece by piece; only hours without any row.

    `hours_with_rows` is None for a new data directory, where nothing needs to be asked. `shop(span, in_background)`
    writes one span.
    """
    for back in fill.LOOK_BACK:
        known: set[datetime] = set()
        if hours_with_rows is not None:
            known = hours_with_rows(*fill.span_of(now, back))
        for span in fill.to_fill(now, back, known):
            if ending.is_set():
                return
            if not back:
                began = time.monotonic()
                shop(span, False)
                minutes = (span[1] - span[0]) / timedelta(minutes=1)
                if not ending.is_set():
                    tell(f"the last {minutes:.0f} minutes are filled in ({time.monotonic() - began:.0f} s)")
                continue
            for piece in fill.pieces(span, settings.fill_piece):
                shop(piece, True)
                if ending.wait(settings.fill_pause.total_seconds()):
                    return
