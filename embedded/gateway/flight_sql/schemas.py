"""Arrow schemas of Flight SQL's metadata, as its specification has them: names, types and what may be NULL.

The specification names no children of its union; they are those that Dremio sends (Arrow Java's).
"""

from __future__ import annotations

import pyarrow as pa


def _schema(fields: str) -> pa.Schema:
    """A schema from `name type` lines; `!` after a type says that it is never NULL."""
    types = {
        "text": pa.string(),
        "int": pa.int32(),
        "bool": pa.bool_(),
        "bytes": pa.binary(),
        "uint8": pa.uint8(),
        "texts": pa.list_(pa.field("item", pa.string(), nullable=False)),
    }
    pairs = [line.split() for line in fields.strip().split(",")]
    return pa.schema([pa.field(name, types[kind.rstrip("!")], nullable=kind[-1] != "!") for name, kind in pairs])


CATALOGS = _schema("catalog_name text!")
DB_SCHEMAS = _schema("catalog_name text, db_schema_name text!")
TABLES = _schema("catalog_name text, db_schema_name text, table_name text!, table_type text!")
TABLES_WITH_SCHEMA = TABLES.append(pa.field("table_schema", pa.binary(), nullable=False))
TABLE_TYPES = _schema("table_type text!")
PRIMARY_KEYS = _schema(
    "catalog_name text, db_schema_name text, table_name text!, column_name text!, key_sequence int!, key_name text"
)
FOREIGN_KEYS = _schema(
    "pk_catalog_name text, pk_db_schema_name text, pk_table_name text!, pk_column_name text!, fk_catalog_name text,"
    "fk_db_schema_name text, fk_table_name text!, fk_column_name text!, key_sequence int!, fk_key_name text,"
    "pk_key_name text, update_rule uint8!, delete_rule uint8!"
)
TYPE_INFO = _schema(
    "type_name text!, data_type int!, column_size int, literal_prefix text, literal_suffix text, create_params texts,"
    "nullable int!, case_sensitive bool!, searchable int!, unsigned_attribute bool, fixed_prec_scale bool!,"
    "auto_increment bool, local_type_name text, minimum_scale int, maximum_scale int, sql_data_type int!,"
    "datetime_subcode int, num_prec_radix int, interval_precision int"
)
INFO_VALUE = pa.dense_union(
    [
        pa.field("string_value", pa.string(), nullable=False),
        pa.field("bool_value", pa.bool_(), nullable=False),
        pa.field("bigint_value", pa.int64(), nullable=False),
        pa.field("int32_bitmask", pa.int32(), nullable=False),
        pa.field("string_list", pa.list_(pa.string()), nullable=False),
        pa.field("int32_to_int32_list_map", pa.map_(pa.int32(), pa.list_(pa.int32())), nullable=False),
    ]
)
SQL_INFO = pa.schema(
    [pa.field("info_name", pa.uint32(), nullable=False), pa.field("value", INFO_VALUE, nullable=False)]
)
