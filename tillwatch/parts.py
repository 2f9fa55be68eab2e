"""Every part that runs, by name: how it is started, where it listens. Nothing is imported from the parts here."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from lakehouse.settings import Shared

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Part:
    """One part. `port` is its name in lakehouse.settings.PORTS, `health` a path that answers 200 when it is well.

    `optional`: the figures and messages come without it too.
    """

    name: str
    doc: str
    command: tuple[str, ...]
    port: str | None = None
    health: str | None = None
    optional: bool = False

    def argv(self, shared: Shared, *words: str) -> list[str]:
        """The command line that starts it with this Python; `words` are added."""
        line = [sys.executable, *self.command]
        if self.name == "lite":
            line += [f"--server.port={shared.port('lite')}", *words]
        else:
            line += words
        return line


_STREAMLIT = (
    "-m",
    "streamlit",
    "run",
    str(ROOT / "console" / "lite.py"),
    "--server.address=127.0.0.1",
    "--server.headless=true",
    "--server.fileWatcherType=none",
    "--browser.gatherUsageStats=false",
)

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
    Part("notifier", "tells Slack and email", ("-m", "notifier"), "notifier", "/-/ready"),
    Part("lite", "the same figures on one small page", _STREAMLIT, "lite", "/_stcore/health", optional=True),
)

BY_NAME: dict[str, Part] = {part.name: part for part in PARTS}
