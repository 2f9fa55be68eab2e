"""The driver's loop body: one query's batches, and what comes between them, on the core that both engines share."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import RLock

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import transforms
from large import LargeWay
from pipeline import metrics
from pipeline.batch.core import Core
from pipeline.batch.log import Partition, Record, Slice
from pipeline.batch.pace import Pace
from pipeline.batch.terms import Terms
from pipeline.batch.times import moment
from session import SparkSettings
from store import NessieStore
from watch import LogWatch


class Driver:
    """What a query works with. Opened from main, thrown away after any failure.

    `batch` is called by the stream's thread, `tick` by the main one; a lock keeps them apart.
    """

    def __init__(self, store: NessieStore, spark: SparkSettings, terms: Terms, log: LogWatch) -> None:
        self.store = store
        self.lock = RLock()
        self.failure: BaseException | None = None
        self._settings = spark
        self._log = log
        self.core = Core(log, store, terms)
        self._large = LargeWay(self.core, store, terms)
        self._pace = Pace(terms.ingest.publish_every)
        metrics.TRIGGER.set(terms.ingest.publish_every.total_seconds())

    def close(self) -> None:
        self.core.close()
        self._log.close()
        self.store.close()

    def starting_offsets(self) -> str:
        """Where the query begins, as Spark wants it."""
        return transforms.offsets_json((t, p, offset) for (t, p), offset in self.core.next_offsets().items())

    def batch(self, messages: DataFrame, batch_id: int, checkpoint: Path) -> None:
        """foreachBatch. What it raises is kept in `failure`, for Spark wraps it beyond recognition."""
        began = time.monotonic()
        with self.lock:
            try:
                if self.failure is None:
                    self._pace.note(began, self._batch(messages, batch_end(checkpoint, batch_id)))
            except BaseException as error:
                self.failure = error
                raise
        # Spark begins the next one by its own clock, which knows one pace.
        time.sleep(max(0.0, began + self._pace.every_s - time.monotonic()))

    def _batch(self, messages: DataFrame, ends: Mapping[Partition, int]) -> int:
        size = self.core.behind(ends)
        if not size:
            return 0
        # A task costs more than the messages of most partitions.
        messages = messages.coalesce(messages.sparkSession.sparkContext.defaultParallelism)
        read = Slice(ends, lambda: fetched(messages))
        if size <= self._settings.collect_rows:
            return self.core.batch(read)
        return self.core.batch(read, bulk=lambda draft: self._large.fill(messages, draft))

    def tick(self) -> None:
        """Between batches. Called several times a second."""
        if not self.lock.acquire(blocking=False):
            return
        try:
            if self.failure is not None:
                return
            self.core.show_lag()
            if not self._log.readable:
                return
            if self._log.made_anew:
                raise RuntimeError(f"{self._log.made_anew} was made anew")
            self.core.tick()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            self.lock.release()


def fetched(messages: DataFrame) -> dict[str, list[Record]]:
    """Kafka's messages by topic, in log order, as they are: decoded where they arrive."""
    rows = messages.select(
        "topic",
        "partition",
        "offset",
        # As numbers: a producer may have told any time, and Python knows none after the year 9999.
        F.unix_micros("timestamp").alias("timestamp"),
        (F.col("timestampType") == transforms.LOG_APPEND_TIME).alias("log_time"),
        "key",
        "value",
        "headers",
    ).toArrow()
    return records(rows)


def records(rows: pa.Table) -> dict[str, list[Record]]:
    """The same from columns topic, partition, offset, timestamp (us), log_time, key, value and headers."""
    order = [("topic", "ascending"), ("partition", "ascending"), ("offset", "ascending")]
    found: dict[str, list[Record]] = {}
    last, received_at = -1, moment(0)
    columns: Iterable[list[object]] = [column.to_pylist() for column in rows.sort_by(order).columns]
    for topic, partition, offset, us, log_time, key, value, headers in zip(*columns, strict=True):
        if us != last:  # a producer's batch has one time
            last, received_at = us, moment(min(us, transforms.LAST_US))
        told = tuple((header["key"], header["value"]) for header in headers or ())
        found.setdefault(topic, []).append(Record(partition, offset, received_at, key, value, told, log_time, topic))
    return found


def batch_end(checkpoint: Path, batch_id: int) -> dict[Partition, int]:
    """Where a batch ends, a partition: Spark writes it down before the batch begins, and does not pass it on."""
    lines = (checkpoint / "offsets" / str(batch_id)).read_text(encoding="utf-8").splitlines()
    ends: Mapping[str, Mapping[str, int]] = json.loads(lines[-1])
    return {(topic, int(partition)): end for topic, of in ends.items() for partition, end in of.items()}
