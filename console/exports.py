"""The rows that a page shows, at the commit that is on the screen: as a file (/export/PAGE/LIST.csv and .parquet), and
one of them whole (/row/PAGE/LIST?event=KEY)."""

from __future__ import annotations

import io
import weakref
from datetime import datetime
from typing import Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse

from console.parts import iso_ms
from console.running import running
from console.sign_in import cookie_of
from lakehouse.texts import visible

ROUTER = APIRouter()
LONGEST_FIELD = 20_000
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


def fields_of(table: pa.Table, event: str) -> list[list[str | None]] | None:
    """All fields of the row with an event_key, as [name, text, kind]; kind is time (ISO 8601, UTC) or text. None where
    there is no such row."""
    found = table.filter(pc.equal(table["event_key"], event)).to_pylist()
    if not found:
        return None

    def field(name: str, value: object) -> list[str | None]:
        if isinstance(value, datetime):
            return [name, iso_ms(value), "time"]
        return [name, None if value is None else visible(str(value), LONGEST_FIELD), "text"]

    return [field(name, value) for name, value in found[0].items()]


def _shown(request: Request, key: str, name: str) -> pa.Table | Response:
    """The answer behind a list of a page, or why whoever asks gets none."""
    if running().gate.actor(cookie_of(request.cookies)) is None:
        return PlainTextResponse("Sign in first.\n", 401)
    page = _pages.get(key)
    table = page.exported(name) if page is not None else None
    return (
        PlainTextResponse("There is nothing to export: reload the page, and try again.\n", 404)
        if table is None
        else table
    )


@ROUTER.get("/row/{key}/{name}")
async def row(request: Request, key: str, name: str, event: str) -> Response:
    """All fields of a row of a list; 404 in a sentence where it is not shown any more, 401 where somebody has to sign
    in."""
    table = _shown(request, key, name)
    if isinstance(table, Response):
        return table
    fields = fields_of(table, event) if "event_key" in table.column_names else None
    if fields is None:
        return PlainTextResponse("This row is not on the page any more.\n", 404)
    return JSONResponse({"fields": fields}, headers={"Cache-Control": "no-store"})


@ROUTER.get("/export/{key}/{name}.{kind}")
async def export(request: Request, key: str, name: str, kind: Literal["csv", "parquet"]) -> Response:
    """404 in a sentence where the page is closed, or has no such list; 401 where somebody has to sign in."""
    table = _shown(request, key, name)
    if isinstance(table, Response):
        return table
    body = await run_in_threadpool(csv_bytes if kind == "csv" else parquet_bytes, table)
    return Response(
        body,
        media_type="text/csv; charset=utf-8" if kind == "csv" else "application/vnd.apache.parquet",
        headers={"Content-Disposition": f'attachment; filename="tillwatch-{name}.{kind}"', "Cache-Control": "no-store"},
    )
