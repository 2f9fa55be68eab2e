"""A question in SQL, asked every so often; the notifier judges its answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

import pyarrow as pa
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from lakehouse.dremio.columns import declared
from lakehouse.dremio.errors import DremioError
from lakehouse.dremio.statement import QUESTIONS, fill, named_in, without_comments
from lakehouse.rules.book import AlertBook
from lakehouse.rules.moment import Moment
from lakehouse.rules.rule import Number, Rule, Severity, Text, WrongKey, names_in
from lakehouse.settings.durations import Duration
from lakehouse.settings.shop import OrdersSettings
from lakehouse.tables import CATALOG, SCHEMA, TABLES
from lakehouse.yaml_file import NotYaml, read_text

OWN_WORDS = ("value", "threshold", "for")
"""What a text may name in braces beside the columns of the answer."""
_BINDS = ("as_of", "since", "until")
_BESIDE_OURS = re.compile(rf'"?{CATALOG}"?\s*\.\s*"?{SCHEMA}"?\s*\.\s*"?(\w+)', re.IGNORECASE)
_NAME = re.compile(r"\w+")


class QuestionRule(Rule):
    """Asks `sql`, or the file config/questions/`question`.sql, every `every`, in Dremio's dialect.

    Tables of ours stand as {name} and are read at the newest commit; `:as_of` is its moment, `:until` the same and
    `:since` that less `over`. Each row is of an entity, the values of `by`. It is outside where `value` is above or
    below a limit, or, with `rows: any`, because it is there; an entity without a row is inside. Fires when an entity
    was outside for `for`, resolves when it was inside for `keep_firing_for`.
    severity_from: a text column that says how bad a row is; `severity` where it says nothing. most: entities that may
    be pending or firing at once. time_limit: of one asking.
    """

    sql: Text | None = None
    question: Text | None = None
    every: Annotated[Duration, Field(ge=timedelta(seconds=5), le=timedelta(days=1))]
    over: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=400))] | None = None
    value: Text | None = None
    above: Number | None = None
    below: Number | None = None
    rows: Literal["any"] | None = None
    by: tuple[str, ...] = ()
    severity_from: Text | None = None
    for_: Annotated[Duration, Field(alias="for", ge=timedelta(0), le=timedelta(days=30))] = timedelta(0)
    keep_firing_for: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=30))] = timedelta(0)
    time_limit: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(minutes=5))] = timedelta(seconds=10)
    most: Annotated[int, Field(ge=1, le=1000)] = 100
    _template: str = PrivateAttr("")

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        if (self.sql is None) == (self.question is None):
            given = "nothing" if self.sql is None else "a statement, beside the key question"
            raise WrongKey("sql", given, "one of the keys sql and question")
        if self.rows is None:
            self._check_limit()
        elif self.value is not None or self.above is not None or self.below is not None:
            raise WrongKey("rows", self.rows, "either rows: any, or value with above or below")
        if len(set(self.by)) < len(self.by):
            raise WrongKey("by", ", ".join(self.by), "each column once")
        folder = info.context.get("folder") if info.context else None
        key = "sql" if self.sql is not None else "question"
        text = self.sql or _template_of(self.question or "", folder)
        self._template = OrdersSettings.load().counting.filled(text)
        self._check_template(key)
        self._check_columns(key)
        return self

    def _check_limit(self) -> None:
        if self.value is None:
            raise WrongKey("value", "nothing", "the name of a column of the answer, or rows: any in its place")
        if (self.above is None) == (self.below is None):
            given = "nothing" if self.above is None else f"{self.above:g}, beside below {self.below:g}"
            raise WrongKey("above", given, "a number for one of above and below")

    def _check_template(self, key: str) -> None:
        tables, binds = named_in(self._template)
        for name in sorted(tables - TABLES.keys()):
            raise WrongKey(
                key, f"{{{name}}}", "a table of the contract, or its whole path", [f"{{{one}}}" for one in TABLES]
            )
        binds_known = [f":{bind}" for bind in _BINDS]
        for name in sorted(binds - {*_BINDS}):
            raise WrongKey(key, f":{name}", f"no other binds than {', '.join(binds_known)}", binds_known)
        if "since" in binds and self.over is None:
            raise WrongKey("over", "nothing", "a span like '10 min', for the statement asks for :since")
        # A rule asks: with Dremio's user nothing else keeps it from writing.
        first = re.match(r"[\s(]*(\w*)", without_comments(self._template))
        if first is None or first[1].upper() not in ("SELECT", "WITH", "VALUES"):
            raise WrongKey(key, self._template.strip()[:40], "a statement that begins with SELECT, WITH or VALUES")

    def _check_columns(self, key: str) -> None:
        """Refuse a text that cannot be filled in, and columns that the file itself says are not there."""
        named = [("value", self.value), ("severity_from", self.severity_from), *(("by", name) for name in self.by)]
        for where, text in (("description", self.description), ("summary", self.summary)):
            named += [(where, name) for name in names_in(where, text) if name not in OWN_WORDS]
        try:
            columns = declared(self._template, f"{self.question or 'sql'}")
        except DremioError as error:
            raise WrongKey(key, self.question or "its comment", f"columns that can be read: {error}") from None
        if columns is not None:
            known = [name for name, _ in columns.kinds]
            for where, name in named:
                if name is not None and name not in known:
                    raise WrongKey(where, name, f"a column of the answer: {', '.join(known)}", known)

    @property
    def asked(self) -> str | None:
        return self.question

    @property
    def severities(self) -> tuple[str, ...]:
        return get_args(Severity) if self.severity_from else (self.severity,)

    @property
    def asks(self) -> bool:
        return True

    @property
    def template(self) -> str:
        """What is asked, with the names of tables and binds."""
        return self._template

    @property
    def reads_ours(self) -> bool:
        """Whether the age of our data says anything of the answer: tables that others write have no commit of ours."""
        tables, binds = named_in(self._template)
        beside = _BESIDE_OURS.findall(without_comments(self._template))
        return bool(tables or binds or any(name.lower() in TABLES for name in beside))

    @property
    def threshold(self) -> float | None:
        return self.above if self.above is not None else self.below

    def statement(self, commit: str | None, as_of: datetime | None) -> str:
        """The SQL at a commit, whose moment is as_of. Raises QueryError where it needs one that is not known."""
        _, named = named_in(self._template)
        binds: dict[str, datetime] = {}
        if as_of is not None:
            binds = {"as_of": as_of, "until": as_of, "since": as_of - (self.over or timedelta(0))}
        wanted = {name: moment for name, moment in binds.items() if name in named}
        return fill(self._template, commit, wanted, name=f"the rule {self.name}")

    def tick(self, book: AlertBook, moment: Moment, kpis: Mapping[str, pa.Table], max_lookback: timedelta) -> None:
        """Nothing: the notifier judges it."""


def _template_of(name: str, folder: Path | None) -> str:
    """The text of a question: the shop's own, else the one that is shipped."""
    places = [*([folder / "questions"] if folder else []), QUESTIONS]
    if _NAME.fullmatch(name):
        for place in places:
            path = place / f"{name}.sql"
            if path.is_file():
                try:
                    return read_text(path)
                except NotYaml as error:
                    raise WrongKey("question", name, f"a file that can be read; {path}: {error}") from None
    own = sorted(path.stem for path in places[0].glob("*.sql")) if folder else []
    there = f"; there are {', '.join(own)}" if own else ""
    raise WrongKey("question", name, f"the name of a file {places[0] / 'NAME.sql'}{there}", own)


def asking(rules: Iterable[Rule]) -> tuple[QuestionRule, ...]:
    """Those of the rules that ask."""
    return tuple(rule for rule in rules if isinstance(rule, QuestionRule))
