"""Names, versions, commands and table functions with words taken out, put in and exchanged: answered or refused."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

from embedded.gateway.errors import Refusal
from lakehouse.tables import CATALOG, SCHEMA
from tests.gateway_cast import Desk
from tests.test_gateway_fuzz import MANY

ORDERS = f"{CATALOG}.{SCHEMA}.orders_processed"
SEEDS = (
    f'SELECT COUNT(*) FROM "{CATALOG}.{SCHEMA}"."orders_processed" AS o',
    f"SELECT COUNT(*) AS n FROM {ORDERS} AT BRANCH main AS OF '2026-11-29 10:00:00' o WHERE o.price > 1",
    f"SELECT o.price FROM {ORDERS} AT TIMESTAMPADD(HOUR, -1, CURRENT_TIMESTAMP) - INTERVAL '1' DAY AS o",
    f"SELECT SUM(f.file_size_in_bytes) AS b FROM TABLE(table_files('{ORDERS}')) AT COMMIT \"ab\" AS f "
    f"JOIN TABLE(table_snapshot('{ORDERS}')) s ON s.operation = 'append'",
    f"DESCRIBE TABLE {ORDERS} AT SNAPSHOT '1' price",
    f"SHOW TABLES AT BRANCH main IN {CATALOG} LIKE 'or%'",
    f'SHOW LOGS AT COMMIT "ab" IN {CATALOG}',
    f"USE BRANCH main AS OF '2026-01-01' IN {CATALOG}",
    'USE "a.b"',
    f"EXPLAIN PLAN INCLUDING ALL ATTRIBUTES WITH IMPLEMENTATION AS JSON FOR SELECT * FROM {ORDERS}",
    "SHOW SCHEMAS LIKE '%a_'",
    f"ALTER TABLE {ORDERS} REFRESH METADATA FORCE UPDATE",
    "SELECT * FROM INFORMATION_SCHEMA.\"COLUMNS\" c WHERE c.TABLE_NAME LIKE 'a%'",
)
_WORD = re.compile(r"\w+|'[^']*'|\"[^\"]*\"|[^\w\s]")
ODD = [
    *("(", ")", ".", ";", "'", '"', "''", '""', "'x'", '"a.b"', "1e5", "\x01", "\u017f", "\u0130", "\u200b"),
    *("AT", "TABLE", "AS", "OF", "SELECT", "INTERVAL"),
]
# What only the gateway's own code knows.
TELLTALE = re.compile(r"[\x00-\x08]|duckdb|pyarrow|sqlglot|pyiceberg|traceback|/", re.IGNORECASE)


def mutated(chance: random.Random, words: list[str]) -> str:
    found = _WORD.findall(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(found))
        match chance.randrange(4):
            case 0 if len(found) > 1:
                del found[place]
            case 1:
                found.insert(place, chance.choice(words))
            case 2:
                found[place] = chance.choice(words)
            case _:
                other = chance.randrange(len(found))
                found[place], found[other] = found[other], found[place]
    return ("" if chance.random() < 0.1 else " ").join(found)


def test_mutated_statements_are_answered_or_refused_in_a_sentence(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    chance = random.Random(7)
    words = [word for seed in SEEDS for word in _WORD.findall(seed)] + ODD
    answered = 0
    for _ in range(MANY * 2 // 5):
        sql = mutated(chance, words)
        started = time.monotonic()
        try:
            desk.statements.run(desk.statements.plan(sql).ticket, lambda: False)
            answered += 1
        except Refusal as refusal:
            said = str(refusal)
            for own in _WORD.findall(sql):
                said = said.replace(own, "")
            assert not TELLTALE.search(said), (sql, said)
            assert "SYSTEM ERROR" not in said, sql
        assert time.monotonic() - started < 20, sql
    assert answered > 5
    desk.close()
