"""What all live charts draw of one snapshot: found once, shared by all sessions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa

from console.feed.compared import then_of
from console.feed.minutes import Series, last_of, rows_since, starts_of
from console.feed.questions import first_minute
from console.feed.snapshot import FeedSnapshot
from console.live_chart import THEN, whole_of
from console.parts import Part, SharedPart
from console.tabs import CHARTS
from console.view import LAST_WORDS, LASTS

logger = logging.getLogger(__name__)


class LiveHour(NamedTuple):
    """The minutes of a chart: their starts, and a value each of every column."""

    starts: tuple[datetime, ...]
    series: Mapping[str, Series]


# Sessions look at the same snapshot, and most of them alike: the first pays.
@lru_cache(maxsize=16)
def live_hours(snapshot: FeedSnapshot, compare: str = "before", last: str = "1h") -> Mapping[str, LiveHour]:
    """By chart, the `last` minutes; a chart whose question was never answered has none. Compared, its series THEN is of
    as long ago."""
    minutes = LASTS[last]
    found: dict[str, LiveHour] = {}
    before = then_of(snapshot, compare)
    for name, chart in CHARTS.items():
        try:
            series = chart.series(snapshot)
            then = chart.series(before) if _is_of(snapshot, before, chart.question) else None
        except Exception:
            # One broken chart must not keep the others from their news.
            logger.exception("the values of %s could not be read", name)
            continue
        if series is not None:
            beside = {} if then is None else {THEN: whole_of(chart.values, then)}
            values = {column: last_of(each, minutes) for column, each in {**series, **beside}.items()}
            found[name] = LiveHour(starts_of(snapshot.answers[chart.question].as_of, minutes), values)
    return found


def rows_behind(name: str, snapshot: FeedSnapshot, last: str) -> pa.Table | None:
    """The rows of the minutes that a chart shows; None before its question was answered."""
    answer = snapshot.answers.get(CHARTS[name].question)
    return rows_since(answer.table, first_minute(answer.as_of, LASTS[last])) if answer else None


def _is_of(snapshot: FeedSnapshot, before: FeedSnapshot, question: str) -> bool:
    """Whether a question was asked of both times at one commit: what was asked when somebody last compared is not."""
    now, then = snapshot.answers.get(question), before.answers.get(question)
    return now is not None and then is not None and now.commit == then.commit


@lru_cache(maxsize=8)
def empty_part(snapshot: FeedSnapshot, last: str = "1h") -> Part:
    """What each chart says in place of minutes without any figure; null where it has some."""
    words = {
        name: None if any(map(any, hour.series.values())) else CHARTS[name].empty.replace("{last}", LAST_WORDS[last])
        for name, hour in live_hours(snapshot, last=last).items()
    }
    return SharedPart(words)
