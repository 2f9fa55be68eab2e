"""An hour of `tillwatch demo` at the default rate with one viewer: memory, CPU and the data directory's size."""

from __future__ import annotations

import argparse
import json

from bench.browser import browser_page, watch
from bench.processes import MEMORY, Cpu, Demo, directory_mb, memory_by_part
from bench.report import RESULTS, Report

CPU_LIMIT, MEMORY_LIMIT_MB, DATA_LIMIT_MB = 50.0, 1500.0, 400.0


def main() -> None:
    """`python -m bench hour`."""
    parser = argparse.ArgumentParser(prog="bench hour", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="from the start on (60)")
    parser.add_argument("--every", type=float, default=60, help="seconds between two samples (60)")
    arguments = parser.parse_args()
    samples = []
    with browser_page() as page, Demo() as demo:
        demo.wait_live()
        watch(page, demo.url("console"))
        until_s = 60 * arguments.minutes
        demo.wait_filled()
        whole, since_s = Cpu(demo), demo.seconds
        while demo.seconds < until_s - 1:
            minute = Cpu(demo)
            demo.sleep(min(arguments.every, until_s - demo.seconds), whole)
            memory = memory_by_part(demo)
            samples.append(
                {
                    "minute": round(demo.seconds / 60, 2),
                    "memory_mb": round(sum(memory.values()), 1),
                    "cpu_percent": round(sum(minute.percent().values()), 1),
                    "data_mb": round(directory_mb(demo.data_dir), 1),
                    "memory_mb_by_part": {part: round(used, 1) for part, used in memory.items()},
                }
            )
            last = samples[-1]
            figures = f"{last['memory_mb']} MB, {last['cpu_percent']} %, {last['data_mb']} MB of data"
            print(f"minute {last['minute']:>5}: {figures}", flush=True)
        used = whole.percent()
        parts = {path.name: directory_mb(path) for path in sorted(demo.data_dir.iterdir()) if path.is_dir()}
        files = {path.name: path.stat().st_size / 1e6 for path in sorted(demo.data_dir.iterdir()) if path.is_file()}
    report = Report(
        "hour",
        f"tillwatch demo at its default rate for {arguments.minutes:g} min, one viewer in headless Chromium; "
        f"CPU from {since_s:.0f} s on, with the past filled in",
    )
    sizes = [float(str(sample["memory_mb"])) for sample in samples]
    report.row("CPU, mean", sum(used.values()), "% of a core", at_most=CPU_LIMIT)
    report.row(f"memory at the end ({MEMORY})", sizes[-1], "MB", at_most=MEMORY_LIMIT_MB)
    report.row(f"memory, most ({MEMORY})", max(sizes), "MB")
    report.row("data directory", float(str(samples[-1]["data_mb"])), "MB", at_most=DATA_LIMIT_MB)
    for name, size in (parts | files).items():
        if size >= 1:
            report.row(f"of that {name}", size, "MB")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "hour-samples.json").write_text(json.dumps(samples, indent=1) + "\n", encoding="utf-8")
    report.finish()


if __name__ == "__main__":
    main()
