"""What the notifier knows of incidents, beside the rows that Dremio gave: one long poll a process, whoever looks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType

from console.feed.snapshot import now_utc
from lakehouse.oncall import WAIT_S, OnCall, OnCallError, OnCallIncident, OnCallMark
from lakehouse.user_error import UserError

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 15.0
MOST = 1000
MOST_OPEN = 2000
MARKS_KEPT = timedelta(days=1)
_NOTHING: Mapping[str, OnCallIncident] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Duty:
    """What the notifier said last. incidents: the newest, and those that are open, by id. marks: what people marked in
    the last day, the newest first. error: why it says nothing now; None where it does.

    revision: None until it has said anything.
    """

    revision: int | None = None
    incidents: Mapping[str, OnCallIncident] = field(default_factory=lambda: _NOTHING)
    error: str | None = "The notifier was not asked yet."
    marks: tuple[OnCallMark, ...] = ()


NOT_ASKED = Duty()


class DutyWatch:
    """Holds the newest Duty. open: a client, made anew while there is none. changed: called when another is there.

    Raises nothing: a notifier that does not answer is a Duty with an error, and is tried again.
    """

    def __init__(self, open: Callable[[], OnCall], changed: Callable[[], None], wait_s: float = WAIT_S) -> None:
        self._open = open
        self._changed = changed
        self._wait_s = wait_s
        self._stopping = threading.Event()
        self._pause_s = FIRST_PAUSE_S
        self.duty = NOT_ASKED

    def start(self) -> None:
        threading.Thread(target=self._run, name="on-call", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        client: OnCall | None = None
        while not self._stopping.is_set():
            try:
                client = client or self._open()
                self.look(client)
            except (OnCallError, UserError) as error:
                # A token that is wrong may be right after the notifier's next start.
                client = None
                self._failed(str(error))
            except Exception as error:
                client = None
                logger.exception("the notifier's answer could not be read")
                self._failed(
                    f"The notifier's answer could not be read ({type(error).__name__}); see the console's log."
                )

    def look(self, client: OnCall) -> None:
        """One question, answered when something has changed. Raises OnCallError."""
        before = self.duty
        known = before.revision if before.error is None else None
        found = client.incidents(limit=MOST, known=known, wait_s=self._wait_s if known is not None else 0.0)
        self._pause_s = FIRST_PAUSE_S
        if found is not None:
            listed = {each.incident_id: each for each in found.incidents}
            if len(listed) == MOST:
                # Those that are open count, however many came since. None is what an unchanged revision is answered by.
                still = client.incidents(status="open", limit=MOST_OPEN)
                listed |= {each.incident_id: each for each in still.incidents} if still else {}
            incidents = MappingProxyType(listed)
            # A mark is a revision too.
            marks = tuple(client.marks(since=now_utc() - MARKS_KEPT))
            self._take(Duty(found.revision, incidents, None, marks))

    def _failed(self, sentence: str) -> None:
        before = self.duty
        if before.error != sentence:
            logger.warning("on call: %s", sentence)
            self._take(replace(before, error=sentence))
        self._stopping.wait(self._pause_s)
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)

    def _take(self, duty: Duty) -> None:
        self.duty = duty
        self._changed()
