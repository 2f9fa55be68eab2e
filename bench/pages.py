"""Write the figures of bench/results into docs/performance.md, and six of them into README: `-m bench.pages`.

Those that something is promised of, and those that a bench marks as worth knowing beside them, in a table of their own.
What a bench has not measured here keeps the line it has.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import RESULTS
from lakehouse import ROOT

BEGIN, END = "<!-- bench:begin", "<!-- bench:end -->"
TABLE = ("| figure | measured | promised | command |", "|---|---|---|---|")
BESIDE = ("Beside the promises:", "", "| figure | measured | command |", "|---|---|---|")
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


type Lines = dict[str, list[str]]
"""Lines of a table, by bench."""


@dataclass(frozen=True)
class PageLines:
    """Lines of both tables, and by bench the conditions that it ran in."""

    promised: Lines
    beside: Lines
    conditions: dict[str, str]

    def updated(self, new: PageLines) -> PageLines:
        """The same with what other benches, or later runs, have found."""
        old = {bench: lines for bench, lines in self.beside.items() if bench not in new.conditions}
        return PageLines(self.promised | new.promised, old | new.beside, self.conditions | new.conditions)

    def lines(self) -> list[str]:
        """The part of the page that is written."""
        beside = [line for bench in sorted(self.beside) for line in self.beside[bench]]
        return [
            *TABLE,
            *(line for bench in sorted(self.promised) for line in self.promised[bench]),
            *(("", *BESIDE, *beside) if beside else ()),
            "",
            "Conditions:",
            "",
            *(self.conditions[bench] for bench in sorted(self.conditions)),
        ]


def measured(results: Path) -> PageLines:
    """What each bench has in this folder; of one without a promised figure nothing is told."""
    found = PageLines({}, {}, {})
    for path in results.glob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        bench, figures = content["bench"], content.get("figures", ())
        lines = [_row(content, figure) for figure in figures if figure["kept"] is not None]
        if lines:
            found.promised[bench] = lines
            found.conditions[bench] = f"- `{bench}`: {content['conditions']} ({content['machine']})."
            if beside := [_beside(content, figure) for figure in figures if figure.get("beside")]:
                found.beside[bench] = beside
    return found


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


def _beside(content: dict[str, Any], figure: dict[str, Any]) -> str:
    shown = f"{figure['value']:,.4g} {figure['unit']}".strip()
    return f"| {content['bench']}: {figure['name']} | {shown} | `{content['command']}` |"


def written(page: str) -> PageLines:
    """The same as the page has them."""
    found = PageLines({}, {}, {each[1]: each[0] for each in re.finditer(r"^- `([^`]+)`: .*$", page, re.MULTILINE)})
    for line in re.findall(r"^\| [a-z].*\|$", page, re.MULTILINE):
        if ": " in line:
            lines = found.promised if line.count(" | ") == 3 else found.beside
            lines.setdefault(line[2:].split(": ", 1)[0], []).append(line)
    return found


def promises(rows: Lines) -> list[str]:
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
    found = written(page.read_text(encoding="utf-8")).updated(measured(RESULTS))
    _write(page, found.lines())
    _write(ROOT / "README.md", promises(found.promised))


if __name__ == "__main__":
    main()
