"""The notifier's process ends at every named point of every operation of every channel, and all is told once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash_cast import CHANNELS, Town
from tests.crash_points import Point
from tests.crash_scenes import SCENES, STARTING, crash_everywhere, play

AT_LEAST = {
    **dict.fromkeys(("ledger plan", "ledger begin", "ledger ended"), ("before", "after")),
    "send": ("before", "taken", "answered"),
    "find": ("before", "answered"),
}
"""What every operation passes at every channel."""
BESIDES = {
    **dict.fromkeys(("escalate", "acknowledge", "silence"), "ledger once"),
    "park": "ledger mended",
}
PLAYED = [(channel, scene) for scene in SCENES for channel in CHANNELS if scene != "park" or channel == "slack"]
"""Parking is the same for all channels; `python -m bench notifier_crashes` has the rest."""


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    town = Town(tmp_path_factory.mktemp("town"))
    yield town
    town.close()


@pytest.mark.parametrize(("channel", "scene"), PLAYED)
def test_wherever_it_ends_everybody_is_told_once(town: Town, channel: str, scene: str) -> None:
    meant = play(town, channel, scene)
    assert meant.got.messages
    assert meant.got.wrong == ()
    assert set(points_of(channel, scene)) <= set(meant.points.passed)
    crashed: set[Point] = set()
    for run in crash_everywhere(town, channel, scene, meant):
        crashed |= run.points.crashed
        assert not run.got.against(meant.got), f"after it ended at {', '.join(map(str, sorted(run.points.crashed)))}"
    assert crashed == {*meant.points.passed, *STARTING}


def points_of(channel: str, scene: str) -> Iterator[Point]:
    for what, whens in AT_LEAST.items():
        yield from (Point(what if " " in what else f"{channel} {what}", when) for when in whens)
    if channel == "slack" and scene in ("edit", "escalate", "acknowledge", "digest"):
        yield from (Point("slack edit", when) for when in ("before", "taken", "answered"))
    if scene in BESIDES:
        yield from (Point(BESIDES[scene], when) for when in ("before", "after"))
