"""The one message of Flight SQL that a statement needs; everything else is plain Flight.

    CommandStatementQuery { string query = 1; }
    google.protobuf.Any   { string type_url = 1; bytes value = 2; }

Two nested fields of one kind are no reason to load protobuf and its generated classes.
"""

from __future__ import annotations

_TYPE = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"


def statement_query(sql: str) -> bytes:
    """The descriptor's command that asks for a statement."""
    return _field(1, _TYPE) + _field(2, _field(1, sql.encode()))


def _field(number: int, content: bytes) -> bytes:
    """A field of protobuf's wire type 2: key, length, content."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    told = bytearray()
    while value > 0x7F:
        told.append(value & 0x7F | 0x80)
        value >>= 7
    told.append(value)
    return bytes(told)
