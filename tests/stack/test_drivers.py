"""One driver writes: a newer one sends the older one home. Its page of figures says what became of each message."""

from __future__ import annotations

import contextlib
import re
import urllib.request
from collections import Counter
from datetime import UTC, datetime

import pytest

from bench.mixture import mixture
from bench.parity import columns, differences, expected, read
from bench.pipelines import Stack as Pipeline
from bench.processes import free_offset
from lakehouse.nessie import Nessie, NessieConflict
from lakehouse.settings import PORTS
from lakehouse.tables import RAW_OF_TOPIC
from tests.stack.conftest import Stack

SETTINGS = {"INGEST_HEARTBEAT_EVERY": "2 s"}


def test_the_older_of_two_drivers_ends_with_its_reason_and_the_tables_are_right(stack: Stack) -> None:
    messages = mixture(1500, 9, datetime.now(UTC))
    with (
        Pipeline(stack.servers, stack.tmp / "older", SETTINGS) as older,
        Pipeline(stack.servers, stack.tmp / "newer", SETTINGS, port_offset=free_offset()) as newer,
    ):
        older.send(messages[:500])
        older.start_engine()
        older.wait_until_read()
        newer.start_engine()
        newer.wait_reading()
        older.send(messages[500:1000])
        assert older.engine.wait(60) == 0
        assert "a newer driver has taken over" in older.last_words(3), older.last_words()
        newer.send(messages[1000:])
        newer.wait_until_read()
        assert differences(read(newer.dremio), expected(messages, datetime.now(UTC))) == []
        assert newer.stop_engine() == 0


def test_a_driver_whose_working_branch_somebody_deleted_goes_on(stack: Stack) -> None:
    """As maintain.py does, or a backup of Nessie that is restored; no other driver is there."""
    messages = mixture(600, 9, datetime.now(UTC))
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS) as pipeline:
        pipeline.send(messages[:300])
        pipeline.start_engine()
        pipeline.wait_until_read()
        with contextlib.closing(Nessie(pipeline.servers.nessie_uri)) as nessie:
            while True:
                (branch,) = [found for found in nessie.references() if found.name.startswith("ingest-")]
                with contextlib.suppress(NessieConflict):  # it has just published
                    nessie.delete(branch.name, branch.hash)
                    break
        pipeline.send(messages[300:])
        pipeline.wait_until_read()
        assert differences(read(pipeline.dremio), expected(messages, datetime.now(UTC))) == []
        assert pipeline.stop_engine() == 0


@pytest.mark.parametrize("collect_rows", [20_000, 0], ids=["finished in the driver", "all by Spark"])
def test_its_page_counts_good_bad_and_doubled_messages(stack: Stack, collect_rows: int) -> None:
    messages = mixture(1500, 13, datetime.now(UTC))
    wanted = expected(messages, datetime.now(UTC))
    rows = Counter({name: wanted[name].total() for name in wanted})
    raw = [table.name for table in RAW_OF_TOPIC.values()]
    good = sum(rows[name] for name in raw)
    keys = {name: {row[columns(name).index("event_key")] for row in wanted[name]} for name in raw}
    settings = SETTINGS | {"SPARK_COLLECT_ROWS": str(collect_rows)}
    with Pipeline(stack.servers, stack.tmp / "pipeline", settings) as pipeline:
        pipeline.send(messages)
        pipeline.start_engine()
        pipeline.wait_until_read()
        counted = outcomes(pipeline)
        assert (counted["good"], counted["bad"]) == (good, rows["dead_letters"])
        assert counted["duplicate"] == len(messages) - good - rows["dead_letters"]
        assert counted["key_conflict"] == good - sum(len(of) for of in keys.values()) > 0
        assert counted["lost"] == 0
        assert pipeline.stop_engine() == 0


def outcomes(pipeline: Pipeline) -> Counter[str]:
    """Messages by outcome, over all topics."""
    url = f"http://127.0.0.1:{PORTS['ingest'] + pipeline.port_offset}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for outcome, value in re.findall(r'^tillwatch_ingest_events_total\{outcome="(\w+)",[^}]*\} (\S+)$', text, re.M):
        found[outcome] += int(float(value))
    return found
