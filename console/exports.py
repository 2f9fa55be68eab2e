"""The rows that a page shows, as a file: /export/PAGE/LIST.csv and .parquet, at the commit that is on the screen."""

from __future__ import annotations

import io
import weakref
from typing import Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from console.running import running
from console.sign_in import cookie_of

ROUTER = APIRouter()
FORMULA = r"^[=+\-@\t\r]"
"""How a text begins that a spreadsheet would take for a formula."""


class Exports(Protocol):
    """A page, as far as its rows can be taken from it."""

    def exported(self, name: str) -> pa.Table | None:
        """The answer behind a list that is shown; None where there is none."""


_pages: weakref.WeakValueDictionary[str, Exports] = weakref.WeakValueDictionary()


def offer(key: str, page: Exports) -> None:
    """Let a page's rows be taken by whoever has its key, for as long as the page lives."""
    _pages[key] = page


def csv_bytes(table: pa.Table) -> bytes:
    """UTF-8 with a header line, times in UTC with Z. A text that would be a formula has an apostrophe before it;
    numbers stay numbers."""
    columns = [_cells(column) for column in table.columns]
    into = io.BytesIO()
    pa.csv.write_csv(pa.table(columns, names=table.column_names), into)
    return into.getvalue()


def parquet_bytes(table: pa.Table) -> bytes:
    into = io.BytesIO()
    pq.write_table(table, into)
    return into.getvalue()


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_decimal(kind):
        return column.cast(pa.string())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pc.if_else(
            pc.match_substring_regex(column, FORMULA), pc.binary_join_element_wise("'", column, ""), column
        )
    return column


@ROUTER.get("/export/{key}/{name}.{kind}")
async def export(request: Request, key: str, name: str, kind: Literal["csv", "parquet"]) -> Response:
    """404 in a sentence where the page is closed, or has no such list; 401 where somebody has to sign in."""
    if running().gate.actor(cookie_of(request.cookies)) is None:
        return PlainTextResponse("Sign in first.\n", 401)
    page = _pages.get(key)
    table = page.exported(name) if page is not None else None
    if table is None:
        return PlainTextResponse("There is nothing to export: reload the page, and try again.\n", 404)
    body = await run_in_threadpool(csv_bytes if kind == "csv" else parquet_bytes, table)
    return Response(
        body,
        media_type="text/csv; charset=utf-8" if kind == "csv" else "application/vnd.apache.parquet",
        headers={"Content-Disposition": f'attachment; filename="tillwatch-{name}.{kind}"', "Cache-Control": "no-store"},
    )
