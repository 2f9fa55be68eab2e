"""The one writer's way into the Iceberg tables of this machine."""

from embedded.catalog.catalog import Catalog
from embedded.catalog.live import CatalogFile
from embedded.catalog.lock import only_writer
from embedded.catalog.publications import now_us
from embedded.catalog.schema import iceberg_schema, partition_spec
from embedded.catalog.staged import Staged
from embedded.catalog.table import TableWriter

__all__ = [
    "Catalog",
    "CatalogFile",
    "Staged",
    "TableWriter",
    "iceberg_schema",
    "now_us",
    "only_writer",
    "partition_spec",
]
