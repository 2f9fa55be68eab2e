"""The notifier ends at every point of every operation of every channel, in process; and by kill -9 as a process.

The points are found as it runs: each commit of its ledger, each call of a channel. Promise: what everybody got, what
people did and the ledger are as in a run that did not end.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path

from bench.report import Report
from tests.crash_cast import CHANNELS, Difference, Town
from tests.crash_scenes import SCENES, crash_everywhere, crash_once, play
from tests.killed_cast import OPERATIONS, killed_cast

SHOWN = 10


class CrashTally:
    """What the runs of one channel and scene came to."""

    def __init__(self) -> None:
        self.points: set[str] = set()
        self.count: Counter[str] = Counter()
        self.troubles: list[str] = []

    def add(self, where: str, difference: Difference, again: int) -> None:
        self.count += Counter(
            lost=len(difference.lost), doubled=len(difference.doubled), unwell=bool(difference.wrong), again=again
        )
        if difference:
            self.troubles.append(f"{where}: {difference}")


def of_cell(cell: tuple[str, str]) -> CrashTally:
    """All runs of one scene at one channel."""
    channel, scene = cell
    logging.disable()
    tally = CrashTally()
    with tempfile.TemporaryDirectory(prefix="tillwatch-crashes-") as folder:
        town = Town(Path(folder))
        try:
            meant = play(town, channel, scene)
            tally.points = {str(point) for point in meant.points.passed}
            for point, nth, run in crash_once(town, channel, scene, meant):
                tally.count += Counter(single=1, crashes=len(run.points.crashed))
                tally.add(f"{channel}, {scene}, {point} ({nth})", run.got.against(meant.got), run.got.again)
            for run in crash_everywhere(town, channel, scene, meant):
                tally.count += Counter(many=1, crashes=len(run.points.crashed))
                where = f"{channel}, {scene}, {len(run.points.crashed)} points"
                tally.add(where, run.got.against(meant.got), run.got.again)
        finally:
            town.close()
    return tally


def killed(kills: int) -> tuple[int, list[str]]:
    """How many real kills there were, at least `kills`, and what they have changed."""
    done, troubles = 0, []
    while done < kills:
        with tempfile.TemporaryDirectory(prefix="tillwatch-killed-") as folder, killed_cast(Path(folder)) as notifier:
            for operation, act in OPERATIONS.items():
                troubles += [f"kill -9, {operation}: {trouble}" for trouble in act(notifier)]
            done += notifier.kills
    return done, troubles


def run(channels: Sequence[str], scenes: Sequence[str], kills: int, processes: int) -> Report:
    cells = [(channel, scene) for scene in scenes for channel in channels]
    with Pool(processes) as pool:
        tallies = pool.map(of_cell, cells, chunksize=1)
    count = sum((tally.count for tally in tallies), Counter[str]())
    points = set().union(*(tally.points for tally in tallies))
    report = Report(
        "notifier_crashes",
        f"{len(channels)} channels against the sandbox, {len(scenes)} operations, the first answer of each lost; "
        "every passage of every point, then many points one after the other; then kill -9 of a process",
    )
    report.row("Named points", len(points), "", at_least=24)
    report.row("Channels x operations", len(cells), "", exactly=len(cells))
    report.row("Points x channels x operations", sum(len(tally.points) for tally in tallies), "")
    report.row("Runs that ended once", count["single"], "", at_least=sum(len(tally.points) for tally in tallies))
    report.row("Runs that ended at many points", count["many"], "")
    report.row("Ends in process", count["crashes"], "")
    report.row("Lost", count["lost"], "", exactly=0)
    report.row("Doubled", count["doubled"], "", exactly=0)
    report.row("Ledgers that are not well", count["unwell"], "", exactly=0)
    report.row("Came again under their own id (email, PagerDuty, webhook)", count["again"], "")
    troubles = [trouble for tally in tallies for trouble in tally.troubles]
    if kills:
        done, of_kills = killed(kills)
        report.row("kill -9", done, "", at_least=kills)
        report.row("kill -9: lost or doubled", len(of_kills), "", exactly=0)
        troubles += of_kills
    for trouble in troubles[:SHOWN]:
        print(trouble)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--channels", nargs="+", choices=CHANNELS, default=CHANNELS)
    parser.add_argument("--operations", nargs="+", choices=tuple(SCENES), default=tuple(SCENES))
    parser.add_argument("--kills", type=int, default=14, help="real ones, at least; 0: none")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    run(arguments.channels, arguments.operations, arguments.kills, arguments.processes).finish()


if __name__ == "__main__":
    main()
