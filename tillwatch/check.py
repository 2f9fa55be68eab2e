"""`tillwatch check`: all of config/ read as the parts read it; every mistake, not only the first, in one sentence each.

What builds on something wrong (a KPI over a topic, a rule over a KPI) is not told a second time.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer

from lakehouse.mistakes import Mistake, collect, noted
from lakehouse.own import config_path
from lakehouse.user_error import UserError
from lakehouse.yaml_file import line_of, read_text, read_yaml

if TYPE_CHECKING:
    from lakehouse.rules import Rule
    from notifier.routing.tree import Route, Routing

_LINE = re.compile(r", line (\d+)")
_KNOWN = ("rule", "severity", "owner", "alert_type")
"""Columns of an alert that its rule alone decides."""


def examine(as_json: bool) -> bool:
    """Say what is wrong; whether nothing is."""
    found = collect()
    for check in CHECKS:
        with noted(config_path()):
            check()
    mistakes = sorted(_told_once(found), key=lambda each: (str(each.path), line(each) or 0))
    if as_json:
        typer.echo(json.dumps([{"file": str(m.path), "line": line(m), "says": m.sentence} for m in mistakes], indent=2))
        return not mistakes
    for mistake in mistakes:
        typer.echo(mistake.sentence)
    folder = config_path().parent
    typer.echo(f"{len(mistakes)} to mend in {folder}" if mistakes else f"Nothing is wrong in {folder}")
    return not mistakes


def line(mistake: Mistake) -> int | None:
    """The line that a sentence names."""
    named = _LINE.search(mistake.sentence)
    return int(named[1]) if named else None


def _told_once(found: Sequence[Mistake]) -> Iterator[Mistake]:
    """The same without what was said of the same line before: a value may be wrong in each of several ways."""
    told: set[object] = set()
    for mistake in found:
        places = {mistake.sentence, (mistake.path, line(mistake) or mistake.sentence)}
        if not places & told:
            yield mistake
        told |= places


def _settings() -> None:
    from tillwatch.settings_page import every_section

    for section in every_section(spark=importlib.util.find_spec("pyspark") is not None).values():
        with noted(config_path()):
            section.load()


def _spans() -> None:
    from lakehouse.settings.base import Shared
    from pipeline.settings import RetentionSettings, check_spans

    check_spans(RetentionSettings.load(), Shared.load(), None)


def _data() -> None:
    """Topics and KPI tables are read where they are imported; queries are not run there."""
    from lakehouse.kpis import KPIS
    from lakehouse.kpis.check import check_queries
    from lakehouse.settings.shop import OrdersSettings

    statuses = OrdersSettings.load().counted_statuses
    for kpi in KPIS.values():
        if kpi.table.own:
            with noted(Path(kpi.table.declared_in)):
                check_queries([kpi], statuses)


def _people_routes_and_rules() -> None:
    from lakehouse.rules import load_rules
    from notifier.settings import NotifierSettings

    path = config_path().parent / "alerts.yaml"
    with noted(path):
        rules = load_rules(path)
        settings = NotifierSettings.load()
        with noted(config_path().parent / settings.people):
            settings.load_people()
        place = config_path().parent / settings.routes
        with noted(place):
            routing = settings.load_routes(settings.open_channels())
            if len(rules) == len(read_yaml(path)["rules"]):  # what comes of one that is wrong is not known
                _refuse_unreached(place, routing, rules)


def _notifier() -> None:
    """What a start of it looks at beside the files: channels, and links that open for those who are told."""
    from notifier.config import load_config

    load_config()


def _refuse_unreached(path: Path, routing: Routing, rules: Sequence[Rule]) -> None:
    """Note every route to which no rule's alert can come."""
    from notifier.routing.load import placed

    alerts = [
        SimpleNamespace(rule=rule.name, severity=rule.severity, owner=rule.owner, alert_type=rule.alert_type)
        for rule in rules
    ]
    reached = {place for alert in alerts for place in _reached(routing.routes, ("routes",), alert)}
    text = read_text(path)
    for place, route in placed(routing.routes, ("routes",)):
        if place not in reached and (len(place) == 2 or place[:-2] in reached):
            way = [found for around, found in placed(routing.routes, ("routes",)) if place[: len(around)] == around]
            fits = any(all(_may_meet(each, alert) is not False for each in way) for alert in alerts)
            why = (
                "routes before it take all that it asks for" if fits else "no rule of alerts.yaml has what it asks for"
            )
            with noted(path):
                raise UserError(
                    f"{path}, line {line_of(text, *place)}, '{route.name}': {why}; mend its `when`"
                    f"{', or let it stand before them' if fits else ''}."
                )


def _reached(routes: Sequence[Route], place: tuple[Any, ...], alert: SimpleNamespace) -> Iterator[tuple[Any, ...]]:
    """The places of routes that may take an alert of which only _KNOWN is known."""
    for number, route in enumerate(routes):
        meets = _may_meet(route, alert)
        if meets is False:
            continue
        yield (*place, number)
        yield from _reached(route.routes, (*place, number, "routes"), alert)
        if meets and not route.continue_:
            return


def _may_meet(route: Route, alert: SimpleNamespace) -> bool | None:
    """Whether an alert meets a route's conditions; None: that hangs on the event."""
    known = [matcher.matches(alert) for matcher in route.when if matcher.column in _KNOWN]
    if not all(known):
        return False
    return True if len(known) == len(route.when) else None


CHECKS: tuple[Callable[[], None], ...] = (_settings, _spans, _data, _people_routes_and_rules, _notifier)
"""What there is to read, in an order in which each builds on those before."""
