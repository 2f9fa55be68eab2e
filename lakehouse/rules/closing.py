"""Which minutes close at a moment, and which of them may be judged. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lakehouse.rules.minute import MINUTE, ceil_minute, floor_minute
from lakehouse.rules.moment import Moment
from lakehouse.rules.state import RuleState

# A minute closes this long after its end, so that events on their way are in.
CLOSING_DELAY = timedelta(seconds=10)
# After a time when the log could not be read, producers send what they kept: minutes that are not judged either.
SETTLING = 2 * MINUTE
# A silence counts while it is watched: after a longer pause of ingest it counts anew, or every morning's start of a
# laptop would tell of the night.
WATCHED_WITHIN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Closing:
    """Minutes that close now.

    ends: (end, whether it is judged) in order; a run of unjudged ones may be one entry.
    seen_since: before this nothing was seen, for a rule whose verdict is on more than the minute itself; else None.
    """

    ends: Sequence[tuple[datetime, bool]] = ()
    seen_since: datetime | None = None

    @property
    def judged(self) -> list[datetime]:
        return [end for end, judged in self.ends if judged]


NONE = Closing()


def closed_to(topics: Sequence[str], moment: Moment) -> datetime | None:
    """End of the newest minute that is closed on all of these topics, None while one of them is unknown."""
    read_to = [moment.read_to.get(topic) for topic in topics]
    known = [time for time in read_to if time is not None]
    if len(known) < len(read_to):
        return None
    # Past, not at: hence the microsecond.
    return floor_minute(min(known) - CLOSING_DELAY - timedelta(microseconds=1))


def closing(
    clock: RuleState | None,
    moment: Moment,
    topics: Sequence[str],
    *,
    watches: bool,
    looks_back: timedelta,
    max_lookback: timedelta,
) -> Closing:
    """The minutes past the clock of a rule that watches or looks back so (see MinuteRule) which close now."""
    newest = closed_to(topics, moment)
    if clock is None or clock.judged_to is None or newest is None:
        return NONE
    done, seen_since = clock.judged_to, clock.inside_since
    if done >= newest and not moment.unwatched and not any(moment.unreadable.values()):
        return NONE  # as at nearly every tick
    ends: list[tuple[datetime, bool]] = []
    blind = [
        (floor_minute(start), max(ceil_minute(end), floor_minute(start) + MINUTE) + SETTLING)
        for topic in topics
        for start, end in moment.unreadable.get(topic, ())
    ]
    oldest = moment.now - max_lookback
    if watches:
        oldest = max(oldest, moment.now - WATCHED_WITHIN)
        blind += [(floor_minute(start), ceil_minute(end)) for start, end in moment.unwatched]
    if done + MINUTE < oldest:
        # In one step: years may have passed.
        skipped = newest if watches else min(newest, floor_minute(oldest - timedelta(microseconds=1)))
        if skipped > done:
            ends.append((skipped, False))
            done = seen_since = skipped
    while done < newest:
        seen = not any(start < done + MINUTE and done < end for start, end in blind)
        done += MINUTE
        if not seen:
            seen_since = done
        ends.append((done, seen and (seen_since is None or done - looks_back >= seen_since)))
    # The blind minutes ahead are closed beforehand, so that a restart does not forget them.
    ahead = max((end for start, end in blind if start <= done < end), default=None)
    if ahead is not None:
        ends.append((ahead, False))
        seen_since = ahead
    return Closing(ends, seen_since if looks_back > MINUTE else None)
