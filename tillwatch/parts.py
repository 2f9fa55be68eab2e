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

STACK_PARTS: tuple[Part, ...] = (*SERVERS, *(DRIVER if part.name == "ingest" else part for part in PARTS))
"""What runs on the local stack: the servers, and the driver in place of ingest."""


def parts_of(profile: str) -> tuple[Part, ...]:
    """The parts of a data directory's profile."""
    return STACK_PARTS if profile == "stack" else PARTS
