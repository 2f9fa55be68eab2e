"""The client gets its answer through expired tokens and restarts, and says in a sentence when it cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import flight

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.columns import declared
from lakehouse.dremio.cookies import Cookies
from lakehouse.dremio.errors import (
    AuthError,
    Cancelled,
    NotFound,
    ProtocolError,
    QueryError,
    Timeout,
    TooLarge,
    Unavailable,
)
from lakehouse.dremio.nearby import Nearby
from lakehouse.dremio.state import ConnectionState
from lakehouse.dremio.statement import fill, literal
from lakehouse.settings.dremio import DremioSettings
from tests.scripted_dremio import ANSWER, Stand, fail

# ---- values and templates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("o'brien; --", "'o''brien; --'"),
        (3, "3"),
        (-3, "(-3)"),
        (True, "TRUE"),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.10"), "(-0.10)"),
        (2.5, "CAST(2.5 AS DOUBLE)"),
        (None, "CAST(NULL AS VARCHAR)"),
        (date(2026, 3, 2), "DATE '2026-03-02'"),
        (datetime(2026, 3, 2, 12, 0, 0, 123999, UTC), "TIMESTAMP '2026-03-02 12:00:00.123'"),
        (datetime(2026, 3, 2, 1, tzinfo=timezone(timedelta(hours=2))), "TIMESTAMP '2026-03-01 23:00:00.000'"),
        (["a", "b"], "'a', 'b'"),
        ([], "CAST(NULL AS VARCHAR)"),
    ],
)
def test_a_value_is_written_as_dremio_reads_it(value: Any, text: str) -> None:
    assert literal(value) == text


def test_a_template_is_filled_outside_quotes_and_comments_only() -> None:
    sql = fill(
        "-- rows of {nothing}, :nobody\nSELECT ':a' AS \"{b}\", a -:n AS c FROM {alerts} x WHERE x.at >= :since;",
        "ab12",
        {"n": -1, "since": datetime(2026, 3, 2, tzinfo=UTC)},
    )
    assert sql == (
        'SELECT \':a\' AS "{b}", a -(-1) AS c FROM nessie_minio_catalog.ecommerce_db.alerts AT COMMIT "ab12" x '
        "WHERE x.at >= TIMESTAMP '2026-03-02 00:00:00.000'"
    )


@pytest.mark.parametrize(
    ("template", "commit", "binds", "says"),
    [
        ("SELECT :since", None, {}, "needs a value for ':since'"),
        ("SELECT 1", None, {"since": 1}, "has no place for ':since'"),
        ("SELECT 1 FROM {nope}", None, {}, "the table 'nope', which the contract does not have"),
        ("SELECT 1 FROM {alerts}", 'a" OR 1', {}, "is no commit id"),
        ("SELECT :at", None, {"at": datetime(2026, 3, 2)}, "has no time zone"),  # noqa: DTZ001  # what is refused
        ("SELECT :x", None, {"x": float("nan")}, "nan has no place in SQL"),
        ("SELECT :x", None, {"x": object()}, "type object has no place in SQL"),
    ],
)
def test_a_template_that_cannot_be_filled_names_what_is_wrong(
    template: str, commit: str | None, binds: dict[str, Any], says: str
) -> None:
    with pytest.raises(QueryError, match=says):
        fill(template, commit, binds)


def test_a_question_that_is_not_there_is_named() -> None:
    with pytest.raises(ProtocolError, match="no question 'nope'"):
        Dremio(DremioSettings.load()).ask("nope")


def test_a_question_declares_its_columns_in_its_comment() -> None:
    template = "-- Orders.\n-- Columns: moment timestamp,\n--   amount decimal.\nSELECT 1"
    columns = declared(template, "orders.sql")
    assert columns is not None
    assert columns.kinds == (("moment", "timestamp"), ("amount", "decimal"))
    columns.check(pa.schema({"moment": pa.timestamp("ms"), "amount": pa.decimal128(38, 2)}))
    with pytest.raises(ProtocolError, match=r"^orders\.sql declares amount as decimal; Dremio's is double\.$"):
        columns.check(pa.schema({"moment": pa.timestamp("ms"), "amount": pa.float64()}))
    assert declared("-- Orders.\nSELECT 1", "orders.sql") is None
    with pytest.raises(
        ProtocolError, match=r"^orders\.sql declares 'n number'; expected a name and one of binary, boolean, "
    ):
        declared("-- Columns: n number.", "orders.sql")


# ---- against a Dremio that can be told what to do --------------------------------------------------------------------


@pytest.fixture
def stand() -> Iterator[Stand]:
    server = Stand()
    yield server
    server.shutdown()


@pytest.fixture
def client(stand: Stand) -> Iterator[Dremio]:
    settings = DremioSettings.load(uri=f"grpc://127.0.0.1:{stand.port}", plan_timeout="300 ms", fetch_timeout="300 ms")
    with Dremio(settings) as opened:
        yield opened


def test_it_logs_in_once_and_keeps_its_session(stand: Stand, client: Dremio) -> None:
    assert stand.logins == 0
    for _ in range(3):
        client.sql("SELECT 1")
    assert stand.logins == 1
    assert stand.cookies[1:] == [["SESSION_ID=s1"]] * 5


def test_times_come_back_in_utc(client: Dremio) -> None:
    assert client.sql("SELECT 1").to_pylist() == [{"n": 1, "at": datetime(1970, 1, 1, tzinfo=UTC)}]


def test_an_expired_token_and_a_forgotten_session_are_mended_without_a_word(stand: Stand, client: Dremio) -> None:
    client.sql("SELECT 1")
    stand.valid.clear()
    client.sql("SELECT 1")
    stand.session = "s2"
    client.sql("SELECT 1")
    assert stand.logins == 3
    assert client.state.status == "up"


def test_many_threads_share_one_login(stand: Stand, client: Dremio) -> None:
    threads = [threading.Thread(target=client.sql, args=("SELECT 1",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (stand.logins, stand.plans) == (1, 8)


def test_a_token_is_renewed_at_four_fifths_of_the_life_that_is_set(stand: Stand) -> None:
    now = 0.0
    settings = DremioSettings.load(uri=f"grpc://127.0.0.1:{stand.port}", token_life="1 h")
    with Dremio(settings, clock=lambda: now) as client:
        for moment, logins in ((0, 1), (2879, 1), (2881, 2), (5000, 2), (5770, 3)):
            now = moment
            client.sql("SELECT 1")
            assert stand.logins == logins


def test_the_state_says_when_it_was_last_answered_and_how_fast(stand: Stand, client: Dremio) -> None:
    assert client.state == ConnectionState("down")
    assert client.state.as_json() == {"status": "down", "last_ok": None, "latency_s": None}
    client.sql("SELECT 1")
    up = client.state
    assert up.last_ok is not None
    assert abs(datetime.now(UTC) - up.last_ok) < timedelta(seconds=5)
    assert up.latency_s is not None
    assert 0 < up.latency_s < 5
    stand.on_plan = fail(pa.ArrowInvalid("Encountered x"))
    with pytest.raises(QueryError):
        client.sql("SELECT x")
    assert client.state == ConnectionState("degraded", up.last_ok, up.latency_s, "Encountered x.")


@pytest.mark.parametrize(
    "removal",
    [
        "SESSION_ID=; Path=/",
        "SESSION_ID=s1; Max-Age=0",
        "SESSION_ID=s1; Max-Age=-1",
        "SESSION_ID=s1; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
    ],
)
def test_a_cookie_is_kept_until_the_server_removes_it(removal: str) -> None:
    cookies = Cookies()
    cookies.take(["SESSION_ID=s1; Path=/; Max-Age=72", "b=2; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "c=3; Expires=x"])
    assert cookies.header() == "SESSION_ID=s1; b=2; c=3"
    cookies.take([removal])
    assert cookies.header() == "b=2; c=3"


def test_a_wrong_password_is_one_sentence(stand: Stand) -> None:
    with Dremio(DremioSettings.load(uri=f"grpc://127.0.0.1:{stand.port}", password="guess")) as client:
        with pytest.raises(AuthError) as caught:
            client.sql("SELECT 1")
        assert str(caught.value) == (
            f"Dremio at grpc://127.0.0.1:{stand.port} does not let user 'dremio' in "
            "(Login failed: Invalid username or password): check dremio.user and dremio.password."
        )
        assert client.state.status == "down"


def test_a_restart_is_survived_and_a_dead_server_is_told(stand: Stand, client: Dremio) -> None:
    client.sql("SELECT 1")
    port = stand.port
    stand.shutdown()
    with pytest.raises(Unavailable, match="Neither Dremio nor a gateway answers at"):
        client.sql("SELECT 1")
    assert client.state.status == "down"
    assert client.state.last_ok is not None
    again = Stand(port)
    try:
        deadline = time.monotonic() + 5
        while not again.plans and time.monotonic() < deadline:
            try:
                client.sql("SELECT 1")
            except Unavailable:
                time.sleep(0.05)
        assert again.plans == 1
    finally:
        again.shutdown()


def test_a_server_that_was_never_there_is_unavailable() -> None:
    client = Dremio(DremioSettings.load(uri="grpc://127.0.0.1:1"))
    with client, pytest.raises(Unavailable, match=r"Neither Dremio nor a gateway answers at grpc://127\.0\.0\.1:1"):
        client.head()


def test_one_lost_connection_is_tried_again(stand: Stand, client: Dremio) -> None:
    failures = iter([flight.FlightUnavailableError("Connection reset")])

    def once() -> None:
        for failure in failures:
            raise failure

    stand.on_plan = once
    client.sql("SELECT 1")
    assert stand.plans == 2


def test_a_server_that_cannot_answer_now_is_told_from_one_that_is_not_there(stand: Stand, client: Dremio) -> None:
    def away() -> None:
        raise flight.FlightUnavailableError("Nessie at http://nessie does not answer.")

    stand.on_plan = away
    with pytest.raises(
        Unavailable, match=r"Dremio at \S+ cannot answer now: Nessie at http://nessie does not answer\."
    ):
        client.sql("SELECT 1")


@pytest.mark.parametrize("where", ["plan", "read"])
def test_an_answer_that_does_not_come_is_given_up(stand: Stand, client: Dremio, where: str) -> None:
    def slowly() -> Iterator[pa.RecordBatch]:
        yield ANSWER.to_batches()[0]
        time.sleep(0.6)

    if where == "plan":
        stand.on_plan = lambda: time.sleep(0.6)
    else:
        stand.on_read = slowly
    with pytest.raises(Timeout, match=r"within 0\.3 s"):
        client.sql("SELECT 1")
    assert client.state.status == "degraded"


def test_a_statement_cancelled_in_mid_stream_is_no_ctrl_c(stand: Stand, client: Dremio) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield ANSWER.to_batches()[0]
        raise flight.FlightCancelledError("Query cancelled by user 'ops'")

    stand.on_read = broken
    with pytest.raises(Cancelled, match="Query cancelled by user 'ops'"):
        client.sql("SELECT 1")


VALIDATION = "Object 'x' not found within 'a.b'. Please check.\nstartLine 2\nstartColumn 7\nSQL Query SELECT"


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (pa.ArrowInvalid(VALIDATION), NotFound, "Object 'x' not found within 'a.b'. Please check."),
        (pa.ArrowInvalid("Encountered x\nstartLine 2\nstartColumn 7"), QueryError, "Encountered x."),
        (flight.FlightUnauthorizedError("not allowed"), QueryError, "not allowed."),
        (flight.FlightInternalError("DATA_READ ERROR"), QueryError, "DATA_READ ERROR."),
        (pa.ArrowNotImplementedError("doAction"), ProtocolError, "cannot do this: doAction."),
    ],
)
def test_an_error_becomes_one_clean_sentence(
    stand: Stand, client: Dremio, error: Exception, kind: type[Exception], says: str
) -> None:
    stand.on_plan = fail(error)
    with pytest.raises(kind) as caught:
        client.sql("SELECT\n  1")
    assert str(caught.value).endswith(says)
    assert "Detail" not in str(caught.value)
    assert "debug context" not in str(caught.value)
    if isinstance(error, pa.ArrowInvalid) and isinstance(caught.value, QueryError):
        assert (caught.value.line, caught.value.column) == (2, 7)
    assert stand.plans == 1


def test_other_columns_than_planned_are_refused(stand: Stand, client: Dremio) -> None:
    stand.schema = pa.schema([("n", pa.int32())])
    with pytest.raises(ProtocolError, match="not the ones that Dremio planned"):
        client.sql("SELECT 1")


@pytest.mark.parametrize(
    ("caps", "says"),
    [
        ({"max_rows": 100}, "larger than 100 rows or 256 MB"),
        ({"max_bytes": 2**20}, "larger than 1,000,000 rows or 1 MB"),
    ],
)
def test_an_answer_without_end_is_cut_off(stand: Stand, caps: dict[str, int], says: str) -> None:
    def endless() -> Iterator[pa.RecordBatch]:
        [batch] = pa.concat_tables([ANSWER] * 4000).combine_chunks().to_batches()
        while True:
            yield batch

    stand.on_read = endless
    with Dremio(DremioSettings.load(uri=f"grpc://127.0.0.1:{stand.port}"), **caps) as client:  # type: ignore[arg-type]
        with pytest.raises(TooLarge, match=f"{says}: ask for less"):
            client.sql("SELECT 1")
        assert stand.calls == ["HANDSHAKE", "GET_FLIGHT_INFO", "DO_GET"]
        stand.behave()
        assert client.sql("SELECT 1").num_rows == 1


def test_the_head_is_the_commit_of_main(stand: Stand, client: Dremio) -> None:
    with pytest.raises(ProtocolError, match="names no commit of the branch main"):
        client.head()
    assert client.state.status == "degraded"


def test_only_a_gateway_on_this_machine_is_near(stand: Stand, client: Dremio) -> None:
    client.sql("SELECT 1")
    assert not client.near
    for uri, near in (
        (f"grpc://localhost:{stand.port}", True),
        ("grpc://127.0.0.1:32010", True),
        ("grpc://shop.example:32010", False),
    ):
        nearby = Nearby(uri)
        assert not nearby.near
        nearby.hear({"tillwatch-gateway": ["1"], "authorization": ["Bearer t"]})
        nearby.hear({})
        assert nearby.near is near
        nearby.hear({"authorization": ["Bearer t"]})
        assert not nearby.near
