"""Whatever goes wrong between client and Dremio is one clear sentence, in time, after as many calls as promised; then
the client goes on."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import flight

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import (
    AuthError,
    Cancelled,
    DremioError,
    ProtocolError,
    Timeout,
    Unavailable,
)
from lakehouse.settings.dremio import DremioSettings
from tests.scripted_dremio import ANSWER, Stand, fail, unreadable

PLAN_S, FETCH_S = 0.8, 0.7
SLACK_S = 1.0
"""Of a busy machine."""
BATCH = ANSWER.to_batches()[0]


@pytest.fixture
def stand() -> Iterator[Stand]:
    server = Stand()
    yield server
    server.end()


@pytest.fixture(params=["flight", "flight-sql"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settings(port: int, protocol: str = "flight", **others: Any) -> DremioSettings:
    return DremioSettings.load(
        uri=f"grpc://127.0.0.1:{port}",
        protocol=protocol,
        plan_timeout=f"{PLAN_S} s",
        fetch_timeout=f"{FETCH_S} s",
        **others,
    )


@pytest.fixture
def client(stand: Stand, protocol: str) -> Iterator[Dremio]:
    """One that has asked before, so that its login is behind it."""
    with Dremio(settings(stand.port, protocol)) as opened:
        opened.sql("SELECT 1")
        stand.calls.clear()
        stand.asked.clear()
        yield opened


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds + SLACK_S


def goes_on(stand: Stand, client: Dremio) -> None:
    """The same client answers as soon as the server does."""
    stand.behave()
    stand.calls.clear()
    assert client.sql("SELECT 1").num_rows == 1
    assert stand.calls == ["GET_FLIGHT_INFO", "DO_GET"]
    assert client.state.status == "up"


def rows_then(then: Callable[[], None]) -> Callable[[], Iterator[pa.RecordBatch]]:
    def stream() -> Iterator[pa.RecordBatch]:
        for _ in range(3):
            yield BATCH
        then()

    return stream


# ---- nobody there, or slow ------------------------------------------------------------------------------------------


def test_a_question_is_two_calls_in_either_protocol(stand: Stand, client: Dremio, protocol: str) -> None:
    text = f"SELECT 'é', '{'x' * 20_000}'"
    client.sql(text)
    assert stand.asked == [(protocol, text)]
    assert stand.calls == ["GET_FLIGHT_INFO", "DO_GET"]


def test_a_refused_connection_says_so_at_once(protocol: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with Dremio(settings(port, protocol)) as client:
        with within(0), pytest.raises(Unavailable) as caught:
            client.sql("SELECT 1")
        assert (
            str(caught.value) == f"Neither Dremio nor a gateway answers at grpc://127.0.0.1:{port}: Connection refused."
        )
        assert (client.state.status, client.state.last_ok) == ("down", None)
        stand = Stand(port)
        try:
            with within(3):
                while client.state.status != "up":
                    try:
                        client.sql("SELECT 1")
                    except Unavailable:
                        time.sleep(0.05)
        finally:
            stand.end()


def test_a_slow_answer_within_its_time_is_an_answer(stand: Stand, client: Dremio) -> None:
    def slowly() -> Iterator[pa.RecordBatch]:
        yield BATCH
        time.sleep(0.3)
        yield BATCH

    stand.on_plan = lambda: time.sleep(0.3)
    stand.on_read = slowly
    assert client.sql("SELECT 1").num_rows == 2
    assert stand.calls == ["GET_FLIGHT_INFO", "DO_GET"]
    assert client.state.latency_s is not None
    assert client.state.latency_s > 0.5


def test_whoever_takes_connections_and_says_nothing_is_given_up_by_all_threads_in_time(protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with Dremio(settings(port, protocol)) as client, ThreadPoolExecutor(6) as threads, within(PLAN_S):
            asked = [threads.submit(client.sql, "SELECT 1") for _ in range(6)]
            said = {str(one.exception()) for one in asked}
        assert said == {f"Dremio at grpc://127.0.0.1:{port} let nobody in within 0.8 s (dremio.plan_timeout)."}


def test_a_plan_that_hangs_is_given_up(stand: Stand, client: Dremio) -> None:
    stand.on_plan = stand.hang
    with within(PLAN_S), pytest.raises(Timeout, match=r"did not plan the statement within 0\.8 s \(dremio\.plan_tim"):
        client.sql("SELECT 1")
    assert stand.calls == ["GET_FLIGHT_INFO"]
    assert client.state.status == "degraded"
    goes_on(stand, client)


@pytest.mark.parametrize("rows_come", [False, True])
def test_an_answer_that_hangs_is_given_up(stand: Stand, client: Dremio, rows_come: bool) -> None:
    def hanging() -> Iterator[pa.RecordBatch]:
        if rows_come:
            yield BATCH
        stand.hang()
        yield BATCH

    stand.on_read = hanging
    with within(FETCH_S), pytest.raises(Timeout, match=r"did not finish its answer within 0\.7 s \(dremio\.fetch_tim"):
        client.sql("SELECT 1")
    assert stand.calls == ["GET_FLIGHT_INFO", "DO_GET"]
    goes_on(stand, client)


@pytest.mark.parametrize("where", ["on_plan", "on_read"])
def test_a_statement_may_have_a_time_of_its_own(stand: Stand, client: Dremio, where: str) -> None:
    setattr(stand, where, stand.hang)
    with within(0.3), pytest.raises(Timeout):
        client.sql("SELECT 1", within_s=0.3)
    goes_on(stand, client)


def test_the_columns_of_an_answer_are_known_before_anything_runs(stand: Stand, client: Dremio) -> None:
    reads = stand.reads
    assert client.columns("SELECT 1").names == ANSWER.schema.names
    assert (stand.reads, stand.calls) == (reads, ["GET_FLIGHT_INFO"])


def test_a_second_try_has_what_the_first_left_of_its_time(stand: Stand, client: Dremio) -> None:
    def first() -> None:
        time.sleep(0.6 * PLAN_S)
        stand.on_plan = stand.hang
        raise flight.FlightUnavailableError("Connection reset")

    stand.on_plan = first
    with within(PLAN_S), pytest.raises(Timeout, match=r"did not plan the statement"):
        client.sql("SELECT 1")
    assert stand.calls == ["GET_FLIGHT_INFO"] * 2
    goes_on(stand, client)


def test_a_queue_of_dremios_that_ran_out_of_time_is_told_in_its_words(stand: Stand, client: Dremio) -> None:
    stand.on_read = unreadable(flight.FlightTimedOutError("Query enqueued time of 5 s exceeded for queue 'UI'"))
    with pytest.raises(Timeout, match=r"gave the statement up: Query enqueued time of 5 s exceeded for queue 'UI'\."):
        client.sql("SELECT 1")
    assert stand.calls == ["GET_FLIGHT_INFO", "DO_GET"]
    goes_on(stand, client)


# ---- lost on the way ------------------------------------------------------------------------------------------------


class Cutting:
    """Passes bytes on to a server, and cuts the connection once `after` have come back; None: never."""

    def __init__(self, port: int) -> None:
        self.after: int | None = None
        self._target = port
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open += [client, server]
            for source, sink, back in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass_on, args=(source, sink, back), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        try:
            while data := source.recv(4096):
                sink.sendall(data)
                if back and self.after is not None:
                    self.after -= len(data)
                    if self.after <= 0:
                        break
        except OSError:
            pass
        self._shut(source, sink)

    def cut(self) -> None:
        """All connections that are open, once."""
        self._shut(*self._open)

    def _shut(self, *ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()


def test_an_answer_cut_off_after_its_first_rows_is_not_asked_again(stand: Stand, protocol: str) -> None:
    between = Cutting(stand.port)
    with Dremio(settings(between.port, protocol)) as client:
        client.sql("SELECT 1")
        stand.calls.clear()

        def endless() -> Iterator[pa.RecordBatch]:
            while not stand.release.is_set():
                yield BATCH

        stand.on_read = endless
        between.after = 20_000
        with (
            within(FETCH_S),
            pytest.raises(Unavailable, match=r"broke off after [\d,]+ rows: (Socket|Connection|Broken) "),
        ):
            client.sql("SELECT 1")
        assert stand.calls == ["GET_FLIGHT_INFO", "DO_GET"]
        assert client.state.status == "down"
        between.after = None
        goes_on(stand, client)
    between.close()


def test_a_connection_that_was_closed_meanwhile_is_opened_again(stand: Stand, protocol: str) -> None:
    """As Dremio's are that were idle for 30 s."""
    between = Cutting(stand.port)
    with Dremio(settings(between.port, protocol)) as client:
        for _ in range(3):
            client.sql("SELECT 1")
            between.cut()
    between.close()
    assert stand.logins == 1


@pytest.mark.parametrize("where", ["plan", "read"])
def test_one_lost_call_is_made_again_at_once(stand: Stand, client: Dremio, where: str) -> None:
    failures = iter([flight.FlightUnavailableError("Connection reset")])

    def once() -> None:
        for failure in failures:
            raise failure

    def read() -> Iterator[pa.RecordBatch]:
        once()
        yield BATCH

    if where == "plan":
        stand.on_plan = once
    else:
        stand.on_read = read
    assert client.sql("SELECT 1").num_rows == 1
    assert stand.calls == ["GET_FLIGHT_INFO", *(["DO_GET"] if where == "read" else []), "GET_FLIGHT_INFO", "DO_GET"]


def test_a_restart_that_costs_connection_and_login_is_survived(stand: Stand, client: Dremio) -> None:
    def restart() -> None:
        stand.behave()
        stand.forget_all()
        raise flight.FlightUnavailableError("Connection reset")

    stand.on_plan = restart
    assert client.sql("SELECT 1").num_rows == 1
    assert stand.calls == ["GET_FLIGHT_INFO"] * 2 + ["HANDSHAKE", "GET_FLIGHT_INFO", "DO_GET"]


def test_what_stays_away_is_asked_twice_and_no_more(stand: Stand, client: Dremio) -> None:
    stand.on_plan = fail(flight.FlightUnavailableError("Nessie does not answer."))
    with within(0), pytest.raises(Unavailable, match=r"cannot answer now: Nessie does not answer\.$"):
        client.sql("SELECT 1")
    assert stand.calls == ["GET_FLIGHT_INFO"] * 2
    goes_on(stand, client)


def test_a_restart_between_plan_and_fetch_is_survived(
    stand: Stand, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    followers: list[Stand] = []

    class Restarting(flight.FlightClient):  # type: ignore[misc]  # pyarrow.flight has no types
        def do_get(self, *arguments: Any) -> Any:
            if not followers:
                stand.end()
                followers.append(Stand(stand.port))
            return super().do_get(*arguments)

    monkeypatch.setattr(flight, "FlightClient", Restarting)
    with Dremio(settings(stand.port, protocol)) as client, within(PLAN_S):
        assert client.sql("SELECT 1").num_rows == 1
        assert client.state.status == "up"
    [follower] = followers
    follower.end()
    assert (stand.plans, stand.reads) == (1, 0)
    assert (follower.logins, follower.plans, follower.reads) == (1, 1, 1)


# ---- who we are -----------------------------------------------------------------------------------------------------


def test_an_expired_token_costs_one_login(stand: Stand, client: Dremio) -> None:
    stand.valid.clear()
    assert client.sql("SELECT 1").num_rows == 1
    assert stand.calls == ["GET_FLIGHT_INFO", "HANDSHAKE", "GET_FLIGHT_INFO", "DO_GET"]
    goes_on(stand, client)


def test_a_token_that_expires_between_plan_and_fetch_costs_a_plan_more(stand: Stand, client: Dremio) -> None:
    plans = 0

    def first_only() -> None:
        nonlocal plans
        plans += 1
        if plans == 1:
            stand.forget_all()

    stand.on_plan = first_only
    assert client.sql("SELECT 1").num_rows == 1
    assert stand.calls == ["GET_FLIGHT_INFO", "DO_GET", "HANDSHAKE", "GET_FLIGHT_INFO", "DO_GET"]


def test_a_session_that_is_not_known_any_more_is_begun_anew(stand: Stand, client: Dremio) -> None:
    stand.session = "s2"
    stand.cookies.clear()
    assert client.sql("SELECT 1").num_rows == 1
    assert stand.calls == ["GET_FLIGHT_INFO", "HANDSHAKE", "GET_FLIGHT_INFO", "DO_GET"]
    assert stand.cookies == [["SESSION_ID=s1"], [], ["SESSION_ID=s2"]]


def test_whom_dremio_never_lets_in_asks_twice_and_no_more(stand: Stand, client: Dremio) -> None:
    stand.valid = _Nobody()
    with (
        within(0),
        pytest.raises(AuthError, match=r"does not let user 'dremio' in: check dremio\.user and dremio\.pas"),
    ):
        client.sql("SELECT 1")
    assert stand.calls == ["GET_FLIGHT_INFO", "HANDSHAKE", "GET_FLIGHT_INFO"]
    assert client.state.status == "down"
    stand.valid = set()
    client.sql("SELECT 1")
    goes_on(stand, client)


class _Nobody(set[str]):
    def __contains__(self, token: object) -> bool:
        return False


def test_a_token_of_ones_own_is_sent_as_it_is(stand: Stand, protocol: str) -> None:
    stand.valid.add("Bearer pat-1")
    with Dremio(settings(stand.port, protocol, token="pat-1", routing_queue="screens", routing_tag="shop")) as client:
        client.sql("SELECT 1")
        assert (stand.calls, stand.logins) == (["GET_FLIGHT_INFO", "DO_GET"], 0)
        assert stand.headers[0]["routing_queue"] == ["screens"]
        assert stand.headers[0]["routing_tag"] == ["shop"]
        stand.session = "s2"
        client.sql("SELECT 1")
        stand.valid.clear()
        with pytest.raises(AuthError, match=r"does not take the token: check dremio\.token\.$") as caught:
            client.sql("SELECT 1")
        assert "pat-1" not in str(caught.value)
        assert stand.logins == 0


def test_a_certificate_is_checked_unless_told_otherwise(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName=DNS:localhost -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    stand = Stand(tls=[(certificate.read_bytes(), key.read_bytes())])
    uri = f"grpc+tls://localhost:{stand.port}"
    for trusting in ({"tls_roots": certificate}, {"tls_verify": False}):
        with Dremio(DremioSettings.load(uri=uri, **trusting)) as client:
            assert client.sql("SELECT 1").num_rows == 1
    for doubting, error, says in (
        ({}, Unavailable, rf"answers at {re.escape(uri)}: .*certificate verify failed: self-signed certificate\.$"),
        ({"tls_roots": key}, ProtocolError, r"key\.pem, which holds no certificate: expected a PEM file\.$"),
        ({"tls_roots": tmp_path / "no"}, ProtocolError, r"no, which cannot be read: No such file or directory\.$"),
    ):
        with Dremio(DremioSettings.load(uri=uri, **doubting)) as client, pytest.raises(error, match=says):
            client.sql("SELECT 1")
    stand.end()


# ---- other answers than agreed --------------------------------------------------------------------------------------


def test_other_columns_than_planned_are_refused(stand: Stand, client: Dremio) -> None:
    stand.schema = pa.schema([("n", pa.int32())])
    with pytest.raises(ProtocolError, match=r"^The answer's columns are not the ones that Dremio planned\.$"):
        client.sql("SELECT 1")
    assert stand.calls == ["GET_FLIGHT_INFO", "DO_GET"]
    goes_on(stand, client)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (
            {"hour_starts": pa.timestamp("ms")},
            r"declares the columns hour_start; Dremio's are hour_starts\.$",
        ),
        ({"hour_start": pa.string()}, r"declares hour_start as timestamp; Dremio's is string\.$"),
    ],
)
def test_other_columns_than_the_question_declares_are_not_even_read(
    stand: Stand, client: Dremio, columns: dict[str, pa.DataType], says: str
) -> None:
    stand.schema = pa.schema(list(columns.items()))
    moment = datetime(2026, 3, 2, tzinfo=UTC)
    with pytest.raises(ProtocolError, match=rf"^demo_hours_with_rows\.sql {says}"):
        client.ask("demo_hours_with_rows", start=moment, end=moment)
    assert stand.calls == ["GET_FLIGHT_INFO"]
    goes_on(stand, client)


# ---- cancelled ------------------------------------------------------------------------------------------------------

CANCEL = rows_then(fail(flight.FlightCancelledError("Query cancelled by user 'ops'")))


@contextmanager
def counting_interrupts() -> Iterator[list[int]]:
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


def test_pyarrow_itself_takes_a_cancelled_stream_for_ctrl_c(stand: Stand) -> None:
    """What the next test is about; that it does no longer would be good news."""
    stand.on_read = CANCEL
    plain = flight.FlightClient(f"grpc://127.0.0.1:{stand.port}")
    options = flight.FlightCallOptions(headers=[plain.authenticate_basic_token("dremio", "dremio123")])
    with counting_interrupts() as came, pytest.raises(flight.FlightCancelledError):
        plain.do_get(flight.Ticket(b"t"), options).read_all()
    assert came == [signal.SIGINT]


@pytest.mark.parametrize("rows_come", [False, True])
@pytest.mark.parametrize("main", [True, False])
def test_a_statement_cancelled_by_the_server_is_no_ctrl_c(
    stand: Stand, client: Dremio, main: bool, rows_come: bool
) -> None:
    cancelled = flight.FlightCancelledError("Query cancelled by user 'ops'")
    stand.on_read = CANCEL if rows_come else unreadable(cancelled)
    with counting_interrupts() as came:
        if main:
            with pytest.raises(Cancelled) as caught:
                client.sql("SELECT 1")
            error: BaseException | None = caught.value
        else:
            with ThreadPoolExecutor(1) as threads:
                error = threads.submit(client.sql, "SELECT 1").exception()
    assert isinstance(error, Cancelled)
    assert str(error).endswith("gave the statement up: Query cancelled by user 'ops'.")
    assert not came
    assert stand.calls == ["GET_FLIGHT_INFO", "DO_GET"]
    assert client.state.status == "degraded"
    goes_on(stand, client)


@pytest.fixture
def sigint() -> Iterator[None]:
    """SIGINT as in a terminal; whoever is started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint")
@pytest.mark.parametrize("when", ["planning", "reading", "waiting"])
def test_a_real_ctrl_c_ends_the_reader(stand: Stand, client: Dremio, when: str) -> None:
    def ctrl_c() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def ctrl_c_and_hang() -> None:
        ctrl_c()
        stand.hang()

    if when == "planning":
        stand.on_plan = ctrl_c
    else:
        stand.on_read = rows_then(ctrl_c if when == "reading" else ctrl_c_and_hang)
    with within(FETCH_S), pytest.raises(KeyboardInterrupt):
        client.sql("SELECT 1")
    goes_on(stand, client)


def test_what_was_closed_here_says_so(stand: Stand, client: Dremio) -> None:
    client.close()
    with pytest.raises(DremioError, match=r"^The connection to Dremio was closed here\.$"):
        client.sql("SELECT 1")
    assert stand.calls == []
