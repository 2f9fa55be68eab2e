"""kill -9 of the driver at any moment: the tables end as if nothing had happened, and no reader ever sees half."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest

from bench import stack_kills, stack_outages, stack_readers
from bench.mixture import mixture
from bench.pipelines import Stack as Pipeline
from lakehouse.tables import SCHEMA
from pipeline.settings import S3Settings
from pipeline.storage.objects import Objects
from tests.stack.conftest import Stack


@pytest.mark.timeout(600)
def test_tables_are_those_of_a_run_without_kills(stack: Stack) -> None:
    messages = mixture(4000, 11, datetime.now(UTC))
    points = ("kpis-written:2", "before-publish:3", "after-publish:3")
    with Pipeline(stack.servers, stack.tmp / "pipeline") as pipeline:
        found = stack_kills.run(pipeline, messages, points, at_random=2)
    assert found.differences == []
    assert found.exit_code == 0


@pytest.mark.timeout(600)
def test_a_reader_sees_whole_publishes_only(stack: Stack) -> None:
    settings = {**stack_readers.SETTINGS, "RETENTION_EVERY_COMMIT": "15 s", "INGEST_PUBLISH_EVERY": "200 ms"}
    with Pipeline(stack.servers, stack.tmp / "pipeline", settings) as pipeline:
        found, branches = stack_readers.run(pipeline, publishes=100, kills=3, rate=60)
    assert found.problems == []
    assert found.failed == 0
    assert found.publishes >= 100
    assert branches <= 2
    assert found.kept > 0
    assert found.gone > 0, "nothing was thinned meanwhile"
    assert found.deleted > 0, "nothing was swept meanwhile"
    # Maintenance merges hours that have come to rest, and there may be none; an hour under way is merged by publishes.
    folder = f"{stack.servers.variables['TILLWATCH_NESSIE_WAREHOUSE']}/{SCHEMA}"
    with contextlib.closing(Objects(S3Settings.load())) as objects:
        clicks = [file.uri for file in objects.list(folder) if "/clicks_processed_" in file.uri]
    levels = {uri.rpartition("/")[2][0] for uri in clicks if "/data/" in uri}
    assert "1" in levels, "no small files became one meanwhile"


@pytest.mark.timeout(600)
def test_an_outage_of_any_server_loses_nothing_and_alerts_nobody(stack: Stack) -> None:
    with Pipeline(stack.servers, stack.tmp / "pipeline", stack_outages.hasty(stack.tmp / "config", 40)) as pipeline:
        found = stack_outages.run(pipeline, stack_outages.NAMES, seconds=15, rate=40, silence=False)
    assert found.problems == []
    for outage in found.outages:
        assert outage.age_s >= 10, f"the age of the data did not show that {outage.server} was away"
        if outage.server != "kafka":  # while it is away nobody can tell how far its log reaches
            assert outage.lag > 0, f"the lag did not show that {outage.server} was away"
