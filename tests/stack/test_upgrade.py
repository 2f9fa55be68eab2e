"""Tables that an older version wrote to Nessie and S3 go on under this one: nothing is lost, nothing is there twice.

tests/data/upgrade/README.md tells what is in the archive and how it was made. Its Kafka is gone: everything is sent
again to a new one, and told from what is in by the events' keys.
"""

from __future__ import annotations

import base64
import json
import tarfile
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.mixture import MixedMessage
from bench.parity import Tables, columns, differences, expected, read
from lakehouse.dremio.client import Dremio
from lakehouse.kafka import log_ends
from lakehouse.sinks import KafkaSink
from lakehouse.tables import TABLES, full_name
from pipeline.settings import S3Settings
from pipeline.storage.backup import restore
from pipeline.storage.nessie import Nessie
from pipeline.storage.objects import Objects
from tests.stack.conftest import Stack, stock_s3
from tests.stack.test_backup import is_in
from tests.test_upgrade import read_plainly

ARCHIVE = Path(__file__).parents[1] / "data" / "upgrade" / "nessie.tar.xz"
ADDED = {"clicks_processed": "produced_at", "orders_revenue_per_minute": "cancelled_revenue", "alerts": "owner"}
"""Columns that the older contract did not have; none comes last in this one."""
WAREHOUSE = "s3://upgrade/wh"
"""Where its files lie; a backup is put back to where it was taken."""


def unpack(folder: Path) -> tuple[dict[str, list[str]], list[MixedMessage]]:
    """The backup into a folder; what readers saw of each table, and what was sent."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    before = json.loads((folder / "before.json").read_text(encoding="utf-8"))
    sent = [
        MixedMessage(
            entry["topic"],
            None if entry["key"] is None else entry["key"].encode(),
            None if entry["value"] is None else base64.b64decode(entry["value"]),
            entry["kind"],
        )
        for entry in json.loads((folder / "sent.json").read_text(encoding="utf-8"))
    ]
    return before, sent


def seen(dremio: Dremio, table: str, commit: str | None = None) -> list[dict[str, Any]]:
    at = f' AT COMMIT "{commit}"' if commit else ""
    found: list[dict[str, Any]] = dremio.sql(f"SELECT * FROM {full_name(TABLES[table])}{at}").to_pylist()
    return found


def as_text(rows: list[dict[str, Any]]) -> list[str]:
    """Rows as before.json has them."""
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)


def new_messages(now: datetime) -> list[MixedMessage]:
    """An order, a click, an error and a dead letter."""
    at = now.isoformat()
    order = {"order_id": "new", "user_id": "ada", "product_id": "p-1", "quantity": "1", "price": "7.5"}
    click = {"click_id": "new", "user_id": "ada", "url": "/cart", "device_type": "mobile"}
    fields = {
        "orders_topic": {**order, "status": "CANCELLED", "order_time": at},
        "clicks_topic": {**click, "click_time": at},
        "errors_topic": {
            "error_id": "new",
            "service_name": "accounts",
            "error_message": "disk full",
            "severity": "FATAL",
            "error_time": at,
        },
    }
    good = [
        MixedMessage(
            topic, b"ada", json.dumps({**event, "event_id": f"new-{topic}", "produced_at": at}).encode(), "good"
        )
        for topic, event in fields.items()
    ]
    return [*good, MixedMessage("orders_topic", None, b"hello", "NOT_JSON")]


def test_a_repository_of_an_older_version_goes_on(stack: Stack, tmp_path: Path) -> None:
    before, sent = unpack(tmp_path / "old")
    sent += new_messages(datetime.now(UTC) - timedelta(minutes=2))
    with closing(Nessie(stack.servers.nessie_uri)) as nessie, closing(Objects(S3Settings.load())) as objects:
        restore(tmp_path / "old" / "backup", nessie, objects)
        restored = nessie.head()
        with stack.gateway(NESSIE_WAREHOUSE=WAREHOUSE) as dremio:
            assert {name: as_text(seen(dremio, name)) for name in before} == before
            # Old events must not be too old, whenever this runs.
            settings = {"NESSIE_WAREHOUSE": WAREHOUSE, "INGEST_HEARTBEAT_EVERY": "2 s", "MAX_EVENT_AGE": "off"}
            with stack.driver(wait=True, **settings) as driver:
                with KafkaSink(stack.servers.brokers) as sink:
                    for message in sent:
                        sink.send(message.topic, message.key, message.value)
                driver.until(lambda: is_in(stack, dremio), 120)
                # The incidents that were open end by the clock alone.
                driver.until(lambda: len(seen(dremio, "alerts")) >= 2 * len(before["alerts"]) + 1, 60)
                assert driver.stop() == 0
            found = {name: seen(dremio, name) for name in TABLES}
            wanted = expected(sent, datetime.now(UTC), None)
            assert differences(bare(read(dremio)), bare(wanted), delivered_again=True) == []
            check_added(found, before)
            check_alerts(found["alerts"], before["alerts"])
            check_positions(stack, found["ingest_positions"])
            for name in ("dead_letters", "pipeline_metrics", "maintenance_runs"):
                assert Counter(before[name]) <= Counter(as_text(found[name])), name
            assert {name: as_text(seen(dremio, name, restored)) for name in ADDED} == {n: before[n] for n in ADDED}
        location = nessie.tables(nessie.head())["clicks_processed"].metadata_location
        plainly = read_plainly(location, **stock_s3())
    assert places(plainly) == places(found["clicks_processed"])


def places(rows: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    """Some columns of each click, before and behind the added one."""
    return Counter((row["event_key"], row["url"], row["source_offset"], row["produced_at"] is None) for row in rows)


def bare(tables: Tables) -> Tables:
    """The tables without what the added columns hold: rows of before have nothing there."""
    found = dict(tables)
    for name, column in ADDED.items():
        place = columns(name).index(column)
        rows: Counter[tuple[Any, ...]] = Counter()
        for row, count in tables[name].items():
            rows[(*row[:place], None, *row[place + 1 :])] += count
        found[name] = rows
    return found


def check_added(found: dict[str, list[dict[str, Any]]], before: dict[str, list[str]]) -> None:
    """What was there holds nothing in the added columns, what came since holds what it should."""
    clicks = [row["event_key"] for row in found["clicks_processed"] if row["produced_at"] is not None]
    assert clicks == ["new-clicks_topic"]
    assert len(found["clicks_processed"]) == len(before["clicks_processed"]) + 1
    minutes = {row["window_start"]: row["cancelled_revenue"] for row in found["orders_revenue_per_minute"]}
    known = {json.loads(row)["window_start"] for row in before["orders_revenue_per_minute"]}
    assert {str(at): lost for at, lost in minutes.items() if str(at) in known} == dict.fromkeys(known)
    assert [lost for at, lost in minutes.items() if str(at) not in known] == [Decimal("7.50")]


def check_alerts(found: list[dict[str, Any]], before: list[str]) -> None:
    """What was told is not told again; each incident that was open has ended once; the new one is there."""
    without = [{name: value for name, value in row.items() if name != "owner" or value} for row in found]
    assert Counter(before) <= Counter(as_text(without))
    assert [row["owner"] for row in found if row["incident_id"] not in str(before)] == ["platform"]
    assert len({row["alert_id"] for row in found}) == len(found)
    was_open = sorted(json.loads(row)["incident_id"] for row in before)
    assert sorted(row["incident_id"] for row in found if row["status"] == "RESOLVED") == was_open
    assert sorted(row["service_name"] for row in found if row["incident_id"] not in was_open) == ["accounts"]


def check_positions(stack: Stack, found: list[dict[str, Any]]) -> None:
    """Those of the new Kafka, and none of the one that is gone."""
    ends = {topic: reach.end for (topic, _), reach in log_ends(stack.servers.brokers).items()}
    assert {(row["topic"], row["next_offset"]) for row in found} == set(ends.items())
    assert len(found) == len(ends)
