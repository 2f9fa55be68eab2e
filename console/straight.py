"""What changed on a page goes straight to its browser, encoded once for all pages that look alike.

Bokeh would encode it once a page, and look through all models of the page to do so: a page of four charts has 250. What
it sends and how a browser reads it are Bokeh's own: a PATCH-DOC message of its 3.10 protocol.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bokeh.core.serialization import Serializer
from bokeh.document import Document
from bokeh.document.events import DocumentPatchedEvent
from bokeh.document.json import PatchJson
from bokeh.model import Model
from bokeh.protocol.messages.patch_doc import patch_doc
from bokeh.server.session import ServerSession


def encoded(value: Any) -> str:
    """A value without models, as JSON in Bokeh's encoding."""
    return json.dumps(Serializer().encode(value), separators=(",", ":"))


class Patch:
    """The changes of one tick of a page, in their order. The page's document is locked until they are sent."""

    def __init__(self) -> None:
        self._events: list[str] = []

    def sets(self, model: Model, name: str, text: str) -> None:
        """A property of a model, given as JSON; Python's copy of it stays as it is."""
        self._events.append(f'{{"kind":"ModelChanged","model":{{"id":"{model.id}"}},"attr":"{name}","new":{text}}}')

    def patches(self, source: Model, text: str) -> None:
        """Cells of a source, as `encoded`."""
        self._events.append(
            f'{{"kind":"ColumnsPatched","model":{{"id":"{source.id}"}},"attr":"data","patches":{text}}}'
        )

    def streams(self, source: Model, text: str, rollover: int) -> None:
        """New rows of a source, as `encoded`."""
        self._events.append(
            f'{{"kind":"ColumnsStreamed","model":{{"id":"{source.id}"}},"attr":"data","data":{text},'
            f'"rollover":{rollover}}}'
        )

    @contextmanager
    def seldom(self, doc: Document) -> Iterator[None]:
        """Take what is changed within in Bokeh's own way: what seldom changes. Nothing in Python is called for it."""
        doc.hold("combine")
        try:
            yield
        finally:
            callbacks = doc.callbacks
            held = callbacks._held_events
            events = [event for event in held if isinstance(event, DocumentPatchedEvent)]
            callbacks._held_events = [event for event in held if event not in events]
            doc.unhold()
            if events:
                serializer = Serializer(references=doc.models.synced_references)
                self._events += [json.dumps(each, separators=(",", ":")) for each in serializer.encode(events)]
                doc.models.flush_synced(lambda model: not serializer.has_ref(model))

    async def send(self, session: ServerSession) -> None:
        """One message to each browser that holds the page; a browser that takes nothing is waited for."""
        if not self._events:
            return
        message = patch_doc(patch_doc.create_header(), {}, PatchJson(events=[]))
        message._content_json = f'{{"events":[{",".join(self._events)}]}}'
        for connection in list(session._subscribed_connections):
            await connection.send_message(message)
