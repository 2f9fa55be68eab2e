"""Settings: config/tillwatch.yaml < TILLWATCH_* environment < *_FILE secrets; frozen; loud errors.

A part declares its own class with its section's name. The whole file is looked at on every load, so that a misspelt
section or key stops the start of any part, and not only of the one that would have read it.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import psutil
from pydantic import BeforeValidator, ByteSize, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lakehouse.proxies import keep_own_traffic_off
from lakehouse.yaml_file import NotYaml, read_yaml

ROOT = Path(__file__).resolve().parents[1]
PREFIX = "TILLWATCH_"
SECTIONS = (
    "dremio",
    "orders",
    "alerts",
    "rules",
    "ingest",
    "retention",
    "gateway",
    "console",
    "lite",
    "notifier",
    "sandbox",
    "demo",
    "kafka",
    "nessie",
    "s3",
    "spark",
    "stack",
)
PORTS = {
    "console": 5006,
    "notifier": 5007,
    "sandbox": 5008,
    "ingest": 5009,
    "smtp": 5010,
    "lite": 8501,
    "gateway": 32010,
    "kafka": 29092,
    "kafka_controller": 29093,
    "nessie": 19120,
    "nessie_management": 19121,
    "s3": 9000,
}
# Read from the environment by others than a settings class.
_OTHER_ENVIRONMENT = {"TILLWATCH_CONFIG"}

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)\s*")
_UNITS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}


class UserError(Exception):
    """Something a user can mend; the message is one sentence: what, where, what would do."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a UserError's sentence on stderr and exit with 2, without a traceback."""
    try:
        yield
    except UserError as error:
        print(f"tillwatch: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def parse_duration(value: object) -> object:
    """A timedelta from "15 d", "10 min", "0.5 s" or "250 ms"; other values are left to the validator."""
    if not isinstance(value, str):
        if isinstance(value, timedelta):
            return value
        raise ValueError("expected a number with a unit, like '30 s', '15 min', '1 h' or '15 d'")
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError("expected a number with a unit, like '30 s', '15 min', '1 h' or '15 d'")
    try:
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    except OverflowError:
        raise ValueError("it is longer than can be counted") from None


def write_duration(value: timedelta) -> str:
    """What parse_duration reads, in the largest unit that has no fraction: "15 d", "90 s", "250 ms"."""
    for unit, seconds in reversed(_UNITS.items()):
        size = timedelta(seconds=seconds)
        if value >= size and not value % size:
            return f"{value // size} {unit}"
    return f"{value / timedelta(milliseconds=1):g} ms"


def _off_or_duration(value: object) -> object:
    # YAML reads a bare `off` as False.
    if value is None or value is False or (isinstance(value, str) and value.strip().lower() == "off"):
        return None
    return parse_duration(value)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
OptionalDuration = Annotated[timedelta | None, BeforeValidator(_off_or_duration)]


def config_path() -> Path:
    """The settings file: TILLWATCH_CONFIG, else config/tillwatch.yaml of the project."""
    return Path(os.environ.get("TILLWATCH_CONFIG") or ROOT / "config" / "tillwatch.yaml")


@cache
def _read_yaml(path: Path, _changed: int) -> Mapping[str, Any]:
    try:
        content = read_yaml(path)
    except NotYaml as error:
        raise UserError(f"The settings file {path} cannot be read: {error}. Mend it or set TILLWATCH_CONFIG.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"The settings file {path} holds no `section:` lines. Compare it with config/tillwatch.yaml.")
    top = {*SECTIONS, *Shared.model_fields}
    for key, value in content.items():
        if key not in top:
            raise UserError(f"Unknown setting '{key}' in {path}; known are {', '.join(sorted(top))}.")
        if key in SECTIONS and value is not None and not isinstance(value, dict):
            raise UserError(
                f"Section '{key}' in {path} has the value '{value}'; expected `name: value` lines below it."
            )
    return content


class _YamlSource(PydanticBaseSettingsSource):
    """The part of the settings file that belongs to one class."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        path = config_path()
        try:
            changed = path.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            if "TILLWATCH_CONFIG" in os.environ:
                raise UserError(
                    f"TILLWATCH_CONFIG names {path}, which does not exist. Correct it or unset it."
                ) from None
            return {}
        except OSError as error:
            raise UserError(
                f"The settings file {path} cannot be read: {error.strerror}. Mend it or set TILLWATCH_CONFIG."
            ) from None
        content = _read_yaml(path, changed)
        section = self.settings_cls.section  # type: ignore[attr-defined]  # the sources are typed for BaseSettings
        if section is None:
            return {name: value for name, value in content.items() if name not in SECTIONS}
        return dict(content.get(section) or {})


class _FileSource(PydanticBaseSettingsSource):
    """TILLWATCH_SECTION_NAME_FILE: the value is what the named file holds, without its last line end."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        prefix = self.config.get("env_prefix", "")
        for name in self.settings_cls.model_fields:
            variable = f"{prefix}{name}_FILE".upper()
            path = os.environ.get(variable)
            if path:
                try:
                    values[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
                except (OSError, UnicodeDecodeError) as error:
                    reason = error.strerror if isinstance(error, OSError) else "it is no text"
                    raise UserError(f"{variable} names {path}, which cannot be read: {reason}.") from None
        return values


class Section(BaseSettings):
    """Base of every settings class; `load()` reads it once, whole, and raises UserError in one sentence."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, validate_default=True)
    section: ClassVar[str | None] = None

    @field_validator("*")
    @classmethod
    def _one_line(cls, value: Any) -> Any:
        """A secret with a line end goes into places that know nothing of it: headers, and errors that quote them."""
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            if not text.isprintable() or text != text.strip():
                raise ValueError(
                    "it has a line end, a control character or a blank at an end; a secret is one line, also in a file"
                )
        return value

    def __init_subclass__(cls, section: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.section = section
        if section is not None:
            if section not in SECTIONS:
                raise TypeError(f"section {section!r} is not listed in lakehouse.settings.SECTIONS")
            cls.model_config["env_prefix"] = f"{PREFIX}{section}_".upper()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _FileSource(settings_cls), env_settings, _YamlSource(settings_cls)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings of this section; `overrides` win over every other source.

        Raises UserError naming key, value and what would do.
        """
        # Here, for every part reads settings before it speaks to another.
        keep_own_traffic_off()
        _refuse_unknown_environment(cls)
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise UserError(_sentence(cls, error)) from None
        except Exception as error:
            # pydantic-settings wraps what a source raises.
            cause = error.__cause__ or error
            if isinstance(cause, UserError):
                raise cause from None
            if type(error).__name__ == "SettingsError":
                raise UserError(f"A setting of section '{cls.section}' cannot be read: {error}.") from None
            raise


def _refuse_unknown_environment(cls: type[Section]) -> None:
    """Refuse TILLWATCH_ variables that no setting answers to: of this section, or of no section at all."""
    prefix = str(cls.model_config.get("env_prefix"))
    own = {f"{prefix}{name}".upper() for name in cls.model_fields}
    shared = {f"{PREFIX}{name}".upper() for name in Shared.model_fields}
    known = own | shared | {f"{name}_FILE" for name in own | shared} | _OTHER_ENVIRONMENT
    sections = tuple(f"{PREFIX}{section}_".upper() for section in SECTIONS)
    for variable in os.environ:
        if not variable.startswith(PREFIX) or variable in known:
            continue
        if cls.section is not None and variable.startswith(prefix):
            names = ", ".join(sorted(own))
            raise UserError(f"Unknown setting {variable} in the environment; section '{cls.section}' has {names}.")
        if not variable.startswith(sections):
            raise UserError(
                f"Unknown setting {variable} in the environment; names are {PREFIX}SECTION_NAME "
                "as listed in config/tillwatch.yaml."
            )


def _sentence(cls: type[Section], error: ValidationError) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][:1])
    key = f"{cls.section}.{name}" if cls.section else name
    variable = f"{cls.model_config.get('env_prefix')}{name}".upper()
    if first["type"] == "missing":
        return f"Setting '{key}' is missing; set it in {config_path()} or as {variable}."
    if first["type"] == "extra_forbidden":
        return f"Unknown setting '{key}' in {config_path()}; known are {', '.join(sorted(cls.model_fields))}."
    field = cls.model_fields.get(name)
    secret = field is not None and "SecretStr" in str(field.annotation)
    given = first["input"]
    shown = write_duration(given) if isinstance(given, timedelta) else str(given)[:200]
    value = "(secret)" if secret else "".join(c if c.isprintable() else "?" for c in shown)
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason[:1].lower() + reason[1:]
    return f"Setting '{key}' has the value '{value}': {reason}; set it in {config_path()} or as {variable}."


class Shared(Section):
    """What all parts share."""

    data_dir: Path = Field(Path(".tillwatch"), description="where all data of this installation sits")
    port_offset: int = Field(0, ge=0, le=20000, description="added to every port, to run a second one beside the first")
    max_event_age: OptionalDuration = Field(
        timedelta(days=15), description="older events are rejected as STALE_TIME; off for history"
    )

    @field_validator("data_dir")
    @classmethod
    def _data_dir(cls, value: Path) -> Path:
        if value == Path():
            raise ValueError("expected the path of a directory for the data alone")
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in str(value)):
            raise ValueError("there is a control character in the path, or it is no UTF-8 text")
        return Path(os.path.expanduser(value))  # Path's own raises where there is no such home

    def port(self, name: str) -> int:
        """The port of a part: its base plus port_offset."""
        return PORTS[name] + self.port_offset


class DremioSettings(Section, section="dremio"):
    """How to reach Dremio, or the gateway in its place."""

    uri: str = Field("", description="grpc://HOST:PORT or grpc+tls://HOST:PORT; empty: the gateway on this machine")
    user: str = Field("dremio", description="user name")
    password: SecretStr = Field(SecretStr("dremio123"), description="password; better given as *_FILE")
    tls_roots: Path | None = Field(
        None, description="PEM file of whoever signed its certificate; empty: those that this system trusts"
    )
    plan_timeout: Duration = Field(timedelta(seconds=5), description="for planning one question")
    fetch_timeout: Duration = Field(timedelta(seconds=15), description="for reading its answer")

    @field_validator("uri")
    @classmethod
    def _uri(cls, value: str) -> str:
        if not value:
            return f"grpc://localhost:{Shared.load().port('gateway')}"
        if not re.fullmatch(r"grpc(\+tcp|\+tls)?://[^/:]+:\d+", value):
            raise ValueError("expected grpc://HOST:PORT or grpc+tls://HOST:PORT")
        return value


class KafkaSettings(Section, section="kafka"):
    """Where the topics are, and how they are made."""

    brokers: str = Field("", description="HOST:PORT,HOST:PORT; empty: the broker on this machine")
    partitions: int = Field(1, ge=1, le=1000, description="of a topic that is made (count)")
    replication: int = Field(1, ge=1, le=9, description="copies of each partition of a topic that is made (count)")
    min_insync: int = Field(
        1, ge=1, le=9, description="copies that must have a message before it is confirmed, of a topic that is made"
    )
    retention: Duration = Field(timedelta(days=7), description="how long a topic that is made keeps its messages")
    max_message_mb: int = Field(1, ge=1, le=64, description="largest message that a topic that is made takes (MB)")

    @field_validator("brokers")
    @classmethod
    def _brokers(cls, value: str) -> str:
        if not value:
            return f"127.0.0.1:{Shared.load().port('kafka')}"
        if not re.fullmatch(r"[^\s,:/]+:\d+(,[^\s,:/]+:\d+)*", value):
            raise ValueError("expected HOST:PORT, or several with commas between")
        return value

    @field_validator("min_insync")
    @classmethod
    def _min_insync(cls, value: int, info: ValidationInfo) -> int:
        replication = info.data.get("replication", value)
        if value > replication:
            raise ValueError(f"there are no more than {replication} copies (kafka.replication)")
        return value


class NessieSettings(Section, section="nessie"):
    """The catalog of the stack."""

    uri: str = Field("", description="of its API v2: http://HOST:PORT/api/v2; empty: the one on this machine")
    warehouse: str = Field("s3://warehouse/wh", description="where tables lie: s3://BUCKET/PATH")

    @field_validator("uri")
    @classmethod
    def _uri(cls, value: str) -> str:
        if not value:
            return f"http://127.0.0.1:{Shared.load().port('nessie')}/api/v2"
        if not re.fullmatch(r"https?://[^/\s]+(/\S*)?/api/v2/?", value):
            raise ValueError("expected http://HOST:PORT/api/v2")
        return value.rstrip("/")

    @field_validator("warehouse")
    @classmethod
    def _warehouse(cls, value: str) -> str:
        if not re.fullmatch(r"s3://[^/\s]+(/\S*)?", value):
            raise ValueError("expected s3://BUCKET/PATH")
        return value.rstrip("/")

    @property
    def bucket(self) -> str:
        """The bucket that the warehouse lies in."""
        return self.warehouse.removeprefix("s3://").partition("/")[0]


class S3Settings(Section, section="s3"):
    """The object store of the stack."""

    endpoint: str = Field("", description="http://HOST:PORT; empty: the server on this machine")
    access_key: str = Field("admin", description="name of the account")
    secret_key: SecretStr = Field(SecretStr("password"), description="its secret; better given as *_FILE")
    region: str = Field("us-east-1", description="region; most servers take any")

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        if not value:
            return f"http://127.0.0.1:{Shared.load().port('s3')}"
        if not re.fullmatch(r"https?://[^/\s]+/?", value):
            raise ValueError("expected http://HOST:PORT")
        return value.rstrip("/")


class OrdersSettings(Section, section="orders"):
    """What counts as an order."""

    counted_statuses: tuple[str, ...] = Field(
        ("CREATED", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED"),
        description="orders with these statuses count in KPIs, tiles and conversion",
    )

    @field_validator("counted_statuses")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = ("CREATED", "PROCESSING", "SHIPPED", "DELIVERED", "CANCELLED")
        unknown = [status for status in value if status not in known]
        if unknown or not value:
            raise ValueError(f"expected one or more of {', '.join(known)}")
        return value


class AlertsSettings(Section, section="alerts"):
    """When an alert is too old to wake somebody."""

    max_age: Duration = Field(
        timedelta(hours=1),
        ge=timedelta(minutes=1),
        description="an event older than this when received is listed, not sent",
    )


class RulesSettings(Section, section="rules"):
    """How rules judge."""

    max_lookback: Duration = Field(timedelta(minutes=15), description="minutes that ended longer ago are not judged")


class IngestSettings(Section, section="ingest"):
    """How ingest reads, publishes and maintains."""

    publish_every: Duration = Field(timedelta(seconds=0.5), description="between publishes; doubled below 50 events/s")
    heartbeat_every: Duration = Field(timedelta(seconds=15), description="a publish at least this often")
    batch_rows: int = Field(20_000, ge=1, description="rows read of one topic at a time (count)")
    rows_memory: ByteSize = Field(
        ByteSize(128 << 20), description="bytes of recent minutes' rows kept for KPIs, a topic, as 128MB"
    )
    keys_in_memory: int = Field(2_000_000, ge=0, description="event keys kept for telling duplicates, a table (count)")
    maintenance_every: Duration = Field(timedelta(seconds=60), description="between maintenance runs")


class RetentionSettings(Section, section="retention"):
    """How long what is kept."""

    event_log: Duration = Field(timedelta(hours=24), description="events in the log, once published")
    raw: OptionalDuration = Field(timedelta(days=30), description="raw rows, by ingested_at; off keeps them for ever")
    kpis: OptionalDuration = Field(timedelta(days=400), description="KPI rows and alerts")
    operations: OptionalDuration = Field(
        timedelta(days=90), description="dead letters, pipeline_metrics and maintenance_runs"
    )
    every_commit: Duration = Field(timedelta(minutes=5), description="every publish of this span can be read again")
    first_of_minute: Duration = Field(timedelta(hours=6), description="the first publish of each minute of this span")
    sweep_age: Duration = Field(timedelta(minutes=2), description="how long a file outlives its last commit")


def check_spans(
    retention: RetentionSettings, shared: Shared, log: tuple[str, timedelta] | None = None
) -> RetentionSettings:
    """The retention in force: `max_event_age: off` turns raw retention off, for then any minute may still get events.

    Raises UserError where an event could arrive for a minute whose raw rows are gone: its KPIs could not be recomputed.
    """
    if shared.max_event_age is None:
        return retention.model_copy(update={"raw": None})
    if retention.raw is None:
        return retention
    name, span = log or ("retention.event_log", retention.event_log)
    needed = shared.max_event_age + span + timedelta(minutes=15)
    if needed >= retention.raw:
        raise UserError(
            f"Setting 'retention.raw' is {write_duration(retention.raw)}, which is not longer than max_event_age "
            f"({write_duration(shared.max_event_age)}) + {name} ({write_duration(span)}) + 15 min; "
            "raise it or lower one of the other two."
        )
    return retention


def claim_port(port: int, setting: str = "TILLWATCH_PORT_OFFSET", host: str = "127.0.0.1") -> None:
    """Check that a port is free. Raises UserError naming the port, the process that holds it and `setting`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise UserError(f"Port {port} is held by {_holder(port)}; end it or change {setting}.") from None


def _holder(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    break
                process = psutil.Process(connection.pid)
                return f"process {connection.pid} ({process.name()})"
    except psutil.Error:
        pass  # macOS tells the holder to root only
    return "another process"


def profile_of(path: Path) -> str | None:
    """The profile that a data directory remembers; None where it is none."""
    try:
        return (path / "profile").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def open_data_dir(path: Path, *profiles: str) -> Path:
    """Create the data directory with the first of these profiles, which it remembers, or open it.

    Raises UserError for one of another profile.
    """
    profile = profiles[0]
    note = path / "profile"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if note.exists():
            held = note.read_text(encoding="utf-8").strip()
        else:
            held = profile
            note.write_text(f"{profile}\n", encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{note} is no text"
        raise UserError(
            f"The data directory {path} cannot be used: {reason}. Free it or set TILLWATCH_DATA_DIR."
        ) from None
    if held not in profiles:
        raise UserError(
            f"The data directory {path} belongs to the profile '{held}', not '{profile}'; "
            "set TILLWATCH_DATA_DIR to another directory."
        )
    return path
