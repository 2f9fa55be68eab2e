"""The streaming pipeline on Kafka, Spark and Iceberg: `python spark-apps/stream.py`.

One query over all topics that feed ours. Every start reads where the last publish stands in main and begins a new query
there, with a fresh checkpoint: whatever ended the driver before, nothing is lost and nothing comes twice.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import urllib3
from prometheus_client import start_http_server
from pyspark.sql import DataFrame, SparkSession

from engine import Driver
from lakehouse.kafka import KafkaDown, KafkaLog
from lakehouse.logs import ingest_arguments
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.durations import write_duration
from lakehouse.settings.kafka import KafkaSettings
from lakehouse.settings.ports import claim_port
from lakehouse.stop import Stop
from lakehouse.user_error import UserError, exit_on_user_error
from pipeline import metrics
from pipeline.batch.log import Seen
from pipeline.batch.terms import Terms
from pipeline.settings import NessieSettings, S3Settings
from pipeline.storage.nessie import Nessie
from session import SparkSettings, open_session
from store import NessieStore, NewerDriver
from watch import LogWatch, Outages

logger = logging.getLogger("tillwatch.driver")

FIRST_PAUSE, LAST_PAUSE = 1.0, 15.0  # s
LOOK_EVERY = 0.2  # s
NARROWED_FOR = 20  # publishes
_TOO_LARGE = (
    "spark.driver.maxResultSize",
    "OutOfMemoryError",
    "Java heap space",
    "OutOfDirectMemory",
    "ExecutorLostFailure",  # a worker that ran out of memory is not there to say so
)
STOP_WITHIN = 15.0  # s; less than what `tillwatch stack` gives it, for Java ends after that
GIVE_UP_AFTER = 25.0  # s after the wish to stop


class Settings:
    """Everything the driver is told, read once."""

    def __init__(self, spark: SparkSettings) -> None:
        self.shared = Shared.load()
        self.kafka = KafkaSettings.load()
        self.nessie = NessieSettings.load()
        self.s3 = S3Settings.load()
        self.spark = spark
        self.terms = Terms.load(self.shared, ("kafka.retention", self.kafka.retention))


def run(settings: Settings, stop: Stop) -> None:
    """Read, write and publish until `stop` is set.

    What fails is begun again from the last publish, with back-off, for `spark.retry_for`. Raises UserError for what
    only people can mend, NewerDriver when another driver has taken over.
    """
    spark_settings = settings.spark
    data_dir = open_data_dir(settings.shared.data_dir, "stack").resolve()
    port = settings.shared.port("ingest")
    claim_port(port, host=spark_settings.metrics_host)
    start_http_server(port, spark_settings.metrics_host)
    scratch = data_dir / "spark" / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)  # a Java that was killed leaves its files
    spark = open_session(spark_settings, settings.nessie, settings.s3, scratch)
    nessie = Nessie(settings.nessie.uri)
    attempts = Attempts(spark_settings.batch_rows, data_dir / "spark" / "batch_rows")
    pause = FIRST_PAUSE
    failing_since: float | None = None
    try:
        while not stop.is_set():
            try:
                _run_once(spark, settings, nessie, data_dir / "spark" / "checkpoints", stop, attempts)
            except (NewerDriver, KeyboardInterrupt):
                raise
            except UserError as error:
                if not isinstance(error, KafkaDown):
                    raise
                published, failure = False, str(error)
            except _Failed as error:
                published, failure = error.published, error.reason
            except Exception as error:
                published, failure = False, _one_line(error)
                logger.debug("what failed", exc_info=True)
            else:
                attempts.widen()
                failing_since = None
                continue
            if not _java_answers(spark):
                if not stop.is_set():
                    attempts.narrow()
                raise UserError(
                    f"Spark's Java process has ended ({failure}); see the lines above, and raise "
                    "TILLWATCH_SPARK_DRIVER_MEMORY if it ran out of memory."
                )
            now = time.monotonic()
            if published or failing_since is None:
                failing_since, pause = now, FIRST_PAUSE
            if now - failing_since > spark_settings.retry_for.total_seconds():
                raise UserError(
                    f"Every attempt for {write_duration(spark_settings.retry_for)} has failed, the last one with: "
                    f"{failure}; mend that, then start the driver again."
                )
            attempts.failed(failure)
            metrics.FAILURES.inc()
            logger.error("failed, again from the last publish in %.0f s: %s", pause, failure)
            stop.wait(pause)
            pause = min(2 * pause, LAST_PAUSE)
    finally:
        with suppress(Exception):  # its Java process may be gone
            spark.stop()


class Attempts:
    """What one attempt tells the next: the working branch it had, when Kafka was away, and how large a batch may be.

    A batch that failed comes again as it was. Where its bytes were too many for Java, the next ones are smaller, and
    grow again step by step. Too many can end Java, and with it the driver: `note` tells the next one.
    """

    def __init__(self, batch_rows: int, note: Path) -> None:
        self._whole = batch_rows
        self._note = note
        self.batch_rows = batch_rows
        with suppress(OSError, ValueError):
            self.batch_rows = max(1, min(batch_rows, int(note.read_text(encoding="ascii"))))
        self.branch: str | None = None
        self.own: list[str] = []
        self.outages = Outages()

    @property
    def narrowed(self) -> bool:
        return self.batch_rows < self._whole

    def failed(self, reason: str) -> None:
        if any(sign in reason for sign in _TOO_LARGE):
            self.narrow()

    def narrow(self) -> None:
        self.batch_rows = max(1, self.batch_rows // 4)
        with suppress(OSError):
            self._note.write_text(str(self.batch_rows), encoding="ascii")

    def widen(self) -> None:
        self.batch_rows = min(4 * self.batch_rows, self._whole)
        with suppress(OSError):
            if self.narrowed:
                self._note.write_text(str(self.batch_rows), encoding="ascii")
            else:
                self._note.unlink(missing_ok=True)


def _java_answers(spark: SparkSession) -> bool:
    try:
        java: Any = spark._jvm
        java.java.lang.System.nanoTime()
    except Exception:
        return False
    return True


class _Failed(Exception):
    """A query ended; `published` tells whether it had brought something through."""

    def __init__(self, published: bool, reason: str) -> None:
        super().__init__(reason)
        self.published = published
        self.reason = reason


def _run_once(
    spark: SparkSession, settings: Settings, nessie: Nessie, checkpoints: Path, stop: Stop, attempts: Attempts
) -> None:
    """One query, from main's positions to its end or failure; with smaller batches for NARROWED_FOR publishes."""
    try:
        with KafkaLog(settings.kafka.brokers) as log:
            topics = settings.terms.sources.log_topics
            log.ensure(settings.kafka, topics)
            cluster = log.cluster_id()
            ids = log.ids(topics)
            asked_at = datetime.now(UTC)
            first = Seen(asked_at, log.ends(topics))
    except KafkaDown:
        attempts.outages.begins()
        raise
    attempts.outages.answered(asked_at)
    store = NessieStore(spark, nessie, settings.nessie, settings.s3, attempts.branch, attempts.own)
    attempts.branch = store.branch
    try:
        watch = LogWatch(settings.kafka.brokers, cluster, first, attempts.outages, ids)
        try:
            engine = Driver(store, settings.spark, settings.terms, watch)
        except BaseException:
            watch.close()
            raise
    except BaseException:
        store.close()
        raise
    query: Any = None
    try:
        shutil.rmtree(checkpoints, ignore_errors=True)
        checkpoint = checkpoints / store.branch
        query = _start(spark, settings, engine, checkpoint, attempts.batch_rows)
        logger.info("reading from %s", engine.core.offsets())
        while not stop.is_set() and query.isActive and engine.failure is None:
            engine.tick()
            if attempts.narrowed and store.sequence >= NARROWED_FOR:
                break
            stop.wait(LOOK_EVERY)
        if engine.failure is None and not query.isActive:
            raise _Failed(store.sequence > 0, _one_line(query.exception() or "the query ended by itself"))
    except _Failed:
        raise
    except Exception as error:
        engine.failure = engine.failure or error
    finally:
        # Between batches: whoever holds the lock is in none.
        held = engine.lock.acquire(timeout=STOP_WITHIN)
        if engine.failure is None:
            engine.failure = _Stopped()
        if held:
            engine.lock.release()
        try:
            if query is not None:
                query.stop()
            spark.catalog.clearCache()
        finally:
            engine.close()
    failure = engine.failure
    if isinstance(failure, NewerDriver | UserError):
        raise failure
    if not isinstance(failure, _Stopped):
        logger.debug("what failed", exc_info=failure)
        raise _Failed(store.sequence > 0, _one_line(failure))


class _Stopped(Exception):
    """Set where a failure would stand, so that no further batch begins."""


def _start(spark: SparkSession, settings: Settings, engine: Driver, checkpoint: Path, batch_rows: int) -> Any:
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", settings.kafka.brokers)
        .option("subscribe", ",".join(settings.terms.sources.log_topics))
        .option("startingOffsets", engine.starting_offsets())
        # Spark rounds up to one message a partition, and a batch must not be larger than it may.
        .option("maxOffsetsPerTrigger", max(1, batch_rows - len(engine.core.positions)))
        .option("failOnDataLoss", "true")
        .option("includeHeaders", "true")
        .option("kafkaConsumer.pollTimeoutMs", "20000")
        .option("kafka.request.timeout.ms", "15000")
        .option("kafka.default.api.timeout.ms", "20000")
        .option("kafka.max.partition.fetch.bytes", str(16 << 20))
        # Spark asks after each fetch how far the partition reaches. The broker answers that only when the next fetch,
        # which is on its way already, has ended: with Kafka's 500 ms 400 messages in 300 partitions took 55 s.
        .option("kafka.fetch.max.wait.ms", "10")
        .load()
    )

    def each(frame: DataFrame, batch_id: int) -> None:
        engine.batch(frame, batch_id, checkpoint)

    return (
        messages.writeStream.foreachBatch(each)
        .option("checkpointLocation", f"file://{checkpoint}")
        .trigger(processingTime=f"{settings.terms.ingest.publish_every / timedelta(milliseconds=1):.0f} milliseconds")
        .start()
    )


def _end_at_last() -> None:
    """End GIVE_UP_AFTER a signal, whatever is waited for: a kill loses nothing either.

    A signal's handler runs between two steps of the main thread, which may hang in a call to S3. Its wake-up descriptor
    is written to at once.
    """
    told, tell = socket.socketpair()
    tell.setblocking(False)
    signal.set_wakeup_fd(tell.detach(), warn_on_full_buffer=False)

    def end() -> None:
        told.recv(1)
        time.sleep(GIVE_UP_AFTER)
        logger.warning("ended in the middle of a batch; the next start goes on from the last publish")
        os._exit(0)

    Thread(target=end, name="end-at-last", daemon=True).start()


def _one_line(error: object) -> str:
    """The first lines of an error, without the Java stack below them."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    told = [line.strip() for line in lines if line.strip() and not line.strip().startswith("at ")]
    return " ".join(told)[:500]


def main() -> None:
    """`python spark-apps/stream.py`."""
    parser = argparse.ArgumentParser(
        prog="stream.py", description="Read the topics into the Iceberg tables, exactly once; Ctrl-C ends it."
    )
    parser.add_argument("--master", help="where Spark works; default: setting spark.master")
    parser.add_argument(
        "--conf", action="append", default=[], metavar="NAME=VALUE", help="one of Spark's own settings; repeatable"
    )
    arguments = ingest_arguments(parser, "pyiceberg", "urllib3", "asyncio", "py4j")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # the watch says itself when Kafka does not answer
    urllib3.disable_warnings()
    stop = Stop.on_signals()
    _end_at_last()
    with exit_on_user_error():
        overrides: dict[str, Any] = {"master": arguments.master} if arguments.master else {}
        spark = SparkSettings.load(**overrides)
        conf = dict(pair.partition("=")[::2] for pair in arguments.conf)
        if conf:
            spark = spark.model_copy(update={"conf": {**spark.conf, **conf}})
        try:
            run(Settings(spark), stop)
        except NewerDriver as error:
            logger.error("ended: %s", error)
            return
    logger.info("done")


if __name__ == "__main__":
    main()
