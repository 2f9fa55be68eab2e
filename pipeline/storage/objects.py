"""Objects in S3: read, write, list and delete thousands, each with few requests.

pyarrow's file system (spark-apps/s3.py) asks twice for a small file, and deletes one at a time with four requests each.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import batched
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import urllib3

from pipeline.settings import S3Settings
from pipeline.storage.files import Stored
from pipeline.storage.s3_signature import Signature

# The most that one request may name.
DELETED_AT_ONCE = 1000


class S3Error(Exception):
    """S3 refused; the message says what, with the address."""


class S3Down(S3Error):
    """S3 cannot be reached, or answers that it cannot serve now."""


class Objects:
    """One S3 server and account. Any thread may call any method; each raises S3Down when it cannot be reached."""

    def __init__(self, settings: S3Settings, *, timeout_s: float = 15.0, connections: int = 4) -> None:
        self._endpoint = settings.endpoint
        self._signature = Signature(settings)
        self._http = urllib3.PoolManager(
            maxsize=connections,
            timeout=urllib3.Timeout(connect=2.0, read=timeout_s),
            # A connection that the server has closed while idle is opened again; nothing else is tried twice.
            retries=urllib3.Retry(total=1, connect=0, read=0, status=0, redirect=0, other=1),
        )

    def close(self) -> None:
        self._http.clear()

    def read(self, uri: str) -> bytes:
        """The object's bytes. Raises FileNotFoundError where there is none."""
        data: bytes = self._ask("GET", *_parts(uri)).data
        return data

    def look(self, uri: str) -> Stored:
        """The object's size and time, the time cut to the second. Raises FileNotFoundError where there is none."""
        headers = self._ask("HEAD", *_parts(uri)).headers
        modified = parsedate_to_datetime(headers["last-modified"])
        return Stored(uri, int(headers.get("content-length", 0)), int(modified.timestamp() * 1_000_000))

    def write(self, uri: str, data: bytes) -> None:
        """Put an object, whole or not at all."""
        self._ask("PUT", *_parts(uri), body=data)

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket; one that is there is left as it is."""
        try:
            self._ask("PUT", bucket, "")
        except S3Error as error:
            if "BucketAlready" not in str(error):
                raise

    def list(self, prefix: str) -> Iterator[Stored]:
        """All objects whose address begins with `prefix`, an s3:// address."""
        bucket, key = _parts(prefix)
        query = {"list-type": "2", "prefix": key, "max-keys": "1000"}
        while True:
            answer = ElementTree.fromstring(self._ask("GET", bucket, "", query).data)
            for item in answer.iterfind("{*}Contents"):
                name, size, modified = (item.findtext("{*}" + tag, "") for tag in ("Key", "Size", "LastModified"))
                moment = datetime.fromisoformat(modified).astimezone(UTC)
                yield Stored(f"s3://{bucket}/{name}", int(size), int(moment.timestamp() * 1_000_000))
            token = answer.findtext("{*}NextContinuationToken")
            if not token:
                return
            query["continuation-token"] = token

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects of one bucket; those that are gone already are no error."""
        for some in batched(uris, DELETED_AT_ONCE):
            bucket = _parts(some[0])[0]
            keys = "".join(f"<Object><Key>{escape(_parts(uri)[1])}</Key></Object>" for uri in some)
            body = f"<Delete><Quiet>true</Quiet>{keys}</Delete>".encode()
            answer = self._ask("POST", bucket, "", {"delete": ""}, body).data
            # A server may answer with nothing at all when all went well.
            refused = ElementTree.fromstring(answer).findall("{*}Error") if answer else []
            if refused:
                reason = " ".join(text for text in refused[0].itertext() if text.strip())
                raise S3Error(f"S3 at {self._endpoint} did not delete {len(refused)} objects of {bucket}: {reason}")

    def _ask(
        self, method: str, bucket: str, key: str, query: Mapping[str, str] | None = None, body: bytes = b""
    ) -> urllib3.BaseHTTPResponse:
        path = quote(f"/{bucket}/{key}" if key else f"/{bucket}", safe="/-_.~")
        words = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in (query or {}).items())
        text = "&".join(f"{name}={value}" for name, value in words)
        headers = self._signature.headers(method, path, text, body)
        if body:
            headers["content-md5"] = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        url = f"{self._endpoint}{path}" + (f"?{text}" if text else "")
        try:
            answer = self._http.request(method, url, body=body or None, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise S3Down(f"S3 at {self._endpoint} cannot be reached: {error}") from None
        if answer.status < 300:
            return answer
        code, reason = _reason(answer.data)
        if code == "NoSuchBucket" or (answer.status == 404 and not key):
            raise S3Error(f"S3 at {self._endpoint} has no bucket '{bucket}'; correct nessie.warehouse.")
        if answer.status == 404:
            raise FileNotFoundError(f"s3://{bucket}/{key}")
        sentence = f"S3 at {self._endpoint} answers {answer.status} to {method} {path}: {code} {reason}".rstrip(": ")
        match answer.status:
            case 401 | 403:
                raise S3Error(f"{sentence}; correct s3.access_key and TILLWATCH_S3_SECRET_KEY_FILE.")
            case 429 | 500 | 502 | 503 | 504:
                raise S3Down(sentence)
        raise S3Error(sentence)


def _parts(uri: str) -> tuple[str, str]:
    """Bucket and key of s3://BUCKET/KEY; s3a and s3n are older names of the same."""
    scheme, _, rest = uri.partition("://")
    if scheme not in ("s3", "s3a", "s3n") or not rest:
        raise ValueError(f"{uri} is no s3:// address")
    bucket, _, key = rest.partition("/")
    return bucket, key


def _reason(answer: bytes) -> tuple[str, str]:
    """Code and message of an error answer, empty where there are none."""
    try:
        root = ElementTree.fromstring(answer)
    except ElementTree.ParseError:
        return "", ""
    return root.findtext("{*}Code", ""), root.findtext("{*}Message", "")
