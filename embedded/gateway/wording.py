"""DuckDB's errors in Dremio's words.

DuckDB's texts name paths, settings, modules and other functions of its own. So a client gets a sentence of ours, with
the part of DuckDB's that is known to speak of the statement and its values alone; the whole text goes into the log.
"""

from __future__ import annotations

import logging
import re

import duckdb

from embedded.gateway.errors import (
    ErrorKind,
    Refusal,
    cancelled,
    no_function,
    out_of_memory,
    out_of_time,
    validation,
)

logger = logging.getLogger(__name__)

# What DuckDB says of values and of a statement's parts. Anything else may name what is none of a client's business.
_PLAIN = re.compile(
    r"divide by zero|The gateway does not answer .*"
    r"|Could not (convert|cast) .*"
    r"|.*\bOverflow\b.*|.*\bout of range\b.*"
    r"|(invalid )?(timestamp|date|time|decimal) .*"
    r"|(Failed to|Could not) parse string .*"
    r"|(Casting|Type) .* (failed|can't be cast).*"
    r"|More than one row returned by a subquery.*"
    r"|cannot take (square root|logarithm) .*"
    r"|(Invalid|Cannot|Could not) .*(regular expression|regex|interval|substring|pad|escape).*"
    r"|missing \S+: .*"
    # and of how a statement is built
    r"|aggregate function calls cannot be nested.*|(WHERE|GROUP BY|JOIN|HAVING|QUALIFY) .*cannot contain .*"
    r"|Set operations can only apply .*|Subquery returns \d+ columns.*|Cannot (mix|compare|cast) values of type .*"
    r"|(ORDER|GROUP BY) term out of range.*|ORDER BY .*|Duplicate alias .*|table \S+ has \d+ columns available .*"
    r"|Column .* does not exist on (left|right) side of join.*|Cannot perform .*|No function matches .*"
    r"|.* aggregates? .*|.* window functions? .*|VALUES lists must all be the same length.*",
    re.IGNORECASE,
)
_TELLTALE = re.compile(r"[/\\]|\bSET\b|(?i:python|pyarrow|duckdb|\.(parquet|csv|json|avro|db)\b)")
_MOST = 4_000
"""Letters of a text that are looked at: what a client wrote stands in it too, as long as its statement."""
_DEEP = re.compile(r"max(imum)?[ _]expression[ _]depth|recursion|nested too deep", re.IGNORECASE)


def planning_refusal(error: duckdb.Error, sql: str) -> Refusal:
    """What a client is told of a statement that cannot be planned; `sql` is the statement as it was sent."""
    text = str(error)[:_MOST]
    if match := re.search(r'Referenced column "([^"]+)" not found|does not have a column named "([^"]+)"', text):
        name = match[1] or match[2]
        return validation(f"Column '{name}' not found in any table", *place_of_name(name, sql))
    if match := re.search(r'Referenced table "([^"]+)" not found', text):
        return validation(f"Table '{match[1]}' not found", *place_of_name(match[1], sql))
    if match := re.search(r'Ambiguous reference to column name "([^"]+)"', text):
        return validation(f"Column '{match[1]}' is ambiguous", *place_of_name(match[1], sql))
    if match := re.search(r'column "([^"]+)" must appear in the GROUP BY clause', text):
        return validation(f"Expression '{match[1]}' is not being grouped", *place_of_name(match[1], sql))
    if match := re.search(r"Function with name \"?(\w+)\"? does not exist", text):
        return no_function(match[1], *place_of_name(match[1], sql))
    if match := re.search(r"argument types '(\w+)\((.*)\)'", text):
        name = match[1].upper()
        types = ", ".join(f"<{item.strip()}>" for item in match[2].split(","))
        return validation(f"Cannot apply '{name}' to arguments of type '{name}({types})'", *place_of_name(name, sql))
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException | duckdb.ParserException):
        _log("planned", error)
        return validation(_plain(text) or _too_deep(text) or "The statement cannot be planned as it is written")
    return running_refusal(error, None, 0)


def running_refusal(error: Exception, reason: str | None, timeout_s: float) -> Refusal:
    """What a client is told of a statement that fails; `reason` is why it was interrupted, if it was."""
    if reason == "timeout":
        return out_of_time(timeout_s, planning=False)
    kind = _kind_of(error)
    if reason or issubclass(kind, duckdb.InterruptException):
        return cancelled(reason or "interrupted")
    if issubclass(kind, duckdb.OutOfMemoryException):
        return out_of_memory()
    text = str(error)[:_MOST]
    said = _plain(text)
    if said and issubclass(
        kind, duckdb.ConversionException | duckdb.InvalidInputException | duckdb.OutOfRangeException
    ):
        return Refusal(ErrorKind.INTERNAL, f"FUNCTION ERROR: {said}")
    _log("run", error)
    if issubclass(kind, duckdb.IOException | duckdb.PermissionException):
        return Refusal(
            ErrorKind.INTERNAL, "DATA_READ ERROR: a file of a table cannot be read; the gateway's log names it"
        )
    if deep := _too_deep(text):
        return validation(deep)
    return Refusal(
        ErrorKind.INTERNAL, f"SYSTEM ERROR: {said or 'the statement failed; the log of the gateway says why'}"
    )


# What fails in the middle of an answer comes through Arrow, with the name of DuckDB's error in its text alone.
_NAMED: dict[str, type[Exception]] = {
    "INTERRUPT Error": duckdb.InterruptException,
    "Out of Memory Error": duckdb.OutOfMemoryException,
    "Conversion Error": duckdb.ConversionException,
    "Invalid Input Error": duckdb.InvalidInputException,
    "Out of Range Error": duckdb.OutOfRangeException,
    "IO Error": duckdb.IOException,
    "Permission Error": duckdb.PermissionException,
}


def _kind_of(error: Exception) -> type[Exception]:
    if isinstance(error, duckdb.Error):
        return type(error)
    return _NAMED.get(str(error).partition(":")[0].strip(), type(error))


def _plain(text: str) -> str:
    """The first line of a text that speaks of values and of the statement alone; empty for any other."""
    line = re.sub(r"^[A-Z][\w ]* Error: |[\x00-\x1f]", "", text.partition("\n")[0]).strip()
    return line if _PLAIN.match(line) and not _TELLTALE.search(_without_values(line)) else ""


def _without_values(line: str) -> str:
    """The line without what it quotes: values may hold anything."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "", line)


def _too_deep(text: str) -> str:
    return "The statement is nested too deeply" if _DEEP.search(text) else ""


def _log(done: str, error: Exception) -> None:
    logger.warning(
        "a statement could not be %s: %s: %s", done, type(error).__name__, " ".join(str(error).split())[:1000]
    )


def place_of_name(name: str, sql: str) -> tuple[int, int]:
    """Where a name stands first in a statement."""
    match = re.search(rf"(?<![\w]){re.escape(name)}(?![\w])", sql, re.IGNORECASE)
    return (match.start(), len(name)) if match else (0, 1)
