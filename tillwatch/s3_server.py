"""The stack's S3 server: S3Proxy, or MinIO where there is one."""

from __future__ import annotations

import os
import shutil
from typing import Literal

from lakehouse.settings.base import Shared
from lakehouse.user_error import UserError
from pipeline.settings import S3Settings
from tillwatch import jars
from tillwatch.java import java
from tillwatch.server import Server, home_of, write_properties
from tillwatch.settings import StackSettings

_LOGBACK = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss.SSS} %-5level %logger{0}: %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="OUT"/></root>
</configuration>
"""


def s3(shared: Shared) -> Server:
    """S3Proxy or MinIO, as settings and data directory say."""
    settings = S3Settings.load()
    key, secret = settings.access_key, settings.secret_key.get_secret_value()
    address = f"127.0.0.1:{shared.port('s3')}"
    which = s3_kind(shared)
    home = home_of(shared, which)
    if which == "minio":
        minio = find_minio()
        if minio is None:
            raise UserError(
                f"MinIO wrote {home}, and there is no `minio` on the PATH now: put it back, or remove the data "
                "directory."
            )
        environment = {"MINIO_ROOT_USER": key, "MINIO_ROOT_PASSWORD": secret, "MINIO_BROWSER": "off"}
        return Server([minio, "server", "--quiet", str(home / "data"), "--address", address], environment)
    (home / "data").mkdir(exist_ok=True)
    write_properties(
        home / "s3proxy.properties",
        {
            "s3proxy.endpoint": f"http://{address}",
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": key,
            "s3proxy.credential": secret,
            "s3proxy.ignore-unknown-headers": "true",
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": home / "data",
        },
    )
    (home / "logback.xml").write_text(_LOGBACK, encoding="utf-8")
    return Server(
        [
            str(java()),
            *("-Xmx256m", "-XX:+UseSerialGC", f"-Dlogback.configurationFile={home / 'logback.xml'}"),
            *("-cp", f"{jars.directory('s3proxy')}/*", "org.gaul.s3proxy.Main"),
            *("--properties", str(home / "s3proxy.properties")),
        ]
    )


def s3_kind(shared: Shared) -> Literal["s3proxy", "minio"]:
    """Which S3 server this data directory has, or gets. Raises UserError where settings name the other one."""
    wanted = StackSettings.load().s3
    both: tuple[Literal["s3proxy", "minio"], ...] = ("s3proxy", "minio")
    for kind in both:
        if (shared.data_dir / kind).exists():
            if wanted not in ("auto", kind):
                raise UserError(
                    f"The objects in {shared.data_dir} were written by {kind}, and {wanted} does not read them: set "
                    f"TILLWATCH_STACK_S3 to {kind}, or TILLWATCH_DATA_DIR to another directory."
                )
            return kind
    if wanted == "minio" and find_minio() is None:
        raise UserError("TILLWATCH_STACK_S3 is minio, and there is no `minio` on the PATH: install it, or set s3proxy.")
    if wanted == "auto":
        return "minio" if shutil.which("minio") else "s3proxy"
    return wanted


def find_minio() -> str | None:
    """MinIO on the PATH, else the one that deploy/ci-setup built beside the jars."""
    built = jars.user_cache() / "bin" / "minio"
    return shutil.which("minio") or (str(built) if os.access(built, os.X_OK) else None)
