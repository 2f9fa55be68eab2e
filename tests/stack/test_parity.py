"""The same messages through both engines: equal row by row, and equal to what a person would work out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bench import cdnow
from bench.mixture import Message, mixture
from bench.parity import Tables, differences, expected, read
from bench.pipelines import Embedded
from bench.pipelines import Stack as Pipeline
from bench.processes import free_offset
from tests.stack.conftest import Stack

EVENTS = 4000
# A batch of duplicates alone is no publish: the next heartbeat tells that they are read.
SETTINGS = {"INGEST_HEARTBEAT_EVERY": "2 s"}


@dataclass(frozen=True)
class Shop:
    """What was sent, and the tables that the embedded engine made of it."""

    messages: list[Message]
    embedded: Tables


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    messages = mixture(EVENTS, 7, datetime.now(UTC))
    folder = tmp_path_factory.mktemp("embedded")
    with Embedded(folder, free_offset(), SETTINGS | {"INGEST_BATCH_ROWS": "500"}) as pipeline:
        pipeline.send(messages)
        pipeline.start_engine()
        pipeline.wait_until_read()
        return Shop(messages, read(pipeline.dremio))


def test_the_embedded_engine_makes_what_is_expected(shop: Shop) -> None:
    assert differences(shop.embedded, expected(shop.messages, datetime.now(UTC))) == []


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="small batches finished in the driver"),
        pytest.param({"SPARK_COLLECT_ROWS": "0", "KAFKA_PARTITIONS": "3"}, id="all by Spark, three partitions"),
    ],
)
def test_spark_makes_the_tables_that_the_embedded_engine_makes(
    stack: Stack, shop: Shop, settings: dict[str, str]
) -> None:
    with Pipeline(stack.servers, stack.tmp / "pipeline", SETTINGS | settings) as pipeline:
        half = EVENTS // 2
        pipeline.send(shop.messages[:half])
        pipeline.start_engine()
        pipeline.wait_until_read()
        # In many batches, so that what comes again finds the first in a table, in memory or beside it.
        for at in range(half, EVENTS, 500):
            pipeline.send(shop.messages[at : at + 500])
            pipeline.wait_until_read()
        assert differences(read(pipeline.dremio), shop.embedded) == []
        assert pipeline.stop_engine() == 0


@pytest.mark.timeout(600)
def test_a_real_order_history_is_there_to_the_cent(stack: Stack) -> None:
    with Pipeline(stack.servers, stack.tmp / "pipeline", cdnow.SETTINGS) as pipeline:
        found = cdnow.plain(pipeline)["once"]
    assert (found.rows, found.total) == (6919, Decimal("244091.94"))
    assert (found.minutes_rows, found.minutes_total) == (6919, Decimal("244091.94"))
