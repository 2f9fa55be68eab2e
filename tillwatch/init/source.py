"""The choices as sources of config/sources.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lakehouse.sources.envelope import Envelope
from lakehouse.topics import TOPICS, FieldKind
from tillwatch.init import names
from tillwatch.init.choices import EACH_LINE, ORDERS, Choices, Shape
from tillwatch.init.columns import in_number
from tillwatch.init.numbers import numbers_of
from tillwatch.init.sample import Sample

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


@dataclass(frozen=True)
class Written:
    """A source as its file has it. `about`: comments above it, and `beside` by field one on its line."""

    name: str
    content: Mapping[str, Any]
    about: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)


def sources_for(sample: Sample, choices: Choices, name: str, reads: str) -> list[Written]:
    """What reads the messages of a sample. Choices name every field that the topic needs."""
    return list(_Sources(sample, choices, name, reads).all())


class _Sources:
    def __init__(self, sample: Sample, choices: Choices, name: str, reads: str) -> None:
        self._sample = sample
        self._choices = choices
        self._name = name
        self._reads = reads
        self._columns = sample.columns.by_path
        self._is_changes = sample.envelope is Envelope.DEBEZIUM

    def all(self) -> Iterator[Written]:
        choices = self._choices
        of_changes = self._is_changes and choices.topic == ORDERS and "status" in choices.paths
        content = self._head()
        fields = self._fields()
        guests = fields.pop("guests", None)
        if guests:
            content["guests"] = True
        if (selected := self._selected()) is not None:
            content["select"] = selected
        if choices.shape is Shape.EACH:
            content["each"] = choices.list_path
        if (named := self._event_id()) is not None:
            content["event_id"] = named
        status = fields.get("status")
        if of_changes:
            fields["status"] = {"value": "CREATED"}
        yield Written(self._name, content | {"map": fields}, self._about(), self._beside(fields))
        if of_changes:
            yield self._changes(content, {**fields, "status": self._after_made(status)})
        if guests and self._sample.tabular and self._name != choices.topic:
            yield Written(
                choices.topic, {"guests": True}, ("A replay sends plain messages: they may lack their user too.",)
            )

    def _head(self) -> dict[str, Any]:
        sample, choices = self._sample, self._choices
        head: dict[str, Any] = {} if self._reads == self._name else {"reads": self._reads}
        head["topic"] = choices.topic
        if sample.envelope is not Envelope.PLAIN:
            head["envelope"] = sample.envelope.value
        if sample.registry:
            head["registry"] = True
        if choices.zone:
            head["zone"] = choices.zone
        return head | choices.signs.keys

    def _about(self) -> tuple[str, ...]:
        match self._choices.shape:
            case Shape.FIRST:
                return ("A line an article; what an order costs stands on its first line, the others are left out.",)
            case Shape.REPEATED:
                return ("A line an article, with the whole order's total on each: an order is its first line.",)
            case Shape.LINE:
                return ("A message is a line of an order (orders.grain in tillwatch.yaml).",)
            case Shape.EACH:
                return ("Each element of the list is a line of the order (orders.grain in tillwatch.yaml).",)
            case Shape.WHOLE:
                return ("A message is an order; of its list of lines the first one says what was bought.",)
        if self._is_changes:
            return ("A row that was inserted, or stands in a snapshot.",)
        return ()

    # What is taken, and what it is called -----------------------------------------------------------------------------

    def _selected(self) -> dict[str, Any] | None:
        choices, selected = self._choices, dict[str, Any]()
        if self._is_changes:
            selected["op"] = ["c", "r"]
        total, quantity = choices.path("order_total"), choices.path("quantity")
        if choices.shape is Shape.FIRST and total is not None:
            selected[total] = {"given": True}
        if quantity is not None and self._sample.tabular and self._below(quantity):
            selected[quantity] = {"above": 0}
        return selected or None

    def _below(self, quantity: str) -> bool:
        found = numbers_of(self._columns[quantity], self._choices.signs)
        return any(number is not None and number <= 0 for number in found)

    def _event_id(self) -> str | dict[str, str] | None:
        choices, sample = self._choices, self._sample
        key = choices.path(choices.id_field)
        if self._is_changes:
            return {"text": f"{self._table}:{{{key}}}"}
        if choices.events:
            return choices.events
        if sample.envelope is Envelope.CLOUDEVENTS:
            return "id"
        if key == EACH_LINE or (sample.tabular and choices.shape is Shape.LINE and not choices.lines):
            return {"text": "{_file}-{_line}"}
        if sample.tabular and choices.shape is Shape.LINE:
            return {"text": f"{self._name}-{{{key}}}-{{{choices.lines}}}"}
        if sample.tabular or choices.shape in (Shape.FIRST, Shape.REPEATED):
            return {"text": f"{self._name}-{{{key}}}"}
        return None

    @property
    def _table(self) -> str:
        column = self._columns.get("source.table")
        return column.given[0] if column is not None and column.given else self._name

    def _changes(self, content: Mapping[str, Any], fields: Mapping[str, Any]) -> Written:
        """The status of an order of a database, each time that it changes."""
        choices = self._choices
        key, status = choices.path("order_id"), choices.path("status")
        place = next((each for each in ("source.lsn", "source.pos", "source.ts_ms") if each in self._columns), "ts_ms")
        more = {
            "reads": self._reads,
            **content,
            "select": {"op": "u", status: {"differs": f"before.{str(status).removeprefix('after.')}"}},
            "event_id": {"text": f"{self._table}:{{{key}}}:{{{place}}}"},
            "map": {
                **fields,
                "order_time": {"path": "source.ts_ms" if "source.ts_ms" in self._columns else "ts_ms", "epoch": "ms"},
            },
        }
        return Written(
            f"{self._name}_changes",
            more,
            ("A change of its status is an event at the moment of the change; other updates are left out.",),
            self._beside({"status": fields["status"]}),
        )

    def _after_made(self, status: Any) -> dict[str, Any]:
        """A status that comes back to what new orders have makes no second order."""
        path = str(self._choices.path("status"))
        table = status["table"] if isinstance(status, dict) and "table" in status else None
        if table is None:
            table = {each: each for each in TOPICS[ORDERS].field("status").choices}
        return {"path": path, "table": {key: "PROCESSING" if of == "CREATED" else of for key, of in table.items()}}

    # Fields -----------------------------------------------------------------------------------------------------------

    def _fields(self) -> dict[str, Any]:
        choices = self._choices
        found: dict[str, Any] = {}
        for each in TOPICS[choices.topic].fields:
            name = each.name
            if name not in names.NAMES[choices.topic]:
                continue
            if name in choices.constants:
                found[name] = {"value": _constant(choices.constants[name])}
            elif choices.topic == ORDERS and name in ("price", "order_total", "quantity"):
                value = self._of_order(name)
                if value is not None:
                    found[name] = value
            elif name == "user_id":
                found |= self._user()
            elif (path := choices.path(name)) is None:
                if name in _STANDS_FOR or name == "status":
                    found[name] = {"value": _STANDS_FOR.get(name, "DELIVERED" if self._sample.tabular else "CREATED")}
            elif name in _OF_VALUES:
                found[name] = self._looked_up(name, path)
            elif each.kind is FieldKind.TIME and choices.form is not None:
                found[name] = {"path": path, **choices.form.keys} if choices.form.keys else path
            elif path == EACH_LINE:
                found[name] = {"text": "{_file}-{_line}"}
            elif name in ("product_id", "service_name", "error_message"):
                found[name] = self._first_of(name)
            else:
                found[name] = self._amount(path) if path in choices.minor else path
        return found

    def _user(self) -> dict[str, Any]:
        path = self._choices.path("user_id")
        if path is None:
            return {"guests": True}
        return {"user_id": path} | ({} if self._columns[path].full else {"guests": True})

    def _of_order(self, name: str) -> Any:
        choices = self._choices
        price, quantity = choices.path("price"), choices.path("quantity")
        total = choices.line_total if choices.shape is Shape.EACH else choices.path("order_total")
        if price is None and total in self._sample.decimals:
            quantity = None  # arithmetic does not read Connect's decimals
        if name == "quantity":
            return self._taken(quantity) if quantity is not None else {"value": 1}
        if name == "order_total":
            # Without a price it is the price, of one piece.
            return self._amount(total) if total and (price is not None or quantity is not None) else None
        if price is not None:
            return self._amount(self._taken(price))
        if not total:
            return None
        if quantity is None:
            return self._amount(total)
        how = {"number": f"{in_number(total)} / {in_number(self._taken(quantity))}"}
        return how | ({"minor": choices.minor[total]} if choices.minor.get(total) else {})

    def _taken(self, path: str) -> str:
        """A path of the elements, where only the first of them is looked at."""
        return path.replace("[]", "[0]") if self._choices.shape is Shape.WHOLE else path

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

    def _beside(self, fields: Mapping[str, Any]) -> dict[str, str]:
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
