"""A new Nessie repository from an old one.

Nessie's own store keeps every commit for ever, those of deleted branches too, and has no tool to drop them (0.99). What
one needs of it is little: where the tables are now, and where they were at each tag. So a store that has grown large is
left behind: its tags and the head of main are put into an empty one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.user_error import UserError
from pipeline.storage.nessie import MAIN, Nessie
from pipeline.storage.nessie_sweep import WORKING

Contents = dict[tuple[str, ...], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RepositoryCopied:
    """What the new repository holds: main's commit there, and how many tables, views and tags."""

    head: str
    contents: int
    tags: int


def copy_repository(old: Nessie, new: Nessie) -> RepositoryCopied:
    """Put the head of main and all tags of `old` into `new`, which must be empty. Nothing may write to either.

    Main of the new one gets a commit for each tag, oldest first, and one for the head; all have new ids and today's
    time. Raises UserError where `new` is not empty, `old` has a branch that would be lost, or main of `old` moves.
    """
    references, head = old.references(), old.head()
    branches = [r.name for r in references if r.type == "BRANCH" and r.name != MAIN and not r.name.startswith(WORKING)]
    if branches:
        raise UserError(
            f"Nessie at {old.uri} has the branches {', '.join(branches)}, which a new repository would not have; "
            "merge or delete them first."
        )
    commit = new.head()
    if new.contents(commit) or len(new.references()) > 1:
        raise UserError(f"Nessie at {new.uri} is not empty; start one with an empty store.")
    tags = [r for r in references if r.type == "TAG"]
    tags.sort(key=lambda tag: next(old.history(tag.name, commit=tag.hash, limit=1)).committed_at)
    for name, at in [*((tag.name, tag.hash) for tag in tags), (MAIN, head)]:
        have = new.contents(commit)
        changes = changes_to(have, old.contents(at, name))
        if changes:
            commit = new.put(MAIN, commit, changes, f"as {name} of the repository before")
        if name != MAIN:
            new.create(name, commit, kind="TAG")
    if old.head() != head:
        raise UserError(
            f"Main of Nessie at {old.uri} has moved meanwhile; stop what writes to it, and begin again with an empty "
            f"store at {new.uri}."
        )
    return RepositoryCopied(
        commit, sum(content["type"] != "NAMESPACE" for content in new.contents(commit).values()), len(tags)
    )


def changes_to(have: Contents, want: Contents) -> Mapping[tuple[str, ...], Mapping[str, Any] | None]:
    """What Nessie.put is given to make `want` of `have`; contents keep the ids that the new repository gave them."""
    changes: dict[tuple[str, ...], Mapping[str, Any] | None] = dict.fromkeys(have.keys() - want.keys())
    # Namespaces before what lies in them.
    for key in sorted(want, key=lambda key: (want[key]["type"] != "NAMESPACE", key)):
        plain = {name: value for name, value in want[key].items() if name != "id"}
        known = have.get(key)
        if known is None:
            changes[key] = plain
        elif plain != {name: value for name, value in known.items() if name != "id"}:
            changes[key] = {**plain, "id": known["id"]}
    return changes


def refuse_while_driver_runs(nessie: Nessie, heartbeat: timedelta, now: datetime | None = None) -> None:
    """Raises UserError while a driver seems to run: it has a working branch, and main moved within three heartbeats."""
    working = [reference.name for reference in nessie.references() if reference.name.startswith(WORKING)]
    if not working:
        return
    newest = next(nessie.history(limit=1), None)
    age = (now or datetime.now(UTC)) - newest.committed_at if newest else None
    if age is not None and age < 3 * heartbeat:
        raise UserError(
            f"A driver seems to run: main of Nessie at {nessie.uri} moved {age.total_seconds():.0f} s ago, and there "
            f"is the working branch {working[0]}. Stop it first; if it was killed, wait {3 * heartbeat.seconds} s."
        )
