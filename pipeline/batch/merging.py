"""Which small files of an hour are worth a merge."""

from __future__ import annotations

from collections.abc import Sequence

from lakehouse.tables import RAW_OF_TOPIC
from pipeline.maintenance.plan import fitting, is_small
from pipeline.storage.files import LiveFile, TableFiles

MERGE_AT = 16  # small files of one level and hour that become one
LEVELS = 2
MERGED = (
    *(table.name for table in RAW_OF_TOPIC.values()),
    "alerts",
    "dead_letters",
    "pipeline_metrics",
    "maintenance_runs",
)
"""Tables that every batch or heartbeat adds a file to."""


def mergeable(files: TableFiles, added: Sequence[LiveFile]) -> list[LiveFile]:
    """Small files of one level, of an hour that a publish has just written to, as many as one file may hold; or none.

    None before there are MERGE_AT of them.
    """
    for hour in {file.hour for file in added}:
        held = files.hours.get(hour, {}).values()
        for level in range(LEVELS):
            small = [file for file in held if file.level == level and is_small(file)]
            if len(small) >= MERGE_AT:
                return fitting(small)
    return []
