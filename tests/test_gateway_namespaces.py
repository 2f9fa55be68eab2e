"""Tables of other folders of Nessie are found, listed and described as Dremio does; nothing of ours changes by them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.nessie import NessieCommits
from embedded.gateway.statements import Statements
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.gateway_cast import Desk
from tests.test_gateway_nessie_versions import Branched

WAREHOUSE = f"{CATALOG}.warehouse"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The shop's tables, and in another folder one of the same name with the one order of the first publish."""
    desk = Desk(tmp_path_factory.mktemp("shop"))
    nessie = Branched(desk)
    first, clicks = nessie.commits[nessie.hashes[-2]], nessie.commits[nessie.hashes[-1]]["clicks_processed"]

    def table(location: str) -> dict[str, str]:
        return {"type": "ICEBERG_TABLE", "metadataLocation": location}

    nessie.beside = {
        ("warehouse",): {"type": "NAMESPACE"},
        ("bare",): {"type": "NAMESPACE"},
        ("warehouse", "orders_processed"): table(first["orders_processed"]),
        ("warehouse", "deep", "visits"): table(clicks),
        ("warehouse", "lost"): table(clicks.replace("clicks", "lost")),
        ("warehouse", "seen"): {"type": "ICEBERG_VIEW", "metadataLocation": "s3://shop/view.json"},
        ("loose",): table(clicks),
    }
    desk.statements = Statements(NessieCommits(nessie, nessie), desk.engine)
    yield desk
    desk.close()


@pytest.fixture
def desk(shop: Desk) -> Desk:
    return shop.fresh()


@pytest.mark.parametrize(
    ("schema", "table", "rows"),
    [
        ("", f"{WAREHOUSE}.orders_processed", 1),
        ("", f"{CATALOG}.{SCHEMA}.orders_processed", 3),
        ("", f"{WAREHOUSE}.deep.visits", 1),
        ("", f'"{WAREHOUSE}.deep".visits', 1),
        ("", f"{CATALOG}.loose", 1),
        (WAREHOUSE, "orders_processed", 1),
        (WAREHOUSE, "deep.visits", 1),
        (f"{WAREHOUSE}.deep", "visits", 1),
        (CATALOG, "warehouse.orders_processed", 1),
    ],
)
def test_a_table_of_any_folder_is_read(desk: Desk, schema: str, table: str, rows: int) -> None:
    if schema:
        desk.summary(f"USE {schema}")
    assert desk.column(f"SELECT COUNT(*) AS n FROM {table}") == [rows]


def test_tables_of_the_same_name_in_two_folders_stay_apart(desk: Desk) -> None:
    ours, theirs = f"{CATALOG}.{SCHEMA}.orders_processed", f"{WAREHOUSE}.orders_processed"
    [both] = desk.rows(
        f"SELECT (SELECT COUNT(*) FROM {ours}) AS ours, (SELECT COUNT(*) FROM {theirs}) AS theirs, "
        f"(SELECT COUNT(*) FROM {ours} AS o JOIN {theirs} AS t ON o.order_id = t.order_id) AS shared"
    )
    assert both == {"ours": 3, "theirs": 1, "shared": 1}
    files = "SELECT SUM(record_count) AS n FROM TABLE(table_files('{}'))"
    assert desk.column(files.format(theirs)) == [1]
    assert desk.column(files.format(ours)) == [3]


def test_every_folder_and_table_is_listed(desk: Desk) -> None:
    folders = [f"{CATALOG}.{name}" for name in ("bare", SCHEMA, "warehouse", "warehouse.deep")]
    assert desk.column("SHOW SCHEMAS") == ["INFORMATION_SCHEMA", CATALOG, *folders]
    assert desk.column("SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA") == [
        "INFORMATION_SCHEMA",
        CATALOG,
        *folders,
    ]
    beside = [
        {"TABLE_SCHEMA": CATALOG, "TABLE_NAME": "loose"},
        {"TABLE_SCHEMA": f"{WAREHOUSE}.deep", "TABLE_NAME": "visits"},
        {"TABLE_SCHEMA": WAREHOUSE, "TABLE_NAME": "lost"},
        {"TABLE_SCHEMA": WAREHOUSE, "TABLE_NAME": "orders_processed"},
    ]
    listed = desk.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM INFORMATION_SCHEMA.\"TABLES\" WHERE TABLE_TYPE = 'TABLE' "
        f"AND TABLE_SCHEMA <> '{CATALOG}.{SCHEMA}'"
    )
    assert sorted(listed, key=str) == sorted(beside, key=str)
    assert sorted(desk.rows(f"SHOW TABLES IN {WAREHOUSE}"), key=str) == sorted(beside[1:], key=str)
    assert desk.rows(f"SHOW TABLES IN {WAREHOUSE} LIKE 'order%'") == [beside[3]]
    assert desk.rows(f"SHOW TABLES IN {CATALOG}.bare") == []
    assert len(desk.rows(f"SHOW TABLES IN {CATALOG}")) == len(TABLES) + len(beside)
    assert {row["TABLE_NAME"] for row in desk.rows(f"SHOW TABLES IN {CATALOG}.{SCHEMA}")} == set(TABLES)


def test_columns_are_told_and_a_table_that_cannot_be_read_hides_no_other(desk: Desk) -> None:
    ours, theirs = (
        desk.column(
            "SELECT COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_NAME = 'orders_processed' "
            f"AND TABLE_SCHEMA = '{schema}' ORDER BY ORDINAL_POSITION"
        )
        for schema in (f"{CATALOG}.{SCHEMA}", WAREHOUSE)
    )
    assert ours == theirs == [column.name for column in TABLES["orders_processed"].columns]
    lost = f"SELECT COUNT(*) AS n FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA = '{WAREHOUSE}.deep'"
    assert desk.column(lost) == [len(TABLES["clicks_processed"].columns)]
    assert desk.column(f"DESCRIBE {WAREHOUSE}.deep.visits") == [
        column.name for column in TABLES["clicks_processed"].columns
    ]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        (f"SELECT * FROM {WAREHOUSE}.nothing", "Object 'nothing' not found within"),
        (f"SELECT * FROM {WAREHOUSE}.seen", "Object 'seen' not found within"),
        (f"SELECT * FROM {CATALOG}.orders_processed", "Object 'orders_processed' not found within"),
        (f"SELECT * FROM {CATALOG}.Warehouse.orders_processed", "not found within"),
        (f"SHOW TABLES IN {CATALOG}.nowhere", f"Source {CATALOG}.nowhere does not exist."),
        (f"USE {CATALOG}.nowhere", f"Schema [{CATALOG}.nowhere] is not valid"),
        (f"DESCRIBE {WAREHOUSE}.nothing", f"Unknown table [{WAREHOUSE}.nothing]"),
        (f"SELECT * FROM {WAREHOUSE}.orders_processed AT SNAPSHOT '7'", f"not found for table {WAREHOUSE}.orders_proc"),
    ],
)
def test_what_is_not_there_is_said_to_be_missing(desk: Desk, sql: str, says: str) -> None:
    refusal: Refusal = desk.refused(sql)
    assert (refusal.kind, says in str(refusal)) == (ErrorKind.VALIDATION, True), str(refusal)
