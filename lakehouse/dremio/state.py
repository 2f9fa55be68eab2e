"""How the connection to Dremio is, for who shows or measures it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

type Status = Literal["up", "degraded", "down"]
STATUSES: tuple[str, ...] = get_args(Status.__value__)


@dataclass(frozen=True)
class ConnectionState:
    """`degraded` answers, but its last statement failed; `down` does not answer, or does not let us in.

    last_ok: when a statement was last answered (UTC); latency_s: how long the last one took that was.
    """

    status: Status
    last_ok: datetime | None = None
    latency_s: float | None = None
    last_error: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "last_ok": None if self.last_ok is None else self.last_ok.isoformat(timespec="milliseconds"),
            "latency_s": None if self.latency_s is None else round(self.latency_s, 4),
        }

    @property
    def last_ok_s(self) -> float:
        """Since the epoch; NaN before the first answer."""
        return float("nan") if self.last_ok is None else self.last_ok.timestamp()
