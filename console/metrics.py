"""Everything the console lets others observe, in one list."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram

from lakehouse.dremio.state import STATUSES

REGISTRY = CollectorRegistry()

# How long one look at Dremio takes, with the questions where main moved (seconds).
POLL_SECONDS = Histogram(
    "tillwatch_console_poll_seconds",
    "One look at Dremio, with its questions",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 20),
    registry=REGISTRY,
)
# Looks and single questions that got no answer (count).
POLL_FAILURES = Counter("tillwatch_console_poll_failures", "Looks or questions without an answer", registry=REGISTRY)
# Statements sent to Dremio, of poller and drill-down (count).
STATEMENTS = Counter("tillwatch_console_statements", "Statements sent to Dremio", registry=REGISTRY)
# How the connection is: up, degraded (its last statement failed) or down.
DREMIO = Enum("tillwatch_console_dremio_state", "Connection to Dremio", states=list(STATUSES), registry=REGISTRY)
# How long the newest statement took that was answered (seconds), and when that was (seconds since the epoch).
DREMIO_LATENCY = Gauge("tillwatch_console_dremio_latency_seconds", "Of the newest answer", registry=REGISTRY)
DREMIO_LAST_OK = Gauge("tillwatch_console_dremio_last_ok_timestamp_seconds", "The newest answer", registry=REGISTRY)
# Age of the data: now - as_of (seconds); NaN before the first publish.
AGE_SECONDS = Gauge("tillwatch_console_age_seconds", "Age of the data shown", registry=REGISTRY)
# Open sessions (count).
SESSIONS = Gauge("tillwatch_console_sessions", "Open sessions", registry=REGISTRY)
# Wakes handed to sessions (count).
WAKES = Gauge("tillwatch_console_wakes", "Wakes handed to sessions since the start", registry=REGISTRY)
# How long a session takes to draw what is new, on the event loop (seconds).
TICK_SECONDS = Histogram(
    "tillwatch_console_tick_seconds",
    "Drawing what is new in one session",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
    registry=REGISTRY,
)
# Bytes of the messages that carry tiles and lists (bytes).
TICK_BYTES = Counter("tillwatch_console_tick_bytes", "Bytes of tiles and lists sent to browsers", registry=REGISTRY)


def statements() -> float:
    """How many statements there were since the start."""
    return _sample("tillwatch_console_statements_total") or 0.0


def tick_mean_s() -> float | None:
    """The mean of TICK_SECONDS since the start; None before the first."""
    ticks = _sample("tillwatch_console_tick_seconds_count")
    return (_sample("tillwatch_console_tick_seconds_sum") or 0.0) / ticks if ticks else None


def _sample(name: str) -> float | None:
    return REGISTRY.get_sample_value(name)
