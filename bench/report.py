"""How a bench tells its figures: a table on the terminal with its conditions, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One measured value; `at_most` and `at_least` are what is promised of it.

    `beside`: nothing is, but it belongs on the page: a phase, or what a promise is understood by.
    """

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    exactly: float | None = None
    beside: bool = False

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None where nothing is promised."""
        if self.exactly is not None:
            return self.value == self.exactly
        if self.at_most is None and self.at_least is None:
            return None
        below = self.at_most is None or self.value <= self.at_most
        return below and (self.at_least is None or self.value >= self.at_least)


class Report:
    """The figures of one bench."""

    def __init__(self, name: str, conditions: str) -> None:
        self.name = name
        self.conditions = conditions
        self.figures: list[Figure] = []

    def row(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        exactly: float | None = None,
        beside: bool = False,
    ) -> None:
        """Add a figure."""
        self.figures.append(Figure(name, value, unit, at_most, at_least, exactly, beside))

    def finish(self) -> None:
        """Print the table and write bench/results/NAME.json. Exits with 1 where a promise is not kept."""
        machine = machine_conditions()
        table = Table(title=f"{self.name}: {self.conditions}", caption=machine, title_justify="left")
        for header in ("figure", "value", "promised", ""):
            table.add_column(header, justify="right" if header in ("value", "promised") else "left")
        for figure in self.figures:
            promised = ""
            if figure.at_most is not None:
                promised = f"<= {figure.at_most:g}"
            elif figure.at_least is not None:
                promised = f">= {figure.at_least:g}"
            elif figure.exactly is not None:
                promised = f"= {figure.exactly:,.10g}"
            verdict = {None: "", True: "kept", False: "NOT KEPT"}[figure.kept]
            table.add_row(figure.name, f"{_shown(figure)} {figure.unit}", promised, verdict)
        Console(width=120).print(table)
        RESULTS.mkdir(exist_ok=True)
        content = {
            "bench": self.name,
            "command": f"python -m {shlex.join([*sys.argv[0].split(), *sys.argv[1:]])}",
            "conditions": self.conditions,
            "machine": machine,
            "figures": [asdict(figure) | {"kept": figure.kept} for figure in self.figures],
        }
        (RESULTS / f"{self.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if any(figure.kept is False for figure in self.figures):
            raise SystemExit(1)


def _shown(figure: Figure) -> str:
    return f"{figure.value:,.10g}" if figure.exactly is not None else f"{figure.value:,.4g}"


def machine_conditions() -> str:
    """Cores, memory, system, commit and day of this run."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    ).stdout.strip()
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, commit {commit or 'unknown'}, {datetime.now(UTC):%Y-%m-%d}"
    )
