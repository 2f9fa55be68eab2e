"""The servers of the stack: they come up empty, keep what they have over a kill, and begin anew when told."""

from __future__ import annotations

from contextlib import closing

import pyarrow.fs
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from pipeline.storage.nessie import Nessie
from tests.stack.conftest import Stack


def store(stack: Stack) -> pyarrow.fs.S3FileSystem:
    return pyarrow.fs.S3FileSystem(
        access_key="admin",
        secret_key="password",
        endpoint_override=stack.servers.s3_endpoint.removeprefix("http://"),
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )


def fill(stack: Stack) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=stack.servers.brokers)) as admin:
        admin.create_topics({"orders_topic": {"num_partitions": 1, "replication_factor": 1}})
    with closing(KafkaProducer(bootstrap_servers=stack.servers.brokers)) as producer:
        producer.send("orders_topic", b"first").get(20)
    with closing(Nessie(stack.servers.nessie_uri)) as nessie:
        nessie.create("ingest-1", nessie.head())
    with store(stack).open_output_stream(bucket(stack) + "/a") as file:
        file.write(b"first")


def bucket(stack: Stack) -> str:
    name = stack.servers.variables["TILLWATCH_NESSIE_WAREHOUSE"].removeprefix("s3://").partition("/")[0]
    store(stack).create_dir(name)
    return name


def held(stack: Stack) -> tuple[list[bytes], list[str], bytes]:
    """What the log, the catalog and the object store have: messages, references, an object's bytes."""
    with closing(KafkaConsumer(bootstrap_servers=stack.servers.brokers)) as consumer:
        consumer.assign([TopicPartition("orders_topic", 0)])
        consumer.seek_to_beginning()
        messages = [record.value for batch in consumer.poll(20_000).values() for record in batch]
    with closing(Nessie(stack.servers.nessie_uri)) as nessie:
        references = sorted(reference.name for reference in nessie.references())
    return messages, references, store(stack).open_input_file(bucket(stack) + "/a").read()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_servers_keep_what_they_have_when(stack: Stack, how: str) -> None:
    fill(stack)
    if how == "stopped":
        stack.servers.stop()
    else:
        for name in ("kafka", "nessie", "s3"):
            stack.servers.kill(name)
    assert not any(stack.servers.runs(name) for name in ("kafka", "nessie", "s3"))
    stack.servers.start()
    assert held(stack) == ([b"first"], ["ingest-1", "main"], b"first")


def test_each_test_begins_with_nothing(stack: Stack) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=stack.servers.brokers)) as admin:
        assert [name for name in admin.list_topics() if not name.startswith("__")] == []
    with closing(Nessie(stack.servers.nessie_uri)) as nessie:
        assert [reference.name for reference in nessie.references()] == ["main"]
        assert list(nessie.history()) == []
    files = store(stack).get_file_info(pyarrow.fs.FileSelector("", allow_not_found=True))
    name = stack.servers.variables["TILLWATCH_NESSIE_WAREHOUSE"].removeprefix("s3://").partition("/")[0]
    assert name not in [file.path for file in files]
