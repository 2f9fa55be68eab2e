"""The short form of a shop's own topic: what follows from the rest of its file need not be said there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lakehouse.declared import Declaration


def completed(declaration: Declaration) -> Declaration:
    """The same with what its file leaves out: order, docs, time, key and table.

    A field may be its kind alone (`amount: MONEY`), or its choices (`state: [OPEN, PAID]`). `time` is the one required
    TIME. `key` is all that every event has, by name, so that the order of the lines says nothing. The table is called
    as the topic, with `_processed` in place of `_topic`.
    """
    said = dict(declaration.content)
    fields = said.get("fields")
    if isinstance(fields, dict):
        said["fields"] = fields = {name: _field(str(name), given) for name, given in fields.items()}
        always = {name: given for name, given in fields.items() if isinstance(given, Mapping) and _always(given)}
        times = [name for name, given in always.items() if given.get("kind") == "TIME"]
        said.setdefault("time", times[0] if len(times) == 1 else "")
        said.setdefault("key", sorted(always))
    said.setdefault("order", 0)
    said.setdefault("doc", f"Messages on {declaration.name}.")
    table = said.setdefault("table", {})
    if isinstance(table, dict):
        what = declaration.name.removesuffix("_topic")
        said["table"] = {"name": f"{what}_processed", "doc": f"{what.capitalize()} as they came, each once.", **table}
    return replace(declaration, content=said)


def _field(name: str, given: Any) -> Any:
    if isinstance(given, str):
        given = {"kind": given}
    elif isinstance(given, list):
        given = {"kind": "CHOICE", "choices": given}
    return {"doc": name.replace("_", " "), **given} if isinstance(given, dict) else given


def _always(given: Mapping[str, Any]) -> bool:
    """Whether every event has such a field."""
    return given.get("required", True) is True or "default" in given
