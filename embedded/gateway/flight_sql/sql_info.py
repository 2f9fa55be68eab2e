"""What GetSqlInfo and GetXdbcTypeInfo tell: Dremio's answers, by the numbers of the specification.

Of functions only those are listed that Dremio names there and the gateway answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from embedded.gateway.flight_sql.schemas import INFO_VALUE, SQL_INFO, TYPE_INFO
from embedded.gateway.sql.table import DONE
from embedded.gateway.words import RESERVED

type _Value = str | bool | int | _Long | list[str] | dict[int, list[int]]


class _Long(int):
    """An answer that goes out as bigint_value; plain ints go out as int32_bitmask."""


def _known(names: str) -> list[str]:
    return sorted(DONE & set(names.split()))


def _conversions() -> dict[int, list[int]]:
    """What may be cast to what, by the specification's numbers of types."""
    numbers = [0, 5, 6, 7, 13, 14, 17]  # BIGINT, DECIMAL, FLOAT, INTEGER, REAL, SMALLINT, TINYINT
    bit, date, time, timestamp, texts = 2, 4, 15, 16, [3, 19]  # CHAR, VARCHAR
    to = dict.fromkeys(numbers, numbers + texts)
    to |= {text: [*numbers, bit, date, time, timestamp, *texts] for text in texts}
    return to | {bit: [bit, *texts], date: [date, timestamp, *texts], timestamp: [date, time, timestamp, *texts]}


_NO_LIMIT = _Long(0)
_IDENTIFIER = _Long(1024)

_INFO: dict[int, _Value] = {
    0: "Dremio Server",  # FLIGHT_SQL_SERVER_NAME
    1: "26.0.0-tillwatch",  # FLIGHT_SQL_SERVER_VERSION: whose ways it has, and who it is
    3: False,  # FLIGHT_SQL_SERVER_READ_ONLY
    504: '"',  # SQL_IDENTIFIER_QUOTE_CHAR
    508: sorted(RESERVED),  # SQL_KEYWORDS
    509: _known(
        "ABS ACOS ASIN ATAN ATAN2 CEILING COS COT DEGREES EXP FLOOR LOG LOG10 MOD PI POWER RADIANS ROUND SIGN SIN SQRT "
        "TAN TRUNCATE"
    ),  # SQL_NUMERIC_FUNCTIONS
    510: _known("ASCII CONCAT LEFT LENGTH LOCATE LTRIM REPEAT REPLACE RIGHT RTRIM SUBSTRING"),  # SQL_STRING_FUNCTIONS
    511: _known("IFNULL USER"),  # SQL_SYSTEM_FUNCTIONS
    512: _known(
        "DAYOFMONTH DAYOFWEEK DAYOFYEAR HOUR MINUTE MONTH NOW QUARTER SECOND TIMESTAMPADD TIMESTAMPDIFF WEEK YEAR"
    ),  # SQL_DATETIME_FUNCTIONS
    513: "\\",  # SQL_SEARCH_STRING_ESCAPE
    514: "",  # SQL_EXTRA_NAME_CHARACTERS
    515: True,  # SQL_SUPPORTS_COLUMN_ALIASING
    516: True,  # SQL_NULL_PLUS_NULL_IS_NULL
    517: _conversions(),  # SQL_SUPPORTS_CONVERT
    518: True,  # SQL_SUPPORTS_TABLE_CORRELATION_NAMES
    519: False,  # SQL_SUPPORTS_DIFFERENT_TABLE_CORRELATION_NAMES
    520: True,  # SQL_SUPPORTS_EXPRESSIONS_IN_ORDER_BY
    521: True,  # SQL_SUPPORTS_ORDER_BY_UNRELATED
    522: 1,  # SQL_SUPPORTED_GROUP_BY: unrelated
    523: True,  # SQL_SUPPORTS_LIKE_ESCAPE_CLAUSE
    524: True,  # SQL_SUPPORTS_NON_NULLABLE_COLUMNS
    525: 7,  # SQL_SUPPORTED_GRAMMAR: minimum, core, extended
    526: 7,  # SQL_ANSI92_SUPPORTED_LEVEL: entry, intermediate, full
    527: False,  # SQL_SUPPORTS_INTEGRITY_ENHANCEMENT_FACILITY
    528: 4,  # SQL_OUTER_JOINS_SUPPORT_LEVEL: full
    529: "schema",  # SQL_SCHEMA_TERM
    530: "procedure",  # SQL_PROCEDURE_TERM
    531: "",  # SQL_CATALOG_TERM: there are none
    532: True,  # SQL_CATALOG_AT_START
    533: 7,  # SQL_SCHEMAS_SUPPORTED_ACTIONS
    534: 7,  # SQL_CATALOGS_SUPPORTED_ACTIONS
    535: 1,  # SQL_SUPPORTED_POSITIONED_COMMANDS
    536: False,  # SQL_SELECT_FOR_UPDATE_SUPPORTED
    537: False,  # SQL_STORED_PROCEDURES_SUPPORTED
    538: 11,  # SQL_SUPPORTED_SUBQUERIES: in comparisons, EXISTS, quantified
    539: True,  # SQL_CORRELATED_SUBQUERIES_SUPPORTED
    540: 3,  # SQL_SUPPORTED_UNIONS: UNION, UNION ALL
    541: _NO_LIMIT,  # SQL_MAX_BINARY_LITERAL_LENGTH
    542: _NO_LIMIT,  # SQL_MAX_CHAR_LITERAL_LENGTH
    543: _IDENTIFIER,  # SQL_MAX_COLUMN_NAME_LENGTH
    544: _NO_LIMIT,  # SQL_MAX_COLUMNS_IN_GROUP_BY
    545: _NO_LIMIT,  # SQL_MAX_COLUMNS_IN_INDEX
    546: _NO_LIMIT,  # SQL_MAX_COLUMNS_IN_ORDER_BY
    547: _NO_LIMIT,  # SQL_MAX_COLUMNS_IN_SELECT
    549: _NO_LIMIT,  # SQL_MAX_CONNECTIONS
    550: _IDENTIFIER,  # SQL_MAX_CURSOR_NAME_LENGTH
    551: _NO_LIMIT,  # SQL_MAX_INDEX_LENGTH
    552: _IDENTIFIER,  # SQL_DB_SCHEMA_NAME_LENGTH
    553: _NO_LIMIT,  # SQL_MAX_PROCEDURE_NAME_LENGTH
    554: _IDENTIFIER,  # SQL_MAX_CATALOG_NAME_LENGTH
    555: _NO_LIMIT,  # SQL_MAX_ROW_SIZE
    556: True,  # SQL_MAX_ROW_SIZE_INCLUDES_BLOBS
    557: _NO_LIMIT,  # SQL_MAX_STATEMENT_LENGTH
    558: _NO_LIMIT,  # SQL_MAX_STATEMENTS
    559: _IDENTIFIER,  # SQL_MAX_TABLE_NAME_LENGTH
    560: _NO_LIMIT,  # SQL_MAX_TABLES_IN_SELECT
    561: _IDENTIFIER,  # SQL_MAX_USERNAME_LENGTH
    562: _Long(0),  # SQL_DEFAULT_TRANSACTION_ISOLATION
    563: False,  # SQL_TRANSACTIONS_SUPPORTED
    564: 1,  # SQL_SUPPORTED_TRANSACTIONS_ISOLATION_LEVELS: none
    565: False,  # SQL_DATA_DEFINITION_CAUSES_TRANSACTION_COMMIT
    566: False,  # SQL_DATA_DEFINITIONS_IN_TRANSACTIONS_IGNORED
    567: 2,  # SQL_SUPPORTED_RESULT_SET_TYPES: forward only
    572: True,  # SQL_BATCH_UPDATES_SUPPORTED
    573: False,  # SQL_SAVEPOINTS_SUPPORTED
    574: False,  # SQL_NAMED_PARAMETERS_SUPPORTED
    575: True,  # SQL_LOCATORS_UPDATE_COPY
    576: True,  # SQL_STORED_FUNCTIONS_USING_CALL_SYNTAX_SUPPORTED
}


def _child(value: _Value) -> int:
    """Which child of the union holds the answer."""
    match value:
        case str():
            return 0
        case bool():
            return 1
        case _Long():
            return 2
        case int():
            return 3
        case list():
            return 4
    return 5


def sql_info(wanted: Iterable[int]) -> pa.RecordBatch:
    """A row for each number asked for that Dremio answers, in that order; all of them where none is asked for."""
    numbers = [number for number in wanted or _INFO if number in _INFO]
    children: list[list[Any]] = [[] for _ in range(INFO_VALUE.num_fields)]
    types, offsets = [], []
    for number in numbers:
        value = _INFO[number]
        types.append(_child(value))
        offsets.append(len(children[types[-1]]))
        children[types[-1]].append(value)
    children[5] = [list(value.items()) for value in children[5]]
    arrays = [pa.array(values, INFO_VALUE.field(place).type) for place, values in enumerate(children)]
    buffers = [None, pa.array(types, pa.int8()).buffers()[1], pa.array(offsets, pa.int32()).buffers()[1]]
    union = pa.Array.from_buffers(INFO_VALUE, len(numbers), buffers, children=arrays)
    return pa.RecordBatch.from_arrays([pa.array(numbers, pa.uint32()), union], schema=SQL_INFO)


# ---- types -----------------------------------------------------------------------------------------------------------

# name, JDBC's number, size, quoted, parameter, searchable, radix or scales, name of its kind, ODBC's number, subcode
_TYPES = """
NATIONAL CHARACTER VARYING|-9|2147483647|'|max length|3||WVARCHAR|-9|
WVARCHAR|-9|2147483647|'|max length|3||WVARCHAR|-9|
NATIONAL CHARACTER|-8|2147483647|'|max length|3||WCHAR|-8|
WCHAR|-8|2147483647|'|max length|3||WCHAR|-8|
BIT|-7|1|||2||BIT|-7|
BOOLEAN|-7|1|||2||BIT|-7|
TINYINT|-6|3|||2|2|TINYINT|-6|
BIGINT|-5|19|||2|2|BIGINT|-5|
BINARY VARYING|-3|2147483647||max length|2||VARBINARY|-3|
VARBINARY|-3|2147483647||max length|2||VARBINARY|-3|
BINARY|-2|2147483647||length|2||BINARY|-2|
CHAR|1|2147483647|'|length|3||CHAR|1|
CHARACTER|1|2147483647|'|length|3||CHAR|1|
DECIMAL|3|38|||2|10 0|DECIMAL|3|
INTEGER|4|10|||2|2|INTEGER|4|
SMALLINT|5|5|||2|2|SMALLINT|5|
FLOAT|7|24|||2|2 0|REAL|7|
REAL|7|24|||2|2 0|REAL|7|
DOUBLE|8|53|||2|2 0|DOUBLE|8|
ANY|12|2147483647|'|max length|3||VARCHAR|12|
ARRAY|12|2147483647|'|max length|3||VARCHAR|12|
CHARACTER VARYING|12|2147483647|'|max length|3||VARCHAR|12|
MAP|12|2147483647|'|max length|3||VARCHAR|12|
NULL|12|2147483647|'|max length|3||VARCHAR|12|
UNION|12|2147483647|'|max length|3||VARCHAR|12|
VARCHAR|12|2147483647|'|max length|3||VARCHAR|12|
DATE|91|10|||2||TYPE_DATE|9|1
TIME|92|12|||2|- 0 3|TYPE_TIME|9|2
TIME WITH TIME ZONE|93|23|||2|- 0 3|TYPE_TIMESTAMP|9|3
TIMESTAMP WITH TIME ZONE|93|23|||2|- 0 3|TYPE_TIMESTAMP|9|3
TIMESTAMP|93|23|||2|- 0 3|TYPE_TIMESTAMP|9|3
INTERVAL YEAR TO MONTH|107|5|||2||INTERVAL_YEAR_TO_MONTH|10|7
INTERVAL|110|18|||2||INTERVAL_DAY_TO_SECOND|10|10
INTERVAL DAY TO SECOND|110|18|||2||INTERVAL_DAY_TO_SECOND|10|10
"""


def type_info() -> pa.RecordBatch:
    """Dremio's 34 names of types, in its order; it takes no notice of the type that a client asks for."""
    rows = []
    for line in _TYPES.strip().splitlines():
        name, number, size, quote, parameter, searchable, numeric, kind, odbc, subcode = line.split("|")
        radix, low, high = [*numeric.split(), "", "", ""][:3]
        rows.append(
            {
                "type_name": name,
                "data_type": int(number),
                "column_size": int(size),
                "literal_prefix": quote or None,
                "literal_suffix": quote or None,
                "create_params": parameter.split(",") if parameter else None,
                "nullable": 1,
                "case_sensitive": False,
                "searchable": int(searchable),
                "unsigned_attribute": False if radix.isdigit() else None,
                "fixed_prec_scale": False,
                "local_type_name": kind,
                "minimum_scale": int(low) if low else None,
                "maximum_scale": int(high or low) if low else None,
                "sql_data_type": int(odbc),
                "datetime_subcode": int(subcode) if subcode else None,
                "num_prec_radix": int(radix) if radix.isdigit() else None,
            }
        )
    return pa.RecordBatch.from_pylist(rows, schema=TYPE_INFO)
