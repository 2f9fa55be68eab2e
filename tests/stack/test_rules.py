"""Rules on the stack: every kind that looks at one minute fires and resolves, however the driver works its batches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from bench.mixture import MixedMessage
from bench.pipelines import HASTY, rule, with_rules
from bench.pipelines import Stack as Pipeline
from lakehouse.dremio.statement import fill
from producers.shop import CLICKS_TOPIC, ERRORS_TOPIC, ORDERS_TOPIC
from tests.stack.conftest import Stack
from tests.stack.test_bad_input import click, make_topic, message, send
from watch import Outages

RULES = (
    rule(
        "fatal_error",
        "event",
        where={"severity": ["FATAL"]},
        by=["service_name"],
        resolve_after="5 s",
        description="{service_name}",
    ),
    rule(
        "many_errors",
        "threshold",
        table="errors_per_minute",
        column="error_count",
        aggregate="sum",
        by=["service_name"],
        above=8,
        description="{service_name}",
        **HASTY,
    ),
    rule("no_clicks", "no_data", topic=CLICKS_TOPIC, description="{topic}", **HASTY),
    rule(
        "unreadable",
        "dead_letters",
        topics=[ORDERS_TOPIC, ERRORS_TOPIC],
        above=20,
        at_least=8,
        description="{topic}",
        **HASTY,
    ),
)
TOLD = {
    ("fatal_error", "checkout"),
    ("fatal_error", "payments"),
    ("many_errors", "payments"),
    ("many_errors", "search"),
    ("no_clicks", CLICKS_TOPIC),
    ("unreadable", ERRORS_TOPIC),
    ("unreadable", ORDERS_TOPIC),
}
COLLECT_ROWS = 50
WITHIN_S = 250


@pytest.mark.timeout(700)
def test_rules_fire_and_resolve_by_the_log_s_time(stack: Stack) -> None:
    """Half of what they tell of comes in a batch that is finished in the driver, half in one that Spark works.

    Two minutes of it are waiting: a minute is judged 10 s after its end, outside and inside again. A FATAL of a clock
    that is 26 h ahead is over as soon as any other.
    """
    settings = {
        **with_rules(stack.tmp / "config", *RULES),
        "SPARK_COLLECT_ROWS": str(COLLECT_ROWS),
        "INGEST_HEARTBEAT_EVERY": "2 s",
    }
    with Pipeline(stack.servers, stack.tmp / "pipeline", settings) as pipeline:
        # A click with its producer's time: there were clicks, and their silence counts from the driver's start on.
        make_topic(pipeline, CLICKS_TOPIC, "CreateTime")
        send(pipeline, None, [click("before", datetime.now(UTC))], int(1000 * time.time()))
        make_topic(pipeline, ERRORS_TOPIC, "CreateTime")
        ahead = [error("checkout", 0, "FATAL"), *(error(f"other-{n}", n, "INFO") for n in range(COLLECT_ROWS))]
        send(pipeline, None, [each.value for each in ahead], int(1000 * time.time()) + 26 * 3_600_000, ERRORS_TOPIC)
        pipeline.start_engine()
        pipeline.wait_reading()
        # A rule's minutes count from the first moment at which its topics are read to their end: a first batch that
        # took longer than a minute's rest would leave that minute out.
        pipeline.wait_until_read()
        pipeline.send([error("payments", n, "ERROR" if n else "FATAL") for n in range(200)])
        pipeline.send([unreadable(ERRORS_TOPIC)] * 100)
        pipeline.wait_until_read()
        pipeline.send([error("search", n, "ERROR") for n in range(20)] + [unreadable(ORDERS_TOPIC)] * 20)
        pipeline.wait_until_read()
        sizes = [size for size in pipeline.batch_sizes() if size]
        assert min(sizes) <= COLLECT_ROWS < max(sizes), "no batch went each way"

        until(pipeline, lambda: set(incidents(pipeline, "FIRING").values()) == TOLD, said=lambda: missing(pipeline))
        fired = incidents(pipeline, "FIRING")

        def are_over() -> bool:
            pipeline.send([message(CLICKS_TOPIC, click(f"again-{time.time()}", datetime.now(UTC)))])
            return incidents(pipeline, "RESOLVED").keys() >= fired.keys()

        until(pipeline, are_over)
        assert incidents(pipeline, "FIRING") == fired
        assert incidents(pipeline, "RESOLVED").keys() == fired.keys()
        assert pipeline.failures() == []
        assert pipeline.stop_engine() == 0


def test_a_time_without_kafka_is_known_to_the_next_attempt_and_forgotten_after_twenty_minutes() -> None:
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    minute = timedelta(minutes=1)
    outages = Outages()
    outages.begins()
    assert outages.spans(noon) == [(datetime.fromtimestamp(0, UTC), noon)], "nobody knows of the time before a start"
    outages.answered(noon)
    outages.answered(noon + minute)
    outages.begins()
    outages.begins()
    assert outages.spans(noon + 5 * minute)[1:] == [(noon + minute, noon + 5 * minute)]
    outages.answered(noon + 10 * minute)
    assert not outages.lasts
    assert outages.spans(noon + 21 * minute) == [(noon + minute, noon + 10 * minute)]
    assert outages.spans(noon + 31 * minute) == []


def error(service: str, number: int, severity: str) -> MixedMessage:
    fields = {
        "error_id": f"{service}-{number}",
        "service_name": service,
        "error_message": "down",
        "severity": severity,
        "error_time": datetime.now(UTC).isoformat(),
    }
    return MixedMessage(ERRORS_TOPIC, service.encode(), json.dumps(fields).encode(), "good")


def unreadable(topic: str) -> MixedMessage:
    return MixedMessage(topic, None, b"?", "NOT_JSON")


def incidents(pipeline: Pipeline, status: str) -> dict[str, tuple[str, str]]:
    """(rule, whose) of each incident with a row of this status, by its id; each has one at most."""
    sql = "SELECT incident_id, rule, description FROM {alerts} WHERE status = :status"
    rows = pipeline.dremio.sql(fill(sql, None, {"status": status})).to_pylist()
    found = {row["incident_id"]: (row["rule"], row["description"]) for row in rows}
    assert len(found) == len(rows), rows
    return found


def missing(pipeline: Pipeline) -> str:
    """What should have fired and has not, or the other way round."""
    return f"not alike: {TOLD ^ set(incidents(pipeline, 'FIRING').values())}\n"


def until(pipeline: Pipeline, what: Callable[[], bool], said: Callable[[], str] = lambda: "") -> None:
    end = time.monotonic() + WITHIN_S
    while not what():
        assert pipeline.engine.poll() is None, pipeline.last_words()
        assert time.monotonic() < end, said() + pipeline.last_words()
        time.sleep(3)
