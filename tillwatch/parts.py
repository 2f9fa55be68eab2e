"""Every part that runs, by name: how it is started, where it listens. Nothing is imported from the parts here."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from lakehouse import ROOT


@dataclass(frozen=True)
class Part:
    """One part. `port` is its name in lakehouse.settings.ports.PORTS, `health` a path that answers 200 when it is well.

    `optional`: the figures and messages come without it too.
    """

    name: str
    doc: str
    command: tuple[str, ...]
    port: str | None = None
    health: str | None = None
    optional: bool = False

    def argv(self, *words: str) -> list[str]:
        """The command line that starts it with this Python; `words` are added."""
        return [sys.executable, *self.command, *words]


PARTS: tuple[Part, ...] = (
    Part("gateway", "answers SQL over Arrow Flight, as Dremio does", ("-m", "embedded.gateway"), "gateway"),
    Part("console", "the live screen", ("-m", "console"), "console", "/readyz"),
    Part("ingest", "from the event log into the tables", ("-m", "embedded.ingest"), "ingest", "/metrics"),
    Part("producers", "simulated shoppers, and replay of real data", ("-m", "producers")),
    Part(
        "sandbox",
        "stands in for Slack and an email server",
        ("-m", "embedded.sandbox"),
        "sandbox",
        "/-/healthy",
        optional=True,
    ),
    Part("notifier", "tells people what breaks", ("-m", "notifier"), "notifier", "/-/ready"),
    Part(
        "lite", "the same figures on one small page", ("-m", "console.lite"), "lite", "/_stcore/health", optional=True
    ),
)

BY_NAME: dict[str, Part] = {part.name: part for part in PARTS}

SERVERS: tuple[Part, ...] = (
    Part("kafka", "the topics", ("-m", "tillwatch.servers", "kafka"), "kafka"),
    Part("nessie", "the catalog", ("-m", "tillwatch.servers", "nessie"), "nessie", "/api/v2/config"),
    Part("s3", "the object store", ("-m", "tillwatch.servers", "s3"), "s3"),
)
DRIVER = Part(
    "driver",
    "from the topics into the tables, on Spark",
    (str(ROOT / "spark-apps" / "stream.py"),),
    "ingest",
    "/metrics",
)

CDC_SERVERS: tuple[Part, ...] = (
    Part("postgres", "the shop's database", ("-m", "tillwatch.servers", "postgres"), "postgres"),
    Part("connect", "reads the database's changes", ("-m", "tillwatch.servers", "connect"), "connect", "/"),
)
CDC_PARTS: tuple[Part, ...] = (
    Part("connector", "has the database's changes sent to Kafka", ("-m", "producers", "connector")),
    Part("database", "a simulated shop that writes into its database", ("-m", "producers", "database")),
)
"""What `stack --cdc` has beside the stack's parts."""

STACK_PARTS: tuple[Part, ...] = (*SERVERS, *(DRIVER if part.name == "ingest" else part for part in PARTS))
"""What runs on the local stack: the servers, and the driver in place of ingest."""


def stack_parts(cdc: bool) -> tuple[Part, ...]:
    """What runs on the local stack; with `cdc` the shop's database and what reads it too."""
    return (*CDC_SERVERS, *STACK_PARTS, *CDC_PARTS) if cdc else STACK_PARTS


def parts_of(profile: str, cdc: bool = False) -> tuple[Part, ...]:
    """The parts of a data directory's profile."""
    return stack_parts(cdc) if profile == "stack" else PARTS
