"""Nothing but the tables passes the gateway's door, however a statement is written, and no answer says where it is."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyarrow import flight

from embedded.gateway.__main__ import ticket_key
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.errors import Refusal
from embedded.gateway.settings import GatewaySettings, check_door, tls_pair
from embedded.gateway.statements import Statements
from embedded.gateway.translation import WrittenShape
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import Unavailable
from lakehouse.settings.dremio import DremioSettings
from lakehouse.tables import CATALOG, SCHEMA
from lakehouse.user_error import UserError
from tests.conftest import Shop
from tests.test_gateway import start_gateway, stop

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"
CANARY = "canary-7c1d"

# What a message of the server must never name: where it runs, and what it is made of.
TELLTALE = re.compile(
    r"[/\\]|pyarrow|duckdb|sqlglot|pyiceberg|python|traceback|\.parquet|\.csv|\.json|\.db\b|max_expression_depth"
    rf"|{CANARY}|[\x00-\x08]",
    re.IGNORECASE,
)


class House:
    """A shop with one order, and files beside its tables that nobody may read."""

    def __init__(self, folder: Path) -> None:
        shop = Shop(folder)
        shop.order()
        shop.publish()
        shop.close()
        for name in ("secret.csv", "F", "notes.txt"):
            (folder / name).write_text(f"a,b\n{CANARY},2\n")
            (folder / "warehouse" / name).write_text(f"a,b\n{CANARY},2\n")
        (folder / "secret.json").write_text(json.dumps({"a": CANARY}))
        duckdb.sql(f"COPY (SELECT '{CANARY}' AS a) TO '{folder / 'secret.parquet'}'")
        self.folder = folder
        self.engine = _Recorded(folder / "warehouse", folder / "spill", threads=1, memory_limit_mb=64, timeout_s=20)
        self.statements = Statements(SqliteCommits(folder / "catalog.db"), self.engine)

    def ask(self, sql: str) -> pa.Table:
        planned = self.statements.plan(sql)
        answer = self.statements.run(planned.ticket, lambda: False)
        return pa.Table.from_batches(list(answer.batches), schema=planned.schema)

    def refusal(self, sql: str) -> str:
        """What the server says of a statement, without the statement that it sends back."""
        with pytest.raises(Refusal) as caught:
            self.ask(sql)
        return str(caught.value)


class _Recorded(Engine):
    """Remembers what reached the planner."""

    planned: list[str]

    def describe(self, sql: str, original: str) -> list[tuple[str, str]]:
        self.planned = [*getattr(self, "planned", []), sql]
        return super().describe(sql, original)

    def write_apart(self, *rest: Any) -> WrittenShape:
        written = super().write_apart(*rest)
        self.planned = [*getattr(self, "planned", []), written.sql]
        return written


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    yield house
    house.engine.close()


# ---- ways out -------------------------------------------------------------------------------------------------------

_INNER = """current_setting('temp_directory')|current_setting('allowed_directories')|current_query()|write_log('a')
sleep_ms(1)|string_agg('a', ',')|getenv('HOME')|version()|current_database()|current_schemas(true)|pg_typeof(1)
query('SELECT 1')|read_text('F')|list_value(1)|getvariable('a')|nextval('a')|txid_current()|uuid()|setseed(1)|hash(1)
error('a')|add_parquet_key('a', 'b')|json_serialize_sql('SELECT 1')|parse_path('a')|approx_distinct(1)|any_value(1)"""
CALLS = [call for line in _INNER.splitlines() for call in line.split("|")]
FILES = """F|secret.csv|notes.txt|secret.json|secret.parquet|*.csv|*|**|./F|../F|s*.csv|/etc/passwd|file:///etc/passwd
s3://warehouse/wh/a.parquet|https://localhost/a.csv|~/F|{F}|[F]|F?|glob('*')|catalog.db|warehouse/F""".replace(
    "\n", "|"
).split("|")
CATALOGUES = """duckdb_tables|duckdb_settings|duckdb_secrets|pg_settings|pg_catalog.pg_tables|sqlite_master
sqlite_schema|duckdb_functions|duckdb_columns|duckdb_databases|main.duckdb_tables|system.information_schema.tables|temp.pg_class
information_schema.columns2|shelf_0|memory.main.shelf_0|house|FILES""".replace("\n", "|").split("|")


_FOREIGN = [f'"{name}"' for name in FILES] + [".".join(f'"{part}"' for part in name.split(".")) for name in CATALOGUES]


def _quoted(call: str) -> str:
    name, _, rest = call.partition("(")
    return f'"{name}"({rest}'


def _ways() -> list[str]:
    ways: list[str] = []
    for call in CALLS:
        ways += [f"SELECT {_quoted(call)}", f"SELECT main.{call}", f"SELECT {call.upper()}"]
    ways += [f"SELECT * FROM {_quoted(call)}" for call in CALLS[:8]]
    for name in _FOREIGN:
        last = f'"{name.rpartition('."')[2].strip('"')}"'
        ways += [
            f"SELECT * FROM {name}",
            f"SELECT a.* FROM {name} a, (WITH {last} AS (SELECT 1 AS x) SELECT x FROM {last}) q",
            f"SELECT (WITH {last} AS (SELECT 1 AS x) SELECT MAX(x) FROM {last}) AS n, t.* FROM {name} AS t",
        ]
    # Scopes, nesting, recursion
    ways += [
        'WITH a AS (SELECT * FROM "F"), "F" AS (SELECT 1 AS x) SELECT * FROM a',
        'WITH "F" AS (SELECT * FROM "F") SELECT * FROM "F"',
        'WITH RECURSIVE "F" AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM "F") SELECT * FROM "F"',
        'SELECT * FROM (WITH "F" AS (SELECT 1 AS x) SELECT * FROM "F") AS p JOIN "F" AS q ON TRUE',
        'SELECT 1 FROM (SELECT 1 AS a) AS t WHERE EXISTS (SELECT * FROM "F")',
        'SELECT 1 FROM (SELECT 1 AS a) AS t WHERE a IN (SELECT b FROM "F")',
        'SELECT 1 AS a UNION ALL SELECT b FROM "F"',
        '(WITH "F" AS (SELECT 1 AS b) SELECT b FROM "F") UNION ALL SELECT b FROM "F"',
        'SELECT * FROM ((SELECT 1 AS a) AS t CROSS JOIN "F")',
        'SELECT * FROM (FROM "F")',
        '(SELECT 1 AS a) WHERE EXISTS (SELECT * FROM "F")',
        'SELECT * FROM ((SELECT 1 AS a) WHERE EXISTS (SELECT * FROM "F")) AS t',
        '(SELECT 1 AS a UNION ALL SELECT 2) HAVING 1 IN (SELECT b FROM "F")',
        'SELECT 1 AS a UNION ALL BY NAME SELECT 2 AS a',
        'SELECT 1 AS a LIMIT (SELECT MAX(b) FROM "F")',
        'SELECT 1 ORDER BY (SELECT MAX(b) FROM "F")',
        'SELECT (SELECT (SELECT (SELECT MAX(b) FROM "F")))',
        'WITH "F" AS (SELECT 1 AS x) SELECT * FROM main."F"',
        'WITH "F" AS (SELECT 1 AS x) SELECT * FROM "F" AT BRANCH main',
        # Table functions and versions
        "SELECT * FROM TABLE(table_files('F'))",
        "SELECT * FROM TABLE(table_files('../F'))",
        "SELECT * FROM TABLE(table_files('secret.csv'))",
        "SELECT * FROM TABLE(table_files('\"F\"'))",
        "SELECT * FROM TABLE(table_files('F\") x, \"secret.csv'))",
        "SELECT * FROM TABLE(read_csv('F'))",
        "SELECT * FROM TABLE(\"read_text\"('F'))",
        "SELECT * FROM TABLE(table_files(glob('*')))",
        "SELECT * FROM table_files('F')",
        'SELECT * FROM "table_files"(\'F\')',
        "SELECT TABLE(table_files('F'))",
        'SELECT * FROM "given_0"',
        'SELECT * FROM INFORMATION_SCHEMA.CATALOGS AS c, "given_0"',
        f"SELECT * FROM {ORDERS} AT read_text('F')",
        f"SELECT * FROM {ORDERS} AT (SELECT MAX(b) FROM \"F\")",
        f"SELECT * FROM {ORDERS} AT current_setting('temp_directory')",
        f"SELECT * FROM {ORDERS} AT \"F\"",
        f"DESCRIBE {ORDERS} AT getenv('HOME')",
        # Comments and Unicode
        'SELECT "current_setting"/* a */(/* b */\'temp_directory\')',
        "SELECT /* a */ \"current_query\" -- b\n ()",
        "SELECT current＿setting('temp_directory')",
        "SELECT ｃurrent_setting('temp_directory')",
        'SELECT * FROM "Ｆ"',
        'SELECT * FROM "F\u200b"',
        'SELECT * FROM U&"F"',
        "SELECT * FROM 'F'",
        "SELECT * FROM $$F$$",
        "SELECT * FROM `F`",
        # What the engine takes for a value of its own
        'SELECT "current_user"',
        'SELECT "current_schema"',
        'SELECT "current_catalog"',
        'SELECT "session_user"',
        "SELECT current_role",
        'SELECT "localtimestamp"',
        "SELECT rowid FROM (SELECT 1 AS a) AS t",
        f'SELECT filename FROM {ORDERS}',
        f'SELECT file_row_number FROM {ORDERS}',
        "SELECT t FROM (SELECT 1 AS a) AS t",
        # Settings, other kinds of statements and syntax
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "COPY (SELECT 1) TO 'out.csv'",
        "ATTACH 'catalog.db' AS c",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CALL duckdb_tables()",
        "SELECT * FROM (SHOW TABLES)",
        "SELECT * FROM (DESCRIBE t)",
        "SELECT COLUMNS('a')",
        "SELECT * FROM (SELECT 1 AS a) AS t, LATERAL (SELECT * FROM \"F\") AS u",
        "SELECT * FROM UNNEST([1])",
        "SELECT * FROM (SELECT 1 AS a) AS t PIVOT (MAX(getenv('HOME')) FOR a IN (1))",
        "SELECT * FROM (SELECT 1 AS a) AS t PIVOT (read_text('/etc/passwd') FOR a IN (1))",
        "SELECT * FROM (SELECT 1 AS a) AS t PIVOT (MAX(a) FOR a IN (SELECT content FROM read_text('/etc/passwd')))",
        "SELECT * FROM pragma_version() PIVOT (MAX(a) FOR a IN (1 AS h))",
        "SELECT * FROM (SELECT 1 AS a) AS t UNPIVOT (v FOR k IN (a))",
        "SELECT * FROM \"F\" UNPIVOT (v FOR k IN (a, b))",
        "SELECT * FROM read_csv('F') UNPIVOT (v FOR k IN (a, b))",
        "SELECT * FROM (SELECT 1 AS a) UNPIVOT (v FOR k IN (getenv('HOME')))",
        "SELECT * FROM (SELECT 1 AS a) UNPIVOT (v FOR k IN (a AS getenv('HOME')))",
        "SELECT * FROM (SELECT 1 AS a) UNPIVOT (v FOR read_text('F') IN (a))",
        "SELECT * FROM UNNEST(glob('*')) AS t (x)",
        "SELECT * FROM UNNEST(ARRAY[getenv('HOME')]) AS t (x)",
        "SELECT * FROM UNNEST((SELECT content FROM read_text('F'))) AS t (x)",
        "SELECT * FROM UNNEST(ARRAY[1]) AS t (x), LATERAL read_text('F') AS u (y)",
        "SELECT MAP['a', getenv('HOME')]",
        "SELECT MAP[read_text('F'), 'a']",
        "SELECT x[getenv('HOME')] FROM (SELECT ARRAY[1] AS x) AS t",
        "SELECT x[(SELECT 1 FROM read_text('F'))] FROM (SELECT ARRAY[1] AS x) AS t",
        "SELECT x[1:2] FROM (SELECT ARRAY[1] AS x) AS t",
        "SELECT \"F\"['a']",
        "SELECT CONVERT_FROM(getenv('HOME'), 'JSON')",
        "SELECT CONVERT_FROM('[1]', getenv('HOME'))",
        "SELECT CONVERT_FROM((SELECT content FROM read_text('F')), 'JSON')",
        "SELECT * FROM (SELECT 1 AS a) AS t POSITIONAL JOIN (SELECT 2 AS b) AS u",
        "SELECT CAST('F' AS \"regclass\")",
        "SELECT CAST(1 AS STRUCT(a INT))",
        "SELECT 'a' COLLATE nocase",
        "SELECT {'a': 1}",
        "SELECT MAP {'a': 1}",
        "SELECT a -> 1 FROM (SELECT 1 AS a) AS t",
        "SELECT EXTRACT(timezone FROM NOW())",
        "SELECT 1; COPY (SELECT 1) TO 'F'",
        "SELECT EXISTS(FROM glob('*'))",
        "SELECT (SELECT * FROM read_csv('F') LIMIT 1)",
        "EXECUTE a",
        "DESCRIBE \"F\"",
        'SHOW TABLES IN "F"',
        'SELECT * FROM INFORMATION_SCHEMA."SCHEMATA2"',
    ]  # fmt: skip
    return list(dict.fromkeys(ways))


WAYS = _ways()


def test_no_way_leads_out_of_the_tables(house: House) -> None:
    assert len(WAYS) >= 150
    for way in WAYS:
        said = house.refusal(way).replace("SELECT ", "")
        # A client's own words may come back: the name it asked for.
        for own in re.findall(r'"([^"]*)"|\'([^\']*)\'', way):
            said = said.replace("".join(own), "")
        assert not TELLTALE.search(said), (way, said)


def test_the_engine_itself_has_nothing_to_give(house: House) -> None:
    """If a name did come through: the planner has no files at all, and the other one has those of the tables."""
    for name in ("F", "secret.csv", "house", "/etc/passwd", str(house.folder / "secret.csv")):
        with pytest.raises(Refusal):
            house.engine.describe(f'SELECT * FROM "{name}"', "")
    with pytest.raises(Refusal):
        house.engine.describe("SELECT * FROM read_csv('F')", "")
    for name in ("house", "/etc/passwd", str(house.folder / "secret.csv"), str(house.folder / "catalog.db")):
        with pytest.raises(Refusal):
            list(house.engine.run(f'SELECT * FROM "{name}"', lambda: False))
    for name in ("planner", "runner"):
        database = house.engine.__dict__["_planner" if name == "planner" else "_database"]
        for setting in ("enable_external_access = true", "lock_configuration = false"):
            with pytest.raises(duckdb.Error):
                database.execute(f"SET GLOBAL {setting}")


# ---- statements by a grammar ----------------------------------------------------------------------------------------


class Grammar:
    """Statements whose functions and tables are quoted, dotted and aliased at random; most must be refused."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._defined: list[str] = []

    def _one[T](self, *items: T) -> T:
        return self._random.choice(items)

    def _spelled(self, name: str) -> str:
        name = self._one(name, name.upper(), name.title())
        return self._one(name, f'"{name}"', f'main."{name}"', f"system.main.{name}", f'"{name}" /* {name} */')

    def _table(self) -> str:
        if self._random.random() < 0.8:
            return self._random.choice([f'"{name}"' for name in self._defined] + [ORDERS, ORDERS])
        return self._random.choice(_FOREIGN)

    def _call(self, depth: int) -> str:
        if self._random.random() < 0.2:
            name, _, rest = self._random.choice(CALLS).partition("(")
            return f"{self._spelled(name)}({rest}"
        name = self._one("UPPER", "COUNT", "MAX", "COALESCE", "LENGTH", "CONCAT")
        return f"{self._one(name, name.lower(), f'{chr(34)}{name}{chr(34)}')}({self._value(depth + 1)})"

    def _value(self, depth: int) -> str:
        if depth > 2:
            return self._one("1", "'F'", "1", "'a'", "NULL", "user_id", "x", '"current_user"', "t.x")
        match self._random.randrange(9):
            case 0:
                return f"({self._value(depth + 1)} + 1)"
            case 1:
                return f"CASE WHEN {self._value(depth + 1)} = 1 THEN {self._value(depth + 1)} END"
            case 2:
                return f"CAST({self._value(depth + 1)} AS {self._one('VARCHAR', 'VARCHAR', 'INT', 'JSON')})"
            case 3:
                return f"(SELECT MAX(1) FROM {self._source(depth + 1)})"
            case 4 | 5 | 6:
                return self._call(depth)
            case _:
                return self._one("x", "user_id", "1", "'F'")

    def _source(self, depth: int) -> str:
        alias = self._one("", " AS t", ' "F"', " AS u (x, y)")
        if depth > 2 or self._random.random() < 0.6:
            return f"{self._table()}{alias}"
        if self._random.random() < 0.6:
            return f"({self.statement(depth + 1)}){alias or ' AS s'}"
        return f"{self._table()} AS p {self._one('CROSS', 'CROSS', 'NATURAL')} JOIN {self._table()} AS q"

    def statement(self, depth: int = 0) -> str:
        before = list(self._defined)
        queries = ""
        if self._random.random() < 0.35 and depth < 2:
            name = self._one("F", "duckdb_tables", "pg_settings", "secret.csv", "a", "orders_processed")
            inner = "SELECT 1 AS x" if self._random.random() < 0.5 else self.statement(depth + 1)
            queries = f'WITH "{name}" AS ({inner}) '
            self._defined.append(name)
        items = ", ".join(self._value(depth) for _ in range(self._random.randint(1, 2)))
        items = self._one(items, items, "*", f"{items} AS x")
        where = self._one("", "", f" WHERE {self._value(depth)} = 1", " ORDER BY 1", f" GROUP BY {self._value(depth)}")
        text = f"{queries}SELECT {items} FROM {self._source(depth)}{where}"
        self._defined = before
        return text


# Those of Dremio's functions that the grammar uses, as DuckDB calls them.
_OF_GRAMMAR = {"UPPER", "COUNT", "COUNT_STAR", "MAX", "LENGTH", "CONCAT", "+", "LEFT", "STRLEN"}
# What stands around a CAST of a text: it fails for what Dremio and DuckDB read differently.
_OF_GRAMMAR |= {"REGEXP_FULL_MATCH", "ERROR", "REGEXP_MATCHES"}


def reached(sql: str) -> tuple[set[str], set[str]]:
    """Functions and tables of a statement, as DuckDB's own parser finds them."""
    answer = duckdb.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    assert answer is not None
    functions: set[str] = set()
    tables: set[str] = set()
    queries: set[str] = set()

    def look(node: object) -> None:
        if isinstance(node, dict):
            if node.get("class") == "FUNCTION" or node.get("type") == "TABLE_FUNCTION":
                name = node.get("function_name")
                functions.update([str(name).upper()] if isinstance(name, str) else [])
            if node.get("type") == "BASE_TABLE":
                tables.add(f"{node.get('schema_name')}{node.get('table_name')}")
            if isinstance(node.get("cte_map"), dict):
                queries.update(str(item["key"]) for item in node["cte_map"]["map"])
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(json.loads(answer[0]))
    return functions, tables - queries


def test_statements_of_a_grammar_reach_nothing_but_tables_and_dremios_functions(house: House) -> None:
    """5,000 statements: what comes to the engine has Dremio's functions and names of ours in the place of tables."""
    grammar = Grammar(7)
    answered = 0
    house.engine.planned = []
    for _ in range(5_000):
        sql = grammar.statement()
        try:
            table = house.ask(sql)
        except Refusal as refusal:
            said = str(refusal)
            assert CANARY not in said
            assert str(house.folder) not in said
            assert not re.search(r"pyarrow|duckdb\.|Traceback", said), (sql, said)
        else:
            answered += 1
            assert CANARY not in str(table.to_pylist())
    # Both happen, so that neither is shown by accident.
    assert answered > 100
    assert len(house.engine.planned) > 100
    for sql in set(house.engine.planned):
        functions, tables = reached(sql)
        assert not tables, (sql, tables)
        assert functions <= _OF_GRAMMAR, (sql, functions - _OF_GRAMMAR)


# ---- messages, marks and tickets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "+".join(["1"] * 3_000),
        "SELECT " + "(" * 2_000 + "1" + ")" * 2_000,
        "SELECT " + "NOT " * 2_000 + "TRUE",
    ],
)
def test_a_statement_that_is_nested_too_deeply_is_told_so(house: House, sql: str) -> None:
    assert "nested too deeply" in house.refusal(sql)


@pytest.mark.parametrize("gone", ["data", "metadata", "snap-"])
def test_a_file_that_is_missing_is_not_named_to_the_client(tmp_path: Path, gone: str) -> None:
    house = House(tmp_path)
    for path in (tmp_path / "warehouse").rglob("*"):
        if path.is_file() and (gone in path.parts if gone == "data" else gone in str(path.relative_to(tmp_path))):
            path.unlink()
    said = house.refusal(f"SELECT COUNT(*) AS n, MAX(price) AS p FROM {ORDERS}")
    assert said == "DATA_READ ERROR: a file of a table cannot be read; the gateway's log names it"
    house.engine.close()


@pytest.mark.parametrize("kind", ["data", "metadata"])
def test_a_damaged_file_is_not_named_to_the_client(tmp_path: Path, kind: str) -> None:
    house = House(tmp_path)
    for path in (tmp_path / "warehouse" / SCHEMA).rglob("*"):
        if path.is_file() and path.suffix in ((".parquet",) if kind == "data" else (".json", ".avro")):
            path.write_bytes(b"damaged, not what it was")
    said = house.refusal(f"SELECT MAX(price) AS p FROM {ORDERS}")
    assert not TELLTALE.search(said), said
    house.engine.close()


def test_text_that_looks_like_a_mark_of_the_gateway_is_text(house: House) -> None:
    rows = house.ask("SELECT '\x01t0' AS a, '\x01r0' AS b, TIMESTAMP '2026-03-02 00:00:00' AS c FROM " + ORDERS)
    assert [(row["a"], row["b"], str(row["c"])) for row in rows.to_pylist()] == [
        ("\x01t0", "\x01r0", "2026-03-02 00:00:00")
    ]
    table = house.ask('SELECT n AS "\x01r0" FROM (SELECT 1 AS n) AS "\x01t0"')
    assert table.to_pylist() == [{"\x01r0": 1}]
    assert "'\x01r0' not found" in house.refusal('SELECT * FROM "\x01r0"')
    assert "NUL" in house.refusal("SELECT 'a\x00b'")


def test_only_tickets_of_this_server_run(house: House) -> None:
    ticket = house.statements.plan("SELECT 1 AS n").ticket
    other = Statements(SqliteCommits(house.folder / "catalog.db"), house.engine)
    forged = [
        b"",
        b"{}",
        json.dumps({"sql": "SELECT 1 AS n", "context": [], "commits": []}).encode(),
        ticket[:-1],
        ticket[:32] + ticket[32:].replace(b"1 AS n", b"2 AS n"),
        other.plan("SELECT 1 AS n").ticket,
    ]
    for one in forged:
        with pytest.raises(Refusal, match="not one of this server"):
            house.statements.run(one, lambda: False)


def test_a_ticket_outlives_a_restart_with_the_same_key(house: House, tmp_path: Path) -> None:
    key = ticket_key(tmp_path / "run" / "gateway.key")
    assert ticket_key(tmp_path / "run" / "gateway.key") == key
    assert (tmp_path / "run" / "gateway.key").stat().st_mode & 0o777 == 0o600
    commits = SqliteCommits(house.folder / "catalog.db")
    ticket = Statements(commits, house.engine, ticket_key=key).plan("SELECT 1 AS n").ticket
    answer = Statements(commits, house.engine, ticket_key=key).run(ticket, lambda: False)
    assert [batch.to_pylist() for batch in answer.batches] == [[{"n": 1}]]


# ---- who may knock --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "password", "says"),
    [
        ({"host": "0.0.0.0"}, "dremio123", r"default password .* and sends passwords and rows in the clear"),
        ({"host": "0.0.0.0"}, "another", "in the clear"),
        ({"host": "::"}, "another", "in the clear"),
        ({"host": "shop.example"}, "another", "in the clear"),
        ({"host": "0.0.0.0", "tls_certificate": "c", "tls_key": "k"}, "dremio123", "default password"),
        ({"host": "0.0.0.0", "tls_certificate": "c", "tls_key": "k"}, "another", None),
        ({"host": "0.0.0.0", "insecure": True}, "dremio123", None),
        ({"host": "127.0.0.1"}, "dremio123", None),
        ({"host": "127.3.4.5"}, "dremio123", None),
        ({"host": "localhost"}, "dremio123", None),
        ({"host": "::1"}, "dremio123", None),
    ],
)
def test_an_open_door_must_be_meant(settings: dict[str, object], password: str, says: str | None) -> None:
    gateway, dremio = GatewaySettings.load(**settings), DremioSettings.load(password=password)
    if says is None:
        check_door(gateway, dremio)
        return
    with pytest.raises(UserError, match=says) as caught:
        check_door(gateway, dremio)
    assert "gateway.insecure" in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key of localhost, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_with_a_certificate_the_gateway_speaks_tls(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    path, key = certificate
    process, port = start_gateway(
        tmp_path, TILLWATCH_GATEWAY_TLS_CERTIFICATE=str(path), TILLWATCH_GATEWAY_TLS_KEY=str(key)
    )
    try:
        with Dremio(DremioSettings.load(uri=f"grpc+tls://localhost:{port}", tls_roots=path)) as dremio:
            assert dremio.sql("SELECT 1 AS n").to_pylist() == [{"n": 1}]
        with Dremio(DremioSettings.load(uri=f"grpc+tls://localhost:{port}")) as stranger, pytest.raises(Unavailable):
            stranger.sql("SELECT 1 AS n")
    finally:
        stop(process)


@pytest.mark.parametrize(
    ("certificate_file", "key_file", "says"),
    [("c.pem", None, "set both or none"), ("c.pem", "k.pem", "cannot be used"), ("none.pem", "k.pem", "No such file")],
)
def test_a_certificate_that_cannot_be_used_is_a_sentence(
    tmp_path: Path, certificate_file: str, key_file: str | None, says: str
) -> None:
    (tmp_path / "c.pem").write_text("no certificate")
    (tmp_path / "k.pem").write_text("no key")
    key = None if key_file is None else tmp_path / key_file
    with pytest.raises(UserError, match=says):
        tls_pair(GatewaySettings.load(tls_certificate=tmp_path / certificate_file, tls_key=key))


def test_the_gateway_of_anybody_ends_with_a_sentence(tmp_path: Path) -> None:
    process, _ = start_gateway(tmp_path, TILLWATCH_GATEWAY_HOST="0.0.0.0")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert said.startswith("tillwatch: The gateway on 0.0.0.0 can be reached from other machines")
    assert said.count("\n") == 1


def test_what_fails_while_it_runs_names_no_library(tmp_path: Path) -> None:
    digits = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))"
    tables = ", ".join(f"{digits} AS t{place} (d{place})" for place in range(5))
    # The quotient fails in row 90,001.
    number = "d0 + 10 * d1 + 100 * d2 + 1000 * d3 + 10000 * d4"
    rows = f"(SELECT {number} AS n FROM {tables}) AS r"
    sql = f"SELECT 1 / (90000 - n) AS s FROM {rows}"
    process, port = start_gateway(tmp_path)
    try:
        client = flight.FlightClient(f"grpc://localhost:{port}")
        options = flight.FlightCallOptions(headers=[client.authenticate_basic_token("dremio", "dremio123")])
        info = client.get_flight_info(flight.FlightDescriptor.for_command(sql.encode()), options)
        with pytest.raises(flight.FlightInternalError) as caught:
            client.do_get(info.endpoints[0].ticket, options).read_all()
        assert re.search(r"FUNCTION ERROR: divide by zero", str(caught.value))
        assert not re.search(r"Traceback|pyarrow|\.py\b", str(caught.value))
    finally:
        stop(process)
