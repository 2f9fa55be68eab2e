"""The object store that the stack's tables lie in."""

from __future__ import annotations

from lakehouse.user_error import UserError
from pipeline.settings import S3Settings
from pipeline.storage.objects import Objects, S3Denied


def ensure_bucket(objects: Objects, settings: S3Settings, bucket: str) -> None:
    """Make the bucket where it is missing. Raises UserError for wrong credentials, S3Down while no server answers."""
    try:
        if not objects.has_bucket(bucket):  # many an account may use a bucket and make none
            objects.make_bucket(bucket)
    except S3Denied:
        raise UserError(
            f"S3 at {settings.endpoint} refuses the account '{settings.access_key}' for the bucket '{bucket}'; "
            "correct s3.access_key and TILLWATCH_S3_SECRET_KEY_FILE, or give the account that bucket."
        ) from None
