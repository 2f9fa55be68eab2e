"""One call of Flight SQL: who asks, until when, and the one way from it to the statements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from embedded.gateway.constants import Planned
from embedded.gateway.paths import Context
from embedded.gateway.sessions import FlightSession
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.statements import Statements, Streamed


@dataclass(frozen=True, slots=True)
class Asking:
    """`gone` says that nobody waits any more."""

    statements: Statements
    session: FlightSession
    gone: Callable[[], bool]

    def plan(self, sql: str, context: Context) -> Planned:
        """Schema and ticket of a statement. Raises Refusal."""
        return self.statements.plan(sql, context, self.gone, self.session.user)

    def run(self, ticket: bytes) -> Streamed:
        """The rows of a planned statement. Raises Refusal."""
        return self.statements.run(ticket, self.gone, self.session.user)

    def parameter_kinds(self, sql: str, context: Context, mark: str) -> dict[int, Kind]:
        """The types of a query's parameters, which stand in it as texts of `mark`, p and a number. Raises Refusal."""
        return self.statements.parameter_kinds(sql, context, mark, self.gone, self.session.user)

    def rows(self, sql: str) -> pa.Table:
        """The rows of a statement of the gateway's own, whatever the session has set."""
        answer = self.run(self.plan(sql, Context()).ticket)
        return pa.Table.from_batches(answer.batches, answer.schema)

    def used(self, sql: str, context: Context) -> Context | None:
        """What a session has after a USE. Raises Refusal."""
        return self.run(self.plan(sql, context).ticket).uses
