"""Where each field of a topic comes from in a sample's messages, as `map` of a source has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lakehouse.topics import TOPICS, FieldKind
from tillwatch.init import names
from tillwatch.init.choices import EACH_LINE, ORDERS, Choices, MessageShape
from tillwatch.init.columns import in_number
from tillwatch.init.sample import Sample
from tillwatch.init.times import TimeForm

_OF_VALUES = {"status": names.STATUSES, "severity": names.SEVERITIES, "device_type": names.DEVICES}
_OTHERWISE = {"status": "PROCESSING", "severity": "INFO", "device_type": "desktop"}
_STANDS_FOR = {
    "product_id": "order",
    "quantity": 1,
    "device_type": "desktop",
    "service_name": "shop",
    "error_message": "-",
    "severity": "ERROR",
}
"""Constants where no column says it."""
_MOST_VALUES = 40
_TO_COME = {
    "paid": "PROCESSING",
    "shipped": "SHIPPED",
    "delivered": "DELIVERED",
    "cancelled": "CANCELLED",
    "canceled": "CANCELLED",
    "refunded": "CANCELLED",
}
"""What a message that was just sent does not show yet."""


class Fields:
    """The fields of a sample's events. Choices name every one that the topic needs."""

    def __init__(self, sample: Sample, choices: Choices) -> None:
        self._sample = sample
        self._choices = choices
        self._columns = sample.columns.by_path

    def all(self) -> dict[str, Any]:
        choices = self._choices
        found: dict[str, Any] = {}
        for each in TOPICS[choices.topic].fields:
            name = each.name
            if name not in names.NAMES[choices.topic]:
                continue
            if name in choices.constants and name != "quantity":
                found[name] = {"value": _constant(choices.constants[name])}
            elif choices.topic == ORDERS and name in ("price", "order_total", "quantity"):
                value = self._of_order(name)
                if value is not None:
                    found[name] = value
            elif name == "user_id":
                found |= self._user()
            elif (path := choices.path(name)) is None:
                if name == choices.id_field:
                    found[name] = self._made_id()
                elif name in _STANDS_FOR or name == "status":
                    found[name] = {"value": _STANDS_FOR.get(name, "DELIVERED" if self._sample.tabular else "CREATED")}
            elif name in _OF_VALUES:
                found[name] = self._looked_up(name, path)
            elif each.kind is FieldKind.TIME and choices.form is not None:
                found[name] = self._time(path, choices.form)
            elif path == EACH_LINE:
                found[name] = {"text": "{_file}-{_line}"}
            elif name in ("product_id", "service_name", "error_message"):
                found[name] = self._first_of(name)
            else:
                found[name] = self._amount(path) if path in choices.minor else path
        return found

    def _time(self, path: str, form: TimeForm) -> Any:
        if self._choices.clock:
            return {"text": f"{{{path}}} {{{self._choices.clock}}}", **form.keys}
        return {"path": path, **form.keys} if form.keys else path

    def _made_id(self) -> dict[str, str]:
        """Of a click or an error without one: its line, else its time and whom it is of."""
        if self._sample.tabular:
            return {"text": "{_file}-{_line}"}
        of = [self._choices.path(name) for name in (self._choices.time_field, "user_id", "service_name")]
        return {"text": "-".join(f"{{{path}}}" for path in of if path is not None)}

    def _user(self) -> dict[str, Any]:
        path = self._choices.path("user_id")
        if path is None:
            return {"guests": True}
        return {"user_id": path} | ({} if self._columns[path].full else {"guests": True})

    def _of_order(self, name: str) -> Any:
        choices = self._choices
        price, total = choices.path("price"), choices.path("order_total")
        if choices.shape is MessageShape.EACH:
            total = choices.line_total
        pieces = self._pieces(None if price is not None else total)
        if name == "quantity":
            return {"value": 1} if pieces is None else {"value": pieces} if isinstance(pieces, int) else pieces
        if name == "order_total":
            # Without a price it is the price, of one piece.
            return self._amount(total) if total and (price is not None or pieces is not None) else None
        if price is not None:
            return self._amount(self._taken(price))
        if not total or pieces is None:
            return self._amount(total) if total else None
        how = {"number": f"{in_number(total)} / {pieces if isinstance(pieces, int) else in_number(pieces)}"}
        return how | ({"minor": choices.minor[total]} if choices.minor.get(total) else {})

    def _pieces(self, divided: str | None) -> str | int | None:
        """Where their number stands, or how many they always are; None for one. divided: an amount of all of them."""
        path, given = self._choices.path("quantity"), self._choices.constants.get("quantity", "")
        if divided in self._sample.decimals:
            return None  # arithmetic does not read Connect's decimals
        if path is not None:
            return self._taken(path)
        return int(given) if given.isdecimal() and given != "1" else None

    def _taken(self, path: str) -> str:
        """A path of the elements, where only the first of them is looked at."""
        return path.replace("[]", "[0]") if self._choices.shape is MessageShape.WHOLE else path

    def _amount(self, path: str) -> Any:
        if path in self._sample.decimals:
            return {"path": path, "unscaled": self._sample.decimals[path]}
        minor = self._choices.minor.get(path.replace("[0]", "[]"), 0)
        return {"path": path, "minor": minor} if minor else path

    def _first_of(self, name: str) -> Any:
        """The likeliest column, and where it is not always there, others after it."""
        paths = self._choices.paths[name]
        taken = [self._taken(paths[0])]
        if not self._columns[paths[0]].full:
            for path in paths[1:]:
                taken.append(self._taken(path))
                if self._columns[path].full:
                    break
            else:
                return (
                    {"first": taken, "default": "unknown"}
                    if len(taken) > 1
                    else {"path": taken[0], "default": "unknown"}
                )
        return {"first": taken} if len(taken) > 1 else taken[0]

    def _looked_up(self, name: str, path: str) -> Any:
        column = self._columns[path]
        choices = TOPICS[self._choices.topic].field(name).choices
        more = {} if column.full else {"default": _OTHERWISE[name]}
        if all(value in choices for value in column.distinct):
            return {"path": path, **more} if more else path
        known = {value: names.ours(value, _OF_VALUES[name]) for value in column.distinct[:_MOST_VALUES]}
        table = {value: found or _OTHERWISE[name] for value, found in known.items()}
        if name == "status" and not self._sample.tabular:
            table = {**{_in_case_of(column.distinct[0], word): of for word, of in _TO_COME.items()}, **table}
        return {"path": path, "table": {**table, "*": _OTHERWISE[name]}, **more}

    def beside(self, fields: Mapping[str, Any]) -> dict[str, str]:
        """What stands in the sample, beside each field that takes it."""
        told = {}
        for name, value in fields.items():
            path = value if isinstance(value, str) else value.get("path") if isinstance(value, dict) else None
            column = self._columns.get(str(path).replace("[0]", "[]"))
            if column is not None and column.given:
                told[name] = f"like {' '.join(column.given[0].split())[:40]}"
        if self._choices.form is not None and self._choices.form.other and self._choices.time_field in told:
            told[self._choices.time_field] += ": day first, or month?"
        return told


def _in_case_of(value: str, word: str) -> str:
    return word.upper() if value.isupper() else word.capitalize() if value[:1].isupper() else word


def _constant(text: str) -> int | str:
    return int(text) if re.fullmatch(r"\d{1,9}", text) else text
