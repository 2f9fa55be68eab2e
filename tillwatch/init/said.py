"""What flags say of a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from lakehouse.texts import visible
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from tillwatch.init.choices import Choices, Given, flag, short
from tillwatch.init.names import NAMES, NEVER, rank
from tillwatch.init.naming import guess_topic
from tillwatch.init.questions import Take, lacking
from tillwatch.init.sample import Sample
from tillwatch.init.times import EPOCHS


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UserError(f"{option} is '{visible(text, 60)}'; expected FIELD=…, like {option} product_id=sku.")
        if name.strip() in found:
            raise UserError(f"{option} names '{name.strip()}' twice; leave one out.")
        found[name.strip()] = value.strip()
    return found


def taken(option: str, value: str, given: Given, take: Take) -> Given:
    try:
        return take(given, value)
    except UserError as error:
        raise UserError(f"{option}: {error}") from None


def with_columns(sample: Sample, given: Given, said: Mapping[str, str | None]) -> Given:
    """The columns of flags that mean a field each topic calls by a name of its own."""
    topic = TOPICS[given.topic or guess_topic(sample)]
    fields = {flag(topic.name, each.name): each.name for each in topic.fields if each.name in NAMES[topic.name]}
    paths = dict(given.paths)
    for option, path in said.items():
        if path is None:
            continue
        if option not in fields:
            raise UserError(f"{option} says nothing of {short(topic.name)}; leave it out, or correct --topic.")
        if fields[option] in paths:
            raise UserError(f"{option} and --map {fields[option]}= both name a column; leave one out.")
        paths[fields[option]] = path
    return replace(given, paths=paths)


def check_form(form: str | None) -> None:
    if form is None or form in EPOCHS:
        return
    moment = datetime(2024, 12, 31, 23, 59, 58, tzinfo=UTC)
    try:
        read = datetime.strptime(moment.strftime(form), form)  # noqa: DTZ007  # only its day is looked at
    except ValueError:
        read = None
    if read is None or read.date() != moment.date():
        raise UserError(
            f"--date-format is '{visible(form, 60)}'; expected a form like %d.%m.%Y, or one of {', '.join(EPOCHS)}."
        )


def refuse_lacking(sample: Sample, choices: Choices) -> None:
    """Raises UserError where nothing says what the topic cannot do without."""
    for name in lacking(choices):
        option = flag(choices.topic, name)
        of = {"--id": "id", "--time": "time", "--total": "amount"}.get(option, name)
        each = ", or by --id _line where each line is one" if option == "--id" and sample.tabular else ""
        almost = _almost(sample, choices.topic, name)
        raise UserError(
            f"Nothing in {sample.file} looks like the {of} of {short(choices.topic)}{almost}; "
            f"name it by {option}{'' if option.endswith('=') else ' '}COLUMN{each}. It has "
            f"{visible(', '.join(sample.columns.by_path), 600)}."
        )


def _almost(sample: Sample, topic: str, name: str) -> str:
    """A column whose name would do, and whose values will not."""
    is_time, is_id = name == TOPICS[topic].time, name == TOPICS[topic].id_field
    what = "is no time that is known here" if is_time else "is no number"
    for column in sample.columns:
        if rank(column.words, NAMES[topic][name], NEVER.get(name, "")) is None or column.path.endswith("ts_ms"):
            continue
        if is_id and not column.full:
            return f" ('{visible(column.path, 60)}' is not there in all of them)"
        if not is_id and column.given:
            return f" ('{visible(column.path, 60)}' has '{visible(column.given[0], 60)}', which {what})"
    return ""
