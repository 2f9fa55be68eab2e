"""Flight SQL at the gateway: the calls that clients make, with the answers that Dremio gives."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import flight

from embedded.gateway.flight_sql.like import Like
from embedded.gateway.flight_sql.messages import make, packed, read, unpacked
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from tests.flight_sql_cast import SqlClient
from tests.test_gateway import Published, start_gateway, stop

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"
PREFIX = "ARROW:FLIGHT:SQL:"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    data_dir: Path = tmp_path_factory.mktemp("shop")
    Published(data_dir)
    process, port = start_gateway(data_dir)
    yield port
    stop(process)


@pytest.fixture
def client(port: int) -> SqlClient:
    return SqlClient(port)


# ---- statements -----------------------------------------------------------------------------------------------------


def test_a_statement_has_one_endpoint_without_a_place_and_runs_again(client: SqlClient) -> None:
    command = make("CommandStatementQuery", query=f"SELECT order_id, price, COUNT(*) FROM {ORDERS} GROUP BY 1, 2")
    info = client.info(command)
    [endpoint] = info.endpoints
    assert (endpoint.locations, info.total_records, info.total_bytes) == ([], -1, -1)
    assert info.schema == pa.schema(
        [("order_id", pa.string()), ("price", pa.decimal128(18, 4)), ("EXPR$2", pa.int64())]
    )
    assert client.schema(command) == info.schema
    assert [client.get(endpoint.ticket.ticket).num_rows for _ in range(2)] == [3, 3]


def test_flight_info_says_what_the_columns_are_and_the_stream_does_not(client: SqlClient) -> None:
    sql = f"SELECT order_id, price, order_ts, quantity FROM {ORDERS}"
    for command in (packed(make("CommandStatementQuery", query=sql)), sql.encode()):
        info = client.info(command)
        told = [
            tuple(field.metadata.get(f"{PREFIX}{name}".encode()) for name in ("TYPE_NAME", "PRECISION", "SCALE"))
            for field in info.schema
        ]
        assert told == [
            (b"CHARACTER VARYING", b"65536", None),
            (b"DECIMAL", b"18", b"4"),
            (b"TIMESTAMP", b"3", None),
            (b"INTEGER", None, None),
        ]
        table = client.get(info.endpoints[0].ticket.ticket)
        assert [field.metadata for field in table.schema] == [None] * 4


def test_an_empty_answer_has_a_batch_here_too(client: SqlClient) -> None:
    info = client.info(make("CommandStatementQuery", query=f"SELECT order_id FROM {ORDERS} WHERE order_id = 'none'"))
    reader = client.flight.do_get(info.endpoints[0].ticket, client.options)
    assert [chunk.data.num_rows for chunk in reader] == [0]


@pytest.mark.parametrize(
    ("sql", "error", "says"),
    [
        ("SELEC 1", pa.ArrowInvalid, 'encountered "SELEC".\nstartLine 1\nstartColumn 1'),
        (f"SELECT nope FROM {ORDERS}", pa.ArrowInvalid, "Column 'nope' not found in any table\nstartLine 1\n"),
        ("SELECT * FROM nope", pa.ArrowInvalid, "Object 'nope' not found"),
        (f"INSERT INTO {ORDERS} VALUES (1)", flight.FlightUnauthorizedError, "read-only"),
        (f"DROP TABLE {ORDERS}", flight.FlightUnauthorizedError, "read-only"),
        ("SELECT ?", flight.FlightInternalError, "Cannot convert RexNode"),
        ("", pa.ArrowInvalid, "the statement is empty"),
    ],
)
def test_what_is_refused_is_refused_when_planned_and_when_prepared(
    client: SqlClient, sql: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        client.info(make("CommandStatementQuery", query=sql))
    with pytest.raises(error, match=says) if sql != "SELECT ?" else pytest.raises(pa.ArrowInvalid, match="Illegal use"):
        client.prepare(sql)


def test_updates_are_not_put_anywhere(client: SqlClient) -> None:
    rows = pa.table({"a": [1]})
    for command in (
        make("CommandStatementUpdate", query=f"DELETE FROM {ORDERS}"),
        make("CommandPreparedStatementUpdate", prepared_statement_handle=client.prepare("SELECT 1 AS n").handle),
        make("CommandStatementIngest", table="orders_processed"),
        b"DELETE FROM orders_processed",
    ):
        with pytest.raises(pa.ArrowNotImplementedError, match="acceptPut is not implemented"):
            client.put(command, rows)


# ---- metadata -------------------------------------------------------------------------------------------------------


def test_dremio_has_no_catalogs_and_three_types_of_tables(client: SqlClient) -> None:
    catalogs = client.rows(make("CommandGetCatalogs"))
    assert (catalogs.num_rows, catalogs.schema) == (0, pa.schema([pa.field("catalog_name", pa.string(), False)]))
    types = client.rows(make("CommandGetTableTypes"))
    assert types.column(0).to_pylist() == ["TABLE", "SYSTEM_TABLE", "VIEW"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["INFORMATION_SCHEMA", CATALOG, f"{CATALOG}.{SCHEMA}"]),
        ({"catalog": "dremio", "db_schema_filter_pattern": "%.ECOMMERCE%"}, [f"{CATALOG}.{SCHEMA}"]),
        ({"db_schema_filter_pattern": r"nessie\_minio\_catalog"}, [CATALOG]),
        ({"db_schema_filter_pattern": ""}, []),
        ({"catalog": ""}, []),
        ({"catalog": "other"}, []),
    ],
)
def test_schemas_are_dotted_paths_and_filters_are_like(
    client: SqlClient, filters: dict[str, str], found: list[str]
) -> None:
    schemas = client.rows(make("CommandGetDbSchemas", **filters))
    assert set(found) <= set(schemas.column("db_schema_name").to_pylist())
    assert bool(found) == bool(schemas.num_rows)
    assert set(schemas.column("catalog_name").to_pylist()) <= {None}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"table_types": ["TABLE"]}, sorted(TABLES)),
        ({"db_schema_filter_pattern": f"{CATALOG}.{SCHEMA}"}, sorted(TABLES)),
        ({"table_name_filter_pattern": r"ORDERS\_processed"}, ["orders_processed"]),
        ({"table_name_filter_pattern": "orders_p%", "table_types": ["TABLE", "VIEW"]}, ["orders_processed"]),
        ({"table_name_filter_pattern": "orders", "table_types": ["TABLE"]}, []),
        ({"table_types": ["VIEW"]}, []),
        ({"table_types": ["table"]}, []),
        ({"db_schema_filter_pattern": "nowhere"}, []),
    ],
)
def test_tables_are_filtered_by_schema_name_and_type(
    client: SqlClient, filters: dict[str, object], found: list[str]
) -> None:
    tables = client.rows(make("CommandGetTables", **filters))
    assert tables.column("table_name").to_pylist() == found
    assert [field.nullable for field in tables.schema] == [True, True, False, False]


def test_the_schema_of_a_table_is_told_as_dremio_tells_it(client: SqlClient) -> None:
    command = make("CommandGetTables", include_schema=True, table_name_filter_pattern="orders\\_processed")
    [row] = client.rows(command).to_pylist()
    schema = pa.ipc.read_schema(pa.py_buffer(row["table_schema"]))
    assert schema.names == [column.name for column in TABLES["orders_processed"].columns]
    # Not the type that results have: Dremio says UTC here, and nothing there.
    assert schema.field("order_ts").type == pa.timestamp("ms", "UTC")
    price = schema.field("price")
    assert (price.type, price.nullable) == (pa.decimal128(18, 4), True)
    assert price.metadata[f"{PREFIX}SCHEMA_NAME".encode()].decode() == f"{CATALOG}.{SCHEMA}"
    assert price.metadata[f"{PREFIX}TABLE_NAME".encode()] == b"orders_processed"
    assert price.metadata[f"{PREFIX}SCALE".encode()] == b"4"


def test_the_server_tells_its_name_and_ways(client: SqlClient) -> None:
    def told(*numbers: int) -> dict[int, object]:
        table = client.rows(make("CommandGetSqlInfo", info=numbers))
        return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))

    assert told(0, 3, 504, 513, 531, 563, 525) == {
        0: "Dremio Server", 3: False, 504: '"', 513: "\\", 531: "", 563: False, 525: 7,
    }  # fmt: skip
    everything = told()
    assert everything.items() >= told(0, 543, 509).items()
    assert len(everything) > 60
    # What is answered nowhere has no row.
    assert told(8, 0) == {0: "Dremio Server"}


def test_every_function_that_is_named_is_answered(client: SqlClient) -> None:
    table = client.rows(make("CommandGetSqlInfo", info=[509, 510, 511, 512])).to_pylist()
    names = {name for row in table for name in row["value"]}
    assert {"ABS", "CONCAT", "TIMESTAMPADD"} <= names
    for name in names:
        with pytest.raises(pa.ArrowInvalid) as caught:
            client.query(f"SELECT {name}(nope) FROM {ORDERS}")
        assert "No match found for function signature" not in str(caught.value), name


def test_types_have_34_names(client: SqlClient) -> None:
    rows = client.rows(make("CommandGetXdbcTypeInfo", data_type=4)).to_pylist()
    assert len(rows) == 34
    decimal = next(row for row in rows if row["type_name"] == "DECIMAL")
    assert (decimal["data_type"], decimal["column_size"], decimal["num_prec_radix"]) == (3, 38, 10)
    timestamp = next(row for row in rows if row["type_name"] == "TIMESTAMP")
    assert (timestamp["sql_data_type"], timestamp["datetime_subcode"], timestamp["maximum_scale"]) == (9, 3, 3)
    assert rows[0]["create_params"] == ["max length"]


@pytest.mark.parametrize("keys", ["PrimaryKeys", "ExportedKeys", "ImportedKeys", "CrossReference"])
def test_keys_have_a_schema_and_no_rows(client: SqlClient, keys: str) -> None:
    command = make(f"CommandGet{keys}")
    info = client.info(command)
    assert info.endpoints == []
    assert "key_sequence" in info.schema.names
    with pytest.raises(pa.ArrowNotImplementedError, match=f"CommandGet{keys} not supported"):
        client.get(command)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("%", "", True),
        ("", "a", False),
        ("_", "", False),
        ("a%c", "ABBC", True),
        ("a%b%c", "a-b-b", False),
        ("%%a_%", "xxab", True),
        (r"a\_c", "abc", False),
        (r"a\_c", "A_C", True),
        (r"100\%", "100%", True),
        (r"\\", "\\", True),
        ("a\\", "a", True),
        ("%ab%ab", "abab", True),
        ("%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%b", "a" * 400, False),
    ],
)
def test_like(pattern: str, text: str, matches: bool) -> None:
    assert Like(pattern).matches(text) is matches


# ---- sessions and cancelling ----------------------------------------------------------------------------------------


def test_the_schema_is_an_option_of_the_session(client: SqlClient) -> None:
    count = "SELECT COUNT(*) AS n FROM orders_processed"
    with pytest.raises(pa.ArrowInvalid, match="Object 'orders_processed' not found"):
        client.query(count)
    assert client.set_option("schema", string_value=f"{CATALOG}.{SCHEMA}") is None
    assert client.query(count) == [{"n": 3}]
    [result] = client.act("GetSessionOptions", b"")
    [option] = read("GetSessionOptionsResult", result).session_options
    assert (option.key, option.value.string_value) == ("schema", f"{CATALOG}.{SCHEMA}")
    assert client.set_option("schema") is None
    [result] = client.act("GetSessionOptions", b"")
    assert list(read("GetSessionOptionsResult", result).session_options) == []


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("schema", {"string_value": "nowhere"}, 2),
        ("schema", {"string_value": "BRANCH main"}, 2),
        ("schema", {"string_value": f"{CATALOG}; DROP TABLE x"}, 2),
        ("schema", {"int64_value": 3}, 2),
        ("catalog", {"string_value": "DREMIO"}, None),
        ("catalog", {"string_value": "other"}, 2),
        ("memory_limit", {"string_value": "1TB"}, 1),
        ("threads", {"double_value": 3.0}, 1),
    ],
)
def test_what_is_no_option_is_told(client: SqlClient, name: str, value: dict[str, object], error: int | None) -> None:
    assert client.set_option(name, **value) == error


def test_a_session_that_was_closed_is_known_no_more(client: SqlClient) -> None:
    assert client.query("SELECT 1 AS n") == [{"n": 1}]
    [result] = client.act("CloseSession", b"")
    assert read("CloseSessionResult", result).status == 1
    for ask in (lambda: client.query("SELECT 1 AS n"), lambda: client.act("CloseSession", b"")):
        with pytest.raises(flight.FlightUnauthenticatedError, match="UserSession is not available in the cache"):
            ask()


def long_query() -> str:
    """Some seconds of work, if nobody ends it."""
    tables = ", ".join(f"{ORDERS} AS t{number}" for number in range(18))
    total = " + ".join(f"t{number}.quantity" for number in range(18))
    return f"SELECT SUM(t0.quantity) AS n FROM {tables} WHERE {total} < 0"


@pytest.mark.parametrize("action", ["CancelFlightInfo", "CancelQuery"])
def test_a_running_statement_can_be_cancelled_by_its_flight_info(port: int, action: str) -> None:
    client = SqlClient(port)
    info = client.info(make("CommandStatementQuery", query=long_query()))
    serialized = info.serialize()

    def cancel() -> int:
        other = SqlClient(port)
        if action == "CancelFlightInfo":
            request = make("CancelFlightInfoRequest", info=read("FlightInfo", serialized))
            return int(read("CancelFlightInfoResult", other.act(action, request)[0]).status)
        request = packed(make("ActionCancelQueryRequest", info=serialized))
        result: int = unpacked(other.act(action, request)[0]).result  # type: ignore[union-attr]
        return result

    assert cancel() == 3  # planned, not running
    failed: list[BaseException] = []

    def run() -> None:
        try:
            client.get(info.endpoints[0].ticket.ticket)
        except BaseException as error:
            failed.append(error)

    running = threading.Thread(target=run)
    running.start()
    deadline = time.monotonic() + 20
    while (status := cancel()) != 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert status == 1
    began = time.monotonic()
    running.join(10)
    assert time.monotonic() - began < 1
    assert [type(error) for error in failed] == [flight.FlightCancelledError]
    assert "Query cancelled by user" in str(failed[0])
