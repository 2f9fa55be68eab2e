"""Names of a statement, resolved in their scope: each is a table of the catalogue or something the statement defines.

A name that a WITH query gives is known below that WITH and nowhere else. Every table reference leaves with a name of
ours, so that no name of a client stands where the engine looks for a table. Columns are looked for among those of the
sources in scope; what depends on a table's columns is noted, and settled when they are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from embedded.gateway.errors import Refusal, validation
from embedded.gateway.places import place
from embedded.gateway.relations import Relation, bounds_of
from embedded.gateway.table_functions import TableFunction, path_of
from embedded.gateway.tokens import encountered
from embedded.gateway.tree import nodes_of


@dataclass(frozen=True, slots=True)
class Need:
    """A column that one of these relations must have; `start` is its place in the text."""

    column: str
    relations: frozenset[int]
    start: int

    def refusal(self) -> Refusal:
        return _no_column(self.column, (self.start, len(self.column)))


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a statement reads, and the columns that it takes for granted."""

    relations: tuple[Relation, ...]
    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a source, in small letters: those known by name, and all of these relations."""

    known: frozenset[str] = frozenset()
    relations: frozenset[int] = frozenset()

    def __or__(self, other: _Columns) -> _Columns:
        return _Columns(self.known | other.known, self.relations | other.relations)


type _Queries = Mapping[str, tuple[str, _Columns]]
"""WITH queries in scope: the name that each has for the engine, and its columns."""
type _Scope = dict[str, _Columns]
"""The sources of one SELECT by alias."""


def resolve(tree: exp.Expr, nodes: Sequence[exp.Expr], sql: str, mark: str) -> Resolved:
    """Replace every table by a mark and every WITH name by one of ours. Raises Refusal for a name nobody defines.

    `nodes` are those of the tree, which has passed tree.check. Tables are looked up by whoever knows the catalogue.
    """
    for identifier in nodes:
        if not isinstance(identifier, exp.Identifier):
            continue
        if identifier.name.startswith(mark) and not _is_of_table(identifier):
            start = place(identifier, sql)[0]
            # A dot stands before a version.
            raise encountered("AT", start - 1) if identifier.name[1] == "a" else encountered("TABLE", start)
    resolver = _Resolver(sql, mark)
    resolver.query(tree, {}, ())
    for table in nodes_of(tree):
        # Nothing above leaves one; were syntax to be added that does, no name of a client would get through.
        if isinstance(table, exp.Table) and not table.name.startswith(mark):
            raise validation("A table is not supported here", *place(table, sql))
    return Resolved(tuple(resolver.relations), tuple(resolver.needs.values()))


def _is_of_table(identifier: exp.Identifier) -> bool:
    """Whether it is a part of a table's path: only there may a version or a table function stand."""
    parent = identifier.parent
    while isinstance(parent, exp.Dot):
        parent = parent.parent
    return isinstance(parent, exp.Table)


def _no_column(name: str, where: tuple[int, int]) -> Refusal:
    return validation(f"Column '{name}' not found in any table", *where)


class _Resolver:
    def __init__(self, sql: str, mark: str) -> None:
        self._sql = sql
        self._mark = mark
        self._queries = 0
        self.relations: list[Relation] = []
        # Each column once: long statements name the same ones again and again.
        self.needs: dict[tuple[str, frozenset[int]], Need] = {}

    def query(self, node: exp.Expr, queries: _Queries, outer: Sequence[_Scope]) -> _Columns:
        """Resolve a query and all in it; its columns."""
        queries = self._with(node.args.get("with_"), queries, outer)
        if isinstance(node, exp.Select):
            return self._select(node, queries, outer)
        if isinstance(node, exp.SetOperation):
            columns = self.query(node.this, queries, outer)
            self.query(node.expression, queries, outer)
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            columns = self.query(node.this, queries, outer)
        else:
            raise validation("This kind of query is not supported", *place(node, self._sql))
        # ORDER BY and LIMIT of the whole.
        parts = (node.args.get(key) for key in ("order", "limit", "offset"))
        self._expressions((part for part in parts if part is not None), queries, ({"": columns}, *outer), frozenset())
        return columns

    def _with(self, clause: exp.Expr | None, queries: _Queries, outer: Sequence[_Scope]) -> _Queries:
        if clause is None:
            return queries
        known = dict(queries)
        for cte in clause.expressions:
            columns = _renamed(self.query(cte.this, known, outer), cte.args["alias"])
            name = cte.alias.lower()
            ours = f"{self._mark}q{self._queries}"
            self._queries += 1
            cte.args["alias"].set("this", exp.to_identifier(ours, quoted=True))
            known[name] = (ours, columns)
        return known

    def _select(self, node: exp.Select, queries: _Queries, outer: Sequence[_Scope]) -> _Columns:
        scope: _Scope = {}
        conditions: list[exp.Expr] = []
        for clause in (node.args.get("from_"), *(node.args.get("joins") or ())):
            if clause is not None:
                conditions += self._source(clause.this, scope, queries, outer)
                if isinstance(clause, exp.Join) and clause.args.get("on"):
                    conditions.append(clause.args["on"])
        named = frozenset(item.alias.lower() for item in node.expressions if isinstance(item, exp.Alias))
        rest = [
            item
            for key, value in node.args.items()
            if key not in ("with_", "from_", "joins")
            for item in (value if isinstance(value, list) else [value])
            if isinstance(item, exp.Expr)
        ]
        self._expressions([*conditions, *rest], queries, (scope, *outer), named)
        columns = _Columns(named)
        for item in node.expressions:
            if isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
                columns |= scope.get(item.table.lower(), _Columns())
            elif isinstance(item, exp.Column):
                columns |= _Columns(frozenset({item.name.lower()}))
            elif isinstance(item, exp.Star):
                for source in scope.values():
                    columns |= source
        return columns

    def _source(self, node: exp.Expr, scope: _Scope, queries: _Queries, outer: Sequence[_Scope]) -> list[exp.Expr]:
        """Take a source of FROM or JOIN into the scope; the conditions of joins inside it."""
        conditions: list[exp.Expr] = []
        joins = list(node.args.get("joins") or ())
        if isinstance(node, exp.Table):
            alias, columns = self._table(node, queries)
        elif isinstance(node, exp.Values):
            self._expressions(node.expressions, queries, outer, frozenset())
            width = max((len(item.expressions) for item in node.expressions), default=0)
            alias, columns = node.alias.lower(), _Columns(frozenset(f"expr${place}" for place in range(width)))
        elif isinstance(node, exp.Unnest):
            self._expressions(node.expressions, queries, (), frozenset())
            alias, columns = node.alias.lower(), _Columns()
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            alias, columns = node.alias.lower(), self.query(node, queries, outer)
        elif isinstance(node, exp.Subquery):
            # Joined tables in brackets.
            inner: _Scope = {}
            conditions += self._source(node.this, inner, queries, outer)
            if not node.alias:
                scope.update(inner)
                return conditions + self._joined(joins, scope, queries, outer)
            alias, columns = node.alias.lower(), _Columns()
            for source in inner.values():
                columns |= source
        else:
            raise validation("This kind of source is not supported", *place(node, self._sql))
        # Sources without a name are told apart, for a star takes them all.
        scope[alias or f" {len(scope)}"] = _renamed(columns, node.args.get("alias"))
        return conditions + self._joined(joins, scope, queries, outer)

    def _joined(
        self, joins: Iterable[exp.Expr], scope: _Scope, queries: _Queries, outer: Sequence[_Scope]
    ) -> list[exp.Expr]:
        conditions: list[exp.Expr] = []
        for join in joins:
            conditions += self._source(join.this, scope, queries, outer)
            if join.args.get("on"):
                conditions.append(join.args["on"])
        return conditions

    def _table(self, table: exp.Table, queries: _Queries) -> tuple[str, _Columns]:
        """Alias and columns of a table; it is a WITH query's in scope, else the catalogue's."""
        parts = table.parts
        path = [part.name for part in parts]
        at = int(path.pop()[2:]) if path[-1].startswith(f"{self._mark}a") else None
        alias = table.args.get("alias") or exp.TableAlias()
        start = place(parts[len(path) - 1], self._sql)[0]
        for number, part in enumerate(path):
            if part.startswith(f"{self._mark}a") or (number and part.startswith(f"{self._mark}f")):
                raise encountered("AT" if part[1] == "a" else "TABLE", start)
        function = None
        if path[0].startswith(f"{self._mark}f"):
            call = TableFunction(*path[0][2:].split(" ", 1))
            function, path = call.name, list(path_of(call, start))
            if not alias.name:  # a name that no statement can say
                alias.set("this", exp.to_identifier(f"{self._mark}n{len(self.relations)}", quoted=True))
        if not alias.name:
            alias.set("this", exp.to_identifier(path[-1], quoted=True))
        name = alias.name.lower()
        joins = {"joins": table.args["joins"]} if table.args.get("joins") else {}
        if function is None and at is None and len(path) == 1 and path[0].lower() in queries:
            ours, columns = queries[path[0].lower()]
        else:
            number = len(self.relations)
            ours, columns = f"{self._mark}r{number}", _Columns(relations=frozenset({number}))
            # With a list of columns its names are not those of the files.
            bounded = function is None and not alias.args.get("columns")
            bounds = bounds_of(table, name, path[-1], self._mark) if bounded else ()
            self.relations.append(Relation(tuple(path), at, bounds, start, function))
        table.replace(exp.Table(this=exp.to_identifier(ours, quoted=True), alias=alias, **joins))
        return name, columns

    def _expressions(
        self, nodes: Iterable[exp.Expr], queries: _Queries, scopes: Sequence[_Scope], named: frozenset[str]
    ) -> None:
        """Resolve the columns in expressions, and the queries; `named` are the SELECT's own aliases."""
        visible = _Columns(named)
        for scope in scopes:
            for source in scope.values():
                visible |= source
        for node in nodes:
            inner: list[exp.Query] = []
            for item in nodes_of(node, but=exp.Query):
                if isinstance(item, exp.Column):
                    self._column(item, scopes, visible)
                elif isinstance(item, exp.Query):
                    inner.append(item)
                elif isinstance(item, exp.Table | exp.Values):
                    raise validation("A table is not supported here", *place(item, self._sql))
            for query in inner:
                self.query(query, queries, scopes)

    def _column(self, column: exp.Column, scopes: Sequence[_Scope], visible: _Columns) -> None:
        # `catalog.schema.table.column` is `table.column` here: the mark has the table's name as alias.
        if "db" in column.args:
            column.set("db", None)
            column.set("catalog", None)
        name, table = column.name, column.table.lower()
        if table:
            found = next((scope[table] for scope in scopes if table in scope), None)
            if found is None:
                raise validation(f"Table '{column.table}' not found", *place(column, self._sql))
        else:
            found = visible
        small = name.lower()
        if isinstance(column.this, exp.Star) or small in found.known:
            return
        if not found.relations:
            raise _no_column(name, place(column.this, self._sql))
        if (small, found.relations) not in self.needs:
            start, _ = place(column.this, self._sql)
            self.needs[small, found.relations] = Need(name, found.relations, start)


def _renamed(columns: _Columns, alias: exp.Expr | None) -> _Columns:
    """With the names that `AS t (a, b)` gives."""
    names = frozenset(item.name.lower() for item in (alias.args.get("columns") if alias else None) or ())
    return _Columns(columns.known | names, columns.relations)
