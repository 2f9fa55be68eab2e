"""Who runs in a demo or a stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tillwatch import supervisor

READY_WITHIN_S = 60


@dataclass(frozen=True)
class Cast:
    """Who runs, and in what the profiles differ. `log_ends` counts the messages that each topic has had."""

    title: str
    ports: Sequence[str]
    programs: Sequence[supervisor.Program]
    environment: Mapping[str, str]
    log_ends: Callable[[], Mapping[str, int]]
    is_new: Callable[[], bool]
    clean_up: str
    status: str
    sink: str = "log"
    more: Sequence[str] = ()
    laid_over: str | None = None
    ready_within_s: float = READY_WITHIN_S
    later_at_s: float = 20
    end_within_s: float = 8
    fill_words: Sequence[str] = ()
    """What the shoppers of the past are told beside their span."""
    fill_at_most: float = 8_000
    """Events of the past that are written a second: what is read of them leaves time for what happens now."""
