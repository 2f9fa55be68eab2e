"""A topic's YAML file read into a Topic, or one sentence that says what is wrong in which line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Any

import msgspec

from lakehouse.declared import Declaration
from lakehouse.mistakes import noted
from lakehouse.schema import LINEAGE, Column, Table
from lakehouse.texts import near
from lakehouse.topics.short import completed
from lakehouse.topics.topic import (
    AMOUNTS,
    COLUMN_TYPES,
    EVENT_ID,
    NUMBERS,
    PRODUCED_AT,
    FieldKind,
    Topic,
    TopicField,
)

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PRODUCT = re.compile(r"\s*(\w+)\s*\*\s*(\w+)\s*")
_KINDS = [kind.name for kind in FieldKind]


class _TableKeys(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    doc: str
    grain: str | None = None


class _TopicKeys(msgspec.Struct, forbid_unknown_fields=True):
    order: int
    doc: str
    time: str
    fields: dict[str, Any]
    key: list[str]
    table: _TableKeys
    message_key: str | None = None


class _FieldKeys(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    doc: str
    required: bool = True
    choices: list[str] = []
    above: int | None = None
    default: str | None = None
    unit: str = ""
    column: str | None = None
    original: str | None = None
    guest: bool = False


def load_topics(files: Iterable[Path], own: Iterable[Path] = ()) -> dict[str, Topic]:
    """The topics of YAML files, each named like its file, in their `order`; the shop's own ones, which may say less,
    after all others.

    Raises UserError in one sentence that names file, line, name and what would do.
    """
    found: list[tuple[bool, int, Topic, Declaration]] = []
    for is_own, path in [*((False, path) for path in files), *((True, path) for path in own)]:
        with noted(path):
            declaration = Declaration.of_yaml(path)
            declaration = completed(declaration) if is_own else declaration
            keys = declaration.read(_TopicKeys)
            found.append((is_own, keys.order, _topic(declaration, keys, is_own), declaration))
    topics: dict[str, Topic] = {}
    for _, _, topic, declaration in sorted(found, key=lambda each: (each[0], each[1], each[2].name)):
        with noted(declaration.path):
            _refuse_taken(topic, topics, declaration)
            topics[topic.name] = topic
    return topics


def _refuse_taken(topic: Topic, topics: Mapping[str, Topic], declaration: Declaration) -> None:
    for other in topics.values():
        if other.table.name == topic.table.name:
            raise declaration.wrong(
                f"the table '{topic.table.name}' is that of {other.name}; give it another name", "table", "name"
            )
    if topic.name in topics:
        raise declaration.wrong(f"there is another topic '{topic.name}'; give its file another name")


def _topic(declaration: Declaration, keys: _TopicKeys, own: bool) -> Topic:
    name = declaration.name
    if not _NAME.fullmatch(name):
        raise declaration.wrong(f"'{name}' is no name of a topic; use small letters, digits and _")
    fields = {field: _field(declaration, field, given) for field, given in keys.fields.items()}
    for each in fields.values():
        _check_product(declaration, each, fields)
    first = next(iter(fields.values()), None)
    if first is None or first.kind is not FieldKind.ID or not first.required:
        raise declaration.wrong("the first field must be the required ID of what the event is about", "fields")
    if not keys.time:
        raise declaration.wrong("say which field is the event's `time`: none or several are a required TIME")
    if keys.time not in fields or fields[keys.time].kind is not FieldKind.TIME or not fields[keys.time].required:
        raise declaration.wrong(f"'time' is '{keys.time}'; expected a required field of the kind TIME", "time")
    message_key = keys.message_key or first.name
    if message_key not in fields:
        raise declaration.wrong(f"'message_key' is '{message_key}'; expected one of {', '.join(fields)}", "message_key")
    everything = fields | {EVENT_ID.name: EVENT_ID, PRODUCED_AT.name: PRODUCED_AT}
    _check_key(declaration, keys.key, everything)
    _check_currency(declaration, fields)
    table = Table(
        keys.table.name,
        keys.table.doc,
        keys.table.grain or f"one row on {name}",
        "the next publish",
        _columns(declaration, fields),
        event_time=fields[keys.time].column,
        partition_by=fields[keys.time].column,
        aged_by="ingested_at",
        retention="raw",
        declared_in=declaration.where,
        own=own,
        lines=_lines(declaration, fields.values()) if own else {},
    )
    if not _NAME.fullmatch(table.name):
        raise declaration.wrong(f"'{table.name}' is no name of a table; use small letters, digits and _", "table")
    return Topic(name, keys.doc, tuple(everything.values()), keys.time, tuple(keys.key), message_key, table)


def _lines(declaration: Declaration, fields: Iterable[TopicField]) -> dict[str, int]:
    """Where the file says what of the table."""
    lines = {field.column: declaration.line("fields", field.name) for field in fields}
    return {"": declaration.line("table", "name"), **lines}


def _field(declaration: Declaration, name: str, given: object) -> TopicField:
    place = ("fields", name)
    if not _NAME.fullmatch(name) or iskeyword(name):
        raise declaration.wrong(f"'{name}' is no name of a field; use small letters, digits and _", *place)
    if name in (EVENT_ID.name, PRODUCED_AT.name):
        raise declaration.wrong(f"every topic has the field '{name}' already; leave it out", *place)
    keys = declaration.read(_FieldKeys, *place)
    if keys.kind not in _KINDS:
        raise declaration.wrong(
            f"'kind' is '{keys.kind}'{near(keys.kind.upper(), _KINDS)}; expected one of {', '.join(_KINDS)}",
            *place,
            "kind",
        )
    kind = FieldKind[keys.kind]
    if (kind is FieldKind.CHOICE) != bool(keys.choices):
        raise declaration.wrong("'choices' goes with the kind CHOICE, which needs one or more", *place)
    if any(choice != choice.strip() or not choice for choice in keys.choices):
        raise declaration.wrong(
            "'choices' has one that is blank or has blanks around it; correct it", *place, "choices"
        )
    if len(set(keys.choices)) < len(keys.choices):
        raise declaration.wrong("'choices' names one twice; leave it out", *place, "choices")
    if kind not in AMOUNTS and (keys.above is not None or keys.default is not None):
        raise declaration.wrong("'above' and 'default' go with the kinds PRICE and MONEY; leave them out", *place)
    if kind not in AMOUNTS and keys.original is not None:
        raise declaration.wrong("'original' goes with the kinds PRICE and MONEY; leave it out", *place, "original")
    if keys.guest and not (kind is FieldKind.ID and keys.required):
        raise declaration.wrong("'guest' goes with a required field of the kind ID; leave it out", *place, "guest")
    if kind is FieldKind.CURRENCY and keys.required:
        raise declaration.wrong("an event without a currency is in the shop's; say `required: false`", *place)
    product = None
    if keys.default is not None:
        found = _PRODUCT.fullmatch(keys.default)
        if found is None:
            raise declaration.wrong(f"'default' is '{keys.default}'; expected FIELD * FIELD", *place, "default")
        product = (found[1], found[2])
    required = keys.required and product is None
    column = keys.column or name
    choices = tuple(keys.choices)
    return TopicField(
        name, kind, keys.doc, column, required, choices, keys.above, product, keys.unit, keys.original, keys.guest
    )


def _check_product(declaration: Declaration, field: TopicField, fields: Mapping[str, TopicField]) -> None:
    for name in field.product or ():
        factor = fields.get(name)
        if factor is None or factor.kind not in NUMBERS or not factor.required:
            raise declaration.wrong(
                f"'default' names '{name}'; expected a required field of the kind COUNT, PRICE or MONEY",
                *("fields", field.name, "default"),
            )


def _check_key(declaration: Declaration, key: list[str], fields: Mapping[str, TopicField]) -> None:
    for name in key:
        if name not in fields or name == EVENT_ID.name:
            raise declaration.wrong(f"'key' names '{name}', which is no field of this topic; correct it", "key")
        if key.count(name) > 1:
            raise declaration.wrong(f"'key' names '{name}' twice; leave one out", "key")
    for field in fields.values():
        # One that comes later, and may be absent, enters the key where it is given: keys made before stay as they are.
        if field.always and field.name not in key:
            raise declaration.wrong(f"'key' lacks '{field.name}', which every event has; add it", "key")


def _check_currency(declaration: Declaration, fields: Mapping[str, TopicField]) -> None:
    currencies = [field.name for field in fields.values() if field.kind is FieldKind.CURRENCY]
    if len(currencies) > 1:
        raise declaration.wrong("amounts are in one currency; leave this one out", "fields", currencies[1])
    for field in fields.values():
        if field.original and not currencies:
            raise declaration.wrong(
                "'original' goes with a field of the kind CURRENCY; add one", "fields", field.name, "original"
            )


def _columns(declaration: Declaration, fields: Mapping[str, TopicField]) -> tuple[Column, ...]:
    names = [column.name for column in LINEAGE]
    columns = []
    for field in fields.values():
        if field.column in names:
            raise declaration.wrong(
                f"there are two columns '{field.column}'; give the field another name, or `column:`",
                *("fields", field.name),
            )
        if not _NAME.fullmatch(field.column) or iskeyword(field.column):
            raise declaration.wrong(
                f"'{field.column}' is no name of a column; use small letters, digits and _", "fields", field.name
            )
        names.append(field.column)
        doc = " ".join(field.choices) or field.doc
        columns.append(Column(field.column, COLUMN_TYPES[field.kind], doc, field.unit, required=field.always))
    for field in fields.values():
        if field.original is None:
            continue
        if field.original in names or not _NAME.fullmatch(field.original) or iskeyword(field.original):
            raise declaration.wrong(
                f"'original' is '{field.original}', which is a column already or no name of one; use small letters, "
                "digits and _",
                *("fields", field.name, "original"),
            )
        names.append(field.original)
        doc = f"{field.column} as it was given, in its own currency; empty where the event names none"
        columns.append(Column(field.original, COLUMN_TYPES[field.kind], doc, required=False))
    return (*columns, *LINEAGE)
