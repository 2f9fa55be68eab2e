"""A reverse proxy with a path of its own before another server's, as `location /ops/ { proxy_pass …/; }` of nginx."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _served(prefix: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        writer.close()
        return
    request, *fields = head.split("\r\n")
    method, path, version = request.split(" ")
    if not path.startswith(f"{prefix}/"):
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        return
    if not any(field.lower().startswith("upgrade:") for field in fields):
        # One request a connection, so that each is seen.
        fields = ["Connection: close", *(field for field in fields if not field.lower().startswith("connection:"))]
    behind, before = await asyncio.open_connection("127.0.0.1", port)
    before.write("\r\n".join([f"{method} {path.removeprefix(prefix)} {version}", *fields]).encode("latin-1"))
    await asyncio.gather(_pipe(reader, before), _pipe(behind, writer))


@contextmanager
def proxy(prefix: str, to: int, port: int) -> Iterator[None]:
    """Serve `/ops/…` of a port as `/…` of another, in a thread, while in the block; all else is not found."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()
    listening = asyncio.start_server(lambda reader, writer: _served(prefix, to, reader, writer), "127.0.0.1", port)
    server = asyncio.run_coroutine_threadsafe(listening, loop).result(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
