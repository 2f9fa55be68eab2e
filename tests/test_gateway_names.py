"""Names, schemas and versions at the gateway mean what they mean at Dremio."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from embedded.gateway.commits import Commit
from embedded.gateway.errors import ErrorKind
from embedded.gateway.paths import Context, canonical, parsed
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.gateway_cast import Desk
from tests.test_gateway import call, login, start_gateway, stop

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("shop"))
    yield desk
    desk.close()


@pytest.fixture
def desk(shop: Desk) -> Desk:
    return shop.fresh()


# ---- paths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "canonically"),
    [
        (("a", "b"), ("a", "b")),
        (("a.b", "c"), ("a", "b", "c")),
        (("a.b", "c.d"), ("a", "b", "c", "d")),
        (("a", "b.c"), ("a", "b.c")),
        (('a."b.c"', "d"), ("a", '"b.c"', "d")),
        (("a.", "b"), ("a", "b")),
        (("." * 3,), ()),
    ],
)
def test_only_a_first_name_with_a_dot_has_all_names_taken_apart(
    path: tuple[str, ...], canonically: tuple[str, ...]
) -> None:
    assert canonical(path) == canonically


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.b", ("a", "b")),
        ('"a.b".c', ("a.b", "c")),
        ('"a.b"', ("a.b",)),
        ("a..b", ("a", "b")),
        ('"say ""hi""".b', ('say "hi"', "b")),
        ("", ()),
    ],
)
def test_a_schema_in_one_text_is_read_as_dremio_reads_it(text: str, parts: tuple[str, ...]) -> None:
    assert parsed(text) == parts


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("", ORDERS),
        ("", f'"{CATALOG}"."{SCHEMA}"."orders_processed"'),
        ("", f'"{CATALOG}.{SCHEMA}"."orders_processed"'),
        ("", f'"{CATALOG}.{SCHEMA}.orders_processed"'),
        ("", f'{CATALOG.upper()}."{SCHEMA}".orders_processed'),
        (CATALOG, f"{SCHEMA}.orders_processed"),
        (f"{CATALOG}.{SCHEMA}", "orders_processed"),
        (f"{CATALOG}.{SCHEMA}", ORDERS),
        (f'"{CATALOG}.{SCHEMA}"', "orders_processed"),
        (f"{CATALOG}.{SCHEMA}", f'"{CATALOG}.{SCHEMA}"."orders_processed"'),
    ],
)
def test_a_table_is_found_by_every_name_that_dremio_takes(desk: Desk, schema: str, name: str) -> None:
    desk.context = Context(parsed(schema))
    assert desk.column(f"SELECT COUNT(*) AS n FROM {name}") == [3]
    assert len(desk.rows(f"DESCRIBE {name}")) == len(TABLES["orders_processed"].columns)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (f'{CATALOG}."{SCHEMA}.orders_processed"', f"Object '{SCHEMA}.orders_processed' not found within '{CATALOG}'"),
        (f'"{CATALOG}.{SCHEMA}"', f"Object '{CATALOG}.{SCHEMA}' not found"),
        ("orders_processed", "Object 'orders_processed' not found"),
        (f"{CATALOG}.{SCHEMA}.ORDERS_PROCESSED", "Object 'ORDERS_PROCESSED' not found"),
        (f"{CATALOG}.{SCHEMA.upper()}.orders_processed", "Object 'orders_processed' not found"),
        (f"{SCHEMA}.orders_processed", f"Object 'orders_processed' not found within '{SCHEMA}'"),
    ],
)
def test_a_table_is_not_found_where_dremio_finds_none(desk: Desk, name: str, says: str) -> None:
    refusal = desk.refused(f"SELECT COUNT(*) AS n FROM {name}")
    assert refusal.kind is ErrorKind.VALIDATION
    assert says in str(refusal)
    assert "Unknown table [" in str(desk.refused(f"DESCRIBE {name}"))


def test_with_a_version_a_path_is_taken_as_it_is_written(desk: Desk) -> None:
    """Dremio does not take names apart there."""
    assert desk.column(f"SELECT COUNT(*) AS n FROM {ORDERS} AT BRANCH main") == [3]
    desk.refused(f'SELECT COUNT(*) AS n FROM "{CATALOG}.{SCHEMA}"."orders_processed" AT BRANCH main')


# ---- USE ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        (f"USE {CATALOG}.{SCHEMA}", f"Default schema changed to [{CATALOG}.{SCHEMA}]"),
        (f'USE "{CATALOG}.{SCHEMA}"', f"Default schema changed to [{CATALOG}.{SCHEMA}]"),
        (f'USE "{CATALOG}"', f"Default schema changed to [{CATALOG}]"),
        ("USE information_schema", "Default schema changed to [information_schema]"),
        ('USE "no.such"', "Default schema changed to [null]"),
        ("USE", "Default schema cleared"),
    ],
)
def test_use_says_what_dremio_says(desk: Desk, sql: str, says: str) -> None:
    assert desk.summary(sql) == says


def test_use_goes_on_from_the_schema_before(desk: Desk) -> None:
    desk.summary(f"USE {CATALOG}")
    assert desk.summary(f"USE {SCHEMA}") == f"Default schema changed to [{CATALOG}.{SCHEMA}]"
    assert desk.column("SELECT COUNT(*) AS n FROM orders_processed") == [3]
    assert desk.summary("USE") == "Default schema cleared"
    desk.refused("SELECT COUNT(*) AS n FROM orders_processed")


@pytest.mark.parametrize("path", ["nowhere", f'{CATALOG}."{SCHEMA}.x"', f'"{CATALOG}"."a.b"', "a.b"])
def test_a_schema_that_is_not_there_is_not_used(desk: Desk, path: str) -> None:
    refusal = desk.refused(f"USE {path}")
    assert str(refusal).startswith("Schema [")
    assert str(refusal).endswith("is not valid with respect to either root schema or current default schema.")


def test_the_schema_header_may_be_quoted(shop: Desk) -> None:
    process, port = start_gateway(shop.published.data_dir)
    try:
        for schema in (f'"{CATALOG}.{SCHEMA}"', f'"{CATALOG}"."{SCHEMA}"', f"{CATALOG}.{SCHEMA}"):
            call(
                port,
                ("authorization", login(port)),
                ("schema", schema),
                sql="SELECT COUNT(*) AS n FROM orders_processed",
            )
    finally:
        stop(process)


# ---- versions -------------------------------------------------------------------------------------------------------


def published_at(desk: Desk, commit: str) -> datetime:
    [(when,)] = desk.published.query(f"SELECT published_at FROM publications WHERE commit_id = '{commit}'")
    return datetime.fromtimestamp(when / 1e6, UTC)


def test_a_session_sees_the_version_that_it_uses(desk: Desk) -> None:
    first = desk.published.first
    assert desk.summary(f'USE COMMIT "{first}" IN {CATALOG}') == (
        f"Current version context set to commit {first} in source {CATALOG}."
    )
    count = f"SELECT COUNT(*) AS n FROM {ORDERS}"
    assert desk.column(count) == [1]
    assert desk.column(f"{count} AT BRANCH main") == [3]
    desk.summary(f"USE {CATALOG}.{SCHEMA}")
    assert desk.column("SELECT COUNT(*) AS n FROM orders_processed") == [1]
    assert desk.rows("SHOW LOGS")[0]["commitHash"] == first
    assert desk.rows("SHOW BRANCHES")[0]["commitHash"] == desk.published.second
    assert desk.column("SELECT COUNT(*) AS n FROM TABLE(table_snapshot('orders_processed'))") == [1]
    assert desk.summary("USE BRANCH main") == f"Current version context set to branch main in source {CATALOG}."
    assert desk.column(count) == [3]


def test_a_version_may_be_that_of_a_time(desk: Desk) -> None:
    then = published_at(desk, desk.published.first) + timedelta(milliseconds=1)
    text = f"{then:%Y-%m-%d %H:%M:%S}.{then.microsecond // 1000:03d}"
    assert desk.column(f"SELECT COUNT(*) AS n FROM {ORDERS} AT BRANCH main AS OF '{text}' o") == [1]
    assert desk.column(f"SELECT COUNT(*) AS n FROM {ORDERS} AT REF main AS OF '2999-01-01'") == [3]
    assert desk.summary(f"USE BRANCH main AS OF '{text}' IN {CATALOG}") == (
        f"Current version context set to branch main as of timestamp {text} in source {CATALOG}."
    )
    assert desk.column(f"SELECT COUNT(*) AS n FROM {ORDERS}") == [1]


@pytest.mark.parametrize(
    ("expression", "orders"),
    [
        ("CURRENT_TIMESTAMP + INTERVAL '1' HOUR", 3),
        ("TIMESTAMPADD(DAY, 1, CURRENT_TIMESTAMP)", 3),
        ("NOW()", 3),
        ("CAST(DATE_ADD(CURRENT_DATE, 1) AS TIMESTAMP)", 3),
        ("DATE_SUB(CURRENT_TIMESTAMP, -1)", 3),
        ("CAST('2999-01-01 00:00:00' AS TIMESTAMP)", 3),
        ("TIMESTAMP '2999-01-01 00:00:00' - INTERVAL '1' DAY", 3),
        ("(TIMESTAMP '2999-01-01 00:00:00')", 3),
        ("TIMESTAMP '2999-01-01 00:00:00'", 3),
    ],
)
def test_a_time_may_be_any_expression_of_one(desk: Desk, expression: str, orders: int) -> None:
    sql = f"SELECT COUNT(*) AS n FROM {ORDERS} AT {expression} AS o WHERE o.quantity > 0"
    assert desk.column(sql) == [orders]


def test_an_expression_of_a_time_finds_the_publish_of_then(desk: Desk) -> None:
    first = published_at(desk, desk.published.first)
    middle = first + (published_at(desk, desk.published.second) - first) / 2
    text = f"{middle + timedelta(days=2):%Y-%m-%d %H:%M:%S}.{middle.microsecond // 1000:03d}"
    sql = f"SELECT COUNT(*) AS n FROM {ORDERS} AT TIMESTAMPADD(DAY, -2, TIMESTAMP '{text}')"
    assert desk.column(sql) == [1]


@pytest.mark.parametrize(
    ("at", "kind", "says", "place"),
    [
        ("AT 1.5 * 2", ErrorKind.VALIDATION, "Expected timestamp literal or constant timestamp expression", "1.5"),
        ("AT CURRENT_DATE", ErrorKind.VALIDATION, "Expected timestamp literal or constant", "CURRENT_DATE"),
        ("AT then", ErrorKind.PARSE, 'encountered "then"', "then"),
        ("AT order_ts", ErrorKind.VALIDATION, "Column 'order_ts' not found", "order_ts"),
        ("AT FOO(1)", ErrorKind.VALIDATION, "No match found for function signature FOO", "FOO"),
        ("AT AS o", ErrorKind.PARSE, 'encountered "AS"', "AS o"),
        ("AT", ErrorKind.PARSE, 'encountered "<EOF>"', ""),
        ("AT TIMESTAMP NOW()", ErrorKind.PARSE, 'encountered "NOW"', "NOW()"),
        ("AT TIMESTAMP '2026-13-01 00:00:00'", ErrorKind.VALIDATION, "Illegal TIMESTAMP literal", "'2026-13"),
        ("AT (SELECT NOW())", ErrorKind.PARSE, 'encountered "SELECT"', "SELECT"),
        ("o WHERE o AT BRANCH main", ErrorKind.PARSE, 'encountered "AT"', "AT BRANCH"),
        ("AT NOW() . o", ErrorKind.PARSE, 'encountered "AT"', ""),
        ("AT BRANCH", ErrorKind.PARSE, 'encountered "<EOF>"', ""),
        ("AT SNAPSHOT 17", ErrorKind.VALIDATION, "AT SNAPSHOT takes a text in single quotes", "17"),
        ("AT BRANCH main AS OF 17", ErrorKind.PARSE, 'encountered "17"', "17"),
        ("AT BRANCH main AS OF '1997-01-01'", ErrorKind.VALIDATION, "No commit of branch main", "BRANCH main"),
        ("AT COMMIT ab AS OF '2026-01-01'", ErrorKind.VALIDATION, "'Commit' cannot be used with AS OF", "AS OF"),
        (
            "AT TIMESTAMPADD(YEAR, -50, NOW())",
            ErrorKind.VALIDATION,
            "No commit of branch main was in force",
            "TIMESTAMPADD",
        ),
    ],
)
def test_a_version_that_cannot_be_is_refused_at_its_place(
    desk: Desk, at: str, kind: ErrorKind, says: str, place: str
) -> None:
    sql = f"SELECT COUNT(*) AS n FROM {ORDERS} {at}"
    refusal = desk.refused(sql)
    assert (refusal.kind, says in str(refusal)) == (kind, True), str(refusal)
    assert sql[refusal.start or 0 :].startswith(place)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        (f"USE BRANCH dev IN {CATALOG}", f"Requested branch dev not found in source {CATALOG}."),
        (f"USE REF dev IN {CATALOG}", f"Requested reference dev not found in source {CATALOG}."),
        (f"USE TAG main IN {CATALOG}", f"Requested tag main in source {CATALOG} is not the requested type."),
        (f"USE COMMIT ab12 IN {CATALOG}", f"Commit ab12 not found in source {CATALOG}."),
        ("USE BRANCH main", "Unable to choose a source."),
        ("USE BRANCH main IN elsewhere", "Source elsewhere does not exist."),
        (f"SHOW LOGS AT BRANCH dev IN {CATALOG}", f"Requested branch dev not found in source {CATALOG}."),
        (f"SHOW TABLES AT TAG dev IN {CATALOG}", f"Requested tag dev not found in source {CATALOG}."),
    ],
)
def test_a_version_that_is_not_there_is_not_used(desk: Desk, sql: str, says: str) -> None:
    assert says in str(desk.refused(sql))


def test_a_branch_may_be_used_where_the_catalog_has_some(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first = desk.commits.by_id(desk.published.first)
    branches: dict[str, Commit | None] = {"dev": first}
    monkeypatch.setattr(desk.commits, "by_branch", branches.get)
    desk.summary(f"USE BRANCH dev IN {CATALOG}")
    assert desk.column(f"SELECT COUNT(*) AS n FROM {ORDERS}") == [1]
    assert desk.column(f"SELECT COUNT(*) AS n FROM {ORDERS} AT REF main") == [3]
    assert desk.rows(f"SHOW LOGS AT BRANCH dev IN {CATALOG}") == desk.rows(f"SHOW LOGS IN {CATALOG}")
    branches.clear()
    assert "Branch 'dev' not found" in str(desk.refused(f"SELECT COUNT(*) AS n FROM {ORDERS}"))
