"""The one client of S3: what it asks, and what it says when S3 refuses or is silent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lakehouse.settings.base import Shared
from pipeline.settings import S3Settings
from pipeline.storage.objects import NoBucket, Objects, S3Denied, S3Down, S3Error

SECRET = "otter-kettle"


class FakeS3:
    """S3 over a dictionary of objects by /BUCKET/KEY; `answers` come first, in their order: a status and a body."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.answers: list[tuple[int, str]] = []
        self.asked: list[str] = []
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                split = urlsplit(self.path)
                ours.asked.append(f"{self.command} {split.path}")
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, content = ours.answer(self.command, split.path, parse_qs(split.query), body)
                if status == 200 and (part := self.headers.get("range")):
                    first, last = (int(number) for number in part.removeprefix("bytes=").split("-"))
                    status, whole, content = 206, len(content), content[first : last + 1]
                self.send_response(status)
                if status == 206:
                    self.send_header("content-range", f"bytes {first}-{last}/{whole}")
                self.send_header("content-length", str(len(content)))
                self.send_header("last-modified", "Mon, 02 Mar 2026 12:00:00 GMT")
                self.send_header("etag", '"1"')
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = _answer  # the names are http.server's

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes]:
        if self.answers:
            status, text = self.answers.pop(0)
            return status, text.encode()
        if method == "PUT":
            self.objects[path] = body
        elif "list-type" in query:
            found = "".join(
                f"<Contents><Key>{name.partition('/shop/')[2]}</Key><Size>{len(content)}</Size>"
                "<LastModified>2026-03-02T12:00:00.250Z</LastModified></Contents>"
                for name, content in self.objects.items()
            )
            return 200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()
        elif path not in self.objects:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>"
        return 200, self.objects.get(path, b"")


@pytest.fixture
def server() -> Iterator[FakeS3]:
    server = FakeS3()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def client(endpoint: str, timeout_s: float = 5.0) -> Objects:
    Shared.load()  # a proxy of this machine's environment sees nothing of it
    return Objects(S3Settings.load(endpoint=endpoint, secret_key=SECRET), timeout_s=timeout_s)


@pytest.fixture
def objects(server: FakeS3) -> Objects:
    return client(server.endpoint)


def test_what_is_written_is_read_looked_at_listed_and_copied(server: FakeS3, objects: Objects, tmp_path: Path) -> None:
    uri = "s3://shop/wh/hour=12/ü b.parquet"
    objects.write(uri, pa.py_buffer(b"rows"))
    assert list(server.objects) == ["/shop/wh/hour%3D12/%C3%BC%20b.parquet"]
    assert objects.read(uri.replace("s3:", "s3a:")) == b"rows"
    assert objects.read_part(uri, 1, 2) == b"ow"
    assert objects.look(uri).bytes == 4
    assert objects.fetch(uri, tmp_path / "copy.parquet") == 4
    assert [path.name for path in tmp_path.iterdir()] == ["copy.parquet"]
    server.objects = {"/shop/wh/a": b"rows"}
    [found] = objects.list("s3://shop/wh/")
    assert (found.uri, found.bytes, found.modified % 1_000_000) == ("s3://shop/wh/a", 4, 250_000)


def test_of_a_large_file_only_what_is_asked_for_is_fetched(objects: Objects) -> None:
    rows = pa.table({"narrow": list(range(1000)), "wide": [str(n) * 300 for n in range(1000)]})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="none", use_dictionary=False)
    content = sink.getvalue()
    objects.write("s3://shop/a", content)
    fetched: list[int] = []
    read_part = objects.read_part

    def counted(uri: str, start: int, size: int) -> bytes:
        fetched.append(size)
        return read_part(uri, start, size)

    objects.read_part = counted  # type: ignore[method-assign]
    file = pq.ParquetFile(objects.open("s3://shop/a", content.size), pre_buffer=True)
    assert file.read(columns=["narrow"]).column(0).to_pylist() == list(range(1000))
    assert sum(fetched) < content.size / 5


def _error(code: str, message: str = "") -> str:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"


@pytest.mark.parametrize(
    ("answers", "kind", "sentence"),
    [
        (
            [(403, _error("SignatureDoesNotMatch", "It differs."))],
            S3Denied,
            "answers 403 to GET /shop/a: SignatureDoesNotMatch It differs.; "
            "correct s3.access_key and TILLWATCH_S3_SECRET_KEY_FILE.",
        ),
        ([(404, _error("NoSuchBucket"))], NoBucket, "has no bucket 'shop'; correct nessie.warehouse."),
        ([(404, _error("NoSuchKey"))], FileNotFoundError, "s3://shop/a"),
        ([(503, _error("SlowDown"))] * 2, S3Down, "answers 503 to GET /shop/a: SlowDown"),
        ([(400, _error("Odd", "Say why."))], S3Error, "answers 400 to GET /shop/a: Odd Say why."),
    ],
    ids=["wrong key", "no bucket", "no object", "busy", "else"],
)
def test_a_refusal_is_one_sentence(
    server: FakeS3, objects: Objects, answers: list[tuple[int, str]], kind: type[Exception], sentence: str
) -> None:
    server.answers = answers
    with pytest.raises(kind) as caught:
        objects.read("s3://shop/a")
    assert str(caught.value).endswith(sentence)
    assert SECRET not in str(caught.value)
    assert "/shop/a" not in getattr(caught.value, "brief", "")


def test_what_does_not_get_through_once_is_asked_again(server: FakeS3, objects: Objects) -> None:
    server.objects["/shop/a"] = b"rows"
    server.answers = [(503, "")]
    assert objects.read("s3://shop/a") == b"rows"


def test_an_object_that_is_not_deleted_is_named(server: FakeS3, objects: Objects) -> None:
    server.answers = [
        (200, "<DeleteResult><Error><Key>a</Key><Code>AccessDenied</Code><Message>No.</Message></Error></DeleteResult>")
    ]
    with pytest.raises(S3Error, match=r"POST s3://shop: DeleteObjects .* for key a: No\. \(code: AccessDenied\)"):
        objects.delete(["s3://shop/a", "s3://shop/b"])


def test_a_key_that_no_client_can_ask_for_is_refused(objects: Objects) -> None:
    with pytest.raises(S3Error, match=r"cannot GET s3://shop/a//b: .*empty path segment"):
        objects.read("s3://shop/a//b")
    with pytest.raises(S3Error, match="file:///a is no s3:// address"):
        objects.read("file:///a")


ASKS: list[Callable[[Objects], object]] = [
    lambda objects: objects.read("s3://shop/a"),
    lambda objects: objects.write("s3://shop/a", b"rows"),
    lambda objects: list(objects.list("s3://shop/a")),
    lambda objects: objects.delete(["s3://shop/a"]),
    lambda objects: objects.make_bucket("shop"),
]


@pytest.mark.parametrize("ask", ASKS, ids=["read", "write", "list", "delete", "make_bucket"])
def test_a_server_that_is_not_there_or_silent_is_told_with_its_address(ask: Callable[[Objects], object]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(S3Down, match=f"S3 at {endpoint} does not answer: timed out"):
            ask(client(endpoint, timeout_s=0.2))
    with pytest.raises(S3Down, match=f"S3 at {endpoint} does not answer: connection refused"):
        ask(client(endpoint))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [((200, ""), None), ((409, _error("BucketAlreadyOwnedByYou")), None), ((403, _error("AccessDenied")), S3Denied)],
    ids=["made", "there", "not allowed"],
)
def test_a_bucket_is_made_where_it_is_missing(
    server: FakeS3, objects: Objects, answer: tuple[int, str], kind: type[Exception] | None
) -> None:
    server.answers = [answer]
    if kind is None:
        objects.make_bucket("shop")
    else:
        with pytest.raises(kind, match=r"correct s3\.access_key"):
            objects.make_bucket("shop")
    assert [asked.rstrip("/") for asked in server.asked] == ["PUT /shop"]
