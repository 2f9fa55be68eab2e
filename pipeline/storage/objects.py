"""Objects in S3: read, write, list and delete thousands, each with few requests.

One client for all who speak to S3, over obstore: half of the CPU of an HTTP client in Python.
"""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Buffer, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import batched
from pathlib import Path
from typing import NoReturn

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from pipeline.settings import S3Settings
from pipeline.storage.files import Stored
from pipeline.storage.object_file import ObjectFile

# The most that one request may name.
DELETED_AT_ONCE = 1000
CONNECT_S = 2.0
_PIECE = 1 << 20
# A large object goes up in parts, so that no request takes as long as the whole.
_PART = 16 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNED_FOR = timedelta(minutes=1)
_STATUS = re.compile(r"status code: (\d{3})")
_SYSTEM = re.compile(r'(?:message|error): "([^"]+)"')


class S3Error(OSError):
    """S3 refused; the message says what, with the address. `brief` says so without naming an object."""

    def __init__(self, sentence: str, brief: str = "") -> None:
        super().__init__(sentence)
        self.brief = brief or sentence


class S3Down(S3Error):
    """S3 cannot be reached, or answers that it cannot serve now."""


class S3Denied(S3Error):
    """S3 does not take the account, or its secret."""


class NoBucket(S3Error):
    """There is no such bucket."""


class Objects:
    """One S3 server and account, path-style. Any thread may call any method.

    Each raises S3Down where the server is silent for `timeout_s`, S3Denied for a wrong account, NoBucket, and S3Error
    for every other refusal. What is asked is tried a second time only where it did not get through.
    """

    def __init__(self, settings: S3Settings, *, timeout_s: float = 15.0) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._stores: dict[str, S3Store] = {}

    def close(self) -> None:
        self._stores.clear()

    def read(self, uri: str) -> bytes:
        """The object's bytes. Raises FileNotFoundError where there is none."""
        with self._asking("GET", uri) as (store, key):
            return obstore.get(store, key).bytes().to_bytes()

    def fetch(self, uri: str, path: Path) -> int:
        """Copy an object into a file, which appears whole or not at all; its size (bytes).

        Raises FileNotFoundError where there is none.
        """
        part = path.with_suffix(".part")
        try:
            with self._asking("GET", uri) as (store, key), part.open("wb") as file:
                for piece in obstore.get(store, key).stream(_PIECE):
                    file.write(piece)
            size = part.stat().st_size
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return size

    def read_part(self, uri: str, start: int, size: int) -> bytes:
        """Some of the object's bytes. Raises FileNotFoundError where there is none."""
        with self._asking("GET", uri) as (store, key):
            return obstore.get_range(store, key, start=start, length=size).to_bytes()

    def open(self, uri: str, size: int) -> ObjectFile:
        """The object, of `size` bytes, as a file of which only what is read is fetched."""
        return ObjectFile(partial(self.read_part, uri), size)

    def look(self, uri: str) -> Stored:
        """The object's size and time, the time cut to the second. Raises FileNotFoundError where there is none."""
        with self._asking("HEAD", uri) as (store, key):
            found = obstore.head(store, key)
            return Stored(uri, found["size"], _micros(found["last_modified"]))

    def write(self, uri: str, data: Buffer) -> None:
        """Put an object, whole or not at all."""
        content = memoryview(data).cast("B")
        with self._asking("PUT", uri) as (store, key):
            obstore.put(store, key, content, chunk_size=_PART, use_multipart=content.nbytes > _PART)

    def has_bucket(self, bucket: str) -> bool:
        """Whether it is there; asked by listing a folder that holds nothing."""
        try:
            next(self.list(f"s3://{bucket}/.there"), None)
        except NoBucket:
            return False
        return True

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket; one that is there is left as it is."""
        with self._asking("PUT", f"s3://{bucket}") as (store, _):
            url = obstore.sign(store, "PUT", "", _SIGNED_FOR)
        try:
            urllib.request.urlopen(urllib.request.Request(url, data=b"", method="PUT"), timeout=self._timeout_s).close()
        except urllib.error.HTTPError as error:
            body = error.read().decode(errors="replace")
            if "BucketAlready" not in body:
                self._refuse(error.code, body, "PUT", bucket, "")
        except OSError as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise self._down(str(getattr(reason, "strerror", None) or reason)) from None

    def list(self, folder: str) -> Iterator[Stored]:
        """All objects below a folder, an s3:// address; a part of a name is none."""
        with self._asking("GET", folder) as (store, key):
            for page in obstore.list(store, key.rstrip("/") or None):
                for found in page:
                    uri = f"s3://{_parts(folder)[0]}/{found['path']}"
                    yield Stored(uri, found["size"], _micros(found["last_modified"]))

    def delete(self, uris: Iterable[str]) -> None:
        """Delete objects of one bucket; those that are gone already are no error."""
        for some in batched(uris, DELETED_AT_ONCE):
            with self._asking("POST", f"s3://{_parts(some[0])[0]}") as (store, _):
                obstore.delete(store, [_parts(uri)[1] for uri in some])

    @contextmanager
    def _asking(self, method: str, uri: str) -> Iterator[tuple[S3Store, str]]:
        """The bucket's store and the key; what it raises is told in our words."""
        bucket, key = _parts(uri)
        try:
            store = self._stores.get(bucket)
            if store is None:
                store = self._stores[bucket] = self._open(bucket)
            yield store, key
        except (BaseError, FileNotFoundError, ValueError) as error:
            text, _, details = str(error).partition("\n\nDebug source")
            if status := _STATUS.search(text):
                self._refuse(int(status[1]), text, method, bucket, key)
            if isinstance(error, FileNotFoundError):
                raise
            if "Http" in details:
                raise self._down(_plain(text, details)) from None
            raise S3Error(
                f"S3 at {self._settings.endpoint} cannot {method} {uri}: {text.removeprefix('Generic S3 error: ')}"
            ) from None

    def _open(self, bucket: str) -> S3Store:
        settings, timeout = self._settings, timedelta(seconds=self._timeout_s)
        return S3Store(
            bucket,
            endpoint=settings.endpoint,
            access_key_id=settings.access_key,
            secret_access_key=settings.secret_key.get_secret_value(),
            region=settings.region,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": True,
                "connect_timeout": timedelta(seconds=min(CONNECT_S, self._timeout_s)),
                # Of silence; the whole may take as long as its size asks for.
                "read_timeout": timeout,
                "timeout": timedelta(days=1),
            },
            # Once more, at once; never after a silence, for who asks waits no longer than timeout_s.
            retry_config={
                "max_retries": 1,
                "retry_timeout": timeout / 2,
                "backoff": {"init_backoff": timedelta(milliseconds=10), "max_backoff": timedelta(milliseconds=20)},
            },
        )

    def _refuse(self, status: int, text: str, method: str, bucket: str, key: str) -> NoReturn:
        endpoint = self._settings.endpoint
        code, reason = _element("Code", text), _element("Message", text)
        if code == "NoSuchBucket" or (status == 404 and not key):
            raise NoBucket(f"S3 at {endpoint} has no bucket '{bucket}'; correct nessie.warehouse.")
        if status == 404:
            raise FileNotFoundError(f"s3://{bucket}/{key}")
        path = f"/{bucket}/{key}" if key else f"/{bucket}"
        brief = f"S3 at {endpoint} answers {status} {code}".rstrip()
        sentence = f"S3 at {endpoint} answers {status} to {method} {path}: {code} {reason}".rstrip(": ")
        match status:
            case 401 | 403:
                brief = f"S3 at {endpoint} refuses key '{self._settings.access_key}' ({status} {code}".rstrip() + ")"
                raise S3Denied(f"{sentence}; correct s3.access_key and TILLWATCH_S3_SECRET_KEY_FILE.", brief)
            case 429 | 500 | 502 | 503 | 504:
                raise S3Down(sentence, brief)
        raise S3Error(sentence, brief)

    def _down(self, reason: str) -> S3Down:
        return S3Down(f"S3 at {self._settings.endpoint} does not answer: {reason.lower()}")


def _parts(uri: str) -> tuple[str, str]:
    """Bucket and key of s3://BUCKET/KEY; s3a and s3n are older names of the same."""
    scheme, _, rest = uri.partition("://")
    if scheme not in ("s3", "s3a", "s3n") or not rest:
        raise S3Error(f"{uri} is no s3:// address")
    bucket, _, key = rest.partition("/")
    return bucket, key


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _element(name: str, text: str) -> str:
    """What an error answer says; empty where it does not."""
    found = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return found[1].strip() if found else ""


def _plain(text: str, details: str) -> str:
    """Why a request did not get through, from what obstore tells beside its sentence."""
    if re.search(r"kind: Timeout|TimedOut", details):
        return "timed out"
    found = _SYSTEM.findall(details)
    return str(found[-1]) if found else text.rpartition("HTTP error: ")[2]
