"""A statement's own tokens are those that sqlglot would read, or are not taken."""

from __future__ import annotations

import random
import re
from contextlib import suppress

import pytest
from sqlglot import Token

from embedded.gateway import translation
from embedded.gateway.dialect import Dialect
from embedded.gateway.errors import Refusal
from embedded.gateway.tokens import words_of
from embedded.gateway.values import cut
from lakehouse.dremio.statement import question_sql
from tests.test_gateway_statements import FILES, cases

MARK = "\x01"
PIECES = re.compile(r"\w+|\W", re.DOTALL)
ODD = ["<", ">", "=", "-", "--", "/*x*/", "\n", "\r\n", ".", "'", '"', "N", "1e5", ".5", "1.", "0x1F", "$a", "é", "BY"]


def told(tokens: list[Token]) -> list[tuple[str, str, int, int]]:
    return [(token.token_type.name, token.text, token.start, token.end) for token in tokens]


def check(sql: str) -> bool | None:
    """Whether the statement's own tokens were taken; None for no statement."""
    try:
        found = cut(sql, words_of(sql), MARK)
    except Refusal:
        return None
    assert found.words == words_of(found.text), sql
    own = translation._LEXED.tokens(found.text, found.words)
    if own is None:
        return False
    others = [token for token in translation._DREMIO.tokenize(found.text) if token.text != ";"]
    assert told(own) == told(others), sql
    return True


STATEMENTS = [case.sql for name in FILES for case in cases(name) if not case.sql.startswith("FROM")]


def test_statements_are_read_alike_and_most_by_their_own_tokens() -> None:
    found = [check(sql) for sql in STATEMENTS]
    assert found.count(True) > 0.8 * len(found) > 400


def test_statements_that_were_changed_at_random_are_read_alike() -> None:
    draw = random.Random(7)
    others = [*ODD, "AT BRANCH main", "TIMESTAMP '2026-01-01 00:00:00'", *PIECES.findall(" ".join(STATEMENTS[:50]))]
    taken = 0
    for _ in range(1_500):
        pieces = PIECES.findall(draw.choice(STATEMENTS)[:300])
        for _ in range(draw.randint(1, 5)):
            place = draw.randrange(len(pieces) + 1)
            pieces[place : place + draw.randint(0, 1)] = [draw.choice(others)]
        taken += check("SELECT " + "".join(pieces)) is True
    assert taken > 300


@pytest.mark.parametrize("name", ["tiles", "latest_orders", "minutes"])
def test_questions_of_the_console_are_read_by_their_own_tokens(name: str) -> None:
    sql = re.sub(r"{(\w+)}", r'nessie.\1 AT COMMIT "a"', question_sql(name))
    assert check(re.sub(r":\w+", "TIMESTAMP '2026-01-01 00:00:00.123'", sql))


@pytest.mark.parametrize(
    "again",
    ["/* ", "/*", "-- ", "//", "'", "' ", '"', '" ', "1e", "1.", "a$", "$", " \n", "*/", "/*/", "'' ", "::", "."],
)
def test_a_long_text_is_read_once_whatever_it_repeats(again: str) -> None:
    """What takes the square of its length takes minutes here."""
    with suppress(Refusal):
        words_of(f"SELECT {again * (300_000 // len(again))}")


@pytest.mark.parametrize(
    "sql", ["SELECT 1 /* 2", "SELECT 1 /*+ 2", "SELECT 1 /* 2 */ /*/", f"SELECT 1 {'/* ' * 6_600}"]
)
def test_a_comment_that_nobody_closes_is_refused_where_it_begins(sql: str) -> None:
    with pytest.raises(Refusal, match="a comment is not closed") as caught:
        Dialect().read(sql)
    assert caught.value.start == (sql.rindex("/*") if "*/" in sql else sql.index("/*"))


def test_a_comment_ends_at_its_first_end() -> None:
    assert [word.text for word in words_of("SELECT /* /* 'a' */ 1 /**/ /*/ */ + 2 -- /*")] == ["SELECT", "1", "+", "2"]
