"""Many browsers at once, as far as the protocol goes: pages are fetched, websockets opened, messages counted.

`watch(URL, COUNT, SECONDS, STALLED)` prints a line once all have heard something, and after SECONDS what was seen, both
as JSON. So many of them are stalled meanwhile: their browser reads nothing until the end, and then what waits for it.

Of the first that is not stalled each message is looked into, for what of it are lists.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import defaultdict
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx
import websockets
from websockets.typing import Subprotocol

_TOKEN = re.compile(r'"token":"([^"]+)"')
_COMMIT = re.compile(r"[0-9a-f]{64}")
CATCH_UP_S = 10.0
SETTLE_S = 3.0
READY = {"type": "event", "name": "document_ready", "values": {"type": "map"}}
AT_ONCE = 4
"""Pages that are fetched side by side."""
OPEN_S = 120.0
"""A server that is busy with all the others answers late; that is no failure of the one that comes."""


@dataclass
class HeardCommits:
    """What one session heard: when each commit came first (s since the epoch), its messages and their bytes.

    `frames`: the messages themselves, where they are looked into.
    """

    commits: dict[str, float] = field(default_factory=dict)
    messages: list[tuple[float, int]] = field(default_factory=list)
    frames: list[str] | None = None


def _message(kind: str, content: object) -> list[str]:
    return [json.dumps({"msgid": kind, "msgtype": kind}), "{}", json.dumps(content)]


async def session(
    url: str,
    client: httpx.AsyncClient,
    gate: asyncio.Semaphore,
    seen: HeardCommits,
    opened: asyncio.Event,
    reads: asyncio.Event,
) -> None:
    """One page, from its request on until it is cancelled. The document is pulled, as browsers do, once it `reads`."""
    async with gate:
        page = (await client.get(url)).text
        found = _TOKEN.search(page)
        if found is None:
            raise SystemExit(f"bench: {url} holds no session: {page[:200]}")
        parts = urlsplit(url)
        address = f"ws://{parts.netloc}{parts.path}/ws"
        socket = await websockets.connect(
            address,
            subprotocols=[Subprotocol("bokeh"), Subprotocol(found[1])],
            max_size=None,
            ping_interval=None,
            open_timeout=OPEN_S,
        )
        for kind, content in (
            ("PULL-DOC-REQ", {}),
            ("PATCH-DOC", {"events": [{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": READY}]}),
        ):
            for words in _message(kind, content):
                await socket.send(words)
    async with socket:
        if not reads.is_set():
            # One that reads nothing hears nothing, and is open as it stands.
            opened.set()
            await reads.wait()
        size, kind = 0, ""
        async for frame in socket:
            at = time.time()
            if isinstance(frame, bytes):
                size += len(frame)
                continue
            if frame.startswith('{"msgid"'):
                size, kind = 0, json.loads(frame).get("msgtype", "")
            size += len(frame)
            if kind != "PATCH-DOC" or '"events"' not in frame:
                continue
            opened.set()
            seen.messages.append((at, size))
            if seen.frames is not None:
                seen.frames.append(frame)
            for commit in set(_COMMIT.findall(frame)):
                seen.commits.setdefault(commit, at)


def bytes_of_lists(frame: str) -> int:
    """Bytes of a message's lists, as they stand in it: as JSON within JSON."""
    told = [event["new"] for event in json.loads(frame)["events"] if event.get("attr") == "down"]
    places = [item for text in told for kind in ("parts", "changed") for item in json.loads(text).get(kind, {}).items()]
    lists = [{place: part} for place, part in places if place.startswith("list.")]
    return sum(len(json.dumps(json.dumps(one, separators=(",", ":")))) + len(",") - len('"{}"') for one in lists)


async def watch(url: str, count: int, seconds: float, stalled: int = 0) -> None:
    everyone = [HeardCommits() for _ in range(count)]
    everyone[stalled].frames = []
    opened = [asyncio.Event() for _ in range(count)]
    now, later = asyncio.Event(), asyncio.Event()
    now.set()
    reading = [later if number < stalled else now for number in range(count)]
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(timeout=OPEN_S) as client:
        tasks = [
            asyncio.create_task(session(url, client, gate, seen, event, reads))
            for seen, event, reads in zip(everyone, opened, reading, strict=True)
        ]
        while not all(event.is_set() for event in opened):
            await asyncio.sleep(0.1)
            for task in tasks:
                if task.done():
                    task.result()
        # What opening so many took of the server is not what they are to be told by.
        await asyncio.sleep(SETTLE_S)
        print(json.dumps({"open": count}), flush=True)
        began = time.time()
        await asyncio.sleep(seconds)
        ended = time.time()
        print(json.dumps({"seen": count}), flush=True)
        if stalled:
            later.set()
            await asyncio.sleep(CATCH_UP_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    commits: dict[str, list[float]] = defaultdict(list)
    sizes: list[int] = []
    for seen in everyone[stalled:]:
        for commit, at in seen.commits.items():
            if began <= at <= ended:
                commits[commit].append(at)
        sizes += [size for at, size in seen.messages if began <= at <= ended]
    looked_into = everyone[stalled]
    without_lists = [
        size - bytes_of_lists(frame)
        for (at, size), frame in zip(looked_into.messages, looked_into.frames or (), strict=True)
        if began <= at <= ended
    ]
    # Of what came since the others were asked to end.
    caught_up = sum(any(at > ended for at in seen.commits.values()) for seen in everyone[:stalled])
    seen_by_all = {
        "began": began,
        "ended": ended,
        "commits": commits,
        "sizes": sizes,
        "without_lists": without_lists,
        "caught_up": caught_up,
    }
    print(json.dumps(seen_by_all), flush=True)
