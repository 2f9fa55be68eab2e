"""Six questions, each with the guess as its default; an answer is what a flag would say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from zoneinfo import available_timezones

import typer

from lakehouse.rates import CODE
from lakehouse.texts import near, visible
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError
from tillwatch.init import names
from tillwatch.init.choices import EACH_LINE, NOTHING, ORDERS, Choices, Given, flag, short
from tillwatch.init.guess import guessed
from tillwatch.init.naming import guess_topic
from tillwatch.init.sample import Sample

type Take = Callable[[Given, str], Given]

AMOUNTS = ("order_total", "amount")
_MORE = {
    ORDERS: ("order_total", "user_id"),
    "clicks_topic": ("user_id", "url", "device_type"),
    "errors_topic": ("service_name", "error_message", "severity"),
    "refunds_topic": ("amount", "order_id"),
}
"""What is asked of a topic beside what it is, its id and its time; of orders the grain too."""
_ASKED = {
    "order_total": f"What it costs: the column of the total ({NOTHING}: price times quantity), and the currency",
    "amount": "What was paid back: the column, and the currency",
    "user_id": f"Who it was: the column of the customer ({NOTHING}: all are guests)",
    "order_id": "Which order it is for: the column",
    "url": "What was opened: the column",
    "device_type": f"On what: the column ({NOTHING}: not said)",
    "service_name": f"Which service: the column ({NOTHING}: not said)",
    "error_message": f"What it said: the column ({NOTHING}: not said)",
    "severity": f"How bad: the column ({NOTHING}: not said)",
}
_GRAINS = ("order", "line")


def ask(sample: Sample, given: Given) -> Given:
    """Put the questions that nothing answers yet. Raises UserError where the answers end before they do."""
    number = 1
    if given.topic is None:
        kinds = ", ".join(map(short, names.NAMES))
        given = _put(sample, given, f"1. What it holds ({kinds})", short(guess_topic(sample)), take_topic)
    topic = TOPICS[given.topic or ORDERS]
    for name in _fields(topic.name):
        number += 1
        if name in given.paths or name in given.constants:
            continue
        choices = guessed(sample, given)
        if name == topic.id_field:
            each = f" ({EACH_LINE}: each line is one)" if sample.tabular else ""
            default = choices.path(name) or ("" if topic.name in (ORDERS, "refunds_topic") else NOTHING)
            text = f"What names it: the column of its id{each}"
        elif name == topic.time:
            text, default = "When it was: the column, and the zone of times without one", _time(choices)
        else:
            text, default = _ASKED[name], choices.path(name) or NOTHING
            if name in AMOUNTS:
                default = f"{choices.line_total or default}{f', {choices.currency}' if choices.currency else ''}"
        given = _put(sample, given, f"{number}. {text}", default, _taking(name, topic.time))
    if topic.name == ORDERS and given.grain is None:
        grain = guessed(sample, given).shape.grain
        text = "6. What counts: each message, or line, an order, or a line of one (order, line)"
        given = _put(sample, given, text, grain, take_grain)
    return given


def unsaid(sample: Sample, given: Given) -> list[str]:
    """The flags of all that nothing answers, each with its guess."""
    topic = given.topic or guess_topic(sample)
    choices = guessed(sample, given)
    found = [] if given.topic else [f"--topic {short(topic)}"]
    for name in _fields(topic):
        if name not in given.paths and name not in given.constants:
            path = choices.line_total or choices.path(name) if name in AMOUNTS else choices.path(name)
            said = flag(topic, name)
            found.append(f"{said}{'' if said.endswith('=') else ' '}{_quoted(path or NOTHING)}")
    return found if topic != ORDERS or given.grain else [*found, f"--grain {choices.shape.grain}"]


def lacking(choices: Choices) -> list[str]:
    """The fields that a topic cannot do without, and nothing says."""
    needed = {
        ORDERS: ("order_id", "order_time"),
        "clicks_topic": ("click_time", "url"),
        "errors_topic": ("error_time",),
        "refunds_topic": ("refund_id", "refund_time", "amount", "order_id"),
    }[choices.topic]
    said = choices.paths.keys() | choices.constants.keys()
    found = [name for name in needed if name not in said]
    if choices.topic == ORDERS and not choices.line_total and not {"order_total", "price"} & said:
        found.append("order_total")
    return found


# Answers --------------------------------------------------------------------------------------------------------------


def take_topic(given: Given, answer: str) -> Given:
    known = {short(name): name for name in names.NAMES}
    name = known.get(answer.lower().removesuffix("_topic"))
    if name is None:
        raise UserError(f"'{visible(answer, 60)}' is none of {', '.join(known)}{near(answer, known)}; say one of them.")
    return replace(given, topic=name)


def take_grain(given: Given, answer: str) -> Given:
    if answer not in _GRAINS:
        raise UserError(f"'{visible(answer, 60)}' is none of {' and '.join(_GRAINS)}; say one of them.")
    return replace(given, grain=answer)


def take_zone(given: Given, answer: str) -> Given:
    zones = available_timezones()
    if answer not in zones:
        raise UserError(f"'{visible(answer, 60)}' is no zone{near(answer, zones)}; say one like Europe/Berlin.")
    return replace(given, zone=answer)


def take_currency(given: Given, answer: str) -> Given:
    if not CODE.fullmatch(answer.upper()):
        raise UserError(f"'{visible(answer, 60)}' is no currency; say a code of ISO 4217, like EUR.")
    return replace(given, currency=answer.upper())


def _taking(name: str, time: str) -> Take:
    def take(given: Given, answer: str) -> Given:
        path, more = answer, ""
        if (name == time or name in AMOUNTS) and "," in answer:
            path, _, more = (each.strip() for each in answer.rpartition(","))
        given = replace(given, paths={**given.paths, name: path})
        if not more:
            return given
        return take_zone(given, more) if name == time else take_currency(given, more)

    return take


# Putting them ---------------------------------------------------------------------------------------------------------


def _put(sample: Sample, given: Given, text: str, default: str, take: Take) -> Given:
    while True:
        try:
            answer = typer.prompt(text, default=default or None, prompt_suffix=": ")
            taken = take(given, str(answer).strip())
            guessed(sample, taken)
        except UserError as error:
            typer.echo(f"   {error}")
        except (typer.Abort, EOFError, KeyboardInterrupt):
            typer.echo()
            raise UserError("It was ended before the last question; nothing was written.") from None
        else:
            return taken


def _fields(topic: str) -> Iterator[str]:
    yield TOPICS[topic].id_field
    yield TOPICS[topic].time
    yield from _MORE[topic]


def _time(choices: Choices) -> str:
    path = choices.path(choices.time_field) or ""
    zoned = not path or choices.form is None or choices.form.zoned
    return path if zoned else f"{path}, {choices.zone or 'UTC'}"


def _quoted(path: str) -> str:
    return f"'{path}'" if " " in path else path
