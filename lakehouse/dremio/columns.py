"""The columns that a question declares, in the comment at its head: `-- Columns: moment timestamp, n int.`"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from lakehouse.dremio.errors import ProtocolError
from lakehouse.texts import near

# A width or a precision is a matter of how Dremio computes; a reader takes any.
_KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "binary": pa.types.is_binary,
    "boolean": pa.types.is_boolean,
    "date": pa.types.is_date,
    "decimal": pa.types.is_decimal,
    "double": pa.types.is_floating,
    "int": pa.types.is_integer,
    "string": pa.types.is_string,
    "timestamp": pa.types.is_timestamp,
}
_DECLARED = re.compile(r"^-- Columns: (.*(?:\n--   .*)*)", re.MULTILINE)


@dataclass(frozen=True)
class Columns:
    """Names and kinds of an answer's columns, in order, and the question's file."""

    question: str
    kinds: tuple[tuple[str, str], ...]

    def check(self, schema: pa.Schema) -> None:
        """Raises ProtocolError naming the first column that is another."""
        expected = [name for name, _ in self.kinds]
        if schema.names != expected:
            raise ProtocolError(
                f"{self.question} declares the columns {', '.join(expected)}; Dremio's are {', '.join(schema.names)}."
            )
        for (name, kind), field in zip(self.kinds, schema, strict=True):
            if not _KINDS[kind](field.type):
                raise ProtocolError(f"{self.question} declares {name} as {kind}; Dremio's is {field.type}.")

    def fits(self, name: str, found: pa.DataType) -> bool:
        """Whether a column of this type is what is declared of it."""
        return _KINDS[dict(self.kinds)[name]](found)


def kind_of(found: pa.DataType) -> str:
    """What a column of this type is declared as; empty where nothing fits."""
    return next((kind for kind, fits in _KINDS.items() if fits(found)), "")


@cache
def declared(template: str, question: str) -> Columns | None:
    """What a question's text declares; None where it declares nothing. Raises ProtocolError for what is no kind."""
    match = _DECLARED.search(template)
    if match is None:
        return None
    kinds = []
    for column in match[1].replace("\n--", " ").strip().removesuffix(".").split(","):
        name, _, kind = column.strip().partition(" ")
        if kind not in _KINDS:
            said = f"'{column.strip()}'{near(kind, _KINDS)}"
            raise ProtocolError(f"{question} declares {said}; expected a name and one of {', '.join(_KINDS)}.")
        kinds.append((name, kind))
    return Columns(question, tuple(kinds))
