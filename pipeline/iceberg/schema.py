"""Tables of the contract as Iceberg has them, and how one that an older version made comes to its new columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadataV2, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.transforms import HourTransform
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
    TimestamptzType,
)

from lakehouse.tables import SCHEMA, Table, arrow_type
from lakehouse.user_error import UserError


def _iceberg_type(name: str) -> PrimitiveType:
    if name.startswith("decimal"):
        arrow = arrow_type(name)
        return DecimalType(arrow.precision, arrow.scale)
    return {
        "string": StringType(),
        "int": IntegerType(),
        "long": LongType(),
        "double": DoubleType(),
        "boolean": BooleanType(),
        "binary": BinaryType(),
        "timestamptz": TimestamptzType(),
    }[name]


def iceberg_schema(table: Table) -> Schema:
    """The Iceberg schema that a new table begins with."""
    return Schema(
        *(
            NestedField(
                number, column.name, _iceberg_type(column.type), required=column.required, doc=column.doc or None
            )
            for number, column in enumerate(table.columns, start=1)
        )
    )


def partition_spec(table: Table) -> PartitionSpec:
    """By hour of the partition column of a new table, or unpartitioned."""
    if table.partition_by is None:
        return PartitionSpec()
    source = iceberg_schema(table).find_field(table.partition_by).field_id
    return PartitionSpec(PartitionField(source, 1000, HourTransform(), f"{table.partition_by}_hour"))


class UnfitTable(Exception):
    """A table that is not one of the contract; the message goes after its name."""


class OwnChanged(UserError):
    """A shop's own file that takes from a table, or changes, what is stored; the message is the whole sentence."""


def first_metadata(table: Table, location: str, properties: Mapping[str, str]) -> TableMetadataV2:
    """The metadata of a new table without a row."""
    metadata = new_table_metadata(
        iceberg_schema(table),
        partition_spec(table),
        UNSORTED_SORT_ORDER,
        location,
        # format-version: what new_table_metadata makes by it.
        {"format-version": "2", **properties, "comment": table.doc},
    )
    assert isinstance(metadata, TableMetadataV2)
    return metadata


def evolved(table: Table, metadata: TableMetadataV2, properties: Mapping[str, str]) -> TableMetadataV2 | None:
    """The metadata with the columns that the table lacks, each under an id of its own, and with these properties; None
    where it lacks none.

    An added column is optional whatever the contract says, for rows of before hold nothing in it; a column that the
    contract does not know any more becomes optional, for new rows hold nothing in it. Raises UnfitTable for a column of
    another type and other partitions; of a shop's own table OwnChanged, also for a column that is gone.
    """
    if table.own:
        _refuse_changed(table, metadata)
    schema = metadata.schema()
    known = {field.name: field for field in schema.fields}
    always = {column.name for column in table.columns if column.required}
    fields = [
        field.model_copy(update={"required": False}) if field.required and field.name not in always else field
        for field in schema.fields
    ]
    last = metadata.last_column_id
    for column in table.columns:
        kind, found = _iceberg_type(column.type), known.get(column.name)
        if found is None:
            last += 1
            fields.append(NestedField(last, column.name, kind, required=False, doc=column.doc or None))
        elif found.field_type != kind:
            raise UnfitTable(f"has column {column.name} as {found.field_type}, not {kind}")
    parts = [(schema.find_column_name(part.source_id), str(part.transform)) for part in metadata.spec().fields]
    wanted_parts = [(table.partition_by, "hour")] if table.partition_by else []
    if parts != wanted_parts:
        raise UnfitTable(f"is partitioned by {_said(parts)}, not by {_said(wanted_parts)}")
    changed: dict[str, object] = {}
    if fields != list(schema.fields):
        number = max(each.schema_id for each in metadata.schemas) + 1
        new = Schema(*fields, schema_id=number, identifier_field_ids=schema.identifier_field_ids)
        changed |= {"schemas": [*metadata.schemas, new], "current_schema_id": number, "last_column_id": last}
    if not properties.items() <= metadata.properties.items():
        changed["properties"] = {**metadata.properties, **properties}
    return metadata.model_copy(update=changed) if changed else None


def _refuse_changed(table: Table, metadata: TableMetadataV2) -> None:
    """Columns may be added to a table that exists, not changed and not removed."""
    declared = {column.name: column for column in table.columns}
    for field in metadata.schema().fields:
        column, stored = declared.get(field.name), str(field.field_type).replace(" ", "")
        if column is None:
            raise OwnChanged(
                f"{table.place()}: the table {SCHEMA}.{table.name} has the column '{field.name}' ({stored}), which is "
                "declared no more; columns may be added, not removed: put it back, or give the table another name."
            )
        if field.field_type != _iceberg_type(column.type):
            raise OwnChanged(
                f"{table.place(field.name)}: the table {SCHEMA}.{table.name} has the column '{field.name}' as "
                f"{stored}, and here it is {column.type}; make it {stored} again, or give it another name."
            )
    parts = [metadata.schema().find_column_name(part.source_id) for part in metadata.spec().fields]
    if parts != [table.partition_by]:
        raise OwnChanged(
            f"{table.place(str(table.partition_by))}: the rows of {SCHEMA}.{table.name} lie by the time '{parts[0]}', "
            f"not by '{table.partition_by}'; let '{parts[0]}' be the time again, or give the table another name."
        )


def _said(parts: Sequence[tuple[str | None, str]]) -> str:
    return ", ".join(f"{transform}({column})" for column, transform in parts) or "nothing"
