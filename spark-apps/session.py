"""The Spark session of the pipeline, and its settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pyspark.sql import SparkSession

from lakehouse.own import config_path
from lakehouse.settings.base import Section
from lakehouse.settings.durations import Duration
from lakehouse.tables import CATALOG
from lakehouse.user_error import UserError
from pipeline.settings import NessieSettings, S3Settings


class SparkSettings(Section, section="spark"):
    """How the driver runs."""

    master: str = Field("local[2]", description="where Spark works: local[N], spark://HOST:PORT, k8s://…")
    driver_memory: str = Field("1200m", pattern=r"\d+[mg]", description="heap of the driver's Java process")
    conf: dict[str, str] = Field({}, description="more of Spark's own settings, by name: executors and so on")
    jars: str = Field("", description="directory with the jars, which `python -m tillwatch.jars spark` names")
    metrics_host: str = Field("127.0.0.1", description="address its metrics listen on")
    batch_rows: int = Field(20_000, ge=1, description="messages of all topics in a batch, at most (count)")
    collect_rows: int = Field(
        20_000, ge=0, description="batches up to this size are finished in the driver, larger ones by Spark (count)"
    )
    retry_for: Duration = Field(
        timedelta(minutes=10), description="failures in a row are tried again for so long, then the driver ends"
    )


def jar_files(folder: str) -> list[Path]:
    """The jars of a directory. Raises UserError where none is named, and where there are none."""
    if not folder:
        raise UserError(
            "Setting 'spark.jars' is empty; `python -m tillwatch.jars spark` names the directory to give it."
        )
    jars = sorted(Path(folder).glob("*.jar"))
    if not jars:
        raise UserError(f"There are no jars in {folder}; run `make stack` once, or set TILLWATCH_SPARK_JARS.")
    return jars


def open_session(settings: SparkSettings, nessie: NessieSettings, s3: S3Settings, local: Path) -> SparkSession:
    """A session with the catalog that Spark writes to (working.py); `local` is where Spark keeps scratch files.

    The catalog lives in the driver's memory: what Spark writes through it lies in S3 and is seen by nobody before its
    metadata is published to Nessie.
    """
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    local.mkdir(parents=True, exist_ok=True)
    conf: Mapping[str, str] = {
        "spark.jars": ",".join(str(path) for path in jar_files(settings.jars)),
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -Djava.net.preferIPv4Stack=true",
        # bindAddress alone fails where the host's name does not resolve to it.
        **(
            {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
            if settings.master.startswith("local")
            else {}
        ),
        # A batch larger than this fails, and is read in smaller ones; without it Java would run out of memory, where a
        # result is held about three times.
        "spark.driver.maxResultSize": f"{_megabytes(settings.driver_memory) // 8}m",
        "spark.local.dir": str(local),
        "spark.sql.warehouse.dir": str(local / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.scheduler.mode": "FAIR",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.adaptive.enabled": "false",
        # Literal bounds prune already; planning the subqueries would cost more than they save.
        "spark.sql.optimizer.dynamicPartitionPruning.enabled": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "20000",
        "spark.sql.streaming.metricsEnabled": "false",
        "spark.sql.streaming.numRecentProgressUpdates": "20",
        "spark.sql.streaming.minBatchesToRetain": "2",
        "spark.cleaner.periodicGC.interval": "5min",
        # One a partition, or a topic of 300 makes them anew for each batch.
        "spark.kafka.consumer.cache.capacity": "512",
        # They read a shop's own topics too, where that file lies.
        **(
            {"spark.executorEnv.TILLWATCH_CONFIG": str(config_path().absolute())}
            if "TILLWATCH_CONFIG" in os.environ
            else {}
        ),
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        **settings.conf,
    }
    builder = SparkSession.builder.appName("tillwatch").master(settings.master)
    for name, value in conf.items():
        builder = builder.config(name, value)
    try:
        session = builder.getOrCreate()
    except Exception as error:  # Java's, Py4J's or PySpark's own: of many kinds
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"Spark does not start: {reason}; look at Java (17), spark.master, spark.driver_memory and spark.conf."
        ) from None
    session.sparkContext.setLogLevel("WARN")
    # Only now: what is set before is on the Java process's command line, which anybody may read.
    catalog = f"spark.sql.catalog.{CATALOG}"
    session.conf.set(catalog, "org.apache.iceberg.spark.SparkCatalog")
    session.conf.set(f"{catalog}.catalog-impl", "org.apache.iceberg.inmemory.InMemoryCatalog")
    session.conf.set(f"{catalog}.cache-enabled", "false")
    for name, value in io_properties(nessie, s3).items():
        session.conf.set(f"{catalog}.{name}", value)
    # What executors run; lakehouse is installed where they are.
    for name in ("transforms.py", "decoding.py"):
        session.sparkContext.addPyFile(str(Path(__file__).with_name(name)))
    return session


def _megabytes(memory: str) -> int:
    return int(memory[:-1]) * (1024 if memory[-1] == "g" else 1)


def io_properties(nessie: NessieSettings, s3: S3Settings) -> dict[str, str]:
    """What Iceberg's S3FileIO needs to know."""
    return {
        "warehouse": nessie.warehouse,
        "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "s3.endpoint": s3.endpoint,
        "s3.path-style-access": "true",
        "s3.access-key-id": s3.access_key,
        "s3.secret-access-key": s3.secret_key.get_secret_value(),
        "client.region": s3.region,
    }
