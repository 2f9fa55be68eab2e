"""The recipe of CONTRIBUTING.md for a rule kind, followed on a copy of the tree: one new file, and a rule of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from lakehouse import ROOT

KIND = '''
"""A figure that jumps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from lakehouse.rules.minute import MINUTE
from lakehouse.rules.reading import Entity, Inputs, Judge, Reading
from lakehouse.rules.rule import Number
from lakehouse.rules.table_rule import TableRule


class SpikeRule(TableRule):
    """A column's sum in a minute, over `factor` times that of the minute before, which had some."""

    factor: Annotated[Number, Field(gt=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_table()
        self._check_description(*self.by, "value", "threshold", "for")
        return self

    @property
    def looks_back(self) -> timedelta:
        return 2 * MINUTE

    def judge(self, ends: Sequence[datetime], inputs: Inputs) -> Judge:
        figures = self.figures(inputs.kpis[self.table], [ends[0] - MINUTE, *ends])

        def of(end: datetime, since: Mapping[Entity, datetime]) -> Mapping[Entity, Reading]:
            readings = {}
            for entity, values in figures[end].items():
                limit = self.factor * sum(figures.get(end - MINUTE, {}).get(entity, []))
                readings[entity] = Reading(sum(values), 0 < limit < sum(values), limit)
            return readings

        return of
'''
RULE = """
  - name: error_spike
    kind: spike
    severity: WARN
    table: errors_per_minute
    column: error_count
    by: [service_name]
    factor: 3
    for: 1 min
    keep_firing_for: 2 min
    description: "{service_name} jumped to {value}, over {threshold}"
    owner: platform
    summary: A service suddenly says much more
    runbook_url: https://runbooks.example.com/error-spike
"""
# What an engine does at each minute's close: it asks what is due, and passes those rows and no others.
JUDGE = """
import json
from datetime import UTC, datetime, timedelta
import pyarrow as pa
from lakehouse.rules import Moment, due, evaluate, load_rules
from lakehouse import ROOT
from lakehouse.tables import ERRORS_PER_MINUTE, arrow_schema

NOON, MINUTE, AGE = datetime(2026, 3, 4, 12, tzinfo=UTC), timedelta(minutes=1), timedelta(minutes=15)
table = pa.Table.from_pylist(
    [
        {"window_start": NOON + at * MINUTE, "window_end": NOON + (at + 1) * MINUTE, "service_name": service,
         "severity": "WARN", "error_count": count, "updated_at": NOON}
        for service, counts in (("payments", (9, 10, 10, 31, 30, 30)), ("search", (10, 30, 30, 30, 30, 30)))
        for at, count in enumerate(counts)
    ],
    schema=arrow_schema(ERRORS_PER_MINUTE),
)
rules = [rule for rule in load_rules(ROOT / "config" / "alerts.yaml") if rule.name == "error_spike"]
state, told = {}, []
for minute in range(8):
    now = NOON + minute * MINUTE + timedelta(seconds=11)
    moment = Moment(now, {"errors_topic": now})
    spans = due(rules, state, moment, AGE).get("errors_per_minute", ())
    keep = [any(start < end <= to for start, to in spans) for end in table["window_end"].to_pylist()]
    rows = {"errors_per_minute": table.filter(pa.array(keep, pa.bool_()))}
    alerts, state = evaluate(rules, state, moment, kpis=rows, max_age=AGE, max_lookback=AGE)
    told += [[f"{alert.alert_timestamp:%H:%M}", alert.status, alert.description] for alert in alerts]
print(json.dumps([str(ROOT), told]))
"""


def test_a_rule_kind_is_one_file(tmp_path: Path) -> None:
    for folder in ("lakehouse", "config"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "lakehouse" / "rules" / "kinds" / "spike.py").write_text(KIND.lstrip(), encoding="utf-8")
    with (tmp_path / "config" / "alerts.yaml").open("a", encoding="utf-8") as file:
        file.write(RULE)
    done = subprocess.run(
        [sys.executable, "-c", JUDGE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    root, told = json.loads(done.stdout)
    assert root == str(tmp_path), "the copy is what ran"
    assert told == [
        ["12:04", "FIRING", "payments jumped to 31, over 30"],
        ["12:06", "RESOLVED", "Resolved: ERROR_SPIKE of payments: 30, inside the limit of 90 for 2 min"],
    ]
