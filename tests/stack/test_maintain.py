"""Maintenance of a stopped pipeline, and what a driver leaves behind when it ends."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial

from lakehouse.dremio.client import Dremio
from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.statement import fill
from lakehouse.sinks import KafkaSink
from pipeline.storage.nessie import Nessie
from tests.stack.conftest import Stack

_LEAST = {
    "RETENTION_EVERY_COMMIT": "0 s",
    "RETENTION_FIRST_OF_MINUTE": "0 s",
    "RETENTION_SWEEP_AGE": "0 s",
}


def click(number: int) -> bytes:
    """Each in the same hour, whatever the clock says."""
    at = datetime.now(UTC).replace(minute=0) - timedelta(hours=1)
    fields = {"user_id": f"u{number}", "url": "/page/cart", "device_type": "mobile", "click_time": at.isoformat()}
    return json.dumps({"click_id": f"c{number}", **fields}).encode()


def clicks(dremio: Dremio) -> int:
    commit = dremio.head()
    return int(dremio.sql(fill("SELECT COUNT(*) AS n FROM {clicks_processed}", commit, {}))["n"][0].as_py())


def is_in(dremio: Dremio, wanted: int) -> bool:
    try:
        return clicks(dremio) == wanted
    except DremioError:
        return False  # before the first publish there is no table


def test_a_stopped_pipeline_is_maintained_and_a_running_one_is_left_alone(stack: Stack) -> None:
    with stack.gateway() as dremio, closing(Nessie(stack.servers.nessie_uri)) as nessie:
        with stack.driver() as driver, KafkaSink(stack.servers.brokers) as sink:
            for number in range(3):
                sink.send("clicks_topic", b"u", click(number))
                sink.flush()
                driver.until(partial(is_in, dremio, number + 1), 120)
            maintain = stack.start("maintain", ["spark-apps/maintain.py"])
            assert maintain.ends() == 2
            assert "A driver seems to run: main of Nessie" in maintain.said()
            assert driver.stop() == 0
        before = nessie.head()
        assert [reference.name for reference in nessie.references()] == ["main"]
        maintain = stack.start("maintain", ["spark-apps/maintain.py"], **_LEAST)
        assert maintain.ends(120) == 0
        words = r"(\d+) files merged, (\d+) rows expired, (\d+) commits thinned, (\d+) files deleted"
        found = re.search(words, maintain.said())
        assert found is not None
        merged, expired, thinned, deleted = map(int, found.groups())
        assert (merged >= 3, expired, deleted > 10) == (True, 0, True)
        assert clicks(dremio) == 3
        runs = dremio.sql(fill("SELECT * FROM {maintenance_runs}", dremio.head(), {})).to_pylist()
        assert [(run["files_merged"], run["commits_expired"]) for run in runs] == [(merged, thinned)]
        assert [reference.name for reference in nessie.references()] == ["main"]
        assert nessie.head() != before
