"""Browsers on a page of Streamlit, as far as its protocol goes: each asks for the page, and again when it is told to.

`watch(PORT, COUNT, SECONDS)` prints a line when all are open, and after SECONDS which commit each showed at the end of
each second, both as JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import time

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.typing import Subprotocol

_COMMIT = re.compile(r"commit ([0-9a-f]{64})")


class StreamlitViewer:
    """One page; `shown` is the commit that it shows."""

    def __init__(self) -> None:
        self.shown: str | None = None
        self._again: dict[str, asyncio.Task[None]] = {}

    async def run(self, port: int) -> None:
        address = f"ws://127.0.0.1:{port}/_stcore/stream"
        async with websockets.connect(address, subprotocols=[Subprotocol("streamlit")], max_size=None) as socket:
            await socket.send(_asked())
            async for frame in socket:
                if not isinstance(frame, bytes):
                    continue
                told = ForwardMsg.FromString(frame)
                if told.HasField("auto_rerun"):
                    fragment, interval = told.auto_rerun.fragment_id, told.auto_rerun.interval
                    if fragment not in self._again:
                        self._again[fragment] = asyncio.create_task(_ask(socket, fragment, interval))
                elif told.HasField("delta") and (found := _COMMIT.search(str(told.delta))):
                    self.shown = found[1]


def _asked(fragment: str = "") -> bytes:
    message = BackMsg()
    message.rerun_script.fragment_id = fragment
    message.rerun_script.is_auto_rerun = bool(fragment)
    asked: bytes = message.SerializeToString()
    return asked


async def _ask(socket: websockets.ClientConnection, fragment: str, interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        await socket.send(_asked(fragment))


async def watch(port: int, count: int, seconds: float) -> None:
    viewers = [StreamlitViewer() for _ in range(count)]
    tasks = []
    for viewer in viewers:
        tasks.append(asyncio.create_task(viewer.run(port)))
        # People do not come in one moment: their looks are spread over a turn.
        await asyncio.sleep(5 / count)
    end = time.monotonic() + 60
    while any(viewer.shown is None for viewer in viewers):
        if time.monotonic() > end:
            raise SystemExit("bench: not all pages of Streamlit showed something.")
        await asyncio.sleep(0.1)
    print(json.dumps({"open": count}), flush=True)
    shown: list[tuple[float, str]] = []
    for _ in range(int(seconds)):
        await asyncio.sleep(1)
        shown += [(time.time(), viewer.shown) for viewer in viewers if viewer.shown]
    print(json.dumps({"shown": shown}), flush=True)
    for task in tasks:
        task.cancel()
