"""The client against a Dremio: that of DREMIO_URI, or the gateway where none is given.

    DREMIO_URI=grpc://dremio:32010 DREMIO_USER=me DREMIO_PASSWORD=secret .venv/bin/pytest tests/test_dremio_any.py

DREMIO_TOKEN takes the place of user and password, DREMIO_TLS_ROOTS names a PEM file. Nothing is written there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import AuthError, NotFound, ProtocolError, QueryError, Timeout, TooLarge
from lakehouse.dremio.statement import Value, literal, question_sql
from lakehouse.settings.dremio import DremioSettings
from tests.test_gateway import Published, start_gateway, stop
from tests.test_questions import ALL, Binds

URI = os.environ.get("DREMIO_URI", "")
MANY = (
    'SELECT a.TABLE_NAME AS n FROM INFORMATION_SCHEMA."COLUMNS" AS a, INFORMATION_SCHEMA."COLUMNS" AS b, '
    'INFORMATION_SCHEMA."COLUMNS" AS c LIMIT 10000'
)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if URI:
        yield URI
        return
    process, port = start_gateway(Published(tmp_path_factory.mktemp("shop")).data_dir)
    yield f"grpc://localhost:{port}"
    stop(process)


@pytest.fixture(params=["flight", "flight-sql"])
def settings(uri: str, request: pytest.FixtureRequest) -> DremioSettings:
    """Skips with one sentence where the server has no Flight SQL."""
    given = {name: os.environ.get(f"DREMIO_{name.upper()}", "") for name in ("user", "password", "token", "tls_roots")}
    found = DremioSettings.load(
        uri=uri, protocol=request.param, **{name: value for name, value in given.items() if URI and value}
    )
    if request.param == "flight-sql":
        with Dremio(found) as client:
            try:
                client.sql("SELECT 1 AS n")
            except ProtocolError as error:
                pytest.skip(str(error))
    return found


@pytest.fixture
def client(settings: DremioSettings) -> Iterator[Dremio]:
    with Dremio(settings) as opened:
        yield opened


def goes_on(client: Dremio) -> None:
    assert client.sql("SELECT 1 AS n").to_pylist() == [{"n": 1}]
    assert client.state.status == "up"


def test_each_type_comes_as_it_is_promised(client: Dremio) -> None:
    answer = client.sql(
        "SELECT 1 AS n, CAST(2 AS BIGINT) AS big, CAST(1.5 AS DECIMAL(18, 2)) AS money, CAST(0.5 AS DOUBLE) AS share, "
        "CAST('é' AS VARCHAR) AS word, TRUE AS yes, DATE '2026-03-02' AS day_of, "
        "TIMESTAMP '2026-03-02 12:00:00.123' AS moment"
    )
    assert answer.schema == pa.schema(
        {
            "n": pa.int32(),
            "big": pa.int64(),
            "money": pa.decimal128(18, 2),
            "share": pa.float64(),
            "word": pa.string(),
            "yes": pa.bool_(),
            "day_of": pa.date64(),
            "moment": pa.timestamp("ms", "UTC"),
        }
    )
    [row] = answer.to_pylist()
    assert (row["n"], row["big"], row["money"], row["share"]) == (1, 2, Decimal("1.50"), 0.5)
    assert (row["word"], row["yes"], row["day_of"]) == ("é", True, date(2026, 3, 2))
    assert row["moment"] == datetime(2026, 3, 2, 12, 0, 0, 123_000, UTC)


@pytest.mark.parametrize(
    "value",
    [
        'o\'brien; -- "x"',
        "",
        7,
        -7,
        2**31,
        Decimal("-0.10"),
        2.5,
        False,
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
)
def test_a_value_comes_back_as_it_was_written(client: Dremio, value: Value) -> None:
    assert client.sql(f"SELECT {literal(value)} AS v").to_pylist() == [{"v": value}]


def test_an_answer_without_rows_has_its_columns(client: Dremio) -> None:
    answer = client.sql("SELECT n FROM (SELECT 1 AS n) AS numbers WHERE n = 2")
    assert (answer.num_rows, answer.schema.names) == (0, ["n"])


def test_an_answer_of_many_batches_comes_whole(client: Dremio) -> None:
    answer = client.sql(MANY)
    assert answer.num_rows == 10_000
    assert len(answer.column("n").chunks) > 1


def test_a_column_that_is_not_there_is_told_with_its_place(client: Dremio) -> None:
    sql = 'SELECT\n  nope AS n\nFROM INFORMATION_SCHEMA."TABLES"'
    with pytest.raises(QueryError, match="'nope'") as caught:
        client.sql(sql)
    assert (caught.value.line, caught.value.column, caught.value.sql) == (2, 3, sql)
    assert "\n" not in str(caught.value)
    assert client.state.status == "degraded"
    goes_on(client)


def test_nonsense_is_refused_with_its_place(client: Dremio) -> None:
    with pytest.raises(QueryError) as caught:
        client.sql("SELECT 1 AS n\nFROM WHERE")
    assert caught.value.line == 2
    goes_on(client)


def test_a_table_that_is_not_there_is_not_found(client: Dremio) -> None:
    with pytest.raises(NotFound, match=r"(?i)'nope' not found"):
        client.sql("SELECT 1 AS n FROM INFORMATION_SCHEMA.nope")
    goes_on(client)


def test_a_wrong_password_is_refused(settings: DremioSettings) -> None:
    wrong = settings.model_copy(update={"password": SecretStr("guess"), "token": SecretStr("")})
    with Dremio(wrong) as client:
        with pytest.raises(AuthError, match=r"check dremio\.user and dremio\.password\.$"):
            client.sql("SELECT 1 AS n")
        assert client.state.status == "down"


def test_a_token_that_is_no_longer_good_costs_a_login(client: Dremio) -> None:
    if client._connection._given is not None:
        pytest.skip("DREMIO_TOKEN is set, so there is no login.")
    goes_on(client)
    client._connection._token = ((b"authorization", b"Bearer forged"), time.monotonic())
    goes_on(client)
    token = client._connection._token
    assert token is not None
    assert token[0] != (b"authorization", b"Bearer forged")


def test_a_session_that_is_no_longer_known_is_begun_anew(client: Dremio) -> None:
    goes_on(client)
    cookies = client._connection._heard._cookies
    assert cookies.header().startswith("SESSION_ID=")
    cookies.take(["SESSION_ID=forgotten"])
    goes_on(client)
    client._connection.near  # noqa: B018  # hears the newest cookie
    assert "forgotten" not in cookies.header()


def test_no_more_rows_than_wanted_are_read(settings: DremioSettings) -> None:
    with Dremio(settings, max_rows=100) as client:
        with pytest.raises(TooLarge, match="larger than 100 rows"):
            client.sql(MANY)
        goes_on(client)


def test_a_time_that_is_too_short_is_told(settings: DremioSettings) -> None:
    hasty = settings.model_copy(update={"plan_timeout": settings.plan_timeout / 10_000})
    with Dremio(hasty) as client, pytest.raises(Timeout, match=r"within 0\.0005 s \(dremio\.plan_timeout\)\.$"):
        client.sql("SELECT 1 AS n")


def test_many_threads_share_a_connection(client: Dremio) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: client.sql(f"SELECT {n} AS n").to_pylist(), range(40)))
    assert answers == [[{"n": n}] for n in range(40)]


@pytest.mark.skipif(not URI, reason="only Dremio closes connections that were idle for 30 s")
def test_a_connection_that_was_idle_is_opened_again(client: Dremio) -> None:
    goes_on(client)
    time.sleep(35)
    goes_on(client)


@pytest.mark.parametrize("question", ALL)
def test_each_question_is_answered_with_the_columns_that_it_declares(client: Dremio, question: str) -> None:
    try:
        commit = client.head()
    except QueryError as error:
        pytest.skip(f"The shop's tables are not there: {error}")
    binds: dict[str, Any] = Binds(question_sql(question))
    assert client.ask(question, commit=commit, **binds).num_rows >= 0
