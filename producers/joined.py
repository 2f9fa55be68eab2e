"""Two files that belong together: orders in one, their items in the other."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

import msgspec

from lakehouse.user_error import UserError
from producers.bad_lines import Bad
from producers.layout import Layout
from producers.opening import opened
from producers.raw import Messages, RawLine
from producers.records import string_of

NO_PARTNER = "NO_PARTNER"
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Partners:
    """The lines of another file by what stands in one column of it; they are in memory. `content` is its hash."""

    def __init__(self, file: Path, column: str, content: bytes, values: dict[str, bytes]) -> None:
        self.content = content
        self._file = file
        self._column = column
        self._values = values

    @classmethod
    def read(cls, file: Path, column: str, layout: Layout) -> Self:
        """Raises UserError where a line of it is bad, or two have the same value."""
        values: dict[str, bytes] = {}
        with opened(file, layout) as found:
            for raw in Messages(found, layout):
                if isinstance(raw, Bad):
                    raise raw.error(file)
                key = _key(raw, column)
                if not key:
                    raise UserError(f"{file}, {raw.place}: nothing stands in '{column}' (--on). Nothing was sent.")
                if key in values:
                    raise UserError(
                        f"{file}, {raw.place}: '{column}' is '{key}', as in a line before; --join takes the file in "
                        "which each stands once. Nothing was sent."
                    )
                values[key] = raw.message
        return cls(file, column, found.content, values)

    def joined(self, messages: Iterable[RawLine | Bad]) -> Iterator[RawLine | Bad]:
        """Each with the columns of its partner; where both have one of a name, its own stays."""
        for raw in messages:
            key = "" if isinstance(raw, Bad) else _key(raw, self._column)
            if isinstance(raw, Bad) or key is None:
                yield raw
            elif key not in self._values:
                says = f"{raw.place}: no line of {self._file} has '{key[:60]}' in '{self._column}'"
                yield Bad(raw.number, NO_PARTNER, says, self._column, key)
            else:
                yield raw._replace(message=msgspec.json.encode(_decode(self._values[key]) | _decode(raw.message)))


def _key(raw: RawLine, column: str) -> str | None:
    """What stands in a line's column, empty where nothing does; None of a line that is no object."""
    try:
        value = _decode(raw.message).get(column)
    except msgspec.MsgspecError:
        return None
    if value is None:
        return ""
    text = string_of(value)
    return bytes(value).decode() if text is None else text
