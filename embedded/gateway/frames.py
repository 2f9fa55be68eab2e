"""What the gateway and a process of its own say to each other: a letter, a length, and so many bytes."""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

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


def _exactly(wire: socket.socket, length: int) -> bytearray:
    found = bytearray(length)
    view, done = memoryview(found), 0
    while done < length:
        count = wire.recv_into(view[done:])
        if not count:
            raise EOFError
        done += count
    return found
