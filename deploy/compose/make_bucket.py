"""Makes the bucket that the tables lie in, where it is missing: `python make_bucket.py`, sections nessie and s3."""

from __future__ import annotations

import time
from contextlib import closing

from lakehouse.user_error import UserError, exit_on_user_error
from pipeline.settings import NessieSettings, S3Settings
from pipeline.storage.objects import Objects, S3Down, S3Error

WITHIN_S = 60.0


def main() -> None:
    with exit_on_user_error():
        settings, bucket = S3Settings.load(), NessieSettings.load().bucket
        until = time.monotonic() + WITHIN_S
        with closing(Objects(settings)) as objects:
            while True:
                try:
                    objects.make_bucket(bucket)
                except S3Down as error:
                    if time.monotonic() > until:
                        raise UserError(f"{error}; start it, or correct s3.endpoint.") from None
                    time.sleep(1)
                except S3Error as error:
                    raise UserError(str(error)) from None
                else:
                    break
        print(f"The bucket {bucket} is at {settings.endpoint}.")


if __name__ == "__main__":
    main()
