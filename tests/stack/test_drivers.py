"""One driver writes: a newer one sends the older one home. Its page of figures says what became of each message."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from bench.mixture import MixedMessage, mixture
from bench.parity import columns, differences, expected, read
from bench.pipelines import Stack as Pipeline
from bench.processes import free_offset
from lakehouse.dremio.statement import fill
from lakehouse.settings.ports import PORTS
from lakehouse.tables import RAW_OF_TOPIC
from lakehouse.topics import TOPICS
from pipeline.metrics import OUTCOMES
from pipeline.storage.nessie import Nessie, NessieConflict
from producers.shop import CLICKS_TOPIC
from tests.stack.conftest import Stack

SETTINGS = {"INGEST_HEARTBEAT_EVERY": "2 s"}
PHASES = {"decode", "dedupe", "raw", "kpis", "alerts", "stage", "publish"}


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
    """As maintain.py does, or a backup of Nessie that is restored, with a branch of its time; no other driver runs."""
    older = "ingest-20260101T000000-00000000"
    messages = mixture(600, 9, datetime.now(UTC))
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS) as pipeline:
        pipeline.send(messages[:300])
        pipeline.start_engine()
        pipeline.wait_until_read()
        with contextlib.closing(Nessie(pipeline.servers.nessie_uri)) as nessie:
            nessie.create(older, nessie.head())
            while True:
                (branch,) = [
                    found for found in nessie.references() if found.name.startswith("ingest-") and found.name != older
                ]
                with contextlib.suppress(NessieConflict):  # it has just published
                    nessie.delete(branch.name, branch.hash)
                    break
        pipeline.send(messages[300:])
        pipeline.wait_until_read()
        assert differences(read(pipeline.dremio), expected(messages, datetime.now(UTC))) == []
        assert pipeline.stop_engine() == 0


def test_a_driver_that_waits_for_s3_ends_when_it_is_told_to(stack: Stack) -> None:
    """A call that does not come back must not outlast the wish to stop; that nothing is lost, test_kills shows."""
    messages = mixture(100, 9, datetime.now(UTC))
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS) as pipeline:
        pipeline.start_engine()
        pipeline.wait_reading()
        pipeline.servers.freeze("s3")
        try:
            pipeline.send(messages)
            time.sleep(3)
            pipeline.engine.send_signal(signal.SIGTERM)
            assert pipeline.engine.wait(30) == 0
        finally:
            pipeline.servers.freeze("s3", False)


@pytest.mark.parametrize("collect_rows", [20_000, 0], ids=["finished in the driver", "all by Spark"])
def test_its_page_and_its_table_of_figures_count_what_became_of_each_message(stack: Stack, collect_rows: int) -> None:
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
        assert (counted["late"], counted["lost"]) == (0, 0)
        pipeline.send([late_click(number) for number in range(30)])
        pipeline.wait_until_read()
        assert outcomes(pipeline) == counted + Counter({"good": 30, "late": 30})
        phases = {phase for phase, batches in page(pipeline, "phase_seconds_count", "phase").items() if batches}
        assert phases == PHASES | ({"read"} if collect_rows else set())
        assert page(pipeline, "lag", "topic") == Counter(dict.fromkeys(TOPICS, 0))
        told: Counter[str] = Counter()
        while told != +outcomes(pipeline):  # with the next heartbeat
            assert pipeline.engine.poll() is None, pipeline.last_words()
            figures = reported(pipeline)
            told = Counter({name: int(sum(figures.get(name, []))) for name in OUTCOMES if sum(figures.get(name, []))})
        assert figures.keys() >= {f"{phase}_seconds" for phase in {*PHASES, "batch"}}
        assert (figures["lag"][-1], figures["log_end"][-1]) == (0, len(messages) + 30)
        assert pipeline.stop_engine() == 0


def late_click(number: int) -> MixedMessage:
    """Of a minute that was judged long ago."""
    at = datetime.now(UTC) - timedelta(hours=1)
    fields = {"user_id": "ada", "url": "/cart", "device_type": "mobile", "click_time": at.isoformat()}
    return MixedMessage(CLICKS_TOPIC, b"ada", json.dumps({"click_id": f"late-{number}", **fields}).encode(), "late")


def outcomes(pipeline: Pipeline) -> Counter[str]:
    """Messages by outcome, over all topics."""
    return page(pipeline, "events_total", "outcome")


def page(pipeline: Pipeline, name: str, label: str) -> Counter[str]:
    """A figure on the driver's page by one of its labels, the sum over all others."""
    url = f"http://127.0.0.1:{PORTS['ingest'] + pipeline.port_offset}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for value_of, value in re.findall(rf'^tillwatch_ingest_{name}\{{.*?\b{label}="(\w+)".*\}} (\S+)$', text, re.M):
        found[value_of] += int(float(value))
    return found


def reported(pipeline: Pipeline) -> dict[str, list[float]]:
    """What pipeline_metrics holds of each figure, over all topics, in order of time."""
    sql = 'SELECT metric, SUM("value") AS n FROM {pipeline_metrics} GROUP BY metric, measured_at ORDER BY measured_at'
    found: dict[str, list[float]] = {}
    for row in pipeline.dremio.sql(fill(sql, None, {})).to_pylist():
        found.setdefault(row["metric"], []).append(row["n"])
    return found
