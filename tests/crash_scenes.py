"""What a notifier may be doing when its process ends: one scene for each operation, and runs that end in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from notifier.routing.matchers import parse_matcher
from tests.crash_cast import ADA, Got, Night, Town
from tests.crash_points import Point, Points
from tests.test_notifier import NOON

UNTIL = NOON + timedelta(seconds=40)


def send(night: Night) -> None:
    """An incident fires, and ends."""
    night.fires("inc-1", "cart")
    night.until(40)
    night.ends("inc-1", "cart")


def edit(night: Night) -> None:
    """Another incident of the service joins, the first goes on, then one ends and the other."""
    night.fires("inc-1", "cart")
    night.until(20)
    night.fires("inc-2", "cart", "errors_anomaly")
    night.until(50)
    night.fires("inc-1", "cart")
    night.until(80)
    night.ends("inc-2", "cart", "errors_anomaly")
    night.until(110)
    night.ends("inc-1", "cart")


def escalate(night: Night) -> None:
    """A person asks for the first step, time for the second."""
    night.fires("inc-1", "cart")
    night.until(30)
    night.ada(lambda crew: crew.people.escalate("inc-1", ADA))
    night.until(130)
    night.until(260)


def acknowledge(night: Night) -> None:
    """Somebody takes it, lets it go, and takes it again."""
    night.fires("inc-1", "cart")
    night.until(30)
    night.ada(lambda crew: crew.people.take("inc-1", ADA, None, "on it"))
    night.until(60)
    night.ada(lambda crew: crew.people.let_go("inc-1", ADA))
    night.until(90)
    night.ada(lambda crew: crew.people.take("inc-1", ADA, None, ""))


def silence(night: Night) -> None:
    """An incident fires while it is silenced, and is told when that ends."""
    night.ada(lambda crew: crew.people.silence([parse_matcher("service_name = cart")], "sale", UNTIL, ADA))
    night.until(5)
    night.fires("inc-1", "cart")
    night.until(38)
    night.until(60)


def digest(night: Night) -> None:
    """More services fail than may be told one by one; then they recover."""
    services = ("cart", "login", "search", "stock", "tax")
    for service in services[:4]:
        night.fires(f"inc-{service}", service)
    night.until(12)
    night.fires("inc-tax", "tax")
    night.until(100)
    for service in services:
        night.ends(f"inc-{service}", service)


def park(night: Night) -> None:
    """The channel shuts us out, another says so; one incident waits for it to be mended, one has ended by then."""
    night.fires("inc-1", "cart")
    night.until(20)
    night.points.shut = night.name
    night.fires("inc-2", "login")
    night.until(24)
    night.fires("inc-3", "stock")
    night.until(50)
    night.ends("inc-3", "stock")
    night.until(75)
    night.points.shut = None
    night.until(160)
    night.ends("inc-1", "cart")
    night.until(170)


SCENES: dict[str, Callable[[Night], None]] = {
    scene.__name__: scene for scene in (send, edit, escalate, acknowledge, silence, digest, park)
}
STORM_AFTER = {"digest": 2}
OTHERS = {"slack": "webhook", "email": "slack", "pagerduty": "slack", "webhook": "slack"}
"""Who is told when a channel is shut."""

STARTING = (Point("ledger interrupt", "before"), Point("ledger interrupt", "after"))
"""What a start passes that finds a message in hand."""


@dataclass(frozen=True)
class Run:
    """What came of a scene, and the points that it passed."""

    got: Got
    points: Points


def play(town: Town, channel: str, scene: str, crash_at: Mapping[Point, int] = MappingProxyType({})) -> Run:
    """A scene at a channel whose first answer is lost, with a crash at each of these points: which passage of it."""
    points = Points(crash_at, loses=1)
    others = [OTHERS[channel]] if scene == "park" else []
    night = Night(town, channel, points, storm_after=STORM_AFTER.get(scene, 0), others=others)
    try:
        with points.watching():
            SCENES[scene](night)
            night.clear_up()
        return Run(night.got(), points)
    finally:
        night.close()


def crash_everywhere(town: Town, channel: str, scene: str, meant: Run) -> Iterator[Run]:
    """Runs in which it ends at each of the points that `meant` has passed, at several of them one after the other.

    At half of them at first, for what fails too often waits so long that other things come about; and at the start that
    follows.
    """
    left = sorted(meant.points.passed)
    some = [*left[::2], *STARTING]
    while left:
        run = play(town, channel, scene, dict.fromkeys(some, 1))
        yield run
        if not run.points.crashed:
            return
        left = some = [point for point in left if point not in run.points.crashed]


def crash_once(town: Town, channel: str, scene: str, meant: Run) -> Iterator[tuple[Point, int, Run]]:
    """Runs in which it ends once: at every single passage of each of these points."""
    for point, times in sorted(meant.points.passed.items()):
        for nth in range(1, times + 1):
            yield point, nth, play(town, channel, scene, {point: nth})
