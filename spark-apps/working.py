"""What Spark's executors write to: Iceberg's own in-memory catalog inside the driver's Java process.

It writes data, manifests and metadata to S3; only the pointers wait in memory. The driver's own tables are those of
stack_table.py: Java is told of them before Spark writes, and asked for what Spark has made of them after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import SparkSession

from lakehouse.tables import CATALOG, SCHEMA
from stack_table import LIVE_SNAPSHOTS


class Working:
    """Tables by name. `properties` are those of the file access to S3."""

    def __init__(self, spark: SparkSession, properties: Mapping[str, str]) -> None:
        self._jvm: Any = spark._jvm
        self._gateway: Any = spark.sparkContext._gateway
        manager = spark._jsparkSession.sessionState().catalogManager()
        self._catalog: Any = manager.catalog(CATALOG).icebergCatalog()
        self._into_s3(properties)
        self._make_namespace()

    def _make_namespace(self) -> None:
        namespace = self._jvm.org.apache.iceberg.catalog.Namespace.of(self._strings(SCHEMA))
        if not self._catalog.namespaceExists(namespace):
            self._catalog.createNamespace(namespace, self._jvm.java.util.HashMap())

    def _into_s3(self, io_properties: Mapping[str, str]) -> None:
        """Let the in-memory catalog write to S3: it holds pointers in memory, but files too unless told otherwise.

        There is no setting for it (Iceberg 1.12): the field is set. tests/stack would see files missing at once.
        """
        properties = self._jvm.java.util.HashMap()
        for key, value in io_properties.items():
            properties.put(key, value)
        io = self._jvm.org.apache.iceberg.CatalogUtil.loadFileIO(properties["io-impl"], properties, None)
        held = self._catalog.getClass().getDeclaredField("io")
        held.setAccessible(True)
        held.set(self._catalog, io)

    def share(self, session: Any) -> None:
        """Let another session of this Spark use the same tables; each makes a catalog of its own otherwise."""
        theirs = session._jsparkSession.sessionState().catalogManager().catalog(CATALOG)
        if not self._catalog.equals(theirs.icebergCatalog()):
            held = theirs.getClass().getDeclaredField("icebergCatalog")
            held.setAccessible(True)
            held.set(theirs, self._catalog)

    def tell(self, name: str, location: str) -> None:
        """A table stands at this metadata; what was known of it before is forgotten."""
        identifier = self._identifier(name)
        self._catalog.dropTable(identifier, False)  # false where there is none
        self._catalog.registerTable(identifier, location)

    def location(self, name: str) -> str:
        """The metadata of a table that Spark has written to.

        It keeps few snapshots, for every commit writes them all; no file is deleted by it.
        """
        table = self._catalog.loadTable(self._identifier(name))
        if table.operations().current().snapshots().size() >= 2 * LIVE_SNAPSHOTS:
            (
                table.expireSnapshots()
                .expireOlderThan(self._jvm.java.lang.System.currentTimeMillis())
                .retainLast(LIVE_SNAPSHOTS)
                .cleanExpiredFiles(False)
                .commit()
            )
        return str(table.operations().current().metadataFileLocation())

    def _identifier(self, name: str) -> Any:
        return self._jvm.org.apache.iceberg.catalog.TableIdentifier.of(self._strings(SCHEMA, name))

    def _strings(self, *texts: str) -> Any:
        array = self._gateway.new_array(self._jvm.java.lang.String, len(texts))
        for index, text in enumerate(texts):
            array[index] = text
        return array
