"""`make demo` to a live chart in Chromium, and Ctrl-C to its end: installed, or from a bare clone (--clean).

--clean has an empty HOME and empty caches. Installed, also how long `tillwatch status` takes once the past is filled
in, and when nothing runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.browser import browser_page, wait_for_live_chart
from bench.processes import Demo, directory_mb, environment, free_offset
from bench.report import Report
from lakehouse import ROOT

INSTALLED_LIMIT_S, CLEAN_LIMIT_S = 20.0, 120.0
END_LIMIT_S, STATUS_LIMIT_S = 10.0, 2.0
GIVE_UP_AFTER = 3
"""Times the limit."""


@dataclass(frozen=True)
class ColdStart:
    """One life of the demo, in seconds: until the chart lives, what `tillwatch status` then took, and its end."""

    live_s: float
    status_s: float
    ended_s: float


def run(cwd: Path, variables: Mapping[str, str], limit_s: float) -> ColdStart:
    """`make demo` in a folder, a browser that stands by, Ctrl-C."""
    with browser_page() as page, Demo((), command=("make", "demo"), cwd=cwd, variables=variables) as demo:
        since_ms = time.time() * 1000
        wait_for_live_chart(page, demo.url("console"), since_ms, GIVE_UP_AFTER * limit_s)
        live_s = demo.seconds
        demo.wait_filled()  # filling takes all cores for a while
        status_s = status(cwd, demo.environment)
    return ColdStart(live_s, status_s, demo.ended_s)


def status(cwd: Path, variables: Mapping[str, str]) -> float:
    """Seconds that `tillwatch status` takes."""
    began = time.monotonic()
    subprocess.run(
        [".venv/bin/tillwatch", "status"], cwd=cwd, env=dict(variables), stdout=subprocess.DEVNULL, check=False
    )
    return time.monotonic() - began


def bare_environment(home: Path) -> dict[str, str]:
    """This process's environment with an empty home and empty caches, and without our own Python's.

    What says how to reach the package index stays, and so does the machine's own Python.
    """
    dropped = ("TILLWATCH_", "VIRTUAL_ENV", "PYTHON", "XDG_", "UV_CACHE", "PIP_CACHE", "UV_PYTHON", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    ours = str(ROOT / ".venv" / "bin")
    path = os.pathsep.join(place for place in kept.get("PATH", "").split(os.pathsep) if place != ours)
    caches = {name: str(home / "cache" / name.lower()) for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR", "XDG_CACHE_HOME")}
    return kept | caches | {"HOME": str(home), "PATH": path}


def clean(folder: Path) -> tuple[float, float]:
    """Seconds from `git clone` to a live chart, and the MB that the installation takes."""
    home, clone = folder / "home", folder / "tillwatch"
    home.mkdir()
    variables = bare_environment(home)
    began = time.monotonic()
    subprocess.run(
        ["git", "clone", "--quiet", "--no-hardlinks", f"file://{ROOT}", str(clone)], check=True, env=variables
    )
    cloned_s = time.monotonic() - began
    return cloned_s + run(clone, variables, CLEAN_LIMIT_S).live_s, directory_mb(clone)


def main() -> None:
    """`python -m bench start`."""
    parser = argparse.ArgumentParser(prog="bench start", description=__doc__)
    parser.add_argument("--clean", action="store_true", help="from a clone; packages are downloaded")
    parser.add_argument("--runs", type=int, default=1, help="the slowest counts (1)")
    arguments = parser.parse_args()
    if not arguments.clean:
        runs = [run(ROOT, os.environ, INSTALLED_LIMIT_S) for _ in range(arguments.runs)]
        with tempfile.TemporaryDirectory(prefix="tillwatch-bench-") as nothing:
            down_s = [status(ROOT, environment(Path(nothing), free_offset())) for _ in range(arguments.runs)]
        report = Report(
            "start", f"make demo, installed, empty data directory, Chromium standing by, {arguments.runs} run(s)"
        )
        report.row("make demo to live chart, slowest", max(one.live_s for one in runs), "s", at_most=INSTALLED_LIMIT_S)
        report.row("Ctrl-C to its end, slowest", max(one.ended_s for one in runs), "s", at_most=END_LIMIT_S)
        report.row("tillwatch status, slowest", max(one.status_s for one in runs), "s", at_most=STATUS_LIMIT_S)
        report.row("the same, nothing runs", max(down_s), "s", at_most=STATUS_LIMIT_S)
        report.finish()
        return
    slowest, installed_mb = 0.0, 0.0
    for _ in range(arguments.runs):
        folder = Path(tempfile.mkdtemp(prefix="tillwatch-clean-"))
        try:
            seconds_clean, installed_mb = clean(folder)
            slowest = max(slowest, seconds_clean)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, check=False).stdout
    report = Report(
        "start-clean",
        f"git clone and make demo, empty HOME and package caches, {arguments.runs} run(s)"
        + ("; changes not committed were left out" if changed.strip() else ""),
    )
    report.row("clone to live chart, slowest", slowest, "s", at_most=CLEAN_LIMIT_S)
    report.row("clone with all it installed", installed_mb, "MB")
    report.finish()


if __name__ == "__main__":
    main()
