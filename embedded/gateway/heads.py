"""Which commit a statement sees."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from embedded.gateway.ahead import Ahead
from embedded.gateway.commits import Commit, Commits
from embedded.gateway.errors import Refusal, validation
from embedded.gateway.values import time_us
from embedded.gateway.versions import At
from lakehouse.dremio.client import NOTHING_PUBLISHED
from lakehouse.tables import CATALOG

_NOTHING = Commit(NOTHING_PUBLISHED, {})
_MAIN = "main"


def commit_of(commits: Commits, commit_id: str, start: int = 0) -> Commit:
    """A commit by its id. Raises Refusal for one that is not there."""
    if commit_id == NOTHING_PUBLISHED:
        return _NOTHING
    found = commits.by_id(commit_id)
    if found is None:
        raise validation(
            f"Commit '{commit_id}' not found in source {CATALOG}: it never was, or is kept no longer", start
        )
    return found


class Head:
    """The head of main, asked for once, and only by a statement that needs it; and what else a statement may name.

    version: what the session has set in main's place. moment: evaluates an expression, to us since the epoch.
    """

    def __init__(self, commits: Commits, ahead: Ahead | None, version: At | None, moment: Callable[[At], int]) -> None:
        self._commits = commits
        self._ahead = ahead
        self._version = version
        self._moment = moment

    @cached_property
    def main(self) -> Commit:
        commit = self._commits.head() or _NOTHING
        if self._ahead is not None:
            self._ahead.head(commit)
        return commit

    @cached_property
    def commit(self) -> Commit:
        """What a statement sees that names no other."""
        return self.main if self._version is None else self.at(self._version)

    def at(self, at: At) -> Commit:
        """The commit that a clause names; for a snapshot, the one from which it is looked up. Raises Refusal."""
        if at.kind == "SNAPSHOT":
            return self.commit
        if at.kind == "COMMIT":
            return commit_of(self._commits, at.value, at.start)
        if at.kind in ("TIMESTAMP", "EXPRESSION"):
            time = time_us(at.value) if at.kind == "TIMESTAMP" else self._moment(at)
            return self._by_then(at, time, self._version)
        found = self.find(at)
        if found is None and at.as_of is not None and self.find(At(at.kind, at.value)) is not None:
            raise validation(f"No commit of {at} was in force then", at.start)
        if found is None:
            name = {"REF": "Reference"}.get(at.kind, at.kind.capitalize())
            raise validation(f"{name} '{at.value}' not found in source {CATALOG}", at.start)
        return found

    def find(self, at: At) -> Commit | None:
        """The commit of a branch, tag, reference or commit; None where there is none."""
        if at.as_of is not None:
            known = self.find(At(at.kind, at.value))
            return known and self._commits.at(time_us(at.as_of), at.value)
        if at.kind in ("BRANCH", "REF") and at.value == _MAIN:
            return self.main
        found = None
        if at.kind in ("BRANCH", "REF"):
            found = self._commits.by_branch(at.value)
        if found is None and at.kind in ("TAG", "REF"):
            found = self._commits.by_tag(at.value)
        if found is None and at.kind in ("COMMIT", "REF"):
            found = _NOTHING if at.value == NOTHING_PUBLISHED else self._commits.by_id(at.value)
        return found

    def _by_then(self, at: At, time: int, version: At | None) -> Commit:
        """The commit in force at a time, of main or of the branch or tag that the session uses."""
        reference = _MAIN
        if version is not None:
            if version.kind == "COMMIT" or version.as_of is not None:
                raise validation(f"Not supported by the gateway yet: a time in a session that uses {version}", at.start)
            reference = version.value
        found = self._commits.at(time, reference)
        if found is None:
            said = f"'{at.value}'" if at.kind == "TIMESTAMP" else f"the time of {at.value}"
            raise validation(f"No commit of branch {reference} was in force at {said}", at.start)
        return found


def refuse_requested(head: Head, commits: Commits, at: At) -> Refusal:
    """Why a command cannot have the version that it names, in Dremio's words."""
    if at.kind == "COMMIT":
        return validation(f"Commit {at.value} not found in source {CATALOG}.", at.start)
    other = {"BRANCH": "TAG", "TAG": "BRANCH"}.get(at.kind)
    if other is not None and head.find(At(other, at.value)) is not None:
        return validation(f"Requested {at} in source {CATALOG} is not the requested type.", at.start)
    return validation(f"Requested {at} not found in source {CATALOG}.", at.start)
