"""`tillwatch check`: all of config/ read as the parts read it; every mistake, not only the first, in one sentence each.

What builds on something wrong (a KPI over a topic, a rule over a KPI) is not told a second time.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lakehouse.mistakes import Mistake, collect, is_left_out, noted
from lakehouse.own import config_path, own_files
from lakehouse.user_error import UserError

if TYPE_CHECKING:
    from lakehouse.rules import Rule
    from tillwatch.checks.planning import StatementPlanner

_LINE = re.compile(r"[,:] line (\d+)")


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
    found, notes = collect(), list[str]()
    # Not above: with it come the declarations of tables, whose mistakes are collected too.
    from tillwatch.checks.planning import StatementPlanner

    with closing(StatementPlanner(notes)) as plans:
        looking = Looking(plans, notes)
        for check in CHECKS:
            with noted(config_path()):
                check(looking)
    told = {" ".join(mistake.sentence.split()): mistake for mistake in reversed(found)}
    mistakes = [Mistake(mistake.path, sentence) for sentence, mistake in reversed(told.items())]
    return sorted(mistakes, key=lambda each: (str(each.path), line(each) or 0)), notes


@dataclass
class Looking:
    """Who plans statements, and sentences that are no mistakes: what could not be looked at, and why. asked: questions
    that a board or a rule asks."""

    plans: StatementPlanner
    notes: list[str]
    asked: set[str] = field(default_factory=set)


def line(mistake: Mistake) -> int | None:
    """The line that a sentence names."""
    named = _LINE.search(mistake.sentence)
    return int(named[1]) if named else None


def _settings(_: Looking) -> None:
    from tillwatch.settings_page import every_section

    for section in every_section(spark=importlib.util.find_spec("pyspark") is not None).values():
        with noted(config_path()):
            section.load()


def _spans(_: Looking) -> None:
    from lakehouse.settings.base import Shared
    from pipeline.settings import RetentionSettings, check_spans

    check_spans(RetentionSettings.load(), Shared.load(), None)


def _data(_: Looking) -> None:
    """Topics and KPI tables are read where they are imported; queries are not run there."""
    from lakehouse.kpis import KPIS
    from lakehouse.kpis.check import check_queries
    from lakehouse.settings.shop import OrdersSettings

    counting = OrdersSettings.load().counting
    for kpi in KPIS.values():
        if kpi.table.own:
            with noted(Path(kpi.table.declared_in)):
                check_queries([kpi], counting)


def _sources(_: Looking) -> None:
    from lakehouse.settings.rates import load_rates
    from lakehouse.sources import FILE, load_sources

    folder = config_path().parent
    with noted(folder / "rates.csv"):
        load_rates()
    with noted(folder / FILE):
        # Whether amounts can be converted is a matter of the rates alone.
        load_sources(as_given=True)


def _questions_and_boards(looking: Looking) -> None:
    folder = config_path().parent
    if not (folder / "questions").exists() and not (folder / "boards").exists():
        return
    # Only where there are some: the tabs that boards stand beside take a second to be read.
    from tillwatch.checks.boards import check_boards, check_questions

    answers = check_questions(folder / "boards", looking.plans, looking.notes)
    looking.asked |= check_boards(folder / "boards", answers, looking.plans, looking.notes)


def _people_routes_and_rules(looking: Looking) -> None:
    from lakehouse.rules import load_rules
    from notifier.channels import CHANNELS
    from notifier.links import check_links
    from notifier.settings import NotifierSettings
    from tillwatch.checks.questions import unanswerable
    from tillwatch.checks.reach import unreached

    path = config_path().parent / "alerts.yaml"
    rules: Sequence[Rule] = ()
    routed = False
    with noted(path):
        rules = load_rules(path) if path.exists() else ()
        looking.asked |= {rule.asked for rule in rules if rule.asked}
        # What comes of a rule that is wrong is not known.
        routed = not is_left_out(path)
        _note(path, unanswerable(path, rules, looking.plans, looking.notes))
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
        if routed:
            _note(place, unreached(place, routing, rules))


def _unasked(looking: Looking) -> None:
    folder = config_path().parent
    # A board or a rule that is wrong may mean it.
    if is_left_out(folder / "alerts.yaml") or any(map(is_left_out, (folder / "boards").glob("*.y*ml"))):
        return
    for path in own_files("questions", ".sql"):
        if path.stem not in looking.asked and not is_left_out(path):
            looking.notes.append(f"{path} is asked by no board and no rule.")


def _note(path: Path, sentences: Iterable[str]) -> None:
    """Sentences of a file, or of the one that they begin with."""
    for sentence in sentences:
        named = Path(sentence.partition(", line ")[0])
        with noted(named if named.is_absolute() else path):
            raise UserError(sentence)


CHECKS: tuple[Callable[[Looking], None], ...] = (
    _settings,
    _spans,
    _data,
    _sources,
    _questions_and_boards,
    _people_routes_and_rules,
    _unasked,
)
"""What there is to read, in an order in which each builds on those before."""
