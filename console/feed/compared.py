"""What now is compared with: the same questions, asked at the same commit about as long ago."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from console.feed.questions import MINUTES_SHOWN
from console.feed.snapshot import FeedSnapshot
from console.view import COMPARED, LASTS

COUNTED = ("orders", "revenue", "users", "buyers", "clicks", "errors", "refunded")


def interest(tab: str, compare: str, last: str) -> str:
    """What a viewer watches: a tab, with more than the usual minutes where those are shown (of fewer, all are asked
    for), and with what it is compared with where that is asked for apart."""
    minutes = f", {last}" if LASTS[last] > MINUTES_SHOWN else ""
    return f"{tab}{minutes}" if compare == "before" else f"{tab}{minutes} vs {compare}"


def kept_as(question: str, then: str) -> str:
    """The name of an answer in a snapshot; `then` is empty for one about now."""
    return f"{question} of {then}" if then else question


# Sessions look at the same snapshot: the first one pays.
@lru_cache(maxsize=8)
def then_of(snapshot: FeedSnapshot, compare: str) -> FeedSnapshot:
    """The answers about then, as if then were now; without any where it is not asked for apart."""
    ago, ending = COMPARED[compare], kept_as("", compare)
    answers = {
        key.removesuffix(ending): replace(answer, as_of=answer.as_of - ago)
        for key, answer in snapshot.answers.items()
        if key.endswith(ending)
    }
    as_of = snapshot.as_of and snapshot.as_of - ago
    return replace(snapshot, as_of=as_of, answers=MappingProxyType(answers))


def figures_beside(figures: Mapping[str, Any], snapshot: FeedSnapshot, compare: str) -> Mapping[str, Any]:
    """The row of `tiles` with what it is compared with in place of the five minutes before; nulls until it is there."""
    if compare == "before":
        return figures
    now, answer = snapshot.answers["tiles"], then_of(snapshot, compare).answers.get("tiles")
    # What was asked when somebody last compared is of another five minutes.
    then: Mapping[str, Any] = answer.table.to_pylist()[0] if answer and answer.commit == now.commit else {}
    return {**figures, **{f"{name}_before": then.get(name) for name in COUNTED}}
