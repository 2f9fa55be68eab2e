"""The object store that the stack's tables lie in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakehouse.user_error import UserError
from pipeline.settings import S3Settings

if TYPE_CHECKING:
    from pyiceberg.io.pyarrow import PyArrowFileIO


def open_s3(settings: S3Settings, *, request_timeout_s: float = 15.0) -> Any:
    """A pyarrow S3FileSystem; paths are BUCKET/KEY. Any thread may use it."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    scheme, _, address = settings.endpoint.partition("://")
    return S3FileSystem(
        access_key=settings.access_key,
        secret_key=settings.secret_key.get_secret_value(),
        region=settings.region,
        scheme=scheme,
        endpoint_override=address,
        connect_timeout=3,
        request_timeout=request_timeout_s,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=2),
        # A small file is one PUT then, not the three calls of a multipart upload.
        allow_delayed_open=True,
        background_writes=False,
        allow_bucket_creation=True,
    )


def key_of(uri: str) -> str:
    """BUCKET/KEY of an s3:// address."""
    return uri.removeprefix("s3://")


def ensure_bucket(fs: Any, settings: S3Settings, bucket: str) -> None:
    """Make the bucket where it is missing. Raises UserError for wrong credentials, OSError while no server answers."""
    try:
        fs.create_dir(bucket, recursive=False)
    except OSError as error:
        reason = str(error)
        if any(word in reason for word in ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE", "403")):
            raise UserError(
                f"S3 at {settings.endpoint} refuses the account '{settings.access_key}' for the bucket '{bucket}'; "
                "correct s3.access_key and TILLWATCH_S3_SECRET_KEY_FILE, or give the account that bucket."
            ) from None
        raise


def iceberg_io(settings: S3Settings) -> PyArrowFileIO:
    """pyiceberg's way to the same files."""
    from pyiceberg.io.pyarrow import PyArrowFileIO

    return PyArrowFileIO(
        {
            "s3.endpoint": settings.endpoint,
            "s3.access-key-id": settings.access_key,
            "s3.secret-access-key": settings.secret_key.get_secret_value(),
            "s3.region": settings.region,
            "s3.connect-timeout": "3",
            "s3.request-timeout": "15",
        }
    )
