"""Given to `panel serve --setup` by bench console: the console on a shop that publishes each second."""

from __future__ import annotations

import time

from bench.console_shop import DREMIO, SHOWN, start
from console import running
from console.feed.hub import Hub
from console.feed.snapshot import FeedSnapshot

_publish = Hub.publish


def publish(hub: Hub, snapshot: FeedSnapshot, *, wake: bool = True) -> None:
    """As ever, and the moment is written down."""
    if snapshot.commit is not None:
        SHOWN.setdefault(snapshot.commit, time.time())
    _publish(hub, snapshot, wake=wake)


Hub.publish = publish  # type: ignore[method-assign,assignment]  # its own parameter is named self
start()
running.start(DREMIO)
