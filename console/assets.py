"""Scripts and styles, compressed once and kept by browsers: Panel's server would send 3.4 MB anew at every load."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bokeh.embed.bundle import extension_dirs
from bokeh.util.paths import bokehjs_path
from cachetools import LRUCache
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

ROUTER = APIRouter()
LOOK = Path(__file__).with_name("static")

FOR_EVER = "public, max-age=31536000, immutable"
"""The address names the content: another content has another address."""

# Not by mimetypes, which asks the machine: what a browser is told to be another type, it does not run.
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".map": "application/json"}

NOT_DRAWN = ("tabulator", "luxon", "es-module-shims")
"""Of what Panel has every page load, what nothing of ours is drawn with: 0.6 MB."""

_TAG = re.compile(r'<(?:script|link)\b[^>]*\b(?:src|href)="(static/[^"?]*)(?:\?[^"]*)?"[^>]*>(?:</script>)?')


def roots() -> Mapping[str, Path]:
    """Folders by the beginning of their address; the longer ones first."""
    extensions = {f"static/extensions/{name}/": Path(path) for name, path in extension_dirs.items()}
    return extensions | {"static/": Path(bokehjs_path()), "look/": LOOK}


def file_of(address: str) -> Path | None:
    """The file of an address; None where there is none, or where it lies outside its folder."""
    for begin, root in roots().items():
        if address.startswith(begin):
            path = (root / address.removeprefix(begin)).resolve()
            return path if path.is_relative_to(root.resolve()) and path.is_file() else None
    return None


def lean(tags: str) -> str:
    """Script and style elements, without those that nothing here needs, under addresses that name their content."""

    def kept(found: re.Match[str]) -> str:
        address = found[1]
        if any(name in address for name in NOT_DRAWN):
            return ""
        path = file_of(address)
        return found[0] if path is None else found[0].replace(address, f"kept/{version(path)}/{address}")

    return _TAG.sub(kept, tags)


@cache
def version(path: Path) -> str:
    """What tells the content of a file from any other; of one of ours that of all, for they import each other."""
    files = sorted(path.parent.iterdir()) if path.parent == LOOK else [path]
    content = b"".join(one.read_bytes() for one in files if one.is_file())
    return hashlib.sha256(content).hexdigest()[:16]


_made: LRUCache[tuple[str, str], bytes] = LRUCache(8)
"""Scripts by version and address: a page may still ask for the one before."""


def made_address(name: str, text: str) -> str:
    """Where a script that is made here, and not of a file, is kept."""
    content = text.encode()
    found = hashlib.sha256(content).hexdigest()[:16]
    _made[found, f"made/{name}"] = gzip.compress(content, 6, mtime=0)
    return f"kept/{found}/made/{name}"


def look_address() -> str:
    """Where our own files are."""
    return f"kept/{version(LOOK / 'console.js')}/look"


@ROUTER.get("/kept/{asked}/{address:path}", include_in_schema=False)
async def kept(asked: str, address: str, request: Request) -> Response:
    """A file, open to all: the shop is not in it, and the packages that it is of are public."""
    if (asked, address) in _made:
        found, body = asked, _made[asked, address]
        media_type = "text/javascript"
    else:
        path = file_of(address)
        if path is None:
            return PlainTextResponse("There is no such file.\n", 404)
        found, body = version(path), await run_in_threadpool(_compressed, path)
        media_type = TYPES.get(path.suffix, "application/octet-stream")
    # An older page may ask for what was there before an upgrade.
    headers = {"Cache-Control": FOR_EVER if asked == found else "no-store", "Vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(await run_in_threadpool(gzip.decompress, body), headers=headers, media_type=media_type)
    return Response(body, headers=headers | {"Content-Encoding": "gzip"}, media_type=media_type)


@cache
def _compressed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), 6, mtime=0)
