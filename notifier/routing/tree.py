"""config/routes.yaml as objects: a tree of routes, and what mutes their alerts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lakehouse.settings.durations import Duration, write_duration
from lakehouse.texts import near
from notifier.routing.matchers import COLUMNS, Matcher, parse_matcher
from notifier.routing.times import TimeSpan

LONGEST = timedelta(days=7)
ALL = "all"
"""In a `to:`, every channel that is set up."""
Matchers = tuple[Annotated[Matcher, BeforeValidator(parse_matcher)], ...]
Name = Annotated[str, Field(min_length=1, max_length=100)]


def _column(name: str) -> str:
    if name not in COLUMNS:
        raise ValueError(f"'{name}' is no column of alerts{near(name, COLUMNS)}; columns are {', '.join(COLUMNS)}")
    return name


Columns = tuple[Annotated[str, AfterValidator(_column)], ...]


def _within(least: timedelta, most: timedelta = timedelta(minutes=10)) -> AfterValidator:
    def check(span: timedelta) -> timedelta:
        if not least <= span <= most:
            raise ValueError(f"it is from {write_duration(least)} to {write_duration(most)}")
        return span

    return AfterValidator(check)


class _RoutePart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, populate_by_name=True)


class Step(_RoutePart):
    """Whom an incident is told to that nobody has taken for so long."""

    after: Annotated[Duration, _within(timedelta(seconds=1), LONGEST)]
    to: tuple[Name, ...] = Field(min_length=1)


class Route(_RoutePart):
    """Alerts that meet all of `when` and that no earlier route beside it has taken.

    `to`: a channel, for all of its destinations, `channel:destination`, or `all`: whatever is set up; none: nobody is
    told. What is left out is as in the route around it. group_by: columns whose values make one thread; wait: before
    its first message; interval: between two of its messages; repeat: how often one that nobody has taken is told again.
    """

    name: Name
    when: Matchers = ()
    to: tuple[Name, ...] | None = None
    continue_: bool = Field(False, alias="continue")
    group_by: Columns | None = None
    wait: Annotated[Duration, _within(timedelta(0))] | None = None
    interval: Annotated[Duration, _within(timedelta(milliseconds=100))] | None = None
    repeat: Annotated[Duration, _within(timedelta(minutes=1), LONGEST)] | None = None
    escalate: tuple[Step, ...] | None = None
    mute: tuple[Name, ...] | None = None
    active: tuple[Name, ...] | None = None
    routes: tuple[Route, ...] = ()

    @model_validator(mode="after")
    def _steps_ascend(self) -> Self:
        spans = [step.after for step in self.escalate or ()]
        if spans != sorted(set(spans)):
            raise ValueError("the steps of 'escalate' come one after the other; give each a longer 'after'")
        return self

    def walk(self) -> Iterator[Route]:
        """This route and all below it."""
        yield self
        for route in self.routes:
            yield from route.walk()


class Inhibition(_RoutePart):
    """While an incident is open that meets `source`, others that meet `target` wake nobody.

    `equal`: columns that have to be the same in both. An incident does not inhibit itself.
    """

    name: Name
    source: Matchers = Field(min_length=1)
    target: Matchers = Field(min_length=1)
    equal: Columns = ()


def _with_zone(value: datetime) -> datetime:
    # YAML gives a time with an offset in UTC, and without its zone.
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is no time that can be counted; take one a day earlier") from None


class MaintenanceWindow(_RoutePart):
    """Planned work: alerts that meet `when` wake nobody from `from` until `until`."""

    name: Name
    when: Matchers = Field(min_length=1)
    from_: Annotated[datetime, AfterValidator(_with_zone)] = Field(alias="from")
    until: Annotated[datetime, AfterValidator(_with_zone)]
    reason: str = Field("", max_length=500)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.from_ >= self.until:
            raise ValueError("'until' is not after 'from'; mend one of them")
        return self

    def holds(self, moment: datetime) -> bool:
        return self.from_ <= moment < self.until


class Routing(_RoutePart):
    """All of the file."""

    routes: tuple[Route, ...] = Field(min_length=1)
    times: tuple[TimeSpan, ...] = ()
    inhibit: tuple[Inhibition, ...] = ()
    maintenance: tuple[MaintenanceWindow, ...] = ()

    def walk(self) -> Iterator[Route]:
        """Every route, those around others first."""
        for route in self.routes:
            yield from route.walk()

    def time(self, name: str) -> TimeSpan:
        """A time by its name, which the check of the file has found."""
        return next(each for each in self.times if each.name == name)
