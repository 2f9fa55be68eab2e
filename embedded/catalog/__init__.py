"""The one writer's way into the Iceberg tables of this machine."""

from embedded.catalog.catalog import Catalog
from embedded.catalog.lock import only_writer
from embedded.catalog.publications import now_us
from embedded.catalog.table import Staged, TableWriter

__all__ = ["Catalog", "Staged", "TableWriter", "now_us", "only_writer"]
