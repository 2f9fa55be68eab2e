"""Errors around what somebody did. An error names no order and no customer: it is near them by time alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from console.choices import FAILURES
from console.feed.asker import Want, want
from console.feed.pins import Pin
from console.view import Span
from lakehouse.dremio.statement import Fragment

AROUND = timedelta(minutes=1)
SPANS_LOOKED_AT = 30
LOOKED_AT = 1000
"""Errors: more are a storm, in which one more says nothing."""
NEAREST = 10
BY_TIME = Fragment("error_ts ASC NULLS LAST, event_key", {})


def joined(spans: Iterable[Span]) -> list[Span]:
    """The same times, each once, in their order; of many the last ones."""
    found: list[Span] = []
    for since, until in sorted(spans):
        if found and since <= found[-1][1]:
            found[-1] = found[-1][0], max(until, found[-1][1])
        else:
            found.append((since, until))
    return found[-SPANS_LOOKED_AT:]


def errors_within(spans: Iterable[Span], pin: Pin, most: int = LOOKED_AT) -> dict[str, Want]:
    """What asks for the failures of these times, the first `most`, as `around`; nothing where there are no times."""
    times = joined(spans)
    if not times:
        return {}
    within = [Fragment("error_ts >= :since AND error_ts < :until", {"since": a, "until": b}) for a, b in times]
    template = " OR ".join(f"(:within_{place})" for place in range(len(within)))
    matches = Fragment(f"({template})", {f"within_{place}": one for place, one in enumerate(within)})
    return {
        "around": want(
            "error_rows", pin.commit, since=times[0][0], until=times[-1][1], severities=FAILURES, all_services=1,
            services=(), matches=matches, sorted=BY_TIME, most=most, skip=0,
        )
    }  # fmt: skip


def nearest(rows: Iterable[Mapping[str, Any]], moments: Sequence[datetime]) -> list[Mapping[str, Any]]:
    """Of errors those that came nearest to each of these moments, NEAREST of them, in the order of time."""
    errors = list(rows)
    kept: dict[str, Mapping[str, Any]] = {}
    for moment in moments:
        near = sorted(errors, key=lambda row: abs(row["error_ts"] - moment))[:NEAREST]
        kept |= {row["event_key"]: row for row in near if abs(row["error_ts"] - moment) <= AROUND}
    return sorted(kept.values(), key=lambda row: (row["error_ts"], row["event_key"]))


def near_words(rows: Sequence[Any] | None, when: str, whose: str) -> str:
    """What is said of the errors that were found, or not; `whose` they are not said to be. None: they are not asked."""
    if rows is None:
        return ""
    if not rows:
        return f"no {' or '.join(FAILURES)} {when}"
    return f"an error names no {whose}: those {when}, whosever they are"
