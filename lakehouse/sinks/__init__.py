"""Where events go: Kafka, or the event log of the embedded default.

A sink gathers what it is sent; `flush` delivers it all, or raises SinkError and keeps it for the next flush.
"""

from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import open_data_dir
from lakehouse.settings.kafka import KafkaSettings
from lakehouse.sinks.event_log import LOG_FILE, EventLogSink, connect_log, unpacked
from lakehouse.sinks.kafka import KafkaSink
from lakehouse.sinks.sink import Sink, SinkDown, SinkError
from lakehouse.user_error import UserError

__all__ = [
    "LOG_FILE",
    "EventLogSink",
    "KafkaSink",
    "Sink",
    "SinkDown",
    "SinkError",
    "connect_log",
    "open_sink",
    "unpacked",
]


def open_sink(target: str) -> EventLogSink | KafkaSink:
    """The sink that --sink names: `log` (the event log of the data directory), `kafka` (the brokers of the settings) or
    `kafka://HOST:PORT,HOST:PORT`.
    """
    if target == "log":
        return EventLogSink(open_data_dir(Shared.load().data_dir, "embedded") / LOG_FILE)
    if target == "kafka":
        return KafkaSink(KafkaSettings.load().brokers)
    if target.startswith("kafka://") and target.removeprefix("kafka://").strip("/"):
        return KafkaSink(target.removeprefix("kafka://").strip("/"))
    raise UserError(f"--sink is '{target}'; expected 'log', 'kafka' or 'kafka://HOST:PORT'.")
