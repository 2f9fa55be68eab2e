"""Runs what a driver runs, once and small, for an archive of the Java classes that it loads.

`-XX:ArchiveClassesAtExit=FILE` among the driver's options writes the archive when Java ends; a driver that is started
with `-XX:SharedArchiveFile=FILE` maps it, and uses a quarter less CPU until its first batch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from pyspark.sql import DataFrame

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "spark-apps"))


def main() -> None:
    from pipeline.settings import NessieSettings, S3Settings
    from pipeline.storage.objects import Objects
    from session import SparkSettings, open_session

    nessie, s3 = NessieSettings.load(), S3Settings.load()
    with closing(Objects(s3)) as objects:
        objects.make_bucket(nessie.bucket)
    with TemporaryDirectory(prefix="tillwatch-classes-") as folder:
        spark = open_session(SparkSettings.load(), nessie, s3, Path(folder) / "spark")
        gateway = spark.sparkContext._gateway
        assert gateway is not None
        spark.sql("CREATE NAMESPACE IF NOT EXISTS nessie_minio_catalog.classes")
        spark.sql(
            "CREATE TABLE nessie_minio_catalog.classes.t (timestamp timestamp, value bigint) USING iceberg "
            "PARTITIONED BY (hours(timestamp))"
        )

        # Beside the stream, which works in a copy of the session with a catalog of its own (store.py).
        new = spark.range(100).selectExpr("CURRENT_TIMESTAMP() AS timestamp", "id AS value")
        table = spark.table("nessie_minio_catalog.classes.t")
        new = new.join(table, "value", "left_anti").select("timestamp", "value").localCheckpoint()
        new.writeTo("nessie_minio_catalog.classes.t").append()
        table.groupBy("timestamp").count().collect()
        new.writeTo("nessie_minio_catalog.classes.t").overwritePartitions()

        def batch(rows: DataFrame, _number: int) -> None:
            rows.mapInArrow(same, rows.schema).toArrow()

        stream = spark.readStream.format("rate").load().writeStream.foreachBatch(batch)
        query = stream.option("checkpointLocation", f"{folder}/checkpoint").trigger(availableNow=True).start()
        query.awaitTermination()
        spark.stop()
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait()


def same(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What comes, as it is: the way to Python and back."""
    yield from batches


if __name__ == "__main__":
    main()
