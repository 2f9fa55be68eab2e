"""The topics on Kafka: made as they must be, and asked how far they reach.

Judging an event's time against the log's own time needs topics with LogAppendTime: `ensure_topics` makes them so.
Whoever comes first, producers or the driver, makes the topics; the others find them.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import Any, NamedTuple, Self

from lakehouse.settings.kafka import KafkaSettings
from lakehouse.topics import TOPICS
from lakehouse.user_error import UserError

logger = logging.getLogger(__name__)

_TIMESTAMPS, _SIZE, _CLEANUP = "message.timestamp.type", "max.message.bytes", "cleanup.policy"
_IN_SYNC = "min.insync.replicas"
_LOG_TIME = "LogAppendTime"
_CONNECT_S = 2.0
_REQUEST_S = 5.0
# A topic that another program makes at this moment is known to the brokers a moment later.
_SETTLES_S = 10.0
_PAUSE_S = 0.05
_FIRST, _NEXT = -2, -1  # what ListOffsets calls the first offset still there and the one that comes next


class KafkaDown(UserError):
    """No broker answers; later one may."""


class TopicRefused(UserError):
    """A topic is not as it must be and was not allowed to be changed; the message has the command to run."""


class Ends(NamedTuple):
    """Offset of the first message that is still in a partition, and the offset that the next one will get."""

    first: int
    end: int


@dataclass(frozen=True)
class BrokerTopic:
    """What the brokers say of one topic. topic_id is another one for a topic of the same name that was made anew."""

    name: str
    topic_id: str
    partitions: int
    log_append_time: bool
    max_message_bytes: int
    compacted: bool


class KafkaLog:
    """The brokers' answers, over one connection that is kept, and made again after it broke.

    Every call raises KafkaDown within some seconds where no broker answers; the next call tries anew.
    """

    def __init__(self, brokers: str, *, timeout_s: float = _REQUEST_S, admin: Callable[[], Any] | None = None) -> None:
        self.brokers = brokers
        self._timeout_s = timeout_s
        self._made_by = admin or self._connect
        self._admin: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.close()

    def cluster_id(self) -> str:
        """The identity of the cluster: another one holds other messages under the same offsets."""
        return str(self._ask(lambda admin: admin.describe_cluster())["cluster_id"])

    def topics(self, names: Iterable[str] = TOPICS) -> dict[str, BrokerTopic]:
        """Those of the named topics that exist."""
        found = {name: topic for name, topic in self._described(names).items() if topic["partitions"]}
        configs = self._configs(found) if found else {}
        return {
            name: BrokerTopic(
                name,
                str(topic["topic_id"]),
                len(topic["partitions"]),
                configs[name].get(_TIMESTAMPS) == _LOG_TIME,
                int(configs[name].get(_SIZE, 1 << 20)),
                "compact" in configs[name].get(_CLEANUP, ""),
            )
            for name, topic in found.items()
        }

    def ids(self, names: Iterable[str] = TOPICS) -> dict[str, str]:
        """The ids of those of the named topics that exist."""
        return {name: str(topic["topic_id"]) for name, topic in self._described(names).items()}

    def ends(self, names: Iterable[str] = TOPICS) -> dict[tuple[str, int], Ends]:
        """How far each partition of the named topics reaches; none for a topic that does not exist. Some ms."""
        from kafka.structs import TopicPartition

        partitions = [
            TopicPartition(name, partition["partition_index"])
            for name, topic in self._described(names).items()
            for partition in topic["partitions"]
        ]
        if not partitions:
            return {}
        first, following = (self._ask(partial(_offsets, dict.fromkeys(partitions, which))) for which in (_FIRST, _NEXT))
        return {(at.topic, at.partition): Ends(first[at].offset, following[at].offset) for at in partitions}

    def ensure(self, settings: KafkaSettings, names: Iterable[str] = TOPICS) -> dict[str, BrokerTopic]:
        """Make the topics that are missing, and switch those with CreateTime to LogAppendTime; all of them.

        Partitions and retention of a topic that exists are left as they are.
        Raises TopicRefused with the command to run where the brokers do not allow it.
        """
        names = tuple(names)
        until = time.monotonic() + _SETTLES_S
        done: dict[str, str] = {}
        waits = False
        while True:
            found = self.topics(names)
            amiss = [name for name in names if name not in found or not found[name].log_append_time]
            if not amiss:
                break
            if time.monotonic() > until:
                raise KafkaDown(f"Kafka at {self.brokers} has not made its topics in {_SETTLES_S:g} s; try again.")
            if done or waits:
                time.sleep(_PAUSE_S)
            for name in amiss:
                # What was asked for shows a moment later; asking again does no harm.
                if name not in found:
                    done[name] = self._make(name, settings)
                elif self._switch(name):
                    done.setdefault(name, "switched from CreateTime to LogAppendTime")
                else:
                    waits = True
        for name, what in done.items():
            logger.info("%s at %s: %s", name, self.brokers, what)
        for topic in found.values():
            if topic.compacted:
                logger.warning(
                    "%s is compacted: Kafka drops all but the newest event of a key. Run: %s",
                    topic.name,
                    self._alter(topic.name, f"{_CLEANUP}=delete"),
                )
        return found

    # How -----------------------------------------------------------------------------------------------------------

    def _described(self, names: Iterable[str]) -> dict[str, Any]:
        """Name -> the brokers' description, of the topics that exist."""
        wanted = list(names)
        described: Sequence[Mapping[str, Any]] = self._ask(lambda admin: admin.describe_topics(wanted))
        return {topic["name"]: topic for topic in described if topic["error_code"] == 0}

    def _configs(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        from kafka.admin import ConfigResource

        wanted = [ConfigResource("TOPIC", name, [_TIMESTAMPS, _SIZE, _CLEANUP]) for name in names]
        found = self._ask(lambda admin: admin.describe_configs(wanted, config_filter="all"))["topic"]
        return {name: {key: str(entry["value"]) for key, entry in config.items()} for name, config in found.items()}

    def _make(self, name: str, settings: KafkaSettings) -> str:
        from kafka import errors

        topic = {
            "num_partitions": settings.partitions,
            "replication_factor": settings.replication,
            "configs": {
                _TIMESTAMPS: _LOG_TIME,
                _SIZE: str(settings.max_message_mb << 20),
                _IN_SYNC: str(settings.min_insync),
                "retention.ms": str(settings.retention // timedelta(milliseconds=1)),
            },
        }
        try:
            self._ask(lambda admin: admin.create_topics({name: topic}))
        except errors.TopicAlreadyExistsError:
            return "made by another program"
        except errors.InvalidReplicationFactorError:
            raise TopicRefused(
                f"Kafka at {self.brokers} has fewer brokers than the {settings.replication} copies that {name} is to "
                "have; set TILLWATCH_KAFKA_REPLICATION lower."
            ) from None
        except errors.KafkaError as error:
            options = " ".join(f"--config {key}={value}" for key, value in topic["configs"].items())  # type: ignore[attr-defined]
            command = (
                f"kafka-topics.sh --bootstrap-server {self.brokers} --create --topic {name} "
                f"--partitions {settings.partitions} --replication-factor {settings.replication} {options}"
            )
            raise TopicRefused(
                f"Kafka at {self.brokers} did not make {name} ({type(error).__name__}); "
                f"let somebody who may run: {command}"
            ) from None
        return f"made, partitions {settings.partitions}"

    def _switch(self, name: str) -> bool:
        """False where the broker that was asked knows nothing of a topic yet that another has made."""
        from kafka.admin import ConfigResource
        from kafka.errors import KafkaError

        change = ConfigResource("TOPIC", name, {_TIMESTAMPS: _LOG_TIME})
        try:
            answer = self._ask(lambda admin: admin.alter_configs([change]))["topic"][name]
        except ValueError:
            # kafka-python looks first whether the topic has such a setting; here it has none at all.
            return False
        except KafkaError as error:
            answer = type(error).__name__
        if answer != "OK":
            raise TopicRefused(
                f"{name} at {self.brokers} has producers' times (CreateTime), the log's own time is needed, and "
                f"Kafka did not switch it ({_flat(answer)}); let somebody who may run: "
                f"{self._alter(name, f'{_TIMESTAMPS}={_LOG_TIME}')}"
            )
        return True

    def _alter(self, name: str, config: str) -> str:
        return (
            f"kafka-configs.sh --bootstrap-server {self.brokers} --alter --entity-type topics --entity-name {name} "
            f"--add-config {config}"
        )

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """The answer; KafkaDown where none comes, KafkaError where the brokers refuse."""
        from kafka import errors

        kept = self._admin is not None
        try:
            if self._admin is None:
                self._admin = self._made_by()
            return question(self._admin)
        except KafkaDown:
            raise
        except (errors.KafkaError, OSError) as error:
            refused = isinstance(error, errors.BrokerResponseError) and not error.retriable
            if refused:
                raise
            self.close()
            if not kept or isinstance(error, errors.KafkaTimeoutError):
                raise _down(self.brokers, error) from error
        # A kept connection that broke says nothing of the brokers now: they may be up again.
        return self._ask(question)

    def _connect(self) -> Any:
        from kafka import KafkaAdminClient
        from kafka.net.compat import KafkaNetClient

        reachable(self.brokers)
        made: list[Any] = []

        def kept(**config: Any) -> Any:
            made.append(KafkaNetClient(**config))
            return made[0]

        milliseconds = int(self._timeout_s * 1000)
        try:
            return KafkaAdminClient(
                bootstrap_servers=self.brokers.split(","),
                client_id="tillwatch",
                request_timeout_ms=milliseconds,
                bootstrap_timeout_ms=milliseconds,
                reconnect_backoff_max_ms=1000,
                kafka_client=kept,
            )
        except BaseException:
            # The library leaves the thread of a client that did not come to be.
            if made:
                made[0].close()
            raise


def reachable(brokers: str) -> None:
    """Raises KafkaDown, with each broker's reason, where none of them takes a connection: at once or within 2 s."""
    reasons = []
    for broker in brokers.split(","):
        host, _, port = broker.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
        except (OSError, ValueError) as error:
            reasons.append((broker, error))
        else:
            return
    said = "; ".join(f"{broker}: {getattr(error, 'strerror', None) or error}" for broker, error in reasons)
    raise KafkaDown(f"No Kafka broker answers ({said}). Start it or correct the address (kafka.brokers).")


def _down(brokers: str, error: Exception) -> KafkaDown:
    return KafkaDown(
        f"Kafka at {brokers} does not answer: {_flat(error) or type(error).__name__}. "
        "Start it or correct the address (kafka.brokers)."
    )


def _offsets(wanted: Mapping[Any, int], admin: Any) -> Any:
    return admin.list_partition_offsets(wanted)


def _flat(error: object) -> str:
    return " ".join(str(error).split())


@cache
def _log(brokers: str) -> KafkaLog:
    return KafkaLog(brokers)


def ensure_topics(settings: KafkaSettings, names: Iterable[str] = TOPICS) -> dict[str, BrokerTopic]:
    """KafkaLog.ensure at the brokers of the settings, over this process's own connection."""
    return _log(settings.brokers).ensure(settings, names)


def log_ends(brokers: str, names: Iterable[str] = TOPICS) -> dict[tuple[str, int], Ends]:
    """KafkaLog.ends over this process's own connection: (topic, partition) -> (first, end)."""
    return _log(brokers).ends(names)
