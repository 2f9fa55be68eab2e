"""A question that nobody waits for any more is ended where it runs, and those who share it still get its answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import flight

from console.feed.asker import Asker, Got, Want, want
from console.session import PageSession
from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import Cancelled
from lakehouse.dremio.nearby import WITHDRAW
from lakehouse.dremio.state import ConnectionState
from lakehouse.dremio.withdrawal import Withdrawal, withdrawal
from lakehouse.settings.dremio import DremioSettings
from tests.fake_dremio import FakeDremio, a_shop
from tests.notifier_cast import wait_for
from tests.scripted_dremio import ANSWER, Stand
from tests.test_console_session import NOON, a_console, a_document
from tests.test_gateway import ORDERS, Published, start_gateway, stop

WANTED = want("orders", "aa")


class Somebody:
    watches = "orders"
    present = True

    def __init__(self) -> None:
        self.woken = threading.Event()

    def wake(self) -> None:
        self.woken.set()


class Slow:
    """Answers each question once it may; one that is withdrawn ends when it is let to."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun = threading.Event()
        self.may_answer = threading.Event()
        self.withdrawn = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def ask(self, question: str, *, commit: str | None = None, **binds: Any) -> pa.Table:
        self.asked += 1
        told = threading.Event()

        def end() -> None:
            self.withdrawn.set()
            told.set()

        asks = withdrawal()
        with asks.ended_by(end):
            self.begun.set()
            while not self.may_answer.is_set() and not told.wait(0.01):
                pass
        if told.is_set():
            self.may_end.wait(20)
            asks.check()
        return ANSWER


@pytest.fixture
def slow() -> Iterator[Slow]:
    asks = Slow()
    yield asks
    asks.may_answer.set()
    asks.may_end.set()


def answer_to(asker: Asker, viewer: Somebody, wanted: Want = WANTED) -> Got:
    assert viewer.woken.wait(20)
    got = asker.get(wanted, viewer)
    assert got is not None
    return got


def test_what_nobody_waits_for_is_withdrawn_where_it_runs_and_is_no_failure(slow: Slow) -> None:
    asker, one = Asker(slow, threads=1), Somebody()
    assert asker.get(WANTED, one) is None
    assert slow.begun.wait(20)
    asker.forget([WANTED], one)
    assert slow.withdrawn.wait(20)
    wait_for(lambda: not asker._waiting)
    assert not one.woken.is_set()
    # Whoever wants it again has it asked again, not why there was no answer.
    slow.may_answer.set()
    assert asker.get(WANTED, one) is None
    assert answer_to(asker, one).table is ANSWER
    assert slow.asked == 2
    asker.close()


def test_others_who_wait_for_it_get_its_answer(slow: Slow) -> None:
    asker, one, other = Asker(slow, threads=1), Somebody(), Somebody()
    for viewer in (one, other):
        assert asker.get(WANTED, viewer) is None
    assert slow.begun.wait(20)
    asker.leave(one)
    # Who does not wait for it withdraws nothing.
    asker.forget([WANTED], one)
    slow.may_answer.set()
    assert answer_to(asker, other).table is ANSWER
    assert (slow.asked, slow.withdrawn.is_set(), one.woken.is_set()) == (1, False, False)
    asker.close()


def test_whoever_comes_while_it_is_being_ended_is_answered(slow: Slow) -> None:
    asker, one, other = Asker(slow, threads=1), Somebody(), Somebody()
    slow.may_end.clear()
    assert asker.get(WANTED, one) is None
    assert slow.begun.wait(20)
    asker.forget([WANTED], one)
    assert slow.withdrawn.wait(20)
    assert asker.get(WANTED, other) is None
    slow.may_answer.set()
    slow.may_end.set()
    assert answer_to(asker, other).table is ANSWER
    assert slow.asked == 2
    asker.close()


def test_the_gateway_ends_what_is_withdrawn_and_goes_on_with_what_is_not(tmp_path: Path) -> None:
    Published(tmp_path)
    process, port = start_gateway(tmp_path)
    tables = ", ".join(f"{ORDERS} AS t{number}" for number in range(24))
    total = " + ".join(f"t{number}.quantity" for number in range(24))
    # Hours of work, if nobody ends it.
    endless = f"SELECT SUM(t0.quantity) AS n FROM {tables} WHERE {total} < 0"
    try:
        with Dremio(DremioSettings.load(uri=f"grpc://localhost:{port}")) as dremio:
            dremio.head()
            asks, ended = Withdrawal(), list[BaseException]()

            def run() -> None:
                try:
                    with asks:
                        dremio.sql(endless)
                except Cancelled as error:
                    ended.append(error)

            running = threading.Thread(target=run)
            running.start()
            wait_for(lambda: asks._end)
            asks.withdraw()
            running.join(20)
            assert not running.is_alive()
            assert len(ended) == 1
            assert dremio.state.status == "up"
            assert dremio.sql(f"SELECT COUNT(*) AS n FROM {ORDERS}").to_pylist() == [{"n": 3}]
        client = flight.FlightClient(f"grpc://localhost:{port}")
        options = flight.FlightCallOptions(headers=[client.authenticate_basic_token("dremio", "dremio123")])
        for name in (b"", b"nobody", b"\xff"):
            [found] = client.do_action(flight.Action(WITHDRAW, name), options)
            assert found.body.to_pybytes() == b"0"
        with pytest.raises(flight.FlightUnauthenticatedError):
            list(client.do_action(flight.Action(WITHDRAW, b"nobody")))
    finally:
        stop(process)


@pytest.mark.parametrize("hangs", ["planning", "reading"])
def test_dremio_runs_nothing_that_was_withdrawn_before_and_is_left_in_mid_stream(hangs: str) -> None:
    stand = Stand()
    held = threading.Event()

    def plan() -> None:
        held.set()
        stand.hang()

    def read() -> Iterator[pa.RecordBatch]:
        yield from ANSWER.to_batches()
        held.set()
        stand.hang()

    if hangs == "planning":
        stand.on_plan = plan
    else:
        stand.on_read = read
    with Dremio(DremioSettings.load(uri=f"grpc://127.0.0.1:{stand.port}")) as dremio:
        asks, ended = Withdrawal(), list[BaseException]()

        def run() -> None:
            try:
                with asks:
                    dremio.sql("SELECT 1")
            except Cancelled as error:
                ended.append(error)

        running = threading.Thread(target=run)
        running.start()
        assert held.wait(20)
        if hangs == "reading":
            wait_for(lambda: asks._end)
        asks.withdraw()
        if hangs == "planning":
            stand.release.set()
        running.join(10)
        assert not running.is_alive()
        assert len(ended) == 1
        assert stand.reads == (0 if hangs == "planning" else 1)
        # It says nothing of how Dremio fares.
        assert dremio.state == ConnectionState("down")
    stand.end()


def test_a_page_waits_for_nothing_of_a_tab_that_it_left_nor_once_it_is_closed() -> None:
    dremio = FakeDremio()
    a_shop(dremio, NOON)
    parts = a_console(dremio, now=NOON)
    free = dremio.slow_down("orders_by_status")
    doc, _context = a_document()
    session = PageSession(doc, parts, "tab=orders")
    session.build()

    def waited() -> set[str]:
        return {wanted.question for wanted, held in parts.asker._waiting.items() if session in held.viewers}

    assert "orders_by_status" in waited()
    session.show("tab=errors")
    session._message()
    assert "orders_by_status" not in waited()
    assert waited()
    session._gone()
    assert not waited()
    free.set()
