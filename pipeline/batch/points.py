"""Named points of a batch, at which tests end the process as a power cut would."""

from __future__ import annotations

import os

POINTS = (
    "read",
    "decoded",
    "deduped",
    "dead-letters-written",
    "raw-written",
    "kpis-written",
    "alerts-written",
    "positions-written",
    "before-publish",
    "after-publish",
)
"""In the order in which a small batch comes to them. Between the last two all of it becomes visible."""

_KILL_AT, _, _KILL_AFTER = os.environ.get("_TILLWATCH_KILL_AT", "").partition(":")
_reached = 0


def reach(point: str) -> None:
    """A batch is here. `_TILLWATCH_KILL_AT=POINT:N` kills the process the Nth time that POINT is reached."""
    global _reached
    if point == _KILL_AT:
        _reached += 1
        if _reached >= int(_KILL_AFTER or 1):
            os.kill(os.getpid(), 9)
