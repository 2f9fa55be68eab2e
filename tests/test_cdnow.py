"""A real order history, asked through the Flight port: all of it, once, to the cent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import cdnow


@pytest.mark.timeout(300)
def test_every_order_of_the_history_is_there_once_after_kills_and_a_second_replay(tmp_path: Path) -> None:
    found = cdnow.run(tmp_path, 11_000 + os.getpid() % 5000, kills=2, rate=2000, kill_within=0.8)
    for name in ("once", "after kills", "after a second replay"):
        assert found[name].right, (name, found[name])
