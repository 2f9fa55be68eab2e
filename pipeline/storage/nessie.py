"""A client of Nessie's API v2: branches, commits, and where each table's metadata lies at a commit.

Nessie's other door, its Iceberg REST catalog, shows one snapshot without a past; nothing here goes through it.
Described at https://projectnessie.org/develop/rest/.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import urllib3

from lakehouse.tables import SCHEMA

MAIN = "main"
PAGE = 1000


class NessieError(Exception):
    """Nessie refused; the message is its own, with the address."""


class NessieDown(NessieError):
    """Nessie cannot be reached, or answers that it cannot serve now."""


class NessieConflict(NessieError):
    """Somebody else moved the branch, or changed the same table."""


class NessieGone(NessieError):
    """No such branch, tag or commit."""


@dataclass(frozen=True, slots=True)
class TableAt:
    """A table at a commit. `id` is Nessie's own of the table; the rest is the table's current metadata."""

    id: str
    metadata_location: str
    snapshot_id: int
    schema_id: int
    spec_id: int
    sort_order_id: int


@dataclass(frozen=True, slots=True)
class HistoryCommit:
    """A commit in a branch's history; committed_at is Nessie's clock, UTC, as authored_at is where it is known.

    `tables`, where asked for: metadata locations of the tables of our schema that it changed, by name.
    """

    hash: str
    committed_at: datetime
    message: str
    tables: Mapping[str, str] = field(default_factory=dict)
    author: str | None = None
    authored_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A branch or tag and its commit."""

    name: str
    type: str
    hash: str


class Nessie:
    """One Nessie server. Any thread may call any method; each raises NessieDown when it cannot be reached."""

    def __init__(self, uri: str, *, timeout_s: float = 10.0, connections: int = 8) -> None:
        self.uri = uri.rstrip("/")
        self._http = urllib3.PoolManager(
            maxsize=connections,
            timeout=urllib3.Timeout(connect=2.0, read=timeout_s),
            # A connection that the server has closed while idle is opened again; nothing else is tried twice.
            retries=urllib3.Retry(total=1, connect=0, read=0, status=0, redirect=0, other=1),
        )

    def close(self) -> None:
        self._http.clear()

    # Reading -------------------------------------------------------------------------------------------------------

    def head(self, name: str = MAIN) -> str:
        """The commit of a branch or tag. Raises NessieGone where there is none of that name."""
        return str(self._ask("GET", f"trees/{_ref(name)}")["reference"]["hash"])

    def references(self) -> list[Reference]:
        """All branches and tags."""
        return [
            Reference(item["name"], item["type"], item["hash"])
            for page in self._pages("trees")
            for item in page["references"]
        ]

    def tables(self, commit: str, name: str = MAIN) -> dict[str, TableAt]:
        """The tables of our schema at a commit of a branch, by name."""
        found = {}
        for page in self._pages(f"trees/{_ref(name, commit)}/entries", content="true"):
            for entry in page["entries"]:
                elements, content = entry["name"]["elements"], entry.get("content")
                if content and content["type"] == "ICEBERG_TABLE" and elements[:-1] == [SCHEMA]:
                    found[str(elements[-1])] = TableAt(
                        content["id"],
                        content["metadataLocation"],
                        content["snapshotId"],
                        content["schemaId"],
                        content["specId"],
                        content["sortOrderId"],
                    )
        return found

    def contents(self, commit: str, name: str = MAIN) -> dict[tuple[str, ...], dict[str, Any]]:
        """Everything at a commit of a branch or tag, by key: tables of any schema, namespaces, views."""
        return {
            tuple(entry["name"]["elements"]): entry["content"]
            for page in self._pages(f"trees/{_ref(name, commit)}/entries", content="true")
            for entry in page["entries"]
        }

    def history(
        self,
        name: str = MAIN,
        *,
        commit: str | None = None,
        limit: int | None = None,
        where: str | None = None,
        page: int = PAGE,
        changes: bool = False,
    ) -> Iterator[HistoryCommit]:
        """Commits of a branch, newest first, from `commit` or its head on; `where` is a filter in CEL.

        `page` are asked for at a time (at most `limit`); `changes`: with the tables that each changed.
        """
        parameters = {"max-records": str(min(limit or page, page))} | ({"filter": where} if where else {})
        if changes:
            parameters["fetch"] = "ALL"
        left = limit
        for answer in self._pages(f"trees/{_ref(name, commit)}/history", **parameters):
            for entry in answer["logEntries"]:
                meta = entry["commitMeta"]
                moment = datetime.fromisoformat(meta["commitTime"]).astimezone(UTC)
                authors, authored_at = meta.get("authors") or (None,), meta.get("authorTime")
                yield HistoryCommit(
                    meta["hash"],
                    moment,
                    meta["message"],
                    _changed(entry.get("operations") or ()),
                    authors[0],
                    authored_at and datetime.fromisoformat(authored_at).astimezone(UTC),
                )
                if left is not None:
                    left -= 1
                    if left <= 0:
                        return

    def ancestor(self, source: str, commit: str, name: str = MAIN) -> str | None:
        """The newest commit that both `source`, at `commit`, and the branch `name` come from; None without one."""
        body = {
            "fromRefName": source,
            "fromHash": commit,
            # A merge that is only thought of, and in which nothing conflicts.
            "defaultKeyMergeMode": "FORCE",
            "dryRun": True,
        }
        try:
            answer = self._ask("POST", f"trees/{_ref(name, self.head(name))}/history/merge", body)
        except NessieGone:
            return None
        return str(answer["commonAncestor"]) if answer.get("commonAncestor") else None

    # Writing -------------------------------------------------------------------------------------------------------

    def create(self, name: str, commit: str, source: str = MAIN, kind: str = "BRANCH") -> None:
        """A new branch or tag at a commit of `source`. Raises NessieConflict where the name is taken."""
        body = {"type": "BRANCH", "name": source, "hash": commit}
        self._ask("POST", f"trees?name={quote(name, safe='')}&type={kind}", body)

    def delete(self, name: str, commit: str, kind: str = "BRANCH") -> None:
        """Delete a branch or tag that is at `commit`; one that is gone already is no error."""
        try:
            self._ask("DELETE", f"trees/{_ref(name, commit)}?type={kind}")
        except NessieGone:
            return

    def assign(self, name: str, commit: str, to: str, source: str = MAIN) -> None:
        """Move a branch from `commit` to the commit `to` of `source`."""
        self._ask("PUT", f"trees/{_ref(name, commit)}?type=BRANCH", {"type": "BRANCH", "name": source, "hash": to})

    def merge(self, source: str, commit: str, expected: str, message: str, name: str = MAIN) -> str:
        """Make what `source` holds at `commit` part of the branch `name`, which is at `expected`: its new commit.

        Raises NessieConflict when the branch has the same tables changed since.
        """
        body = {
            "fromRefName": source,
            "fromHash": commit,
            "message": message,
            "defaultKeyMergeMode": "NORMAL",
        }
        answer = self._ask("POST", f"trees/{_ref(name, expected)}/history/merge", body)
        if not answer.get("wasApplied"):
            raise NessieConflict(f"{self.uri}: {source} was not merged into {name}: {json.dumps(answer)[:300]}")
        return str(answer["resultantTargetHash"])

    def commit(
        self, name: str, expected: str, tables: Mapping[str, TableAt], message: str, namespaces: Sequence[str] = ()
    ) -> str:
        """Put tables (and namespaces) into a branch in one commit: its new commit. A new table has the id ''."""
        operations: list[dict[str, Any]] = [
            {
                "type": "PUT",
                "key": {"elements": [namespace]},
                "content": {"type": "NAMESPACE", "elements": [namespace], "properties": {}},
            }
            for namespace in namespaces
        ]
        for table, at in tables.items():
            content = {
                "type": "ICEBERG_TABLE",
                "metadataLocation": at.metadata_location,
                "snapshotId": at.snapshot_id,
                "schemaId": at.schema_id,
                "specId": at.spec_id,
                "sortOrderId": at.sort_order_id,
            }
            if at.id:
                content["id"] = at.id
            operations.append({"type": "PUT", "key": {"elements": [SCHEMA, table]}, "content": content})
        body = {"commitMeta": {"message": message}, "operations": operations}
        return str(self._ask("POST", f"trees/{_ref(name, expected)}/history/commit", body)["targetBranch"]["hash"])

    def put(
        self, name: str, expected: str, contents: Mapping[tuple[str, ...], Mapping[str, Any] | None], message: str
    ) -> str:
        """Put contents of any kind, as `contents` answers them, into a branch in one commit; None deletes."""
        operations = [
            {"type": "PUT", "key": {"elements": list(key)}, "content": dict(content)}
            if content is not None
            else {"type": "DELETE", "key": {"elements": list(key)}}
            for key, content in contents.items()
        ]
        body = {"commitMeta": {"message": message}, "operations": operations}
        return str(self._ask("POST", f"trees/{_ref(name, expected)}/history/commit", body)["targetBranch"]["hash"])

    # The wire ------------------------------------------------------------------------------------------------------

    def _pages(self, path: str, **parameters: str) -> Iterator[Any]:
        token = ""
        while True:
            query = {name: value for name, value in {**parameters, "page-token": token}.items() if value}
            text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
            page = self._ask("GET", f"{path}?{text}" if text else path)
            yield page
            if not page.get("hasMore"):
                return
            token = page["token"]

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            answer = self._http.request(method, f"{self.uri}/{path}", body=data, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise NessieDown(f"Nessie at {self.uri} cannot be reached: {error}") from None
        if answer.status < 300:
            return json.loads(answer.data) if answer.data else {}
        try:
            reason = str(json.loads(answer.data).get("message"))
        except (ValueError, AttributeError):
            reason = answer.data[:200].decode(errors="replace")
        text = f"Nessie at {self.uri} answers {answer.status} to {method} {path.partition('?')[0]}: {reason}"
        match answer.status:
            case 404:
                raise NessieGone(text)
            case 409:
                raise NessieConflict(text)
            case 429 | 502 | 503 | 504:
                raise NessieDown(text)
            case _:
                raise NessieError(text)


def _changed(operations: Sequence[Any]) -> dict[str, str]:
    """Metadata location by name of the tables of our schema that a commit put."""
    found = {}
    for operation in operations:
        elements, content = operation["key"]["elements"], operation.get("content") or {}
        if elements[:-1] == [SCHEMA] and content.get("type") == "ICEBERG_TABLE":
            found[str(elements[-1])] = str(content["metadataLocation"])
    return found


def _ref(name: str, commit: str | None = None) -> str:
    """A branch or tag in a path. Nessie wants slashes in names as they are, percent-encoded."""
    return quote(name, safe="") + (f"@{commit}" if commit else "")
