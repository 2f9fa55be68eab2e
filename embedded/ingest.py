"""Ingest of the embedded default: event log -> Iceberg tables, exactly once.

One loop, one writer. What a batch is stands in pipeline/batch; here is when one is made, and what it is read from and
written to. After any end, kill -9 included, a start goes on from the positions of the last publish.
"""

from __future__ import annotations

import argparse
import gc
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import start_http_server

from embedded.catalog import Catalog, only_writer
from embedded.log import EventLog
from embedded.ports import ONE, LocalLog, LocalStore
from lakehouse.decode import Event
from lakehouse.logs import ingest_arguments
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.ports import claim_port
from lakehouse.sources import topic_of
from lakehouse.stop import Stop
from lakehouse.user_error import UserError, exit_on_user_error
from pipeline import metrics
from pipeline.batch.core import Core
from pipeline.batch.pace import Pace
from pipeline.batch.terms import Terms

logger = logging.getLogger("tillwatch.ingest")

POLL = 0.05  # s
TICK_WITHIN = 5.0
"""Seconds: maintenance and KPIs that are to be filled in get a turn however much there is to read."""
FIRST_PAUSE, LAST_PAUSE = 1.0, 30.0  # s


def _now() -> datetime:
    return datetime.now(UTC)


class Ingest:
    """The pipeline between one event log and one catalog. `step` makes at most one publish."""

    def __init__(self, data_dir: Path, log: EventLog, terms: Terms, clock: Callable[[], datetime] = _now) -> None:
        self._terms = terms
        self._log = log
        self.catalog = Catalog(data_dir)
        self.catalog.sweep_orphans(terms.retention.sweep_age)
        self.log = LocalLog(log, clock, terms.sources.log_topics)
        self.core = Core(self.log, LocalStore(self.catalog), terms, clock)
        self._begun_at = float("-inf")
        self._ticked_at = time.monotonic()
        self._pace = Pace(terms.ingest.publish_every)
        self._peeked: dict[str, int] = {}
        self._more = False  # whether the last publish left something behind: then the next one waits for nothing

    def close(self) -> None:
        self.core.close()
        self.catalog.close()

    def step(self) -> bool:
        """Publish if it is time to: there is something and enough time has passed, an alert waits, a heartbeat is due.

        Returns whether more is waiting already, so that the caller need not rest.
        """
        now = time.monotonic()
        if now - self._ticked_at >= TICK_WITHIN:
            self._tick(now)
        ends = self.log.look().ends
        positions = self.core.positions
        if any(ends[place].end > position.next_offset for place, position in positions.items()):
            if self._more or now - self._begun_at >= self._pace.every_s or self._alert_waits():
                return self._publish()
        elif self._begun_at == float("-inf"):
            # What a start finds out, and what time made due while nothing ran, is told at once.
            return self._publish(heartbeat=True)
        self._tick(now)
        return False

    def _tick(self, now: float) -> None:
        self._ticked_at = now
        self.core.tick()

    def publish(self, heartbeat: bool = False) -> bool:
        """Publish what is in the log, `batch_rows` of a topic at most. Returns whether it holds more."""
        self.log.look()
        return self._publish(heartbeat)

    def _publish(self, heartbeat: bool = False) -> bool:
        # From the beginning of this publish, so that publishes come at an even pace however long one takes.
        self._begun_at = time.monotonic()
        read = self.log.read(self.core.next_offsets(), self._terms.ingest.batch_rows)
        self._pace.note(self._begun_at, self.core.batch(read, heartbeat=heartbeat))
        self._more = any(self.log.seen().ends[place].end > p.next_offset for place, p in self.core.positions.items())
        return self._more

    def _alert_waits(self) -> bool:
        """Whether an unread message is an event that a rule alerts on; each is looked at once."""
        sources, alerting = self._terms.sources, self.core.alerting
        for topic, fed in sources.feeds.items():
            if alerting.keys().isdisjoint(fed):
                continue
            first = max(self.core.positions[topic, ONE].next_offset, self._peeked.get(topic, 0))
            if self.log.seen().ends[topic, ONE].end <= first:
                continue
            records = self._log.read(topic, first, self._terms.ingest.batch_rows)
            self._peeked[topic] = first + len(records)
            decode_one = sources.decoder(topic, self._terms.max_event_age)
            for event in (event for record in records for event in decode_one(record)):
                if isinstance(event, Event) and (alerts := alerting.get(topic_of(event))) and alerts(event):
                    return True
        return False


def run(stop: Stop) -> None:
    """Ingest until `stop` is set. A batch that fails is begun again from the last publish, with back-off."""
    # Tens of thousands of records live for one batch each, and none of them is part of a circle: looking for circles
    # among them at every 700th was an eighth of all work.
    gc.set_threshold(100_000, 20, 50)
    gc.freeze()
    shared = Shared.load()
    terms = Terms.load(shared)
    port = shared.port("ingest")
    claim_port(port)
    data_dir = open_data_dir(shared.data_dir, "embedded")
    with only_writer(data_dir):
        start_http_server(port, "127.0.0.1")
        pause = FIRST_PAUSE
        while not stop.is_set():
            ingest: Ingest | None = None
            try:
                with EventLog(data_dir / "events.db") as log:
                    ingest = Ingest(data_dir, log, terms)
                    logger.info("reading %s from %s", data_dir / "events.db", ingest.core.offsets())
                    while not stop.is_set():
                        if not ingest.step():
                            stop.wait(POLL)
                        pause = FIRST_PAUSE
            except UserError:
                raise
            except Exception as error:
                # Whatever it was (a full disk, a locked file): nothing of the batch is visible, the next try begins at
                # the last publish.
                metrics.FAILURES.inc()
                logger.error("batch failed, again in %.0f s: %s: %s", pause, type(error).__name__, error)
                logger.debug("the batch that failed", exc_info=True)
                stop.wait(pause)
                pause = min(2 * pause, LAST_PAUSE)
            finally:
                if ingest is not None:
                    ingest.close()
    logger.info("done")


def main() -> None:
    """`python -m embedded.ingest`."""
    parser = argparse.ArgumentParser(
        prog="embedded.ingest", description="Read the event log into the Iceberg tables, exactly once; Ctrl-C ends it."
    )
    ingest_arguments(parser, "pyiceberg", "urllib3", "asyncio")
    stop = Stop.on_signals()
    with exit_on_user_error():
        run(stop)


if __name__ == "__main__":
    main()
