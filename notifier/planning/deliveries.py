"""The deliveries that a change makes, adds to and drops. In memory; no clock and no I/O."""

from __future__ import annotations

from collections.abc import Mapping

from notifier.manner import Manner
from notifier.model import AlertRow, DeliveryDraft, MessageKind, Target, Thread, ThreadKind, delivery_key
from notifier.routing.decide import MuteReason


class Deliveries:
    """Of one change. manners: of all places.

    Loaded by the ledger: `waiting`, the delivery of a thread that later alerts join, of which `first_waiting` are first
    messages; threads with a delivery that tells what is when it goes: `editing`, an edit, `taking`, that somebody has
    it, `fresh`, the first message. Made: `drafts` by key; `dropped`, planned ones that have nothing to tell any more;
    `moved`, threads.
    """

    def __init__(self, now_ms: int, manners: Mapping[Target, Manner]) -> None:
        self._now_ms = now_ms
        self._manners = manners
        self.waiting: dict[str, str] = {}
        self.first_waiting: frozenset[str] = frozenset()
        self.editing: set[str] = set()
        self.taking: set[str] = set()
        self.fresh: set[str] = set()
        self.drafts: dict[str, DeliveryDraft] = {}
        self.dropped: set[str] = set()
        self.moved: set[str] = set()

    def edits(self, target: Target) -> bool:
        """Whether a root can be edited there."""
        return self._wants(target, MessageKind.EDIT)

    def takes_whole(self, target: Target) -> bool:
        """Whether a place knows only of a whole thread that somebody has it."""
        manner = self._manners.get(target)
        return manner is not None and manner.takes_whole

    def _wants(self, target: Target, kind: MessageKind) -> bool:
        """Whether the channel has a use for it; a place that is set up no more has none for anything."""
        manner = self._manners.get(target)
        return manner is not None and kind in manner.wants

    def send(
        self,
        alert: AlertRow,
        thread: Thread,
        kind: MessageKind,
        due_ms: int | None = None,
        *,
        broadcast: bool = False,
        route: str = "",
    ) -> str | None:
        """A delivery of the thread, unless its channel has no use for the kind; its key."""
        if not self._wants(thread.target, kind):
            return None
        thread.sequence += 1
        due_ms = self._now_ms if due_ms is None else due_ms
        if kind is not MessageKind.EDIT:
            thread.newest_ms = max(due_ms, thread.newest_ms or 0)
        self.moved.add(thread.thread_id)
        key = delivery_key(thread.target, thread.thread_id, kind, thread.sequence)
        self.drafts[key] = DeliveryDraft(
            key,
            thread.target,
            alert.incident_id,
            kind,
            thread.sequence,
            alert.alert_id,
            1,
            due_ms,
            thread_id=thread.thread_id,
            route=route or None,
            broadcast=broadcast,
        )
        return key

    def taken(self, alert: AlertRow, thread: Thread) -> None:
        """Somebody has incidents of it; one message tells of all that are taken until it goes."""
        if thread.thread_id not in self.taking and self.send(alert, thread, MessageKind.TAKEN):
            self.taking.add(thread.thread_id)

    def edit(self, alert: AlertRow, thread: Thread, *, at_once: bool = False) -> None:
        """The root is to say what is now; one edit tells of all that has changed until it goes.

        at_once: somebody acted, and looks at the root for an answer.
        """
        if thread.thread_id in self.editing or thread.thread_id in self.fresh or not self.edits(thread.target):
            return
        manner = self._manners[thread.target]
        every_ms = manner.digest_every_ms if thread.kind is ThreadKind.STORM else manner.edit_every_ms
        # The first message tells what is now by itself.
        began_ms = thread.edited_ms if thread.edited_ms is not None else thread.opened_ms
        due_ms = self._now_ms if at_once else max(self._now_ms, began_ms + every_ms)
        self.send(alert, thread, MessageKind.EDIT, due_ms)
        thread.edited_ms = due_ms
        self.editing.add(thread.thread_id)

    def digest(self, alert: AlertRow, thread: Thread) -> None:
        """The digest grows: by an edit, or, where there are none, by one message each digest_every_ms."""
        if self.edits(thread.target):
            self.edit(alert, thread)
            return
        held = self.waiting.get(thread.thread_id)
        if held:
            self.add(held, alert)
            return
        manner = self._manners.get(thread.target)
        every_ms = manner.digest_every_ms if manner else 0
        due_ms = max(self._now_ms, (thread.newest_ms or self._now_ms) + every_ms)
        key = self.send(alert, thread, MessageKind.MORE, due_ms)
        if key:
            self.waiting[thread.thread_id] = key

    def list(self, alert: AlertRow, target: Target, reason: MuteReason, number: int, route: str) -> str:
        """What is muted, and is listed only; its key. number: of such ones of the incident there before."""
        key = delivery_key(target, f"{alert.incident_id} {reason}", MessageKind.FIRST, number)
        self.drafts[key] = DeliveryDraft(
            key,
            target,
            alert.incident_id,
            MessageKind.FIRST,
            0,
            alert.alert_id,
            1,
            self._now_ms,
            muted=reason.why,
            detail=reason.detail or None,
            route=route,
        )
        return key

    def add(self, key: str, alert: AlertRow) -> None:
        """One more alert for a delivery that was planned before."""
        draft = self.drafts.get(key)
        if draft is not None:
            draft.alert_id = alert.alert_id
            draft.alert_count += 1
            return
        self.drafts[key] = DeliveryDraft(
            key, Target("", ""), alert.incident_id, MessageKind.MORE, 0, alert.alert_id, 1, 0, added=True
        )

    def drop(self, key: str | None) -> None:
        """A delivery that has nothing to tell any more; a first message always has."""
        if key is None or self.adds_to_first(key):
            return
        draft = self.drafts.pop(key, None)
        if draft is None or draft.added:
            self.dropped.add(key)

    def adds_to_first(self, key: str) -> bool:
        """Whether a delivery that waits is a thread's first message."""
        draft = self.drafts.get(key)
        return key in self.first_waiting or (draft is not None and draft.kind is MessageKind.FIRST)
