"""How commands answer: text for people, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from lakehouse.texts import label

Json = Annotated[bool, typer.Option("--json", help="One JSON document in place of text.")]
CELL = 120
"""Letters of a cell that are shown."""


def say(text: str, content: Any, as_json: bool) -> None:
    """Print one of the two."""
    typer.echo(json.dumps(content, indent=2, default=str, ensure_ascii=False) if as_json else text)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns one below the other, two blanks between them; numbers to the right. Without rows, the head.

    What somebody else wrote cannot steer the terminal.
    """
    given = [list(row) for row in rows]
    texts = [list(head), *([label(_shown(cell), CELL) for cell in row] for row in given)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    right = [bool(given) and all(isinstance(row[place], int) for row in given) for place in range(len(head))]
    lines = []
    for row in texts:
        cells = [
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def shown(moment: datetime | None) -> str:
    """A moment (UTC) to the second; empty where there is none."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _shown(cell: object) -> str:
    if isinstance(cell, datetime):
        return shown(cell)
    return f"{cell:,}" if isinstance(cell, int) else "" if cell is None else str(cell)
