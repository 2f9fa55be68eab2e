"""Messages that are alike are one kind, in Python as in the SQL that the gateway answers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from console.drill.finding import matching
from console.view import View
from embedded.gateway.commits import SqliteCommits
from embedded.gateway.engine import Engine
from embedded.gateway.statements import Statements
from lakehouse.dremio.statement import Fragment, fill, question_sql
from lakehouse.kinds import ERROR_KIND, LONGEST, kind_of
from tests.conftest import NOON, Shop

SERVICE = "payments"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Charge 2416 declined by the bank", "Charge … declined by the bank"),
        ("Card processor timed out after 2738 ms", "Card processor timed out after … ms"),
        ("payments lost order o-17", "… lost order …"),
        ("payments-7f3 is down", "… is down"),
        ("commit deadbeefcafe was refused", "commit … was refused"),
        ("a cabbage is no id", "a cabbage is no id"),
        ("File \"/a b/c.py\" is not there, nor is 'x y'", "File … is not there, nor is …"),
        ("it's slow", "it's slow"),
        ("two\n lines\tand  blanks ", "two lines and blanks"),
        ("Überlauf bei 支払い 12€ \U0001f6d2", "Überlauf bei 支払い … \U0001f6d2"),
        ("`SELECT 1` failed", "… failed"),
        ("٣ is a digit elsewhere", "٣ is a digit elsewhere"),
        ("\u00a0hard blanks\u00a0stay ", "\u00a0hard blanks\u00a0stay"),
        ("x" * 2000, "x" * LONGEST),
        ("it is 100 % full $1 \\1", "it is … % full … …"),
        ("", ""),
    ],
)
def test_variable_parts_are_folded(message: str, kind: str) -> None:
    assert kind_of(message, SERVICE) == kind
    # What is folded already stays as it is.
    assert kind_of(kind, SERVICE) == kind


class Asked:
    """A shop's errors behind the gateway."""

    def __init__(self, path: Path, messages: list[str]) -> None:
        shop = Shop(path)
        for place, message in enumerate(messages):
            shop.error(error_message=message, service_name=SERVICE if place % 2 else "stock")
        shop.publish()
        shop.close()
        self._engine = Engine(path, path / "spill", threads=1, memory_limit_mb=64, timeout_s=5)
        self._statements = Statements(SqliteCommits(path / "catalog.db"), self._engine)

    def rows(self, question: str, **binds: Any) -> list[dict[str, Any]]:
        ranges = {"since": NOON - timedelta(hours=1), "until": NOON + timedelta(hours=1)}
        sql = fill(question_sql(question), None, ranges | binds, question)
        planned = self._statements.plan(sql)
        batches = self._statements.run(planned.ticket, lambda: False).batches
        return [row for batch in batches for row in batch.to_pylist()]

    def close(self) -> None:
        self._engine.close()


def test_sql_folds_as_python_does(tmp_path: Path) -> None:
    messages = [
        "Charge 2416 declined",
        "payments lost order o-17",
        "stock-9 'a b' \"c\nd\" `e`",
        "deadbeefcafe and DEADBEEF01 and dead",
        " two\n lines\tand  blanks ",
        "Überlauf bei 支払い 12€ \U0001f6d2 ٣ \u00a0x\u00a0",
        "it's 5 o'clock, isn't it",
        "$1 \\1 \\0 100%",
        "word " * 400,
        "\U0001f6d2" * 1500,
    ]
    asked = Asked(tmp_path, messages)
    everything = {"severities": ["ERROR"], "all_services": 1, "services": []}
    rows = asked.rows("error_kinds", kind=ERROR_KIND, matches=matching(View("errors"), ()), most=100, **everything)
    expected = {kind_of(message, SERVICE if place % 2 else "stock") for place, message in enumerate(messages)}
    assert {row["kind"] for row in rows} == expected
    assert sum(row["n"] for row in rows) == len(messages)
    asked.close()


def test_a_text_is_found_as_it_is_typed(tmp_path: Path) -> None:
    asked = Asked(tmp_path, ["Disk 100% full", "Disk 1000 full", "it's a_b", "it is axb"])

    def found(text: str) -> list[str]:
        matches = matching(View("errors").filtered("find", (text,)), ("error_message", "service_name"))
        every = {"severities": ["ERROR"], "all_services": 1, "services": [], "matches": matches}
        every |= {"sorted": Fragment("error_message ASC, event_key", {}), "most": 10, "skip": 0}
        return sorted(row["error_message"] for row in asked.rows("error_rows", **every))

    assert found("100%") == ["Disk 100% full"]
    assert found("A_B") == ["it's a_b"]
    assert found("it's") == ["it's a_b"]
    assert found("stock") == ["Disk 100% full", "it's a_b"]
    assert found("' OR 1 = 1") == []
    asked.close()
