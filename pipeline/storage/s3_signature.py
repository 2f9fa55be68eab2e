"""AWS signature version 4 of requests to S3, by headers.

As in https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import urlsplit

from pipeline.settings import S3Settings


class Signature:
    """Signs for one server and account. Any thread may call it; the key of a day is made once."""

    def __init__(self, settings: S3Settings) -> None:
        self._host = urlsplit(settings.endpoint).netloc
        self._account = settings.access_key
        self._secret = settings.secret_key.get_secret_value()
        self._region = settings.region
        self._key: tuple[str, bytes] = ("", b"")

    def headers(self, method: str, path: str, query: str, body: bytes = b"") -> dict[str, str]:
        """The headers of a request; path and query are percent-encoded already, the query's names in order."""
        now = datetime.now(UTC)
        moment, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": self._host, "x-amz-content-sha256": digest, "x-amz-date": moment}
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{digest}"
        scope = f"{day}/{self._region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._day_key(day), text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._account}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return headers

    def _day_key(self, day: str) -> bytes:
        held = self._key
        if held[0] != day:
            key = f"AWS4{self._secret}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            held = self._key = (day, key)
        return held[1]
