"""Queries from their sources outwards: the columns and types of each, and DuckDB's SQL for their expressions."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from embedded.gateway.errors import Refusal, validation
from embedded.gateway.pivots import LEFT_OUT
from embedded.gateway.places import place
from embedded.gateway.sql import calls, casts, kinds, nested
from embedded.gateway.sql.expressions import Expressions
from embedded.gateway.sql.kinds import Kind
from embedded.gateway.sql.parameters import Parameters
from embedded.gateway.sql.raw import raw
from embedded.gateway.sql.table import TABLE

type Column = tuple[str, Kind]


@dataclass(slots=True)
class _Source:
    """A source of FROM: its alias in small letters, and its columns in their order."""

    alias: str
    columns: list[Column]
    kinds: dict[str, Kind] = field(init=False)
    """By name in small letters; of two columns with the same name, the first."""

    def __post_init__(self) -> None:
        self.kinds = {name.lower(): kind for name, kind in reversed(self.columns)}


def typed(
    tree: exp.Expr,
    relations: Sequence[Sequence[Column]],
    mark: str,
    sql: str,
    parameters: Parameters | None = None,
) -> list[Column]:
    """Rewrite a statement for DuckDB; its columns. `relations` are those of its tables. Raises Refusal.

    The tree must have passed tree.check and names.resolve.
    """
    return Scopes(relations, mark, sql, {}, (), parameters).query(tree)


class Scopes:
    """The sources that an expression sees, and the WITH queries that a query does."""

    def __init__(
        self,
        relations: Sequence[Sequence[Column]],
        mark: str,
        sql: str,
        queries: dict[str, list[Column]],
        outer: tuple[list[_Source], ...],
        parameters: Parameters | None,
    ) -> None:
        self._relations = relations
        self._mark = mark
        self._sql = sql
        self._queries = queries
        self._outer = outer
        self._here: list[_Source] = []
        self._parameters = parameters
        # Weakly: two that hold each other, and all that they rewrote, would wait for the collector.
        self._expressions = Expressions(mark, weakref.proxy(self), parameters)

    def _inside(self) -> Scopes:
        return Scopes(
            self._relations, self._mark, self._sql, self._queries, (self._here, *self._outer), self._parameters
        )

    # ---- names ------------------------------------------------------------------------------------------------------

    def column(self, node: exp.Expr) -> Kind | None:
        """The type of a column; None for one that is not there."""
        name, table = node.name.lower(), str(node.args["table"].name).lower() if node.args.get("table") else ""
        for scope in (self._here, *self._outer):
            for source in scope:
                if (not table or source.alias == table) and name in source.kinds:
                    return source.kinds[name]
        return None

    def no_column(self, node: exp.Expr) -> Refusal:
        return validation(f"Column '{node.name}' not found in any table", *place(node, self._sql))

    # ---- queries ----------------------------------------------------------------------------------------------------

    def query(self, node: exp.Expr) -> list[Column]:
        """Rewrite a query that stands inside what this sees; its columns."""
        return self._inside()._query(node)

    def _query(self, node: exp.Expr) -> list[Column]:
        clause = node.args.get("with_")
        for cte in list(clause.expressions) if clause is not None else ():
            columns = _renamed(self._inside()._query(cte.this), cte.args.get("alias"))
            self._queries = {**self._queries, cte.args["alias"].this.name: columns}
        if isinstance(node, exp.Select):
            return self._select(node)
        if isinstance(node, exp.SetOperation):
            return self._set(node)
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            found = self._inside()._query(node.this)
            self._order(node, found)
            return found
        raise validation("This kind of query is not supported", *place(node, self._sql))

    def _set(self, node: exp.SetOperation) -> list[Column]:
        if not node.args.get("distinct") and not isinstance(node, exp.Union):
            raise validation("Dremio doesn't currently support EXCEPT ALL and INTERSECT ALL operations.")
        left, right = self._inside()._query(node.this), self._inside()._query(node.expression)
        if len(left) != len(right):
            raise validation("Column count mismatch in a set operation")
        result: list[Column] = []
        for (name, one), (_, other) in zip(left, right, strict=True):
            both = one == other == kinds.NULL
            kind = kinds.NULL if both else kinds.common_or_refused([one, other], "a set operation")
            if node.args.get("distinct"):
                nested.refuse(kind, "a set operation", *place(node, self._sql))
            result.append((name, kind))
        for side, columns in ((node.this, left), (node.expression, right)):
            self._cast_columns(side, columns, result)
        self._order(node, result)
        return result

    def _cast_columns(self, node: exp.Expr, columns: list[Column], wanted: list[Column]) -> None:
        """See that a side of a set operation has the types that both have in common."""
        if all(own == kind for (_, own), (_, kind) in zip(columns, wanted, strict=True)):
            return
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            self._cast_columns(node.this, columns, wanted)
        elif isinstance(node, exp.SetOperation):
            self._cast_columns(node.this, columns, wanted)
            self._cast_columns(node.expression, columns, wanted)
        elif isinstance(node, exp.Select) and len(node.expressions) == len(columns):
            for item, (name, own), (_, kind) in zip(list(node.expressions), columns, wanted, strict=True):
                if own == kind:
                    continue
                inner = item.this if isinstance(item, exp.Alias) else item
                new = raw(casts.how(own, kind), inner.copy())
                item.replace(exp.alias_(new, name, quoted=True))
        else:
            raise validation("The gateway does not answer a set operation of these types yet")

    def _order(self, node: exp.Expr, columns: list[Column]) -> None:
        """ORDER BY of a whole: by names and places of its columns."""
        self._here = [_Source("", columns)]
        order = node.args.get("order")
        for item in list(order.expressions) if order is not None else ():
            self._told_apart(item.this, columns, "ORDER BY")

    def _told_apart(self, item: exp.Expr, columns: list[Column], what: str) -> None:
        """What a query is ordered or grouped by: an expression, or the place of a column."""
        kind = self._expressions.kind(item)
        if isinstance(item, exp.Literal) and not item.is_string and item.name.isdecimal():
            place_of = int(item.name) - 1
            kind = columns[place_of][1] if 0 <= place_of < len(columns) else kind
        nested.refuse(kind, what, *place(item, self._sql))

    # ---- one SELECT -------------------------------------------------------------------------------------------------

    def _select(self, node: exp.Select) -> list[Column]:
        using: list[str] = []
        for clause in (node.args.get("from_"), *(node.args.get("joins") or ())):
            if clause is not None:
                self._source(clause.this)
                using += self._join(clause)
        self._spell_out(node)
        if node.args.get(LEFT_OUT):
            self._pivot(node)
        where = node.args.get("where")
        if where is not None:
            self._bool(where.this)
        columns = self._columns(node, using)
        group = node.args.get("group")
        keys = ("expressions", "grouping_sets", "rollup", "cube")
        for item in [item for key in keys for item in group.args.get(key) or ()] if group is not None else ():
            self._grouped(item, columns)
        for _, kind in columns if node.args.get("distinct") else ():
            nested.refuse(kind, "DISTINCT", *place(node, self._sql))
        for key in ("having", "qualify"):
            if node.args.get(key) is not None:
                self._bool(node.args[key].this)
        for named in list(node.args.get("windows") or ()):
            calls.parts(self._expressions, named)
        order = node.args.get("order")
        if order is not None:
            # A name of the SELECT list comes before one of a source.
            self._here = [_Source("", columns), *self._here]
            for item in list(order.expressions):
                self._told_apart(item.this, columns, "ORDER BY")
        return columns

    def _pivot(self, node: exp.Select) -> None:
        """Name the columns that a PIVOT or UNPIVOT leaves, in place of its star; group a PIVOT by them."""
        source = self._here[0]
        if len(source.kinds) < len(source.columns):
            raise validation("The gateway does not answer PIVOT of columns of the same name yet")
        used = {item.name for item in node.args[LEFT_OUT]}
        names = [name for name, _ in source.columns if name.lower() not in used]
        left = [exp.column(exp.to_identifier(name, quoted=True)) for name in names]
        if {item.alias.lower() for item in node.expressions[1:]} & {name.lower() for name in names}:
            raise validation("The gateway does not answer PIVOT and UNPIVOT that give two columns the same name yet")
        node.set(LEFT_OUT, None)
        node.set("expressions", [*left, *node.expressions[1:]])
        if left and not node.args.get("joins"):
            node.set("group", exp.Group(expressions=[column.copy() for column in left]))

    def _bool(self, node: exp.Expr) -> None:
        kind = self._expressions.kind(node)
        if kind not in (kinds.BOOL, kinds.NULL):
            raise validation(f"A condition must be a BOOLEAN, and this is {kind}", *place(node, self._sql))

    def _grouped(self, item: exp.Expr, columns: list[Column]) -> None:
        if isinstance(item, exp.Tuple | exp.Rollup | exp.Cube | exp.GroupingSets):
            for inner in list(item.expressions):
                self._grouped(inner, columns)
        else:
            self._told_apart(item, columns, "GROUP BY")

    def _columns(self, node: exp.Select, using: list[str]) -> list[Column]:
        columns: list[Column] = []
        for item in list(node.expressions):
            if isinstance(item, exp.Star):
                self._see_order(using)
                for source in self._here:
                    there = {name.lower() for name, _ in columns} & set(using)
                    columns += [column for column in source.columns if column[0].lower() not in there]
            elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
                alias = str(item.args["table"].name).lower()
                columns += next((source.columns for source in self._here if source.alias == alias), [])
            else:
                kind = self._flattened(node, item) or self._expressions.kind(item)
                if kind.name in kinds.INTERVALS:
                    raise validation("The gateway does not answer a column of intervals yet", *place(item, self._sql))
                columns.append((self._named(item, len(columns)), kind))
        return columns

    def _flattened(self, node: exp.Select, item: exp.Expr) -> Kind | None:
        """FLATTEN(list): a row for each element. None for any other expression."""
        call = item.this if isinstance(item, exp.Alias) else item
        if not isinstance(call, exp.Anonymous) or call.name.upper() != "FLATTEN":
            return None
        others = [other for other in node.find_all(exp.Anonymous) if other.name.upper() == "FLATTEN"]
        if len(call.expressions) != 1 or len(others) > 1 or node.args.get("group") or node.args.get("distinct"):
            raise validation("The gateway does not answer this FLATTEN yet", *place(item, self._sql))
        kind = self._expressions.kind(call.expressions[0])
        if kind.name != "list" or kind.of is None:
            raise validation(f"FLATTEN takes a LIST, and this is {kind}", *place(item, self._sql))
        call.replace(raw("unnest({0})", *call.expressions))
        return kind.of

    def _named(self, item: exp.Expr, index: int) -> str:
        """The name of a column. One that has none goes by its place, stars spelt out."""
        if isinstance(item, exp.Alias) and item.args.get("unnamed"):
            item.set("alias", exp.to_identifier(f"EXPR${index}", quoted=True))
        return str(item.alias_or_name)

    def _see_order(self, using: list[str]) -> None:
        """* after JOIN … USING begins with the columns that are used, in Dremio: refuse where they stand elsewhere."""
        first = [name.lower() for name, _ in self._here[0].columns[: len(using)]] if self._here else []
        if using and (first != using or len(self._here) > 2):
            raise validation("The gateway does not answer SELECT * after this JOIN … USING yet; name the columns")

    def _spell_out(self, node: exp.Select) -> None:
        """Put what a name of the SELECT list stands for where Dremio takes it for one, and DuckDB may not."""
        named: dict[str, list[exp.Expr]] = {}
        for item in node.expressions:
            if isinstance(item, exp.Alias):
                named.setdefault(item.alias.lower(), []).append(item.this)
        group = node.args.get("group")
        for item in list(group.expressions) if group is not None else ():
            self._replace(item, named, whole=True)
        for key in ("having", "qualify"):
            clause = node.args.get(key)
            if clause is not None and (key == "qualify" or not _aggregates(clause.this)):
                for column in list(clause.find_all(exp.Column)):
                    self._replace(column, named, whole=False)
        order = node.args.get("order")
        if order is not None and node.args.get("distinct") is None:
            for item in order.expressions:
                if not isinstance(item.this, exp.Column):
                    for column in list(item.this.find_all(exp.Column)):
                        self._replace(column, named, whole=False)

    def _replace(self, node: exp.Expr, named: dict[str, list[exp.Expr]], whole: bool) -> None:
        if not isinstance(node, exp.Column) or node.args.get("table") or node.name.lower() not in named:
            return
        found = named[node.name.lower()]
        if len(found) > 1:
            raise validation(f"Column '{node.name}' is ambiguous", *place(node, self._sql))
        new = found[0].copy()
        if isinstance(new, exp.Literal):
            # A number in GROUP BY is a place.
            new = exp.Paren(this=new)
        node.replace(new if whole or isinstance(new, exp.Column) else exp.Paren(this=new))

    # ---- sources ----------------------------------------------------------------------------------------------------

    def _source(self, node: exp.Expr) -> None:
        alias = node.args.get("alias")
        if isinstance(node, exp.Table):
            columns = self._table(node)
        elif isinstance(node, exp.Values):
            columns = self._values(node)
            alias = node.args.get("alias")
        elif isinstance(node, exp.Unnest):
            columns = self._unnested(node)
        elif isinstance(node, exp.Subquery) and isinstance(node.this, exp.Query):
            columns = self._beside()._query(node)
        else:
            inner = self._beside()
            inner._source(node.this)
            if alias is None or not alias.name:
                self._here += inner._here
                self._joined(node)
                return
            columns = [column for source in inner._here for column in source.columns]
        self._here.append(_Source(alias.name.lower() if alias is not None else "", _renamed(columns, alias)))
        self._joined(node)

    def _beside(self) -> Scopes:
        """For a source: it sees what is outside of the query, not the sources beside it."""
        return Scopes(self._relations, self._mark, self._sql, self._queries, self._outer, self._parameters)

    def _joined(self, node: exp.Expr) -> None:
        for join in node.args.get("joins") or ():
            self._source(join.this)
            self._join(join)

    def _join(self, clause: exp.Expr) -> list[str]:
        if not isinstance(clause, exp.Join):
            return []
        if clause.args.get("on") is not None:
            self._bool(clause.args["on"])
        using = [item.name.lower() for item in clause.args.get("using") or ()]
        for name in using:
            found = [kind for source in self._here for own, kind in source.columns if own.lower() == name]
            if len(found) > 1 and any(casts.comparable(found[0], kind) is not None for kind in found[1:]):
                raise validation("The gateway does not answer JOIN … USING of different types yet")
        return using

    def _table(self, node: exp.Table) -> list[Column]:
        name = node.name
        if name.startswith(f"{self._mark}r"):
            return list(self._relations[int(name[2:])])
        return self._queries[name]

    def _unnested(self, node: exp.Unnest) -> list[Column]:
        """UNNEST(list) AS table (column): a row for each element."""
        [given], alias = node.expressions, node.args["alias"]
        kind = self._beside()._expressions.kind(given)
        if kind.name != "list" or kind.of is None or kind.of.name == "struct":
            raise validation(f"The gateway does not answer UNNEST of this {kind} yet", *place(node, self._sql))
        [name] = alias.args["columns"]
        select = exp.Select(expressions=[exp.alias_(raw("unnest({0})", *node.expressions), name, quoted=True)])
        node.replace(exp.Subquery(this=select, alias=alias, joins=node.args.get("joins")))
        return [(name.name, kind.of)]

    def _values(self, node: exp.Values) -> list[Column]:
        rows = [list(row.expressions) if isinstance(row, exp.Tuple) else [row] for row in node.expressions]
        if len({len(row) for row in rows}) != 1:
            raise validation("Values passed to VALUES operator must have compatible types")
        beside = self._beside()
        columns: list[Column] = []
        for index in range(len(rows[0])):
            found = [beside._expressions.kind(row[index]) for row in rows]
            kind = kinds.NULL if set(found) == {kinds.NULL} else kinds.common_or_refused(found, "VALUES")
            for row, own in zip(rows, found, strict=True):
                if own != kind:
                    beside._expressions.as_kind(row[index], own, kind)
            columns.append((f"EXPR${index}", kind))
        alias = node.args.get("alias")
        if alias is None:
            alias = exp.TableAlias(this=exp.to_identifier(f"{self._mark}v", quoted=True))
            node.set("alias", alias)
        if not alias.args.get("columns"):
            alias.set("columns", [exp.to_identifier(name, quoted=True) for name, _ in columns])
        return columns


def _aggregates(node: exp.Expr) -> bool:
    return any(
        row.use == "aggregate" for call in node.find_all(exp.Anonymous) for row in TABLE.get(call.name.upper(), ())
    )


def _renamed(columns: list[Column], alias: exp.Expr | None) -> list[Column]:
    """With the names that `AS t (a, b)` gives."""
    names = [item.name for item in (alias.args.get("columns") if alias is not None else None) or ()]
    return [(names[place] if place < len(names) else name, kind) for place, (name, kind) in enumerate(columns)]
