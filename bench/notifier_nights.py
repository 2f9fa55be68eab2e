"""Random schedules of alerts, people, faults, kills and clocks, by the thousand: tests/test_notifier_random.py.

Promise: in none of them is an alert lost, a Slack message doubled, or something on its way for ever.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time

from bench.report import Report
from lakehouse import ROOT

TEST = "tests/test_notifier_random.py"
_COUNTS = re.compile(r"(\d+) passing(?: examples)?, (\d+) failing")


def start(nights: int, seed: int) -> subprocess.Popen[str]:
    """pytest over so many schedules."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "--timeout=0"]
    return subprocess.Popen(
        [*command, "--hypothesis-show-statistics", f"--hypothesis-seed={seed}", TEST],
        env=os.environ | {"NIGHTS": str(nights)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def counted(output: str) -> tuple[int, int]:
    """Schedules that went well, and those that did not, as Hypothesis counts them over all its phases."""
    counts = [(int(well), int(badly)) for well, badly in _COUNTS.findall(output)]
    return sum(well for well, _ in counts), sum(badly for _, badly in counts)


def run(nights: int, processes: int, seed: int) -> Report:
    began = time.monotonic()
    each = -(-nights // processes)
    running = [start(each, seed + place) for place in range(processes)]
    well = badly = 0
    for process in running:
        output, _ = process.communicate()
        passed, failed = counted(output)
        well, badly = well + passed, badly + failed
        if process.returncode or not passed:
            print(output, file=sys.stderr)
            badly = max(1, badly)
    report = Report("notifier_nights", f"{processes} processes with {each:,} schedules of 20 steps each, seed {seed}")
    report.row("schedules that went well", well, "", at_least=nights)
    report.row("schedules that failed", badly, "", exactly=0)
    report.row("time", time.monotonic() - began, "s")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--nights", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    run(arguments.nights, arguments.processes, arguments.seed).finish()


if __name__ == "__main__":
    main()
