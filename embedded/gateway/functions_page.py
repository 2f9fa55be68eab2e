"""docs/functions.md, from the table of functions: `python -m embedded.gateway.functions_page`.

--write puts it there, --check compares, without either it is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from embedded.gateway.sql.rows import Row
from embedded.gateway.sql.table import TABLE
from lakehouse import ROOT
from lakehouse.user_error import UserError, exit_on_user_error

PAGE = ROOT / "docs" / "functions.md"
_COMMAND = "python -m embedded.gateway.functions_page --write"
_HEAD = """# Functions of Dremio's SQL, and how the gateway computes them

Made by `{command}` from the table in `embedded/gateway/sql`; what it says is what the gateway does.

Every function of Dremio's SQL reference has a row. *not yet*: the gateway refuses it and says so. Arguments in square
brackets may be left out, three dots stand for more of the same, `!` for a value that is written in the statement, `iso`
for a date or time in quotes (2026-03-02 12:00:00). {{0}} and {{1}} are the first two arguments in DuckDB's SQL; "made
for the call" where it depends on them. Where a value would not be Dremio's, the statement fails and says so. The
reference is that of Dremio 26, the source and tests are those of Dremio 25.2.

{done} of {all} names are answered.

| function | arguments | result | how | source | note |
|---|---|---|---|---|---|
"""


def page() -> str:
    done = sum(any(row.how is not None for row in rows) for rows in TABLE.values())
    head = _HEAD.format(command=_COMMAND, done=done, all=len(TABLE))
    return head + "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    for name, rows in TABLE.items():
        for row in rows:
            cells = (name, row.takes, _result(row), _how(row), row.source, row.note)
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("  ", " ")


def _result(row: Row) -> str:
    return row.gives if isinstance(row.gives, str) else "of its arguments"


def _how(row: Row) -> str:
    if row.how is None:
        return "*not yet*"
    return f"`{row.how}`" if isinstance(row.how, str) else "made for the call"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m embedded.gateway.functions_page", description=__doc__)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    group.add_argument("--check", action="store_true", help=f"fail when {PAGE.name} says something else")
    chosen = parser.parse_args(arguments)
    text = page()
    if chosen.write:
        PAGE.write_text(text, encoding="utf-8")
    elif chosen.check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            raise UserError(f"docs/{PAGE.name} is not what the table of functions says: run {_COMMAND}")
    else:
        print(text, end="")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
