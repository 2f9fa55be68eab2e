"""Histories that nobody here wrote, and shapes of shops' exports: through their examples, to the cent, twice alike."""

from __future__ import annotations

import csv
import os
from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import files
from bench.histories import HISTORIES, Counted, History, configured
from embedded.log import EventLog
from lakehouse.decode import Event, Message, event_time
from lakehouse.sources import load_sources
from lakehouse.topics import TOPICS
from producers.__main__ import app
from producers.shop import CLICKS_TOPIC, ORDERS_TOPIC, REFUNDS_TOPIC

NAMES = [history.source for history in HISTORIES]
SMALL = [history for history in HISTORIES if history.source != "transactions"]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILLWATCH_DATA_DIR", str(tmp_path / "shop"))
    monkeypatch.setenv("TILLWATCH_MAX_EVENT_AGE", "off")
    monkeypatch.setenv("TILLWATCH_CONFIG", str(configured(tmp_path / "config")))
    return tmp_path


def replayed(history: History, shop: Path) -> str:
    done = CliRunner().invoke(app, history.command(shop))
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def stored(shop: Path) -> tuple[Counted, Counter[tuple[str, datetime]]]:
    """What ingest would store of the log, and how often each event was sent."""
    events: dict[tuple[str, datetime], Event] = {}
    sent: Counter[tuple[str, datetime]] = Counter()
    counted, sources = Counted(), load_sources()
    with EventLog(shop / "shop" / "events.db") as log:
        for topic in TOPICS:
            for record in log.read(topic, 0, 100_000):
                for event in sources.decoder(topic, None)(Message(record.value, record.received_at)):
                    assert isinstance(event, Event), event
                    key = event.event_key, event_time(event)
                    sent[key] += 1
                    if key not in events:
                        events[key] = event
                        counted += _counted(topic, event)
    return counted, sent


def _counted(topic: str, event: Event) -> Counted:
    if topic == CLICKS_TOPIC:
        return Counted(clicks=1)
    if topic == REFUNDS_TOPIC:
        return Counted(refunds=1, refunded=event.amount)
    assert topic == ORDERS_TOPIC
    return Counted(1, event.order_total, event.order_total if event.status == "CANCELLED" else Decimal(0))


@pytest.mark.parametrize("history", HISTORIES, ids=NAMES)
def test_a_file_is_stored_to_the_cent_and_twice_is_once(history: History, shop: Path) -> None:
    for times in (1, 2):
        replayed(history, shop)
        found, sent = stored(shop)
        assert found == history.counted()
        assert set(sent.values()) == {times}


def test_cancellations_guests_and_debts_of_an_online_retail_file_are_told(shop: Path) -> None:
    history = HISTORIES[NAMES.index("online_retail")]
    output = replayed(history, shop)
    assert "21 lines left out, as `select` of source online_retail says." in output
    assert "1 left out: BAD_VALUE 1;" in output
    with (shop / "bad-online_retail.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["why"] == "line 305: price (UnitPrice) is -11062.06, below 0"
    assert '"Description":"Adjust bad debt"' in row["value"]
    # Without the source that reads orders_topic, ingest would take no guest's order.
    sources = (shop / "config" / "sources.yaml").read_text()
    (shop / "config" / "sources.yaml").write_text(sources.replace("orders_topic:\n  guests: true", ""))
    assert "56 left out: MISSING_FIELD 55, BAD_VALUE 1;" in replayed(history, shop)
    assert "user_id is empty, as orders_topic is read" in (shop / "bad-online_retail.csv").read_text()


def test_shopifys_second_lines_are_counted_and_left_out(shop: Path) -> None:
    assert "138 lines left out, as `select` of source shopify says." in replayed(
        HISTORIES[NAMES.index("shopify")], shop
    )


@pytest.mark.timeout(300)
def test_files_are_there_once_after_a_kill_and_a_second_replay(tmp_path: Path) -> None:
    found = files.run(tmp_path, 11_000 + os.getpid() % 5000, 1, 2000, SMALL, kill_within=0.8)
    counted = sum((history.counted() for history in SMALL), Counted())
    for name in ("after kills", "after a second replay"):
        assert found[name].right(counted), (name, found[name], counted)
