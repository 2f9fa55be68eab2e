"""A table's metadata file: how a new one is called and written, and how one is read."""

from __future__ import annotations

import uuid

from pyiceberg.io import FileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata, TableMetadataV2

from pipeline.iceberg.schema import UnfitTable


def metadata_file(metadata: TableMetadataV2, version: int) -> tuple[str, bytes]:
    """Address and content of a new metadata file, with `version` in its name."""
    location = f"{metadata.location}/metadata/{version:08d}-{uuid.uuid4()}.metadata.json"
    return location, metadata.model_dump_json(exclude_none=True).encode()


def read_metadata(io: FileIO, location: str) -> TableMetadataV2:
    """The metadata that stands there. Raises UnfitTable for another version of the format."""
    metadata: TableMetadata = FromInputFile.table_metadata(io.new_input(location))
    if not isinstance(metadata, TableMetadataV2):
        raise UnfitTable(f"has Iceberg's format {metadata.format_version}, not 2")
    return metadata
