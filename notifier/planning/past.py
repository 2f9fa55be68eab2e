"""What was before a change of the board, beside what is loaded for it: asked where it matters."""

from __future__ import annotations


class NoPast:
    """That of a ledger in which nothing was."""

    def has_thread(self, thread_id: str) -> bool:
        """Whether there was a thread of this key."""
        return False

    def has_called(self, thread_id: str, step: str, since_ms: int, least: int) -> bool:
        """Whether a thread was told of a step of escalation since then, of an incident of this rank or a worse."""
        return False

    def has_taken(self, thread_id: str) -> bool:
        """Whether somebody has an open incident of it."""
        return False
