"""From a message's bytes to the JSON that paths begin at: compression, a registry's bytes, envelopes."""

from __future__ import annotations

import base64
import binascii
import zlib
from enum import StrEnum

import msgspec
import pyarrow as pa

from lakehouse.decode import Headers
from lakehouse.decode.document import parse_document
from lakehouse.decode.rejected import Reason, Rejected

MOST_INFLATED = 32 << 20
"""Bytes that a compressed message may become."""

_PIECE = 16 << 10
_MOST_STREAMS = 1_000
"""That one message is packed in: each costs a table of its own."""
_MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_REGISTRY_BYTES = 5  # a zero, then the schema's number


class Envelope(StrEnum):
    PLAIN = "plain"
    DEBEZIUM = "debezium"
    CONNECT = "connect"
    CLOUDEVENTS = "cloudevents"


class Compression(StrEnum):
    AUTO = "auto"
    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class _NothingSaid:
    """A message that says only that there is nothing more to say: a tombstone after a deletion."""


NOTHING = _NothingSaid()


def body(value: bytes, registry: bool, compression: Compression) -> bytes | Rejected:
    """The JSON in a message."""
    if registry:
        if value[:1] != b"\0" or len(value) < _REGISTRY_BYTES:
            return Rejected(Reason.NOT_JSON, "it does not begin with the five bytes of a schema registry")
        value = value[_REGISTRY_BYTES:]
    match compression:
        case Compression.NONE:
            return value
        case Compression.AUTO:
            found = next((name for name, magic in _MAGIC.items() if value.startswith(magic)), "")
            return _inflated(value, found) if found else value
        case _:
            return _inflated(value, compression.value)


def _inflated(value: bytes, codec: str) -> bytes | Rejected:
    try:
        held = _gunzipped(value) if codec == "gzip" else _unzstd(value)
    except (OSError, zlib.error, pa.ArrowException):
        return Rejected(Reason.NOT_JSON, f"its {len(value)} bytes are not whole {codec}")
    if len(held) > MOST_INFLATED:
        return Rejected(Reason.NOT_JSON, f"its {len(value)} bytes of {codec} become over {MOST_INFLATED >> 20} MiB")
    return held


def _gunzipped(value: bytes) -> bytes:
    """At most one byte more than MOST_INFLATED; there may be several streams, one after the other."""
    held, at = bytearray(), 0
    for _ in range(_MOST_STREAMS):
        stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not stream.eof and at < len(value):
            # In pieces: a stream copies what follows it of what it is given, and millions may follow.
            held += stream.decompress(value[at : at + _PIECE], MOST_INFLATED + 1 - len(held))
            at += _PIECE
            if len(held) > MOST_INFLATED:
                return bytes(held)
        if not stream.eof:
            raise zlib.error("it is cut")
        at = min(at, len(value)) - len(stream.unused_data)
        if at == len(value):
            return bytes(held)
    raise zlib.error("too many streams")


def _unzstd(value: bytes) -> bytes:
    with pa.CompressedInputStream(pa.BufferReader(value), "zstd") as stream:
        held: bytes = stream.read(MOST_INFLATED + 1)
    return held


def unwrapped(document: object, envelope: Envelope) -> object:
    """What paths begin at, NOTHING, or Rejected."""
    if envelope is Envelope.PLAIN:
        return document
    if not isinstance(document, dict):
        return Rejected(Reason.NOT_JSON, "not an object")
    if envelope is Envelope.CLOUDEVENTS:
        return _cloud_event(document)
    if "payload" in document and "op" not in document:
        document = document["payload"]
    elif envelope is Envelope.CONNECT:
        return Rejected(Reason.MISSING_FIELD, "payload is missing: it is no record of Kafka Connect with its schema")
    if document is None:
        return NOTHING
    if type(document) is not dict:
        return Rejected(Reason.BAD_TYPE, "payload is not an object")
    if envelope is Envelope.DEBEZIUM and type(document.get("op")) is not str:
        return Rejected(Reason.MISSING_FIELD, "op is missing: it is no change event of Debezium")
    return document


def _cloud_event(document: dict[str, object]) -> object:
    if type(document.get("specversion")) is not str:
        return Rejected(Reason.MISSING_FIELD, "specversion is missing: it is no CloudEvent")
    if "data" in document or "data_base64" not in document:
        return document
    held = document["data_base64"]
    try:
        data = parse_document(base64.b64decode(held if isinstance(held, str) else "!", validate=True), of_lists=True)
    except (binascii.Error, ValueError):
        return Rejected(Reason.BAD_TYPE, "data_base64 is no base64")
    return data if isinstance(data, Rejected) else {**document, "data": data}


def attributes(headers: Headers) -> dict[str, str] | None:
    """The attributes of a CloudEvent whose message holds the data alone; None where its headers tell of none."""
    found = {
        name[3:].lower(): (value or b"").decode(errors="replace")
        for name, value in headers
        if name[:3].lower() == "ce_"
    }
    return found if "specversion" in found else None


def structured(given: dict[str, str], data: bytes | None) -> bytes:
    """The same CloudEvent with all of it in one message, as it can be sent again without headers."""
    try:
        msgspec.json.decode(data or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.encode({**given, "data_base64": base64.b64encode(data or b"").decode()})
    return msgspec.json.encode({**given, "data": msgspec.Raw(data or b"")})
