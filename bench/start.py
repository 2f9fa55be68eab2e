"""`make demo` to a live chart in Chromium, and Ctrl-C to its end: installed, or from a bare clone (--clean).

--clean has an empty HOME and empty caches, and tells the install and the first start after it apart. Installed, also
how long `tillwatch status` takes once the past is filled in, and when nothing runs.
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

import psutil

from bench.browser import browser_page, wait_for_live_chart
from bench.processes import Demo, directory_mb, environment, free_offset
from bench.report import Report
from lakehouse import ROOT

INSTALLED_LIMIT_S, FIRST_LIMIT_S, CLEAN_LIMIT_S = 6.0, 9.0, 30.0
DOWNLOAD_LIMIT_MB = 200.0
END_LIMIT_S, STATUS_LIMIT_S = 10.0, 2.0
GIVE_UP_AFTER = 5
"""Times the limit."""


@dataclass(frozen=True)
class ColdStart:
    """One life of the demo, in seconds: until the chart lives, what `tillwatch status` then took, and its end."""

    live_s: float
    status_s: float
    ended_s: float


@dataclass(frozen=True)
class CleanStart:
    """From `git clone` on: seconds until the packages are there and of the first start, MB that came and that it takes.

    What came is what all networks of the machine received meanwhile.
    """

    installed_s: float
    first_s: float
    received_mb: float
    installed_mb: float


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


def clean(folder: Path) -> CleanStart:
    """Clone, install and start in an empty folder."""
    home, clone = folder / "home", folder / "tillwatch"
    home.mkdir()
    variables = bare_environment(home)
    began, received = time.monotonic(), received_mb()
    subprocess.run(
        ["git", "clone", "--quiet", "--no-hardlinks", f"file://{ROOT}", str(clone)], check=True, env=variables
    )
    # As `make demo` does first.
    subprocess.run(["make", "env"], cwd=clone, check=True, env=variables)
    installed_s, received = time.monotonic() - began, received_mb() - received
    return CleanStart(installed_s, run(clone, variables, CLEAN_LIMIT_S).live_s, received, directory_mb(clone))


def received_mb() -> float:
    """MB that came over all networks since the machine started."""
    counters = psutil.net_io_counters(pernic=True)
    return sum(each.bytes_recv for name, each in counters.items() if not name.startswith("lo")) / 1e6


def packages_mb() -> float:
    """MB of the packages of requirements/default.lock, as `make lock` measured them."""
    lines = (ROOT / "requirements" / "download-mb.txt").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("default "))


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
    starts: list[CleanStart] = []
    for _ in range(arguments.runs):
        folder = Path(tempfile.mkdtemp(prefix="tillwatch-clean-"))
        try:
            starts.append(clean(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, check=False).stdout
    report = Report(
        "start-clean",
        f"git clone and make demo, empty HOME and package caches, {arguments.runs} run(s)"
        + ("; changes not committed were left out" if changed.strip() else ""),
    )
    to_live_s = max(each.installed_s + each.first_s for each in starts)
    report.row("clone to live chart, slowest", to_live_s, "s", at_most=CLEAN_LIMIT_S)
    report.row(
        "first start after the install, slowest", max(each.first_s for each in starts), "s", at_most=FIRST_LIMIT_S
    )
    report.row("packages to download", packages_mb(), "MB", at_most=DOWNLOAD_LIMIT_MB)
    report.row("received meanwhile, installer too", max(each.received_mb for each in starts), "MB")
    report.row("clone with all it installed", max(each.installed_mb for each in starts), "MB")
    report.finish()


if __name__ == "__main__":
    main()
