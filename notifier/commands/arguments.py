"""What people type: moments, spans, columns, conditions, the beginning of an id. All raise UserError."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lakehouse.settings.durations import parse_duration
from lakehouse.texts import near
from lakehouse.user_error import UserError
from notifier.model import AlertRow
from notifier.routing.matchers import COLUMNS, Matcher, make_matcher, parse_matcher

_CONDITION = re.compile(r"""\s*(\w+\s*(?:=~|!~|!=|=)\s*(?:"[^"]*"|'[^']*'|[^\s"']\S*))""")
_SHOWN = 4
"""Ids that a sentence names."""


def moment_of(option: str, given: str) -> datetime:
    """A moment as ISO 8601 writes it; UTC without an offset."""
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise UserError(f"'{given}' is no time for {option}; write it like 2027-01-31T22:00:00+01:00.") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def span_of(option: str, given: str) -> timedelta:
    """A span as settings write it, longer than none."""
    try:
        span = parse_duration(given)
    except ValueError as error:
        raise UserError(f"'{given}' is no span for {option}: {error}.") from None
    if not isinstance(span, timedelta) or not span:
        raise UserError(f"'{given}' is no span for {option}: it is over as it begins; write it like 2h.")
    return span


def past_of(option: str, given: str, now: datetime) -> datetime:
    """A moment, or a span before now."""
    if re.fullmatch(r"\s*[\d.]+\s*[a-z]+\s*", given):
        try:
            return now - span_of(option, given)
        except OverflowError:
            raise UserError(f"'{given}' for {option} is longer ago than can be counted.") from None
    return moment_of(option, given)


def range_of(since: str, until: str | None, now: datetime) -> tuple[datetime, datetime]:
    """What --from and --to give; until now where there is no --to."""
    begin = past_of("--from", since, now)
    end = now if until is None else past_of("--to", until, now)
    if begin >= end:
        raise UserError(f"--from ({begin.isoformat()}) is not before --to ({end.isoformat()}); mend one of them.")
    return begin, end


def alert_of(columns: Sequence[str], moment: datetime, **otherwise: str) -> AlertRow:
    """An alert of these COLUMN=VALUE; `otherwise` are columns that nobody may give."""
    given: dict[str, Any] = dict(otherwise)
    for written in columns:
        name, equals, value = written.partition("=")
        if not equals or name not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise UserError(f"'{written}' is no COLUMN=VALUE of an alert{near(name, COLUMNS)}; columns are {known}.")
        try:
            given[name] = float(value) if COLUMNS[name].type == "double" else make_matcher(name, "=", value).value
        except ValueError as error:
            if COLUMNS[name].type == "double":
                raise UserError(f"'{value}' is no number for {name}; write it like {name}=1.5.") from None
            raise UserError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    texts = dict.fromkeys(("alert_id", "incident_id", "alert_type", "rule", "severity", "description"), "")
    times = dict.fromkeys(("alert_timestamp", "received_at", "ingested_at", "starts_at"), moment)
    return AlertRow(**{**texts, **times, "status": "FIRING", "commit": "", **given})


def condition_of(written: str) -> Matcher:
    """One condition, like severity=FATAL."""
    try:
        return parse_matcher(written)
    except ValueError as error:
        raise UserError(f"'{written}': {error}.") from None


def conditions_of(written: str) -> tuple[Matcher, ...]:
    """Several in one text, with blanks between them; a value with blanks stands in quotes."""
    found = [match[1] for match in _CONDITION.finditer(written)]
    if not found or _CONDITION.sub("", written).strip():
        raise UserError(f"'{written}' is no list of conditions; write it like \"service_name=cart severity=FATAL\".")
    return tuple(map(condition_of, found))


def one_of(begins: str, known: Iterable[str], what: str, lists: str) -> str:
    """The one id that begins so; one that is given whole is meant, whatever else begins with it.

    what: an incident, a delivery; lists: the command that shows them.
    """
    found = sorted({each for each in known if each.startswith(begins)}) if begins else []
    if begins in found:
        return begins
    if not found:
        raise UserError(f"There is no {what} '{begins[:80]}'; `notifier {lists}` shows them.")
    if len(found) > 1:
        more = ", …" if len(found) > _SHOWN else ""
        raise UserError(
            f"'{begins}' is the beginning of {len(found)} ids ({', '.join(found[:_SHOWN])}{more}); give more of it."
        )
    return found[0]
