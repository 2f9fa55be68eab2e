"""The same messages through both engines: equal row by row, and equal to what a person would work out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bench import cdnow, stack_parity
from bench.mixture import MixedMessage, mixture
from bench.parity import Tables, differences, expected
from bench.pipelines import Stack as Pipeline
from tests.stack.conftest import Stack

EVENTS = 4000


@dataclass(frozen=True)
class Shop:
    """What was sent, and the tables that the embedded engine made of it."""

    messages: list[MixedMessage]
    embedded: Tables


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    messages = mixture(EVENTS, 7, datetime.now(UTC))
    return Shop(messages, stack_parity.embedded(messages, tmp_path_factory.mktemp("embedded"), batch_rows=500))


def test_the_embedded_engine_makes_what_is_expected(shop: Shop) -> None:
    assert differences(shop.embedded, expected(shop.messages, datetime.now(UTC))) == []


@pytest.mark.parametrize("way", stack_parity.WAYS)
def test_spark_makes_the_tables_that_the_embedded_engine_makes(stack: Stack, shop: Shop, way: str) -> None:
    settings = {**stack_parity.SETTINGS, **stack_parity.WAYS[way]}
    with Pipeline(stack.servers, stack.tmp / "pipeline", settings) as pipeline:
        pieces = (300, 1400) if way == stack_parity.BY_TURNS else (1000,)
        assert differences(stack_parity.in_pieces(pipeline, shop.messages, pieces), shop.embedded) == []
        assert pipeline.stop_engine() == 0
        if way == stack_parity.BY_TURNS:
            assert min(stack_parity.by_turns(pipeline)) >= 1, pipeline.batch_sizes()


@pytest.mark.timeout(600)
def test_a_real_order_history_is_there_to_the_cent(stack: Stack) -> None:
    with Pipeline(stack.servers, stack.tmp / "pipeline", cdnow.SETTINGS) as pipeline:
        found = cdnow.plain(pipeline)["once"]
    assert (found.rows, found.total) == (6919, Decimal("244091.94"))
    assert (found.minutes_rows, found.minutes_total) == (6919, Decimal("244091.94"))
