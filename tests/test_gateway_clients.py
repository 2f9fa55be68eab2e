"""Clients of others find at the gateway what they find at Dremio; the lines of docs/clients.md run as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lakehouse import ROOT
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.client_cast import CLIENTS, answers, environment, run
from tests.test_gateway import Published, start_gateway, stop

DOC = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^## (.+?)\n.*?^```python (\S+)\n(.*?)^```$", DOC, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    data_dir: Path = tmp_path_factory.mktemp("shop")
    Published(data_dir)
    process, port = start_gateway(data_dir)
    yield port
    stop(process)


@pytest.fixture(scope="module")
def adbc(port: int) -> dict[str, Any]:
    return answers(environment("adbc"), "adbc_client.py", port)


@pytest.fixture(scope="module")
def dbapi(port: int) -> dict[str, Any]:
    return answers(environment("flightsql-dbapi"), "flightsql_dbapi_client.py", port)


@pytest.fixture(scope="module")
def python(port: int) -> dict[str, Any]:
    return answers(environment("dremio-simple-query"), "dremio_python_client.py", port)


PATHS = {f"{CATALOG}.{SCHEMA}.{name}" for name in TABLES}
COLUMNS = [column.name for column in TABLES["orders_processed"].columns]
ONE = [{"order_id": "o-3"}]


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        ("empty", []),
        ("table types", ["TABLE", "SYSTEM_TABLE", "VIEW"]),
        ("vendor", "Dremio Server"),
        ("columns", COLUMNS),
        ("table schema", COLUMNS),
        ("parameters", ONE),
        ("prepared", ["string", "int32"]),
        ("session", [{"n": 3}]),
        ("polars", [["o-1", "10.5000"], ["o-2", "10.5000"], ["o-3", "10.5000"]]),
        ("polars parameters", [["o-3"]]),
        ("polars empty", {"order_id": "String", "price": "Decimal(precision=18, scale=4)"}),
        ("polars describe", COLUMNS),
        ("polars in batches", 3),
        ("after all", [{"n": 1}]),
    ],
)
def test_adbc_is_answered(adbc: dict[str, Any], ask: str, answer: object) -> None:
    assert adbc[ask] == answer


def test_adbc_reads_every_table(adbc: dict[str, Any]) -> None:
    assert set(adbc["every table"]) == PATHS
    assert adbc["polars every table"] == adbc["every table"]
    assert adbc["every table"][f"{CATALOG}.{SCHEMA}.orders_processed"] == 3
    assert adbc["select"][2] == {"order_id": "o-3", "price": "10.5000", "order_ts": "2026-03-02 12:00:00.123000"}


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ("too few parameters", r"^InternalError: INTERNAL: \[FlightSQL\] Cannot convert RexNode"),
        ("bad SQL", r'^ProgrammingError: INVALID_ARGUMENT: .*encountered "SELEC"'),
        ("bad column", r"^ProgrammingError: INVALID_ARGUMENT: .*Column 'nope' not found"),
        ("bad password", r"^ProgrammingError: UNAUTHENTICATED: .*Invalid username or password"),
        ("polars bad SQL", r"^ProgrammingError: INVALID_ARGUMENT: .*encountered \"SELEC\""),
        ("polars bad column", r"^ProgrammingError: INVALID_ARGUMENT: .*Column 'nope' not found"),
        ("polars bad password", r"^ProgrammingError: UNAUTHENTICATED: .*Invalid username or password"),
        ("delete", r"^ProgrammingError: UNAUTHORIZED: .*read-only"),
        ("insert", r"^NotSupportedError: NOT_IMPLEMENTED: .*acceptPut is not implemented"),
    ],
)
def test_adbc_is_refused_with_dremios_status(adbc: dict[str, Any], ask: str, says: str) -> None:
    assert re.search(says, adbc[ask]["error"])


def test_adbc_cancels_at_once(adbc: dict[str, Any]) -> None:
    assert adbc["cancel"] < 1


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        ("select", [{"order_id": f"o-{number}"} for number in (1, 2, 3)]),
        ("catalogs", []),
        ("table types", ["TABLE", "SYSTEM_TABLE", "VIEW"]),
        ("columns", COLUMNS),
        ("vendor", "Dremio Server"),
        ("parameters", ONE),
        ("describe", COLUMNS),
        ("after all", [{"n": 1}]),
    ],
)
def test_flightsql_dbapi_is_answered(dbapi: dict[str, Any], ask: str, answer: object) -> None:
    assert dbapi[ask] == answer


def test_flightsql_dbapi_reads_every_table_and_is_refused_with_dremios_status(dbapi: dict[str, Any]) -> None:
    assert set(dbapi["every table"]) == PATHS
    assert f"{CATALOG}.{SCHEMA}" in dbapi["schemas"]
    assert dbapi["bad SQL"]["error"].startswith("ArrowInvalid: Failure parsing the query")
    assert "Invalid username or password" in dbapi["bad password"]["error"]
    assert dbapi["update"]["error"].startswith("ArrowNotImplementedError: acceptPut is not implemented")


def test_flightsql_dbapi_cancels_at_once(dbapi: dict[str, Any]) -> None:
    assert dbapi["cancel"] < 1


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        *((way, ["o-1", "o-2", "o-3"]) for way in ("arrow", "pandas", "polars", "duckdb", "by token")),
        *((f"frames: {way}", ["o-1", "o-2", "o-3"]) for way in ("table", "query")),
        ("frames: filter", ["o-3"]),
        ("frames: mutate", ["quantity", "twice"]),
        ("frames: branch", 3),
        ("frames: explain", True),
        ("describe", COLUMNS),
        ("after all", [{"n": 1}]),
    ],
)
def test_dremio_simple_query_and_dremioframe_are_answered(python: dict[str, Any], ask: str, answer: object) -> None:
    assert python[ask] == answer


def test_dremio_simple_query_and_dremioframe_read_every_table(python: dict[str, Any]) -> None:
    for ask in ("every table", "frames: every table"):
        assert set(python[ask]) == set(TABLES)
        assert python[ask]["orders_processed"] == 3
    assert sum(python["frames: aggregate"]) == 3


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        ("bad SQL", 'encountered "SELEC"'),
        ("bad password", "Invalid username or password"),
        ("frames: bad SQL", "Failure parsing the query"),  # it stands inside a SELECT of the client's
        ("frames: bad column", "Column 'nope' not found"),
        ("frames: bad password", "Invalid username or password"),
        ("frames: delete", "read-only"),
    ],
)
def test_dremio_simple_query_and_dremioframe_are_refused_in_dremios_words(
    python: dict[str, Any], ask: str, says: str
) -> None:
    assert says in python[ask]["error"]


def test_dremio_simple_query_cancels_at_once(python: dict[str, Any]) -> None:
    assert python["cancel"] < 1


# ---- docs/clients.md ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "name", "program"), EXAMPLES, ids=[example[0] for example in EXAMPLES])
def test_the_lines_of_the_docs_run_as_they_stand(port: int, client: str, name: str, program: str) -> None:
    said = run(environment(name), program.replace("32010", str(port)))
    assert "o-1" in said or "order_id" in said


def test_the_docs_have_lines_for_each_client_and_name_the_versions_that_were_run() -> None:
    assert DOC.count("```python") == len(EXAMPLES) == 7
    chosen = [
        *CLIENTS.glob("*.in"),
        *CLIENTS.glob("*.pins"),
        CLIENTS / "go" / "go.mod",
        ROOT / "deploy" / "jars" / "jars.toml",
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in chosen)
    for package, version in re.findall(r"^\| ([\w-]+) (\d[\d.]+)", DOC, re.MULTILINE):
        assert (
            f"{package}=={version}" in text
            or f"{package}:{version}" in text
            or f"{package}/v{version[:2]} v{version}" in text
        )
