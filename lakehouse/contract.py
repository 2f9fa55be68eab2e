"""docs/contract.md from the code: `python -m lakehouse.contract` prints it, --write writes it, --check compares.

Printed is a shop's own of config/ too; the page describes what is shipped alone.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from lakehouse import ROOT
from lakehouse.decode import MAX_LEAD, REASONS
from lakehouse.tables import CATALOG, SCHEMA, TABLES, Table
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError, exit_on_user_error

PAGE = ROOT / "docs" / "contract.md"
QUESTIONS = Path(__file__).parent / "questions"
_COMMAND = "python -m lakehouse.contract --write"


def render(own: bool = False) -> str:
    """The page, as Markdown; with what is a shop's own, or without."""
    return "\n".join(_lines(own)) + "\n"


_INTRODUCTION = f"""\
# The contract

Written by `{_COMMAND}` from lakehouse/; changes go there.
Producers meet the topics, readers the tables and questions. Names and types on this page do not change; fields and
columns may be added. Settings and their units stand in config/tillwatch.yaml.

## Topics

JSON objects in UTF-8. Unknown fields are ignored; of a repeated name the last counts; a number may be given as text.
Times are ISO 8601, without an offset UTC; what is finer than 1 us is cut off.
"""

_REJECTED = f"""
An event's key is its event_id, else a hash of topic and all fields as decoded.
Of events with the same key and the same time the first in the log stays.

### What is no event

goes to `dead_letters` with its bytes and the first of these reasons that holds, looked for over the whole message.
Time is judged against received_at, the log's own time, with {MAX_LEAD.seconds // 60} min of lead.
"""

_TABLES = f"""
## Tables

Catalog `{CATALOG}`, schema `{SCHEMA}`, Iceberg format v2.
Readers get a timestamptz as timestamp[ms] without zone, in UTC. All tables of a publish become visible at once.
"""

_QUESTIONS = """
## Questions

What readers ask, one file each in lakehouse/questions, in Dremio's dialect.
"""


def _lines(own: bool) -> Iterator[str]:
    yield _INTRODUCTION.removesuffix("\n")
    for topic in (topic for topic in TOPICS.values() if own or not topic.table.own):
        yield f"\n### {topic.name}\n"
        yield f"{topic.doc} Stored in `{topic.table.name}`; its time is `{topic.time}`.\n"
        yield from _table(
            ("field", "what", "type", "needed"),
            ((f"`{f.name}`", f.doc, f.words, "yes" if f.required else "") for f in topic.fields),
        )
    yield _REJECTED
    yield from _table(("reason", "holds for"), ((f"`{reason}`", says) for reason, says in REASONS.items()))
    yield _TABLES.removesuffix("\n")
    for table in (table for table in TABLES.values() if own or not table.own):
        yield from _table_lines(table)
    yield _QUESTIONS
    questions = sorted(QUESTIONS.glob("*.sql"))
    yield from _table(("question", "answers"), ((f"`{path.stem}`", _answer(path)) for path in questions))


def _table_lines(table: Table) -> Iterator[str]:
    yield f"\n### {table.name}\n\n{table.doc}\n"
    facts = {
        "grain": table.grain,
        "fresh": table.freshness,
        "event time": table.event_time and f"`{table.event_time}`",
        "partition": table.partition_by and f"hour of `{table.partition_by}`",
        "kept": f"`retention.{table.retention}` by `{table.aged_by}`" if table.retention else "as long as it is so",
    }
    yield from (f"- {name}: {fact}" for name, fact in facts.items() if fact)
    yield ""
    yield from _table(
        ("column", "type", "unit", "what", "null"),
        (
            (f"`{column.name}`", column.type, column.unit, column.doc, "" if column.required else "may be")
            for column in table.columns
        ),
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, ("---",) * len(head), *rows):
        cells = " | ".join(cell.replace("|", "\\|") for cell in row)
        yield f"| {cells} |".replace("  ", " ")


def _answer(path: Path) -> str:
    """The comment at the head of a question's file, up to the columns that it declares."""
    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("--"):
            break
        comment.append(line.removeprefix("--").strip())
    return " ".join(comment).partition(" Columns: ")[0]


def main(arguments: list[str] | None = None) -> None:
    """Raises UserError where --check finds the page out of date."""
    parser = argparse.ArgumentParser(
        prog="python -m lakehouse.contract", description="The contract page, docs/contract.md."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="write docs/contract.md")
    what.add_argument("--check", action="store_true", help="fail when docs/contract.md is not what the code says")
    options = parser.parse_args(arguments)
    page = render()
    if options.write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page, encoding="utf-8")
    elif options.check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
            raise UserError(f"docs/contract.md is not what the code says; run {_COMMAND}.")
    else:
        sys.stdout.write(render(own=True))


if __name__ == "__main__":
    with exit_on_user_error():
        main()
