"""Whatever a statement is made of, it ends within its limits, with Dremio's class of error and one sentence."""

from __future__ import annotations

import base64
import os
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest

from embedded.gateway.commits import SqliteCommits
from embedded.gateway.dialect import Dialect, Statement
from embedded.gateway.engine import Engine
from embedded.gateway.errors import ErrorKind, Refusal
from embedded.gateway.paths import Context
from embedded.gateway.sessions import Caller, Sessions
from embedded.gateway.settings import GatewaySettings, users_of
from embedded.gateway.statements import Statements
from embedded.gateway.tokens import Word
from lakehouse.dremio.statement import fill, question_sql
from lakehouse.passwords import hash_of
from lakehouse.settings.dremio import DremioSettings
from lakehouse.tables import CATALOG, SCHEMA
from lakehouse.user_error import UserError
from tests.conftest import NOON, Shop
from tests.test_questions import ALL, _Binds

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"
ROWS = 3_000
LIMIT_MB = 64


class Counter:
    """The gateway's statements over a shop of some thousand orders."""

    def __init__(self, data_dir: Path, timeout_s: float, memory_mb: int = LIMIT_MB, **limits: Any) -> None:
        self.engine = Engine(data_dir, data_dir / "spill", 1, memory_mb, timeout_s, spill_limit_mb=64)
        self.statements = Statements(SqliteCommits(data_dir / "catalog.db"), self.engine, **limits)

    def ask(self, sql: str) -> list[dict[str, Any]]:
        planned = self.statements.plan(sql)
        batches = list(self.statements.run(planned.ticket, lambda: False).batches)
        return list(pa.Table.from_batches(batches, planned.schema).to_pylist())

    def refusal(self, sql: str) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.ask(sql)
        return caught.value


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("shop")
    shop = Shop(path)
    for number in range(ROWS):
        shop.order(NOON - timedelta(seconds=number % 60), quantity=number % 7 + 1, user_id=f"user-{number % 50}")
    shop.publish()
    shop.close()
    return path


@pytest.fixture(scope="module")
def counter(data_dir: Path) -> Iterator[Counter]:
    counter = Counter(data_dir, timeout_s=60)
    yield counter
    counter.engine.close()


@pytest.fixture(scope="module")
def hasty(data_dir: Path) -> Iterator[Counter]:
    """Gives a statement a second, and memory that it does not fill in one."""
    counter = Counter(data_dir, timeout_s=1, memory_mb=1024)
    yield counter
    counter.engine.close()


def statement_of(sql: str) -> Statement:
    statement = Dialect().read(sql)
    assert isinstance(statement, Statement)
    return statement


# ---- memory ---------------------------------------------------------------------------------------------------------

_DOUBLED = ", ".join(
    [
        f"c0 AS (SELECT event_key AS s FROM {ORDERS})",
        *(f"c{n} AS (SELECT s || s AS s FROM c{n - 1})" for n in range(1, 25)),
    ]
)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT SUM(LENGTH(REPEAT(event_key, 100000))) AS n FROM {ORDERS}",
        "SELECT LENGTH(REPEAT('x', 2000000000)) AS n",
        f"SELECT MAX(REPEAT(REPEAT(event_key, 1000), 1000)) AS n FROM {ORDERS}",
        f"SELECT MAX(LPAD(event_key, 100000, 'x')) AS n FROM {ORDERS}",
        f"SELECT MAX(RPAD(event_key, 100000, 'x')) AS n FROM {ORDERS}",
        f"SELECT MAX(REPLACE(REPEAT('a', 9000), 'a', event_key)) AS n FROM {ORDERS}",
        f"SELECT MAX(REGEXP_REPLACE(REPEAT(event_key, 99), '.', '{'ab' * 400}')) AS n FROM {ORDERS}",
        f"WITH {_DOUBLED} SELECT MAX(LENGTH(s)) AS n FROM c24",
        f"SELECT LENGTH(LISTAGG(a.event_key, ',')) AS n FROM {ORDERS} a, {ORDERS} b",
        f"SELECT LISTAGG(REPEAT(event_key, 3000), ',') AS n FROM {ORDERS}",
        f"SELECT MEDIAN(a.quantity + b.order_total) AS n FROM {ORDERS} a, {ORDERS} b, {ORDERS} c",
        "SELECT SUM(x) AS n FROM UNNEST(ARRAY_GENERATE_RANGE(0, 2000000000)) AS t (x)",
        "SELECT MAX(x[1999999999]) AS n FROM (SELECT ARRAY_GENERATE_RANGE(0, 2000000000) AS x) AS t",
        f"SELECT MAX(v) AS n FROM (SELECT REPEAT(event_key, 90000) AS a, REPEAT(event_key, 80000) AS b FROM {ORDERS}) "
        "UNPIVOT (v FOR k IN (a, b))",
    ],
)
def test_a_statement_that_wants_too_much_memory_is_refused(counter: Counter, sql: str) -> None:
    refusal = counter.refusal(sql)
    assert refusal.kind is ErrorKind.UNAVAILABLE
    assert str(refusal) == (
        "RESOURCE ERROR: Query was cancelled because it exceeded the memory limits set by the administrator."
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 21 + "1" + "]" * 21, "so long or so deep"),
        ("[" * 45_000 + "]" * 45_000, "so long or so deep"),
        ("[" + "1," * 60_000 + "1]", "so long or so deep"),
        ('["' + '\\"' * 45_000, "no JSON by the letter"),  # a text that does not end, with quotes inside
        (f'["{"a" * 32_001}"]', "more than 32,000 bytes"),
        ("[" + "9" * 50_000 + "]", "no JSON by the letter"),
        ("[1e999]", "the number 1e999"),
        ("{" + ", ".join(f'"a{number}": 1' for number in range(801)) + "}", "more than 800 leaves"),
    ],
)
def test_a_json_text_that_is_too_much_is_refused(counter: Counter, text: str, says: str) -> None:
    refusal = counter.refusal(f"SELECT CONVERT_FROM('{text}', 'JSON') AS v")
    assert refusal.kind is ErrorKind.VALIDATION
    assert re.search(says, str(refusal)), str(refusal)[:200]


def test_a_json_text_of_20_levels_is_answered(counter: Counter) -> None:
    [row] = counter.ask(f"SELECT CONVERT_FROM('{'[' * 20}1{']' * 20}', 'JSON') AS v")
    value = row["v"]
    for _ in range(20):
        [value] = value
    assert value == 1


def test_a_row_is_as_wide_as_dremios_at_most(counter: Counter, data_dir: Path) -> None:
    assert counter.ask("SELECT LENGTH(LPAD('x', 3000000, 'y')) AS n") == [{"n": 3_000_000}]
    roomy = Counter(data_dir, timeout_s=60, memory_mb=256)
    refusal = roomy.refusal("SELECT LPAD('x', 17000000, 'y') AS n")
    assert refusal.kind is ErrorKind.UNAVAILABLE
    assert str(refusal) == "RESOURCE ERROR: a row of the answer has 16 MB, and 16 MB are the limit"
    roomy.engine.close()


def test_what_does_not_fit_into_memory_takes_so_much_of_the_disk(counter: Counter, data_dir: Path) -> None:
    most = 0

    def look() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, sum(path.stat().st_size for path in data_dir.glob("spill*/**/*") if path.is_file()))
            time.sleep(0.02)

    over = threading.Event()
    watch = threading.Thread(target=look)
    watch.start()
    refusal = counter.refusal(
        f"SELECT a.event_key, b.event_id FROM {ORDERS} a, {ORDERS} b ORDER BY b.event_key, a.event_key".replace(
            "event_id", "order_id"
        )
    )
    over.set()
    watch.join()
    assert refusal.kind is ErrorKind.UNAVAILABLE
    assert 0 < most <= 64_000_000 * 1.1


def test_nothing_is_left_of_what_ran_apart(data_dir: Path) -> None:
    counter = Counter(data_dir, timeout_s=60)
    assert counter.ask("SELECT REPEAT('ab', 2) AS t") == [{"t": "abab"}]
    process = counter.engine._apart._process
    assert process is not None
    counter.engine.close()
    assert process.poll() is not None
    assert not list(data_dir.glob(f"spill-apart-{os.getpid()}/*"))


def test_the_process_for_heavy_statements_is_started_anew_when_it_is_gone(counter: Counter) -> None:
    for _ in range(2):
        assert counter.ask("SELECT REPEAT('ab', 2) AS t") == [{"t": "abab"}]
        process = counter.engine._apart._process
        assert process is not None
        process.kill()
    assert counter.ask("SELECT REPEAT('ab', 3) AS t") == [{"t": "ababab"}]


# ---- time -----------------------------------------------------------------------------------------------------------


def test_what_nobody_can_interrupt_ends_at_its_time(hasty: Counter) -> None:
    """DuckDB looks at no interrupt while it orders many joins."""
    sources = ", ".join(f"{ORDERS} t{n}" for n in range(60))
    conditions = " AND ".join(f"t{n}.quantity = t{n + 1}.quantity" for n in range(59))
    refusal = hasty.refusal(f"SELECT COUNT(*) AS n FROM {sources} WHERE {conditions}")
    assert refusal.kind is ErrorKind.CANCELLED
    assert str(refusal) == "Query was cancelled because it exceeded the runtime limit of 1 s"
    assert hasty.ask("SELECT 1 AS n") == [{"n": 1}]


# Many seconds of planning.
_TERMS = "SELECT " + ", ".join(f"{'+'.join(['1'] * 490)} AS n{number}" for number in range(8))


@pytest.mark.parametrize("sql", [_TERMS, f"SELECT {'ARRAY[' * 30}1{']' * 30} AS n"])
def test_planning_ends_at_its_time(hasty: Counter, sql: str) -> None:
    refusal = hasty.refusal(sql)
    assert refusal.kind is ErrorKind.INTERNAL
    assert str(refusal) == "PLAN ERROR: Query was cancelled because planning time exceeded 1 seconds"


@pytest.mark.parametrize("phase", ["planning", "running"])
def test_a_statement_whose_client_is_gone_ends(counter: Counter, phase: str) -> None:
    terms = _TERMS
    joins = f"SELECT COUNT(REPEAT(a.user_id, 2)) AS n FROM {ORDERS} a, {ORDERS} b, {ORDERS} c"
    left = threading.Event()
    ticket = counter.statements.plan(joins).ticket

    def work() -> None:
        if phase == "planning":
            counter.statements.plan(terms, Context(), left.is_set)
        else:
            list(counter.statements.run(ticket, left.is_set).batches)

    threading.Timer(0.5, left.set).start()
    with pytest.raises(Refusal) as caught:
        work()
    assert (caught.value.kind, str(caught.value)) == (ErrorKind.CANCELLED, "Query cancelled: the client is gone")


def test_others_are_answered_meanwhile(counter: Counter) -> None:
    """As often as not: a statement of 12 s of planning takes no turn of theirs."""
    done = threading.Event()

    def plan() -> None:
        with pytest.raises(Refusal):
            counter.statements.plan(_TERMS, Context(), done.is_set)

    with ThreadPoolExecutor(1) as pool:
        planning = pool.submit(plan)
        answers = [counter.ask(f"SELECT {number} AS n") for number in range(20)]
        assert not planning.done()
        done.set()
        planning.result()
    assert answers == [[{"n": number}] for number in range(20)]


# ---- depth and size -------------------------------------------------------------------------------------------------


def _nested(level: int) -> str:
    return "SELECT n FROM (" * level + "SELECT 1 AS n" + ") t" * level


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("SELECT " + "(" * 49 + "1" + ")" * 49 + " AS n", 1),
        ("SELECT " + "(" * 800 + "1" + ")" * 800 + " AS n", 1),
        ("SELECT " + "COALESCE(" * 43 + "1" + ", 2)" * 43 + " AS n", 1),
        ("SELECT " + "CASE WHEN TRUE THEN " * 100 + "1" + " END" * 100 + " AS n", 1),
        ("SELECT " + "+".join(["1"] * 150) + " AS n", 150),
        ("SELECT CASE WHEN " + "NOT " * 100 + "TRUE THEN 1 END AS n", 1),
        (_nested(60), 1),
        (f"SELECT COUNT(*) AS n FROM {ORDERS} WHERE quantity IN ({', '.join(map(str, range(5, 5000)))})", 1284),
        (f"SELECT COUNT(*) AS n FROM {ORDERS} WHERE {' OR '.join(f'quantity = {n}' for n in range(5, 900))}", 1284),
        (f"SELECT COUNT(*) AS n FROM (VALUES {', '.join(f'({n})' for n in range(4000))}) AS t (a)", 4000),
        ("SELECT COUNT(*) AS n FROM (" + " UNION ALL ".join(["SELECT 1 AS n"] * 200) + ") t", 200),
    ],
)
def test_deep_and_long_statements_are_answered(counter: Counter, sql: str, value: int) -> None:
    assert counter.ask(sql) == [{"n": value}]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT " + "(" * 901 + "1" + ")" * 901, "nested too deeply"),
        ("SELECT " + "(" * 200_000 + "1", "nested too deeply"),
        ("SELECT " + "+".join(["1"] * 3_000), "nested too deeply"),
        ("SELECT 1 -- " + "x" * 1_000_000, "1,000,000 are the limit"),
    ],
)
def test_what_is_too_deep_or_too_long_is_told_so(counter: Counter, sql: str, says: str) -> None:
    refusal = counter.refusal(sql)
    assert refusal.kind in (ErrorKind.PARSE, ErrorKind.VALIDATION)
    assert says in str(refusal)


def test_what_is_wrong_in_a_heavy_statement_is_said_where_it_stands(counter: Counter) -> None:
    refusal = counter.refusal(f"SELECT REPEAT(event_key, 2) AS t,\n nope FROM {ORDERS}")
    assert refusal.kind is ErrorKind.VALIDATION
    assert str(refusal) == "Column 'nope' not found in any table"
    assert "startLine 2\nstartColumn 2\n" in refusal.text(f"SELECT REPEAT(event_key, 2) AS t,\n nope FROM {ORDERS}")
    divided = counter.refusal(f"SELECT REPEAT(event_key, 2) AS t, 1 / (quantity - quantity) AS n FROM {ORDERS}")
    assert (divided.kind, str(divided)) == (ErrorKind.INTERNAL, "FUNCTION ERROR: divide by zero")


# ---- light and heavy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", ALL)
def test_the_products_own_questions_are_light(question: str) -> None:
    template = question_sql(question)
    assert not statement_of(fill(template, "ab12", _Binds(template), question)).shape.heavy


@pytest.mark.parametrize(
    ("expression", "heavy"),
    [
        ("UPPER(event_key)", False),
        ("event_key || '-' || user_id", False),
        ("REPLACE(event_key, 'a', 'b')", False),
        ("REPLACE(event_key, 'a', event_key)", True),
        ("REGEXP_REPLACE(event_key, '[0-9]+', '#')", False),
        ("REGEXP_REPLACE(event_key, '[0-9]*', '#')", True),
        ("REGEXP_REPLACE(event_key, '[[:alpha:]]*', '#')", True),
        ("REGEXP_REPLACE(event_key, 'a', '\\1\\1')", True),
        ("REPEAT(event_key, 2)", True),
        ("LPAD(event_key, 9, 'x')", True),
        ("LISTAGG(event_key, ',')", True),
        ("MEDIAN(quantity)", True),
        ("DATE_ADD(order_ts, 1)", False),
        ("DATE_DIFF(CURRENT_DATE, TO_DATE('2026-01-01', 'YYYY-MM-DD'))", False),
        ("EXTRACT(HOUR FROM order_ts)", False),
        ("CASE WHEN quantity IS NULL OR quantity > 1 THEN TO_TIME('10:00', 'HH24:MI') END", False),
        ("SUBSTRING(TRIM(event_key) FROM POSITION('a' IN event_key))", False),
        ("CONCAT(event_key, '-', user_id)", False),
        (f"CONCAT({', '.join(['event_key'] * 20)})", True),
        ("TO_HEX(event_key)", True),
        ("ARRAY[quantity]", True),
        ("PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY quantity)", True),
        (" || ".join(["event_key"] * 20), True),
        (f"event_key || '{'x' * 2_000}'", True),
    ],
)
def test_light_is_what_cannot_grow(expression: str, heavy: bool) -> None:
    assert statement_of(f"SELECT {expression} AS n FROM {ORDERS}").shape.heavy is heavy


def test_heavy_statements_give_the_same_rows(counter: Counter) -> None:
    columns = (
        "event_key, order_ts, order_total, quantity, CAST(quantity AS BIGINT) * 2 AS twice, CAST(NULL AS DATE) AS d"
    )
    light = f"SELECT {columns} FROM {ORDERS} WHERE quantity < 5 ORDER BY event_key"
    heavy = light.replace("SELECT ", "SELECT REPEAT('ab', 2) AS more, ")
    assert not statement_of(light).shape.heavy
    assert statement_of(heavy).shape.heavy
    plans = [counter.statements.plan(sql).schema for sql in (light, heavy)]
    assert list(plans[0]) == list(plans[1])[1:]
    rows = counter.ask(heavy)
    assert len(rows) > 1_000
    assert [{name: value for name, value in row.items() if name != "more"} for row in rows] == counter.ask(light)


def test_words_of_a_long_command_come_back_from_apart(counter: Counter) -> None:
    words = counter.engine.read_apart("SHOW SCHEMAS", lambda: False)
    assert words == [Word("word", "SHOW", 0, "SHOW"), Word("word", "SCHEMAS", 5, "SCHEMAS")]


# ---- limits of a user -----------------------------------------------------------------------------------------------


def test_an_answer_has_so_many_rows_at_most(data_dir: Path) -> None:
    counter = Counter(data_dir, timeout_s=60, most_rows=ROWS - 1)
    refusal = counter.refusal(f"SELECT event_key FROM {ORDERS}")
    assert refusal.kind is ErrorKind.UNAVAILABLE
    assert str(refusal) == "RESOURCE ERROR: Query was cancelled because its answer has more than 2,999 rows."
    assert len(counter.ask(f"SELECT event_key FROM {ORDERS} LIMIT 2999")) == 2_999
    counter.engine.close()


def test_a_user_has_so_many_statements_at_a_time(data_dir: Path) -> None:
    counter = Counter(data_dir, timeout_s=60, statements_a_user=2)
    statements = counter.statements
    ticket = statements.plan(f"SELECT event_key FROM {ORDERS}", user="ada").ticket
    streams = [statements.run(ticket, lambda: False, "ada").batches for _ in range(2)]
    for stream in streams:
        next(stream)
    with pytest.raises(Refusal) as caught:
        next(statements.run(ticket, lambda: False, "ada").batches)
    assert caught.value.kind is ErrorKind.UNAVAILABLE
    assert str(caught.value).startswith("RESOURCE ERROR: user ada has 2 statements running")
    assert list(statements.run(ticket, lambda: False, "grace").batches), "others are not held up"
    list(streams.pop())
    assert list(statements.run(ticket, lambda: False, "ada").batches), "and one that ended makes room"
    counter.engine.close()


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", ["x", "ä", "\n", "%", "💥"])
@pytest.mark.parametrize("kind", [ErrorKind.VALIDATION, ErrorKind.INTERNAL])
def test_an_error_fits_into_what_java_reads(letter: str, kind: ErrorKind) -> None:
    sql = f"SELECT nope, '{letter * 100_000}'"
    said = Refusal(kind, f"Column '{letter * 9_000}' not found", 7, 4).text(sql)
    sent = len(quote(said, safe="".join(map(chr, range(32, 127))).replace("%", ""))) + len(
        base64.b64encode(said.encode())
    )
    assert 1_000 < sent <= 7_000
    if kind is ErrorKind.VALIDATION:
        assert "\nstartLine 1\nstartColumn 8\nendLine 1\nendColumn 11\nSQL Query SELECT nope" in said
    assert said.endswith("…")


def test_a_short_statement_stands_whole_in_its_error() -> None:
    assert Refusal(ErrorKind.VALIDATION, "No.").text("SELECT 1").endswith("\nSQL Query SELECT 1")


# ---- users ----------------------------------------------------------------------------------------------------------


def basic(user: str, password: str) -> dict[str, list[str]]:
    return {"authorization": ["Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()]}


def bearer(caller: Caller, cookie: str = "") -> dict[str, list[str]]:
    return {"authorization": [f"Bearer {caller.token}"]} | ({"cookie": [f"SESSION_ID={cookie}"]} if cookie else {})


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sessions:
    passwords = tmp_path / "passwords"
    passwords.write_text(f"ada=lovelace, grace={hash_of('hopper')}\n".strip(), encoding="utf-8")
    monkeypatch.setenv("TILLWATCH_GATEWAY_PASSWORDS_FILE", str(passwords))
    monkeypatch.setenv("TILLWATCH_GATEWAY_TOKENS", "superset=0123456789abcdef, ada=fedcba9876543210")
    return Sessions(users_of(GatewaySettings.load(), DremioSettings.load()), ttl_s=60)


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("dremio", "dremio123"),
        ("ada", "lovelace"),
        ("ada", "fedcba9876543210"),
        ("grace", "hopper"),
        ("superset", "0123456789abcdef"),
    ],
)
def test_users_of_the_settings_sign_in(sessions: Sessions, user: str, password: str) -> None:
    for _ in range(2):
        caller = sessions.enter(basic(user, password), handshake=True)
        assert caller.user == user
        assert sessions.enter(bearer(caller), handshake=False).user == user


def test_the_token_of_this_machines_own_parts_signs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLWATCH_DREMIO_TOKEN", "0123456789abcdef")
    sessions = Sessions(users_of(GatewaySettings.load(), DremioSettings.load()), ttl_s=60)
    headers = {"authorization": ["Bearer 0123456789abcdef"]}
    assert sessions.enter(headers, handshake=False).user == "dremio"
    monkeypatch.setenv("TILLWATCH_GATEWAY_TOKENS", "dremio=fedcba9876543210")
    with pytest.raises(UserError, match=r"has a token in gateway\.tokens and is dremio\.user"):
        users_of(GatewaySettings.load(), DremioSettings.load())


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("ada", "hopper"),
        ("grace", "lovelace"),
        ("grace", ""),
        ("superset", ""),
        ("superset", "fedcba9876543210"),
        ("nobody", ""),
        ("", ""),
        ("dremio", "dremio1234"),
    ],
)
def test_nobody_else_signs_in(sessions: Sessions, user: str, password: str) -> None:
    with pytest.raises(Refusal) as caught:
        sessions.enter(basic(user, password), handshake=True)
    assert caught.value.kind is ErrorKind.UNAUTHENTICATED
    assert str(caught.value) == (
        f"Unable to authenticate user {user}, exception: Login failed: Invalid username or password"
    )


def test_a_users_token_is_a_bearer_token_too(sessions: Sessions) -> None:
    caller = sessions.enter({"authorization": ["bearer 0123456789abcdef"]}, handshake=False)
    assert (caller.user, caller.token) == ("superset", "0123456789abcdef")
    for wrong in ("0123456789abcdee", "", "0123456789abcdef.", "1.2.3"):
        with pytest.raises(Refusal, match=r"^$"):
            sessions.enter({"authorization": [f"Bearer {wrong}"]}, handshake=False)


def test_a_session_is_its_users_alone(sessions: Sessions) -> None:
    ada = sessions.enter(basic("ada", "lovelace"), handshake=False)
    assert ada.session is not None
    assert sessions.enter(bearer(ada, ada.session.id), handshake=False).session is ada.session
    other = sessions.enter(basic("dremio", "dremio123"), handshake=True)
    with pytest.raises(Refusal, match="UserSession is not available"):
        sessions.enter(bearer(other, ada.session.id), handshake=False)


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("passwords", "ada", "entry 1 is not NAME=SECRET"),
        ("passwords", "ada=a, ada=b", "entry 2 is a second 'ada'"),
        ("passwords", "dremio=s3cret", "stands in gateway.passwords and is dremio.user"),
        ("passwords", "ada=scrypt:1:8:1$abcdefgh$00", "is no hash that can be looked at"),
        ("tokens", "ada=s3cret", "shorter than 16 characters"),
    ],
)
def test_users_that_cannot_be_are_a_sentence_without_the_secret(setting: str, value: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        users_of(GatewaySettings.load(**{setting: value}), DremioSettings.load())
    assert "s3cret" not in str(caught.value)
