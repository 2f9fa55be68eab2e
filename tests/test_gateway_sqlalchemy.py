"""SQLAlchemy 1.4 with sqlalchemy_dremio, as Superset uses it, finds its way through the gateway's tables."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.client_cast import answers, environment
from tests.test_gateway import Published, start_gateway, stop


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client found."""
    python = environment("sqlalchemy-dremio")
    published = Published(tmp_path_factory.mktemp("shop"))
    process, port = start_gateway(published.data_dir)
    try:
        return answers(python, "sqlalchemy_dremio_client.py", port)
    finally:
        stop(process)


def test_schemas_tables_and_columns_are_reflected(told: dict[str, Any]) -> None:
    assert f"{CATALOG}.{SCHEMA}" in told["schemas"]
    assert told["tables"] == sorted(TABLES)
    assert told["has"] == [True, False]
    assert list(told["columns"]) == told["reflected"] == [column.name for column in TABLES["orders_processed"].columns]
    assert (told["columns"]["price"], told["columns"]["order_ts"]) == ("DECIMAL", "TIMESTAMP")


def test_reflected_tables_are_read(told: dict[str, Any]) -> None:
    assert told["ids"] == ["o-1", "o-2", "o-3"]
    assert set(told["every table"]) == set(TABLES)
    assert told["every table"]["orders_processed"] == told["frame"] == told["query"] == told["inside"] == 3
    assert told["bytes"] > 1000


def test_a_refusal_reaches_the_client_in_dremios_words(told: dict[str, Any]) -> None:
    assert "Column 'nope' not found in any table" in told["bad column"]["error"]
    assert f'Unknown table ["{CATALOG}.{SCHEMA}".sales]' in told["bad table"]["error"]
    assert 'encountered "SELEC"' in told["bad SQL"]["error"]
    assert "Invalid username or password" in told["bad password"]["error"]
    # The dialect sends what it should bind as it stands, and Dremio says the same of it.
    assert "Cannot convert RexNode" in told["parameters"]["error"]
    assert told["after all"] == 1
