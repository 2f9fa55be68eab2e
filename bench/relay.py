"""A relay between a browser and a console, which counts what the wire carries."""

from __future__ import annotations

import asyncio
import contextlib
import threading


class Relay:
    """Stands on a port of its own before a server, and counts what the server sends."""

    def __init__(self, port: int) -> None:
        self.bytes = 0
        self._target = port
        # The main thread has the browser's loop.
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        serving = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), loop)
        self._server = serving.result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        with contextlib.suppress(OSError):
            await asyncio.gather(self._pass(reader, to_writer), self._pass(to_reader, writer, counts=True))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counts: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.bytes += len(data) if counts else 0
                writer.write(data)
                await writer.drain()
        writer.close()

    def taken(self) -> int:
        """Bytes since the last time."""
        taken, self.bytes = self.bytes, 0
        return taken
