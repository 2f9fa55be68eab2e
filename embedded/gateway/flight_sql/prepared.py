"""Prepared statements: the handle carries the statement, signed; only bound values are kept here, and not for ever."""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import dataclass

import pyarrow as pa
from cachetools import TTLCache

from embedded.gateway.constants import Planned
from embedded.gateway.errors import ErrorKind, Refusal, validation
from embedded.gateway.flight_sql import parameters
from embedded.gateway.flight_sql.asking import Asking
from embedded.gateway.flight_sql.parameters import Filled, Place
from embedded.gateway.paths import Context
from embedded.gateway.seal import Seal
from embedded.gateway.statements import Statements

_BOUND_CHARACTERS = 16_000_000
_MOST_CHARACTERS = 1_000_000
_EACH = 1000  # what Python keeps for an entry, about


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement, what the session that prepared it had set, and the types of its parameters."""

    id: str
    sql: str
    context: Context
    types: tuple[str, ...]


class PreparedStatements:
    """Prepares, binds and plans. May be used from many threads.

    A handle is good for as long as the server's key is, in any session, for many clients have none that lasts. Values
    are kept `ttl_s` after they were bound, and those bound first make way for others.
    """

    def __init__(self, statements: Statements, ttl_s: float) -> None:
        self._seal: Seal = statements.seal("prepared")
        self._lock = threading.Lock()
        self._bound: TTLCache[str, tuple[str, ...]] = TTLCache(
            _BOUND_CHARACTERS, ttl_s, getsizeof=lambda values: sum(map(len, values)) + _EACH
        )

    def prepare(self, sql: str, asking: Asking) -> tuple[bytes, pa.Schema, pa.Schema | None]:
        """Handle, schema of the result, schema of the parameters (None: there are none). Raises Refusal."""
        context = asking.session.context
        types = self._types(sql, asking) if "?" in sql else ()
        prepared = Prepared(secrets.token_hex(16), sql, context, types)
        content = {"id": prepared.id, "sql": sql, "context": context.told(), "types": types}
        schema = self._without_values(prepared, asking).schema
        handle = self._seal.sealed(json.dumps(content).encode())
        return handle, schema, parameters.parameter_schema(types) if types else None

    def _types(self, sql: str, asking: Asking) -> tuple[str, ...]:
        """The types of the parameters. Raises Refusal, in Dremio's words, for one whose type nothing tells."""
        places = parameters.places_of(sql)
        if not places:
            return ()
        context = asking.session.context
        types = parameters.types_of(sql, places, lambda text, mark: asking.parameter_kinds(text, context, mark))
        if None in types:
            # What else is wrong with it is said first.
            self._plan(parameters.without_values(sql, places, types), context, asking)
            raise validation("Illegal use of dynamic parameter", places[types.index(None)].offset)
        return tuple(kind for kind in types if kind is not None)

    def opened(self, handle: bytes, used_in: str) -> Prepared:
        """What a handle stands for. Raises Refusal, in Dremio's words, for one that was not made here."""
        body = self._seal.opened(handle)
        if body is None:
            raise Refusal(ErrorKind.ARGUMENT, f"Invalid PreparedStatementHandle used in {used_in}.")
        content = json.loads(body)
        return Prepared(content["id"], content["sql"], Context.of(content["context"]), tuple(content["types"]))

    def bind(self, prepared: Prepared, table: pa.Table) -> None:
        """Keep the values of a table's one row, in place of any before. Raises Refusal."""
        takes, given = len(prepared.types), table.num_columns
        if takes != given:
            raise Refusal(ErrorKind.ARGUMENT, f"Parameters of the statement: {takes}; columns of the values: {given}.")
        if not takes:
            return
        if table.num_rows != 1:
            given_rows = "more were" if table.num_rows else "none was"
            raise Refusal(ErrorKind.UNIMPLEMENTED, f"One row of values can be bound, and {given_rows} given.")
        if table.nbytes > 4 * _MOST_CHARACTERS:
            raise _too_long()
        [row] = table.combine_chunks().to_batches()
        values = tuple(parameters.literals_of(row, prepared.types))
        if sum(map(len, values)) > _MOST_CHARACTERS:
            raise _too_long()
        with self._lock:
            self._bound[prepared.id] = values

    def close(self, prepared: Prepared) -> None:
        """Forget the values. As in Dremio a handle may be closed again, and used after it."""
        with self._lock:
            self._bound.pop(prepared.id, None)

    def is_bound(self, prepared: Prepared) -> bool:
        """Whether all is there to run it."""
        with self._lock:
            return not prepared.types or prepared.id in self._bound

    def plan(self, prepared: Prepared, asking: Asking) -> Planned:
        """Schema and ticket with the values that are bound. Raises Refusal where some are missing."""
        with self._lock:
            values = self._bound.get(prepared.id) if prepared.types else ()
        if values is None:
            raise Refusal(ErrorKind.INTERNAL, "Cannot convert RexNode to equivalent Dremio expression. RexNode: ?0")
        filled = parameters.fill(prepared.sql, self._places(prepared), values)
        return self._plan(filled, prepared.context, asking)

    def schema(self, prepared: Prepared, asking: Asking) -> pa.Schema:
        """The schema of the result while no values are bound."""
        return self._without_values(prepared, asking).schema

    def _without_values(self, prepared: Prepared, asking: Asking) -> Planned:
        filled = parameters.without_values(prepared.sql, self._places(prepared), prepared.types)
        return self._plan(filled, prepared.context, asking)

    def _places(self, prepared: Prepared) -> list[Place]:
        return parameters.places_of(prepared.sql) if prepared.types else []

    def _plan(self, filled: Filled, context: Context, asking: Asking) -> Planned:
        try:
            return asking.plan(filled.text, context)
        except Refusal as refusal:
            if refusal.start is not None:
                refusal.start = filled.original(refusal.start)
            raise


def _too_long() -> Refusal:
    return Refusal(ErrorKind.ARGUMENT, f"The values have more than {_MOST_CHARACTERS:,} characters.")
