"""What the gateway and a process of its own say to each other: a letter, a length, and so many bytes."""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

_HEAD = struct.Struct("!cQ")

TASK = b"T"
VALUE = b"V"
REFUSAL = b"R"
SCHEMA = b"S"
BATCH = b"B"
END = b"E"


def send(wire: socket.socket, kind: bytes, content: bytes | memoryview = b"") -> None:
    """Raises OSError when nobody reads any more."""
    wire.sendall(_HEAD.pack(kind, len(content)))
    if len(content):
        wire.sendall(content)


def receive(wire: socket.socket) -> tuple[bytes, bytearray]:
    """The next frame. Raises EOFError when the other end is closed, and what the socket raises."""
    kind, length = _HEAD.unpack(_exactly(wire, _HEAD.size))
    return kind, _exactly(wire, length)


def packed(value: object) -> bytes:
    """A value for the other process, which is our own: pickle is for nobody else's."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def unpacked(content: bytes | bytearray) -> Any:
    return pickle.loads(content)  # both ends are the gateway's own


def packed_tables(tables: Mapping[str, pa.Table]) -> dict[str, bytes]:
    """Tables by name, each as a stream of Arrow's."""
    return {name: _stream(table) for name, table in tables.items()}


def unpacked_table(stream: bytes) -> pa.Table:
    return pa.ipc.open_stream(stream).read_all()


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _exactly(wire: socket.socket, length: int) -> bytearray:
    found = bytearray(length)
    view, done = memoryview(found), 0
    while done < length:
        count = wire.recv_into(view[done:])
        if not count:
            raise EOFError
        done += count
    return found
