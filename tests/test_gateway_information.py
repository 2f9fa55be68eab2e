"""INFORMATION_SCHEMA, SHOW, DESCRIBE and EXPLAIN answer as Dremio's do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pyarrow as pa
import pytest

from embedded.gateway.errors import ErrorKind
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.gateway_cast import Desk

OURS = f"{CATALOG}.{SCHEMA}"
ORDERS = f"{OURS}.orders_processed"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("shop"))
    yield desk
    desk.close()


@pytest.fixture
def desk(shop: Desk) -> Desk:
    return shop.fresh()


# ---- INFORMATION_SCHEMA ---------------------------------------------------------------------------------------------

COLUMNS = {
    "CATALOGS": "CATALOG_NAME CATALOG_DESCRIPTION CATALOG_CONNECT",
    "SCHEMATA": "CATALOG_NAME SCHEMA_NAME SCHEMA_OWNER TYPE IS_MUTABLE",
    '"TABLES"': "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME TABLE_TYPE",
    "VIEWS": "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME VIEW_DEFINITION",
    "COLUMNS": "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME COLUMN_NAME ORDINAL_POSITION COLUMN_DEFAULT IS_NULLABLE "
    "DATA_TYPE COLUMN_SIZE CHARACTER_MAXIMUM_LENGTH CHARACTER_OCTET_LENGTH NUMERIC_PRECISION NUMERIC_PRECISION_RADIX "
    "NUMERIC_SCALE DATETIME_PRECISION INTERVAL_TYPE INTERVAL_PRECISION",
}
NUMBERS = """ORDINAL_POSITION COLUMN_SIZE CHARACTER_MAXIMUM_LENGTH CHARACTER_OCTET_LENGTH NUMERIC_PRECISION
NUMERIC_PRECISION_RADIX NUMERIC_SCALE DATETIME_PRECISION INTERVAL_PRECISION""".split()  # noqa: SIM905  # a list of words


@pytest.mark.parametrize("table", COLUMNS)
def test_its_tables_have_dremios_columns_in_dremios_order(desk: Desk, table: str) -> None:
    schema = desk.table(f"SELECT * FROM INFORMATION_SCHEMA.{table}").schema
    assert schema == pa.schema(
        [(name, pa.int32() if name in NUMBERS else pa.string()) for name in COLUMNS[table].split()]
    )


def test_its_rows_name_the_catalog_dremio(desk: Desk) -> None:
    assert desk.rows("SELECT * FROM INFORMATION_SCHEMA.CATALOGS") == [
        {
            "CATALOG_NAME": "DREMIO",
            "CATALOG_DESCRIPTION": "The internal metadata used by Dremio",
            "CATALOG_CONNECT": "",
        }
    ]
    assert desk.rows(f"SELECT * FROM INFORMATION_SCHEMA.SCHEMATA WHERE SCHEMA_NAME = '{OURS}'") == [
        {"CATALOG_NAME": "DREMIO", "SCHEMA_NAME": OURS, "SCHEMA_OWNER": "<owner>", "TYPE": "SIMPLE", "IS_MUTABLE": "NO"}
    ]
    assert desk.rows("SELECT * FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_NAME IN ('alerts', 'VIEWS')") == [
        {
            "TABLE_CATALOG": "DREMIO",
            "TABLE_SCHEMA": "INFORMATION_SCHEMA",
            "TABLE_NAME": "VIEWS",
            "TABLE_TYPE": "SYSTEM_TABLE",
        },
        {"TABLE_CATALOG": "DREMIO", "TABLE_SCHEMA": OURS, "TABLE_NAME": "alerts", "TABLE_TYPE": "TABLE"},
    ]
    assert desk.rows("SELECT * FROM INFORMATION_SCHEMA.VIEWS") == []


@pytest.mark.parametrize(
    ("column", "row"),
    [
        ("orders_processed.order_id", ("CHARACTER VARYING", 65536, 65536, 262144, None, None, None, None)),
        ("orders_processed.quantity", ("INTEGER", 32, None, None, 32, 2, 0, None)),
        ("orders_processed.source_offset", ("BIGINT", 64, None, None, 64, 2, 0, None)),
        ("orders_processed.price", ("DECIMAL", 18, None, None, 18, 10, 4, None)),
        ("orders_processed.order_ts", ("TIMESTAMP", 23, None, None, None, None, None, 3)),
        ("alerts.metric_value", ("DOUBLE", 53, None, None, 53, 2, None, None)),
        ("dead_letters.payload", ("BINARY VARYING", 65536, 65536, 65536, None, None, None, None)),
    ],
)
def test_a_column_is_described_as_dremio_describes_its_type(desk: Desk, column: str, row: tuple[object, ...]) -> None:
    table, name = column.split(".")
    [found] = desk.rows(
        f"SELECT * FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = '{OURS}' "
        f"AND TABLE_NAME = '{table}' AND COLUMN_NAME = '{name}'"
    )
    wanted = (
        *("DATA_TYPE", "COLUMN_SIZE", "CHARACTER_MAXIMUM_LENGTH", "CHARACTER_OCTET_LENGTH"),
        *("NUMERIC_PRECISION", "NUMERIC_PRECISION_RADIX", "NUMERIC_SCALE", "DATETIME_PRECISION"),
    )
    assert tuple(found[key] for key in wanted) == row
    assert (found["TABLE_CATALOG"], found["IS_NULLABLE"], found["COLUMN_DEFAULT"]) == ("DREMIO", "YES", None)
    assert found["ORDINAL_POSITION"] == [column.name for column in TABLES[table].columns].index(name) + 1


def test_it_is_asked_like_any_table(desk: Desk) -> None:
    counts = desk.rows(
        'SELECT t.TABLE_NAME AS name, COUNT(*) AS n FROM INFORMATION_SCHEMA."TABLES" t '
        "JOIN INFORMATION_SCHEMA.COLUMNS c ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME "
        f"WHERE t.TABLE_SCHEMA = '{OURS}' GROUP BY t.TABLE_NAME ORDER BY name"
    )
    assert counts == [{"name": name, "n": len(TABLES[name].columns)} for name in sorted(TABLES)]
    desk.summary("USE INFORMATION_SCHEMA")
    assert desk.column("SELECT COUNT(*) AS n FROM CATALOGS") == [1]
    assert len(desk.rows('DESCRIBE "TABLES"')) == 4


def test_it_shows_main_whatever_the_session_uses(desk: Desk) -> None:
    desk.summary(f'USE COMMIT "{desk.published.first}" IN {CATALOG}')
    assert desk.column(f"SELECT COUNT(*) AS n FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_SCHEMA = '{OURS}'") == [
        len(TABLES)
    ]


def test_it_has_no_past_and_no_other_tables(desk: Desk) -> None:
    assert "Time travel is not supported" in str(desk.refused("SELECT * FROM INFORMATION_SCHEMA.VIEWS AT BRANCH main"))
    assert "Object 'JOBS' not found within 'INFORMATION_SCHEMA'" in str(
        desk.refused("SELECT * FROM INFORMATION_SCHEMA.JOBS")
    )


# ---- SHOW -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SHOW SCHEMAS", ["INFORMATION_SCHEMA", CATALOG, OURS]),
        ("SHOW DATABASES LIKE '%mat%'", ["INFORMATION_SCHEMA"]),
        (f"SHOW SCHEMAS LIKE '{CATALOG}.%'", [OURS]),
        (f"SHOW TABLES IN {OURS} LIKE 'ORDERS%'", [OURS, OURS]),
        (f"SHOW TABLES FROM {CATALOG} LIKE 'ale_ts'", [OURS]),
        (f"SHOW TABLES AT BRANCH main IN {CATALOG} LIKE 'alerts'", [OURS]),
        (f"SHOW TABLES IN {OURS} LIKE 'orders'", []),
        ("SHOW TABLES IN INFORMATION_SCHEMA LIKE '%CH%'", ["INFORMATION_SCHEMA"]),
        (f"SHOW VIEWS IN {OURS}", []),
        (f"SHOW TAGS IN {CATALOG}", []),
    ],
)
def test_show_lists_what_is_like_the_pattern(desk: Desk, sql: str, shown: list[str]) -> None:
    assert desk.column(sql) == shown


def test_show_without_a_source_shows_the_sessions(desk: Desk) -> None:
    desk.summary(f"USE {OURS}")
    assert [row["TABLE_NAME"] for row in desk.rows("SHOW TABLES")] == sorted(TABLES)
    assert desk.table("SHOW VIEWS").schema.names == ["VIEW_PATH", "VIEW_NAME"]
    assert desk.rows("SHOW BRANCHES") == [{"type": "Branch", "refName": "main", "commitHash": desk.published.second}]


def test_show_logs_tells_the_commits_newest_first(desk: Desk) -> None:
    logs = desk.table(f"SHOW LOGS IN {CATALOG}")
    assert logs.schema == pa.schema(
        [
            ("commitHash", pa.string()),
            ("authorName", pa.string()),
            ("authorTimeStamp", pa.timestamp("ms")),
            ("message", pa.string()),
        ]
    )
    rows = logs.to_pylist()
    assert [row["commitHash"] for row in rows][:2] == [desk.published.second, desk.published.first]
    assert [row["authorTimeStamp"] for row in rows] == sorted((row["authorTimeStamp"] for row in rows), reverse=True)
    earlier = desk.rows(f'SHOW LOG AT COMMIT "{desk.published.first}" IN {CATALOG}')
    assert earlier == rows[1:]


def test_a_pattern_costs_no_more_than_its_length(desk: Desk) -> None:
    started = time.monotonic()
    assert desk.column(f"SHOW TABLES IN {OURS} LIKE '{'%_' * 5000}x'") == []
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("sql", "kind", "says"),
    [
        ("SHOW TABLES", ErrorKind.VALIDATION, "A context is required."),
        ("SHOW BRANCHES", ErrorKind.VALIDATION, "Unable to choose a source."),
        ("SHOW TABLES IN nowhere", ErrorKind.VALIDATION, "Source nowhere does not exist."),
        (f'SHOW TABLES IN "{OURS}"', ErrorKind.VALIDATION, f'Source "{OURS}" does not exist.'),
        ("SHOW TAGS IN elsewhere", ErrorKind.VALIDATION, "Source elsewhere does not exist."),
        ("SHOW LOGS IN INFORMATION_SCHEMA", ErrorKind.INTERNAL, "does not support versioning."),
        ("SHOW VIEWS IN INFORMATION_SCHEMA", ErrorKind.INTERNAL, "does not support show views."),
        ("SHOW TABLES AT BRANCH main IN INFORMATION_SCHEMA", ErrorKind.INTERNAL, "does not support references."),
        (f"SHOW TABLES IN {CATALOG} AT BRANCH main", ErrorKind.PARSE, 'encountered "AT"'),
        (f"SHOW TABLES IN {CATALOG} LIKE alerts", ErrorKind.PARSE, 'encountered "alerts"'),
        ("SHOW TABLES IN", ErrorKind.PARSE, 'encountered "<EOF>"'),
        ("SHOW SCHEMAS IN x", ErrorKind.PARSE, 'encountered "IN"'),
        (f"SHOW BRANCHES FROM {CATALOG}", ErrorKind.PARSE, 'encountered "FROM"'),
        ("SHOW LOGS AT SNAPSHOT '1'", ErrorKind.PARSE, 'encountered "SNAPSHOT"'),
        (f"SHOW CREATE TABLE {ORDERS}", ErrorKind.VALIDATION, "Not supported by the gateway yet: SHOW CREATE"),
        ("SHOW JOBS", ErrorKind.PARSE, 'encountered "SHOW"'),
    ],
)
def test_show_refuses_what_dremio_refuses(desk: Desk, sql: str, kind: ErrorKind, says: str) -> None:
    refusal = desk.refused(sql)
    assert (refusal.kind, says in str(refusal)) == (kind, True), str(refusal)


# ---- DESCRIBE -------------------------------------------------------------------------------------------------------


def test_describe_tells_a_tables_columns(desk: Desk) -> None:
    described = desk.table(f"DESCRIBE TABLE {ORDERS}")
    assert described.schema == pa.schema(
        [
            ("COLUMN_NAME", pa.string()),
            ("DATA_TYPE", pa.string()),
            ("IS_NULLABLE", pa.string()),
            ("NUMERIC_PRECISION", pa.int32()),
            ("NUMERIC_SCALE", pa.int32()),
            ("EXTENDED_PROPERTIES", pa.string()),
            ("MASKING_POLICY", pa.string()),
            ("SORT_ORDER_PRIORITY", pa.int32()),
        ]
    )
    assert described.column(0).to_pylist() == [column.name for column in TABLES["orders_processed"].columns]
    [price] = desk.rows(f"DESC {ORDERS} price")
    assert price == {
        "COLUMN_NAME": "price",
        "DATA_TYPE": "DECIMAL",
        "IS_NULLABLE": "YES",
        "NUMERIC_PRECISION": 18,
        "NUMERIC_SCALE": 4,
        "EXTENDED_PROPERTIES": "[]",
        "MASKING_POLICY": None,
        "SORT_ORDER_PRIORITY": None,
    }
    assert desk.rows(f"DESCRIBE {ORDERS} PRICE") == []
    assert desk.rows(f'DESCRIBE {ORDERS} AT COMMIT "{desk.published.first}" price') == [price]
    assert desk.rows("DESCRIBE INFORMATION_SCHEMA.CATALOGS")[0]["DATA_TYPE"] == "CHARACTER VARYING"


@pytest.mark.parametrize(
    ("sql", "kind", "says"),
    [
        ("DESCRIBE nowhere", ErrorKind.VALIDATION, "Unknown table [nowhere]"),
        (f"DESCRIBE {OURS}.sales", ErrorKind.VALIDATION, f"Unknown table [{OURS}.sales]"),
        (f"DESCRIBE {ORDERS} a.b", ErrorKind.VALIDATION, "You can only describe single component paths."),
        (f"DESCRIBE {ORDERS} AT BRANCH dev", ErrorKind.VALIDATION, "Requested branch dev not found"),
        (f"DESCRIBE {ORDERS} 'p%'", ErrorKind.PARSE, "encountered \"'p%'\""),
        ("DESCRIBE SELECT 1", ErrorKind.PARSE, 'encountered "SELECT"'),
        ("DESCRIBE", ErrorKind.PARSE, 'encountered "<EOF>"'),
    ],
)
def test_describe_refuses_what_dremio_refuses(desk: Desk, sql: str, kind: ErrorKind, says: str) -> None:
    refusal = desk.refused(sql)
    assert (refusal.kind, says in str(refusal)) == (kind, True), str(refusal)


# ---- EXPLAIN --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    ["", "WITH IMPLEMENTATION", "WITHOUT IMPLEMENTATION", "INCLUDING ALL ATTRIBUTES", "EXCLUDING ATTRIBUTES AS JSON"],
)
def test_explain_plans_the_query_and_runs_nothing(desk: Desk, how: str) -> None:
    plan = desk.table(f"EXPLAIN PLAN {how} FOR SELECT COUNT(*) AS n FROM {ORDERS}")
    assert plan.schema == pa.schema([("text", pa.string())])
    assert plan.num_rows == 1


@pytest.mark.parametrize(
    ("query", "kind", "says", "place"),
    [
        ("SELECT nope FROM nowhere", ErrorKind.VALIDATION, "Object 'nowhere' not found", "nowhere"),
        (f"SELECT nope FROM {ORDERS}", ErrorKind.VALIDATION, "Column 'nope' not found", "nope"),
        ("SELECT FOO(1)", ErrorKind.VALIDATION, "No match found for function signature FOO", "FOO"),
        ("SELECT 1 +", ErrorKind.PARSE, "Failure parsing the query", ""),
        ("gibberish", ErrorKind.PARSE, 'encountered "gibberish"', "gibberish"),
        ("SHOW TABLES", ErrorKind.PARSE, 'encountered "SHOW"', "SHOW"),
        ("DELETE FROM x", ErrorKind.PERMISSION, "DELETE is not allowed", ""),
        ("", ErrorKind.PARSE, 'encountered "<EOF>"', ""),
    ],
)
def test_explain_refuses_nonsense_in_the_words_of_the_query(
    desk: Desk, query: str, kind: ErrorKind, says: str, place: str
) -> None:
    sql = f"EXPLAIN PLAN FOR {query}"
    refusal = desk.refused(sql)
    assert (refusal.kind, says in str(refusal)) == (kind, True), str(refusal)
    assert sql[refusal.start or 0 :].startswith(place)


# ---- what changes nothing -------------------------------------------------------------------------------------------


def test_a_refresh_of_metadata_finds_it_unchanged(desk: Desk) -> None:
    said = "read signature reviewed but source stated metadata is unchanged, no refresh occurred."
    assert desk.summary(f"ALTER TABLE {ORDERS} REFRESH METADATA") == f"Table '{ORDERS}' {said}"
    desk.summary(f"USE {OURS}")
    assert desk.summary("ALTER PDS alerts REFRESH METADATA FORCE UPDATE") == f"Table 'alerts' {said}"
    assert "Unknown source elsewhere" in str(desk.refused("ALTER TABLE elsewhere.t REFRESH METADATA"))
    assert desk.refused(f"ALTER TABLE {ORDERS} REFRESH REFLECTIONS").kind is ErrorKind.PERMISSION
    assert desk.refused(f"ALTER TABLE {ORDERS} REFRESH METADATA now").kind is ErrorKind.PARSE
