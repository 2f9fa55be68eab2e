"""What a batch tells of itself: rows of pipeline_metrics, and the page of metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import fmean
from typing import Any

from lakehouse.clock import ClockAhead
from pipeline import metrics
from pipeline.batch.draft import Draft
from pipeline.batch.log import Seen
from pipeline.batch.positions import Position, lag

EVERY_S = 60.0


class Figures:
    """Counts and seconds since they were last told.

    `feeds`: by topic of the log, the topics of ours that it feeds; what is counted of it counts for each of these.
    """

    def __init__(self, clock_ahead: ClockAhead, feeds: Mapping[str, Sequence[str]]) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._since = time.monotonic()
        self._spans = metrics.Spans()
        self._late_s: dict[str, float] = {}
        self._to_log_s: dict[str, list[float]] = {}
        self._clock_ahead = clock_ahead
        self._feeds = feeds

    @property
    def due(self) -> bool:
        return time.monotonic() - self._since >= EVERY_S

    def rows(self, draft: Draft, seen: Seen, heartbeat: bool) -> list[dict[str, Any]]:
        """Rows of pipeline_metrics: what was counted before and with this draft, lag and log ends, seconds."""
        counts = self.counts.copy()
        counts.update(draft.counts)
        figures: list[tuple[str, str, float]] = [(topic, name, float(n)) for (topic, name), n in counts.items()]
        sums: Counter[tuple[str, str]] = Counter()
        for (log_topic, _), waiting in lag(draft.positions, seen).items():
            for topic in self._fed(log_topic):
                sums[topic, "lag"] += waiting
        for (log_topic, _), ends in seen.ends.items():
            for topic in self._fed(log_topic):
                sums[topic, "log_end"] += ends.end
        figures += [(topic, name, float(n)) for (topic, name), n in sums.items()]
        if heartbeat:
            figures.append(("", "heartbeat", 1.0))
        late_s, to_log_s = self._with(draft)
        figures += [(topic, "late_seconds", seconds) for topic, seconds in late_s.items()]
        figures += [(topic, "to_log_seconds", fmean(took)) for topic, took in to_log_s.items()]
        figures += self._spans.means() + self._clock_ahead.figures()
        at = draft.ingested_at
        return [
            {"measured_at": at, "topic": topic, "metric": name, "value": value, "ingested_at": at}
            for topic, name, value in figures
        ]

    def told(self) -> None:
        """They are published."""
        self.counts.clear()
        self._since = time.monotonic()
        self._spans.clear()
        self._late_s.clear()
        self._to_log_s.clear()
        self._clock_ahead.clear()

    def count(self, draft: Draft) -> None:
        """Remember a draft's counts, here and on the page."""
        self.counts.update(draft.counts)
        self._late_s, self._to_log_s = self._with(draft)
        for (topic, outcome), number in draft.counts.items():
            if number:
                metrics.EVENTS.labels(topic, outcome).inc(number)

    def _with(self, draft: Draft) -> tuple[dict[str, float], dict[str, list[float]]]:
        """By topic, the most that an event was late (s), and each batch's mean way to the log (s), the draft's too."""
        late_s = self._late_s | {
            topic: max(seconds, self._late_s.get(topic, 0.0)) for topic, seconds in draft.late_s.items()
        }
        to_log_s = self._to_log_s | {
            topic: [*self._to_log_s.get(topic, ()), took] for topic, took in draft.to_log_s.items()
        }
        return late_s, to_log_s

    def published(self, draft: Draft, as_of: datetime | None) -> float:
        """A publish went through; returns its seconds."""
        seconds = time.perf_counter() - draft.began
        if draft.counts:
            self._spans.add(draft.phases, seconds)
        metrics.published(as_of)
        return seconds

    def show_lag(self, positions: Mapping[tuple[str, int], Position], seen: Seen) -> None:
        metrics.show_lag(lag(positions, seen), self._fed)

    def _fed(self, log_topic: str) -> Sequence[str]:
        return self._feeds.get(log_topic, (log_topic,))
