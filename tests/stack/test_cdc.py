"""A shop's database, captured: its orders and cancellations are in the tables, each once, whatever is killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import cdc
from bench.pipelines import Stack as Pipeline
from bench.processes import free_offset
from bench.servers import Servers
from lakehouse.settings.database import DatabaseSettings
from lakehouse.user_error import UserError
from producers.database import connected
from tests.stack.conftest import Stack
from tillwatch.capture import find_postgres


@pytest.fixture
def postgres_is_there() -> None:
    """Without PostgreSQL a test is skipped; with CI=true it fails."""
    try:
        find_postgres()
    except UserError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{error} deploy/ci-setup installs it.")
        pytest.skip(str(error))


@pytest.mark.usefixtures("postgres_is_there", "java_is_there")
def test_changes_of_the_published_table_are_in_the_databases_log(tmp_path: Path) -> None:
    with Servers(tmp_path, free_offset(), names=("postgres",)) as servers:
        settings = DatabaseSettings.load(port=servers.shared.port("postgres"))
        with connected(settings) as connection:
            connection.run("SELECT pg_create_logical_replication_slot('peek', 'pgoutput', true)")
            connection.run("INSERT INTO customers (email) VALUES ('ada@shop.example')")
            connection.run("INSERT INTO orders (customer_id, total) VALUES (1, 12.50)")
            [[messages]] = connection.run(
                "SELECT COUNT(*) FROM pg_logical_slot_peek_binary_changes("
                "'peek', NULL, NULL, 'proto_version', '1', 'publication_names', 'tillwatch')"
            )
    # Of the order alone: begin, what the table is like, the row, commit.
    assert messages == 4


@pytest.mark.usefixtures("postgres_is_there")
@pytest.mark.timeout(900)
def test_what_the_database_remembers_is_in_the_tables_over_kills_of_all(stack: Stack) -> None:
    with (
        cdc.database(stack.servers, stack.tmp / "database") as of_shop,
        Pipeline(stack.servers, stack.tmp / "pipeline", cdc.settings(stack.tmp)) as pipeline,
    ):
        found = cdc.run(cdc.Captured(pipeline, of_shop), orders=300, rate=20)
    assert found.problems == []
    assert found.totals is not None
    assert found.totals.made >= 300
    assert found.totals.cancelled > 20
    assert found.sent_again > 100, "the second snapshot sent nothing"
