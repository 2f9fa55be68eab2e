"""Avro files as pyiceberg's readers read them, from bytes that are here already."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pyiceberg.avro.decoder import new_decoder
from pyiceberg.avro.file import META_SCHEMA, AvroFile, AvroFileHeader
from pyiceberg.avro.resolver import construct_reader, resolve_reader
from pyiceberg.typedef import Record


class Avro[T: Record](AvroFile[T]):
    """An Avro file whose reader is built once for each schema: building it costs ten times what reading does."""

    __slots__ = ()
    _header_reader: ClassVar[Any] = construct_reader(META_SCHEMA, {-1: AvroFileHeader})
    _readers: ClassVar[dict[tuple[str, int], Any]] = {}

    def __enter__(self) -> Self:
        with self.input_file.open() as file:
            self.decoder = new_decoder(file.read())
        self.header = self._header_reader.read(self.decoder)
        assert self.read_schema is not None
        key = (self.header.meta["avro.schema"], id(self.read_schema))
        if key not in self._readers:
            if len(self._readers) > 200:
                self._readers.clear()
            self._readers[key] = resolve_reader(
                self.header.get_schema(), self.read_schema, self.read_types, self.read_enums
            )
        self.reader = self._readers[key]
        return self

    def records(self) -> tuple[bytes, int]:
        """All records as they stand in the file, and how many they are."""
        found, count = b"", 0
        codec = self.header.compression_codec()
        while True:
            try:
                more, block = self.decoder.read_int(), self.decoder.read_bytes()
            except EOFError:
                return found, count
            self.decoder.skip(len(self.header.sync))
            found, count = found + (codec.decompress(block) if codec else block), count + more
