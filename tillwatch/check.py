"""`tillwatch check`: all of config/ read as the parts read it; every mistake, not only the first, in one sentence each.

What builds on something wrong (a KPI over a topic, a rule over a KPI) is not told a second time.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lakehouse.mistakes import Mistake, collect, noted
from lakehouse.own import config_path
from lakehouse.user_error import UserError
from lakehouse.yaml_file import read_yaml

if TYPE_CHECKING:
    from lakehouse.rules import Rule

_LINE = re.compile(r", line (\d+)")


def examine(as_json: bool) -> bool:
    """Say what is wrong; whether nothing is."""
    mistakes, notes = look()
    if as_json:
        said = [{"file": str(m.path), "line": line(m), "says": m.sentence} for m in mistakes]
        typer.echo(json.dumps({"mistakes": said, "notes": notes}, indent=2))
        return not mistakes
    for mistake in mistakes:
        typer.echo(mistake.sentence)
    for note in notes:
        typer.echo(f"Note: {note}")
    folder = config_path().parent
    typer.echo(f"{len(mistakes)} to mend in {folder}" if mistakes else f"Nothing is wrong in {folder}")
    return not mistakes


def look() -> tuple[list[Mistake], list[str]]:
    """All that is wrong, by file and line, and what could not be looked at."""
    found, notes = collect(), Notes()
    for check in CHECKS:
        with noted(config_path()):
            check(notes)
    told = {" ".join(mistake.sentence.split()): mistake for mistake in reversed(found)}
    mistakes = [Mistake(mistake.path, sentence) for sentence, mistake in reversed(told.items())]
    return sorted(mistakes, key=lambda each: (str(each.path), line(each) or 0)), notes


class Notes(list[str]):
    """Sentences of what could not be looked at, and why; no mistakes."""


def line(mistake: Mistake) -> int | None:
    """The line that a sentence names."""
    named = _LINE.search(mistake.sentence)
    return int(named[1]) if named else None


def _settings(_notes: Notes) -> None:
    from tillwatch.settings_page import every_section

    for section in every_section(spark=importlib.util.find_spec("pyspark") is not None).values():
        with noted(config_path()):
            section.load()


def _spans(_notes: Notes) -> None:
    from lakehouse.settings.base import Shared
    from pipeline.settings import RetentionSettings, check_spans

    check_spans(RetentionSettings.load(), Shared.load(), None)


def _data(_notes: Notes) -> None:
    """Topics and KPI tables are read where they are imported; queries are not run there."""
    from lakehouse.kpis import KPIS
    from lakehouse.kpis.check import check_queries
    from lakehouse.settings.shop import OrdersSettings

    counting = OrdersSettings.load().counting
    for kpi in KPIS.values():
        if kpi.table.own:
            with noted(Path(kpi.table.declared_in)):
                check_queries([kpi], counting)


def _people_routes_and_rules(notes: Notes) -> None:
    from lakehouse.rules import load_rules
    from notifier.channels import CHANNELS
    from notifier.links import check_links
    from notifier.settings import NotifierSettings
    from tillwatch.checks.questions import unanswerable
    from tillwatch.checks.reach import unreached

    path = config_path().parent / "alerts.yaml"
    rules: Sequence[Rule] = ()
    with noted(path):
        rules = load_rules(path) if path.exists() else ()
        _note(path, unanswerable(path, rules, notes))
    settings = NotifierSettings.load()
    with noted(config_path()):
        settings.check()
    with noted(config_path()):
        real = [name for name, declared in CHANNELS.items() if declared.is_on(settings) and declared.real(settings)]
        check_links(settings.console_url, rules, real)
    with noted(config_path().parent / settings.people):
        settings.load_people()
    place = config_path().parent / settings.routes
    with noted(place):
        routing = settings.load_routes(settings.open_channels())
        # What comes of a rule that is wrong is not known.
        if path.exists() and len(rules) == len(read_yaml(path)["rules"]):
            _note(place, unreached(place, routing, rules))


def _note(path: Path, sentences: Iterable[str]) -> None:
    """Sentences of a file, or of the one that they begin with."""
    for sentence in sentences:
        named = Path(sentence.partition(", line ")[0])
        with noted(named if named.is_absolute() else path):
            raise UserError(sentence)


CHECKS: tuple[Callable[[Notes], None], ...] = (_settings, _spans, _data, _people_routes_and_rules)
"""What there is to read, in an order in which each builds on those before."""
