"""A sample of what a shop sends: one JSON message, JSON lines, an array, the head of a CSV, or Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from lakehouse.decode import Rejected
from lakehouse.decode.document import parse_document
from lakehouse.decode.values import parse_number, parse_time
from lakehouse.sources.envelope import NOTHING, Envelope, unwrapped
from lakehouse.user_error import UserError
from producers.bad_lines import Bad
from producers.layout import Layout
from producers.opening import opened
from producers.packed import read_again
from producers.raw import Messages, RawLine
from producers.text_file import encoding_of
from tillwatch.init.columns import SampleColumns, columns_of
from tillwatch.init.decimals import decimals_of, with_decimals
from tillwatch.init.sniff import MARKS, first_bytes, guess_delimiter, guess_encoding

MOST = 10_000
"""Messages that are looked at."""
WHOLE = "message"
"""The form of a file that is one message."""

_HEAD = 1 << 16
_LARGEST = 16 << 20
_OTHERS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"BZh", b"\xfd7zXZ")
_CSV = "csv"


class SampleMessage(NamedTuple):
    """One message, as replay would give it to a source, and its place for a reader ("line 3")."""

    place: str
    value: bytes


@dataclass(frozen=True)
class Sample:
    """A sample, read.

    `decimals`: by path the digits of Kafka Connect's own decimals. `left_out`: what there is to say of lines that were
    not looked at.
    """

    file: Path
    form: str
    delimiter: str
    encoding: str
    envelope: Envelope
    registry: bool
    messages: Sequence[SampleMessage]
    columns: SampleColumns
    decimals: Mapping[str, int]
    left_out: str = ""

    @property
    def tabular(self) -> bool:
        return self.form in (_CSV, "parquet")


def read_sample(file: Path, delimiter: str | None = None, encoding: str | None = None) -> Sample:
    """Raises UserError for a file in which there is no message."""
    with read_again(file) as path:
        try:
            return _read(file, path, delimiter, encoding)
        except UserError as error:
            # Its reader is that of replay, which sends what it reads; of a pipe it sees a copy.
            said = str(error).replace("othing was sent", "othing was written").replace(str(path), str(file))
            raise UserError(said) from None


def _read(file: Path, path: Path, delimiter: str | None, encoding: str | None) -> Sample:
    head = first_bytes(file, path, _HEAD)
    if not head.strip():
        raise UserError(f"{file} is empty; give a message of your shop, or the first lines of its CSV.")
    if head.startswith(b"PAR1"):
        _refuse(file, "Parquet", delimiter, encoding)
        return _of_lines(file, path, "parquet", ",", "")
    if head[:1] == b"\0" and head[5:6] == b"{":
        _refuse(file, "a message behind a registry's bytes", delimiter, encoding)
        return _of_messages(
            file, WHOLE, [SampleMessage("the message", first_bytes(file, path, _LARGEST))], registry=True
        )
    if head.startswith(_OTHERS):
        return _of_lines(file, path, _CSV, ",", "utf-8")  # which says what it is
    if b"\0" in head and encoding is None and not head.startswith(MARKS):
        raise UserError(f"{file} is no text: it has zero bytes; give JSON, CSV or Parquet.")
    encoding = guess_encoding(file, path, head) if encoding is None else encoding_of(encoding)
    text = head.decode(encoding, "replace").removeprefix("\ufeff")
    if text.lstrip()[:1] in ("{", "["):
        _refuse(file, "JSON", delimiter, None)
        return _of_json(file, path, encoding)
    return _of_lines(file, path, _CSV, delimiter or guess_delimiter(file, text), encoding)


def _refuse(file: Path, what: str, delimiter: str | None, encoding: str | None) -> None:
    for name, given in (("--delimiter", delimiter), ("--encoding", encoding)):
        if given is not None:
            raise UserError(f"{name} goes with CSV, and {file} is {what}; leave it out.")


# JSON -----------------------------------------------------------------------------------------------------------------


def _of_json(file: Path, path: Path, encoding: str) -> Sample:
    content = first_bytes(file, path, _LARGEST)
    if len(content) < _LARGEST:
        try:
            document = parse_document(content.decode(encoding).removeprefix("\ufeff").encode(), of_lists=True)
        except UnicodeDecodeError:
            document = None
        if isinstance(document, dict):
            plain = content.decode(encoding).removeprefix("\ufeff").encode()
            return _of_messages(file, WHOLE, [SampleMessage("the message", plain)])
        if isinstance(document, list):
            return _of_lines(file, path, "json", ",", encoding)
    return _of_lines(file, path, "jsonl", ",", encoding)


# Lines ----------------------------------------------------------------------------------------------------------------


def _of_lines(file: Path, path: Path, form: str, delimiter: str, encoding: str) -> Sample:
    layout = Layout.of(path, form=form, delimiter=delimiter, encoding=encoding or "utf-8", unpack_at_most=1.0)
    left_out = ""
    messages: list[SampleMessage] = []
    with opened(path, layout) as found:
        lines = Messages(found, layout, found.content.hex()[:16])
        rows = islice(lines, MOST)
        for raw, after in _pairs(rows):
            if isinstance(raw, RawLine):
                messages.append(SampleMessage(raw.place, raw.message))
            elif after is None and messages and len(messages) < MOST:
                left_out = f"The last line is cut and was not looked at ({raw.says})."
            else:
                raise UserError(f"{file}, {raw.says}; correct it, or give lines without it.")
        if len(messages) == MOST:
            left_out = f"The first {MOST:,} of some {found.lines:,} {found.noun}s were looked at."
            if isinstance(found.held, tuple):
                for _ in found.held[0]:  # to its end, for a file that is left before changed while it was read
                    pass
    if not messages:
        raise UserError(f"{file} has no line of data behind its first one, which names the columns; give some.")
    if form == _CSV:
        _refuse_no_header(file, messages[0])
    return _of_messages(file, form, messages, delimiter, encoding, left_out)


def _refuse_no_header(file: Path, message: SampleMessage) -> None:
    for name in msgspec.json.decode(message.value):
        number = parse_number(name)
        if parse_time(name) is not None or (number is not None and not name.isdecimal()):
            raise UserError(
                f"{file}, line 1: '{name}' is no name of a column, so this is data; write a line above it that names "
                "the columns."
            )


def _pairs(rows: Iterator[RawLine | Bad]) -> Iterator[tuple[RawLine | Bad, RawLine | Bad | None]]:
    """Each with the one that follows."""
    before: RawLine | Bad | None = None
    for row in rows:
        if before is not None:
            yield before, row
        before = row
    if before is not None:
        yield before, None


def _of_messages(
    file: Path,
    form: str,
    messages: Sequence[SampleMessage],
    delimiter: str = ",",
    encoding: str = "utf-8",
    left_out: str = "",
    registry: bool = False,
) -> Sample:
    documents: list[object] = []
    for message in messages:
        document = parse_document(message.value[5:] if registry else message.value)
        if isinstance(document, Rejected):
            cut = message is messages[-1] and len(documents) > 0
            if not cut:
                raise UserError(f"{file}, {message.place}: {document.reason}, {document.detail}; correct the message.")
            left_out, messages = f"The last line is cut and was not looked at ({document.detail}).", messages[:-1]
            break
        documents.append(document)
    envelope = Envelope.PLAIN if form in (_CSV, "parquet") else _envelope_of(documents)
    within = [_within(file, message, document, envelope) for message, document in zip(messages, documents, strict=True)]
    decimals = decimals_of(documents)
    columns = with_decimals(columns_of([each for each in within if each is not NOTHING], envelope), decimals)
    if not columns.by_path:
        raise UserError(f"{file} holds no message with names and values in it; give one that does.")
    return Sample(file, form, delimiter, encoding, envelope, registry, messages, columns, decimals, left_out)


def _envelope_of(documents: Sequence[object]) -> Envelope:
    for document in documents:
        if not isinstance(document, dict):
            continue
        if isinstance(document.get("specversion"), str):
            return Envelope.CLOUDEVENTS
        held = document.get("payload", document)
        if isinstance(held, dict) and isinstance(held.get("op"), str) and ("after" in held or "before" in held):
            return Envelope.DEBEZIUM
        if "payload" in document and set(document) - {"_line", "_file"} <= {"schema", "payload"}:
            return Envelope.CONNECT
    return Envelope.PLAIN


def _within(file: Path, message: SampleMessage, document: object, envelope: Envelope) -> object:
    held = unwrapped(document, envelope)
    if isinstance(held, Rejected):
        raise UserError(f"{file}, {message.place}: {held.detail}, and others are of the envelope {envelope.value}.")
    return held
