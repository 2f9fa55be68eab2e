"""Flight SQL's messages: protobuf classes made from the fields that the gateway reads and writes.

The descriptors live in a pool of their own, so another library's FlightSql.proto in this process does not clash.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from embedded.gateway.errors import ErrorKind, Refusal

_PACKAGE = "arrow.flight.protocol.sql"
_TYPE_URL = f"type.googleapis.com/{_PACKAGE}."
_MARK = f"{_PACKAGE}.".encode()

# A message a line: its name, then its fields as a .proto file has them. Fields that are left out are skipped when read.
# A map is written as what it is on the wire: repeated messages of a key and a value.
_DEFINITIONS = """
Any: string type_url = 1; bytes value = 2
CommandStatementQuery: string query = 1
CommandPreparedStatementQuery: bytes prepared_statement_handle = 1
TicketStatementQuery: bytes statement_handle = 1
CommandGetCatalogs:
CommandGetDbSchemas: optional string catalog = 1; optional string db_schema_filter_pattern = 2
CommandGetTables: optional string db_schema_filter_pattern = 2; optional string table_name_filter_pattern = 3; \
repeated string table_types = 4; bool include_schema = 5
CommandGetTableTypes:
CommandGetSqlInfo: repeated uint32 info = 1
CommandGetXdbcTypeInfo: optional int32 data_type = 1
CommandGetPrimaryKeys: string table = 3
CommandGetExportedKeys: string table = 3
CommandGetImportedKeys: string table = 3
CommandGetCrossReference: string pk_table = 3; string fk_table = 6
CommandStatementUpdate: string query = 1
CommandPreparedStatementUpdate: bytes prepared_statement_handle = 1
CommandStatementIngest: string table = 2
CommandStatementSubstraitPlan:
ActionCreatePreparedStatementRequest: string query = 1
ActionCreatePreparedStatementResult: bytes prepared_statement_handle = 1; bytes dataset_schema = 2; \
bytes parameter_schema = 3
ActionClosePreparedStatementRequest: bytes prepared_statement_handle = 1
ActionCancelQueryRequest: bytes info = 1
ActionCancelQueryResult: int32 result = 1
Ticket: bytes ticket = 1
FlightEndpoint: Ticket ticket = 1
FlightInfo: repeated FlightEndpoint endpoint = 3
CancelFlightInfoRequest: FlightInfo info = 1
CancelFlightInfoResult: int32 status = 1
TextList: repeated string values = 1
SessionOptionValue: oneof string string_value = 1; oneof bool bool_value = 2; oneof sfixed64 int64_value = 3; \
oneof double double_value = 4; oneof TextList string_list_value = 5
SessionOption: string key = 1; SessionOptionValue value = 2
SetSessionOptionsRequest: repeated SessionOption session_options = 1
OptionError: int32 value = 1
OptionErrorOf: string key = 1; OptionError value = 2
SetSessionOptionsResult: repeated OptionErrorOf errors = 1
GetSessionOptionsRequest:
GetSessionOptionsResult: repeated SessionOption session_options = 1
CloseSessionRequest:
CloseSessionResult: int32 status = 1
"""
_FIELD = re.compile(r"(?:(optional|repeated|oneof) )?(\w+) (\w+) = (\d+)")


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="flight_sql.proto", package="tillwatch", syntax="proto3")
    for line in _DEFINITIONS.strip().splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for label, kind, field_name, number in _FIELD.findall(fields):
            repeated = label == "repeated"
            field = message.field.add(name=field_name, number=int(number))
            field.label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
            if f"TYPE_{kind.upper()}" in FieldDescriptorProto.Type.keys():  # noqa: SIM118  # no mapping, but has keys
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
            else:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".tillwatch.{kind}"
            if label == "oneof":
                if not message.oneof_decl:
                    message.oneof_decl.add(name="option_value")
                field.oneof_index = 0
            elif label == "optional":
                # proto3 tells an absent value from an empty one by a oneof of one.
                field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field_name}")
    return file


def _classes() -> dict[str, Any]:
    pool = DescriptorPool()
    file = pool.AddSerializedFile(_file().SerializeToString())
    return {name: GetMessageClass(descriptor) for name, descriptor in file.message_types_by_name.items()}


_CLASSES = _classes()
NAMES = frozenset(_CLASSES)
_NAMES = {kind: name for name, kind in _CLASSES.items()}


def make(name: str, **fields: object) -> Any:
    """A message of that name."""
    return _CLASSES[name](**fields)


def name_of(message: Message) -> str:
    return _NAMES[type(message)]


def read(name: str, body: bytes) -> Any:
    """A message from its bytes. Raises Refusal when they are none."""
    try:
        return _CLASSES[name].FromString(body)
    except DecodeError:
        raise Refusal(ErrorKind.ARGUMENT, f"{name} cannot be read: it is no such protobuf message.") from None


def packed(message: Message) -> bytes:
    """A message inside an Any, as commands, tickets and most results travel."""
    any_: Message = make("Any", type_url=_TYPE_URL + name_of(message), value=message.SerializeToString())
    return any_.SerializeToString()


def unpacked(body: bytes) -> Message | None:
    """The Flight SQL message inside an Any; None for anything else, which is legacy Flight's. Raises Refusal.

    As in Dremio, an Any with a message that Flight SQL has not is no Flight SQL, and a known one must be well formed.
    """
    if _MARK not in body:
        return None
    try:
        any_ = _CLASSES["Any"].FromString(body)
    except DecodeError:
        return None
    package, _, name = any_.type_url.rpartition("/")[2].rpartition(".")
    if package != _PACKAGE:
        return None
    if name not in NAMES:
        raise Refusal(ErrorKind.ARGUMENT, f"Unrecognized request: {name[:80]}")
    message: Message = read(name, any_.value)
    return message


def expected(name: str, body: bytes) -> Any:
    """The message of that name inside an Any. Raises Refusal for anything else."""
    message = unpacked(body)
    if message is None or name_of(message) != name:
        raise Refusal(ErrorKind.ARGUMENT, f"The action takes {name} inside an Any.")
    return message
