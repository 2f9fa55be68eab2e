"""Avro files whose records are bytes that pyiceberg's Avro writers made."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Self

from pyiceberg.avro.decoder import new_decoder
from pyiceberg.avro.encoder import BinaryEncoder
from pyiceberg.avro.file import MAGIC, META_SCHEMA, AvroFile, AvroFileHeader
from pyiceberg.avro.resolver import construct_writer
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record
from pyiceberg.utils.schema_conversion import AvroSchemaConversion

_HEADER = construct_writer(META_SCHEMA)
_SYNC = os.urandom(16)
_LEVEL = 1  # of compression: higher ones take three times as long for a tenth less


def text_of(schema: Schema, name: str) -> str:
    """An Iceberg schema as the header of an Avro file has it."""
    return json.dumps(AvroSchemaConversion().iceberg_to_avro(schema, schema_name=name))


def header_of(schema: str, meta: Mapping[str, str], compressed: bool = False) -> bytes:
    """The header of a file with one block."""
    out = BytesIO()
    codec = "deflate" if compressed else "null"
    content = {**meta, "avro.schema": schema, "avro.codec": codec}
    _HEADER.write(BinaryEncoder(out), AvroFileHeader(MAGIC, content, _SYNC))
    return out.getvalue()


def avro_file(header: bytes, count: int, content: bytes, compressed: bool = False) -> bytes:
    """A file of `count` records, in one block."""
    out = BytesIO()
    out.write(header)
    if count:
        block = zlib.compress(content, _LEVEL, -15) if compressed else content
        encoder = BinaryEncoder(out)
        encoder.write_int(count)
        encoder.write_int(len(block))
        encoder.write(block)
        encoder.write(_SYNC)
    return out.getvalue()


class Blocks[T: Record](AvroFile[T]):
    """An Avro file that gives every record together with its bytes."""

    __slots__ = ()

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    @property
    def text(self) -> str:
        """The schema in its header."""
        return self.header.meta["avro.schema"]

    def records(self) -> Iterator[tuple[T, bytes]]:
        while True:
            try:
                count, content = self.decoder.read_int(), self.decoder.read_bytes()
            except EOFError:
                return
            if codec := self.header.compression_codec():
                content = codec.decompress(content)
            decoder = new_decoder(content)
            for _ in range(count):
                start = decoder.tell()
                record = self.reader.read(decoder)
                yield record, content[start : decoder.tell()]
            self.decoder.skip(len(_SYNC))
