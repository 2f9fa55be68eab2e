"""Write the promised figures of bench/results into docs/performance.md, and six of them into README: `-m bench.pages`.

What a bench has not measured here keeps the line it has.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.report import RESULTS
from lakehouse import ROOT

BEGIN, END = "<!-- bench:begin", "<!-- bench:end -->"
TABLE = ("| figure | measured | promised | command |", "|---|---|---|---|")
PROMISES = (
    "**Seconds.** At 100 events a second an event is on the screen within {live-100: event to pixel, slowest*} (95 %), "
    "a FATAL in Slack within {live-100: FATAL to Slack, p95}.",
    "**Nothing lost, nothing twice.** {stack_kills: kills at named points} kills at the named points of a batch and "
    "{stack_kills: kills at random moments} at random moments: {stack_kills: tables that differ*} tables differ from a "
    "run without kills.",
    "**Never half.** {stack_readers: publishes} publishes, {stack_readers: kill -9} kills: readers saw "
    "{stack_readers: violations found} times anything but one whole commit.",
    "**Told once.** {notifier_chaos: Incidents} incidents, {notifier_chaos: kill -9} times kill -9 and a Slack that "
    "breaks one post in five: {notifier_chaos: ours: lost} lost, {notifier_chaos: ours: told more than once} told more "
    "than once.",
    "**Flat.** After half an hour at 200 events a second the slowest question takes {soak: p95 of the worst question*} "
    "what it took at the start.",
    "**Small.** From a clone to a live chart {start-clean: clone to live chart*}, at the next start "
    "{start: make demo to live chart*}; all of it takes {live-20: memory at the end (PSS)}.",
)
"""README's promises; {bench: figure} is what stands in the table, * the rest of a name."""


def measured() -> tuple[dict[str, list[str]], dict[str, str]]:
    """Lines of the table, and the conditions, by bench: of each bench that has promised figures in bench/results."""
    rows: dict[str, list[str]] = {}
    conditions: dict[str, str] = {}
    for path in RESULTS.glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        lines = [_row(content, figure) for figure in content.get("figures", ()) if figure["kept"] is not None]
        if lines:
            rows[content["bench"]] = lines
            conditions[content["bench"]] = f"- `{content['bench']}`: {content['conditions']} ({content['machine']})."
    return rows, conditions


def _row(content: dict[str, Any], figure: dict[str, Any]) -> str:
    limit = next(
        f"{sign} {figure[key]:,.10g}"
        for key, sign in (("exactly", "="), ("at_most", "<="), ("at_least", ">="))
        if figure.get(key) is not None
    )
    exact = figure["exactly"] is not None or figure["value"] == int(figure["value"])
    value = f"{figure['value']:,.10g}" if exact else f"{figure['value']:,.4g}"
    verdict = "" if figure["kept"] else " **not kept**"
    shown = f"{value} {figure['unit']}".strip()
    return f"| {content['bench']}: {figure['name']} | {shown}{verdict} | {limit} | `{content['command']}` |"


def written(page: str) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The same as the page has them."""
    rows: dict[str, list[str]] = {}
    for line in re.findall(r"^\| [a-z].*\|$", page, re.MULTILINE):
        if ": " in line:
            rows.setdefault(line[2:].split(": ", 1)[0], []).append(line)
    return rows, {found[1]: found[0] for found in re.finditer(r"^- `([^`]+)`: .*$", page, re.MULTILINE)}


def promises(rows: dict[str, list[str]]) -> list[str]:
    """README's lines. Raises KeyError for a figure that the table has not."""
    cells = [line.strip("| ").split(" | ") for lines in rows.values() for line in lines]
    values = {name: value for name, value, *_ in cells}

    def value(name: str) -> str:
        known = [found for found in values if found == name or (name.endswith("*") and found.startswith(name[:-1]))]
        if not known:
            raise KeyError(f"docs/performance.md has no figure {name!r}")
        return values[known[0]]

    return [f"- {re.sub(r'{([^}]*)}', lambda found: value(found[1]), promise)}" for promise in PROMISES]


def _write(page: Path, lines: list[str]) -> None:
    text = page.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    first_line = BEGIN + rest.split("\n", 1)[0]
    page.write_text(head + "\n".join([first_line, *lines, END]) + rest.split(END, 1)[1], encoding="utf-8")


def main() -> None:
    page = ROOT / "docs" / "performance.md"
    (rows, conditions), (new_rows, new_conditions) = written(page.read_text(encoding="utf-8")), measured()
    rows, conditions = rows | new_rows, conditions | new_conditions
    table = [line for bench in sorted(rows) for line in rows[bench]]
    _write(page, [*TABLE, *table, "", "Conditions:", "", *(conditions[bench] for bench in sorted(conditions))])
    _write(ROOT / "README.md", promises(rows))


if __name__ == "__main__":
    main()
