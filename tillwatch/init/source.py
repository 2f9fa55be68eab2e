"""The choices as sources of config/sources.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lakehouse.sources.envelope import Envelope
from lakehouse.topics import TOPICS
from tillwatch.init.choices import EACH_LINE, ORDERS, Choices, MessageShape
from tillwatch.init.fields import Fields
from tillwatch.init.numbers import numbers_of
from tillwatch.init.sample import Sample


@dataclass(frozen=True)
class SourceText:
    """A source as its file has it. `about`: comments above it, and `beside` by field one on its line."""

    name: str
    content: Mapping[str, Any]
    about: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)


def sources_for(sample: Sample, choices: Choices, name: str, reads: str) -> list[SourceText]:
    """What reads the messages of a sample. Choices name every field that the topic needs."""
    return list(_Sources(sample, choices, name, reads).all())


class _Sources:
    def __init__(self, sample: Sample, choices: Choices, name: str, reads: str) -> None:
        self._sample = sample
        self._choices = choices
        self._name = name
        self._reads = reads
        self._columns = sample.columns.by_path
        self._fields = Fields(sample, choices)
        self._is_changes = sample.envelope is Envelope.DEBEZIUM

    def all(self) -> Iterator[SourceText]:
        choices = self._choices
        of_changes = self._is_changes and choices.topic == ORDERS and "status" in choices.paths
        content = self._head()
        fields = self._fields.all()
        guests = fields.pop("guests", None)
        if guests:
            content["guests"] = True
        if (selected := self._selected()) is not None:
            content["select"] = selected
        if choices.shape is MessageShape.EACH:
            content["each"] = choices.list_path
        if (named := self._event_id()) is not None:
            content["event_id"] = named
        status = fields.get("status")
        if of_changes:
            fields["status"] = {"value": "CREATED"}
        yield SourceText(self._name, content | {"map": fields}, self._about(), self._fields.beside(fields))
        if of_changes:
            yield self._changes(content, {**fields, "status": self._after_made(status)})
        if guests and self._name != choices.topic:
            yield SourceText(
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
            case MessageShape.FIRST:
                return ("A line an article; what an order costs stands on its first line, the others are left out.",)
            case MessageShape.REPEATED:
                return ("A line an article, with the whole order's total on each: an order is its first line.",)
            case MessageShape.LINE:
                return ("A message is a line of an order (orders.grain in tillwatch.yaml).",)
            case MessageShape.EACH:
                return ("Each element of the list is a line of the order (orders.grain in tillwatch.yaml).",)
            case MessageShape.WHOLE:
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
        if choices.shape is MessageShape.FIRST and total is not None:
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
        if key is None:
            return {"text": "{_file}-{_line}"} if sample.tabular else None
        if key == EACH_LINE or (sample.tabular and choices.shape is MessageShape.LINE and not choices.lines):
            return {"text": "{_file}-{_line}"}
        if sample.tabular and choices.shape is MessageShape.LINE:
            return {"text": f"{self._name}-{{{key}}}-{{{choices.lines}}}"}
        if sample.tabular or choices.shape in (MessageShape.FIRST, MessageShape.REPEATED):
            return {"text": f"{self._name}-{{{key}}}"}
        return None

    @property
    def _table(self) -> str:
        column = self._columns.get("source.table")
        return column.given[0] if column is not None and column.given else self._name

    def _changes(self, content: Mapping[str, Any], fields: Mapping[str, Any]) -> SourceText:
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
        return SourceText(
            f"{self._name}_changes",
            more,
            ("A change of its status is an event at the moment of the change; other updates are left out.",),
            self._fields.beside({"status": fields["status"]}),
        )

    def _after_made(self, status: Any) -> dict[str, Any]:
        """A status that comes back to what new orders have makes no second order."""
        path = str(self._choices.path("status"))
        table = status["table"] if isinstance(status, dict) and "table" in status else None
        if table is None:
            table = {each: each for each in TOPICS[ORDERS].field("status").choices}
        return {"path": path, "table": {key: "PROCESSING" if of == "CREATED" else of for key, of in table.items()}}
