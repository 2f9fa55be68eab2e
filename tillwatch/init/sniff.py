"""What a file of text is written in: its encoding, and what stands between its columns."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lakehouse.user_error import UserError
from producers.packed import GIB, unpacked

MARKS = (b"\xff\xfe", b"\xfe\xff")
"""How UTF-16 begins."""
_DELIMITERS = (",", ";", "\t", "|")
_ENCODINGS = ("utf-8", "cp1252", "latin-1")


def first_bytes(file: Path, path: Path, most: int) -> bytes:
    """The first ones of the file, unpacked."""
    with unpacked(file, path, GIB) as stream:
        return io.BufferedReader(stream).read(most)


def guess_encoding(file: Path, path: Path, head: bytes) -> str:
    """UTF-8 where all of it is, else what Windows writes, else what takes any byte."""
    if head.startswith(MARKS):
        return "utf-16"
    decoders = {name: codecs.getincrementaldecoder(name)() for name in _ENCODINGS}
    with unpacked(file, path, GIB) as stream:
        while chunk := stream.read(1 << 20):
            decoders = {name: decoder for name, decoder in decoders.items() if _takes(decoder, chunk)}
    # A character that the end cuts is no other encoding, for a sample may be the first bytes of a file.
    return next(iter(decoders))


def _takes(decoder: codecs.IncrementalDecoder, chunk: bytes) -> bool:
    try:
        decoder.decode(chunk)
    except UnicodeDecodeError:
        return False
    return True


def guess_delimiter(file: Path, text: str) -> str:
    """What makes the most columns of the first lines, as many in each."""
    lines = text.splitlines()[:100]
    found = {each: _width(lines, each) for each in _DELIMITERS}
    best = max(found, key=lambda each: found[each])
    if found[best] < 2:
        raise UserError(
            f"{file} is no JSON, and no {', '.join(map(repr, _DELIMITERS))} stands between columns in its lines; say "
            "what does by --delimiter."
        )
    return best


def _width(lines: Sequence[str], delimiter: str) -> float:
    """Columns of most lines, less where lines differ."""
    try:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
    except csv.Error:
        return 0
    width, count = widths.most_common(1)[0]
    return width * count / widths.total()
