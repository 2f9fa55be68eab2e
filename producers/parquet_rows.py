"""Rows of a Parquet file as JSON: nothing loses a digit on the way, lists and structs stay what they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lakehouse.user_error import UserError

_ROWS = 4096
_CHUNK = 1 << 20
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # as it stands there: without an offset, or in UTC
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_encode = msgspec.json.Encoder(decimal_format="number").encode

type Jsonable = Callable[[Any], Any]
"""Makes of a column's value, as pyarrow gives it, one that JSON has."""


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file whose columns are known. `left_out`: those of a type that JSON has no value for, by name."""

    file: Path
    content: bytes
    rows: int
    columns: Mapping[str, Jsonable]
    left_out: Mapping[str, str]
    _open: pq.ParquetFile

    @classmethod
    @contextmanager
    def opened(cls, file: Path) -> Iterator[Self]:
        """Raises UserError where it cannot be read, and at rows too."""
        with _refused(file), file.open("rb") as stream:
            content = blake2b(digest_size=32)
            while chunk := stream.read(_CHUNK):
                content.update(chunk)
            with pq.ParquetFile(stream) as opened:
                columns, left_out = _columns(file, opened.schema_arrow)
                yield cls(file, content.digest(), opened.metadata.num_rows, columns, left_out, opened)

    def objects(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, msgspec.Raw]]]:
        """Each row's number from 1, and the JSON of its columns of these names."""
        ways = [self.columns[name] for name in names]
        number = 0
        for batch in self._open.iter_batches(_ROWS, columns=list(names)):
            values = [_plain(batch.column(name)).to_pylist() for name in names]
            for row in zip(*values, strict=True):
                number += 1
                yield (
                    number,
                    {
                        name: msgspec.Raw(b"null" if value is None else _encode(way(value)))
                        for name, way, value in zip(names, ways, row, strict=True)
                    },
                )


@contextmanager
def _refused(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{file} cannot be read: {error.strerror}; correct the path.") from None
        words = " ".join(str(error).split())[:200].rstrip(".")
        raise UserError(f"{file} cannot be read as Parquet: {words}. Nothing was sent; fetch the file again.") from None


def _columns(file: Path, schema: pa.Schema) -> tuple[dict[str, Jsonable], dict[str, str]]:
    if twice := next((name for name in schema.names if schema.names.count(name) > 1), None):
        raise UserError(f"{file} has two columns '{twice}'; write it with names of their own. Nothing was sent.")
    columns, left_out = {}, {}
    for column in schema:
        way = _way(column.type)
        if way is None:
            left_out[column.name] = str(column.type)
        else:
            columns[column.name] = way
    return columns, left_out


def _plain(column: pa.Array) -> pa.Array:
    """Times as numbers of their unit: Python's reach from the year 1 to 9999, and know no nanoseconds."""
    wanted = _numbers(column.type)
    return column if wanted.equals(column.type) else column.cast(wanted)


def _numbers(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_dictionary(kind):
        return _numbers(kind.value_type)
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_numbers(field.type)) for field in kind])
    if _is_list(kind):
        return pa.list_(kind.value_field.with_type(_numbers(kind.value_type)))
    return kind


def _way(kind: pa.DataType) -> Jsonable | None:
    """How a type's values become JSON; None where there is no way."""
    types = pa.types
    if types.is_dictionary(kind):
        return _way(kind.value_type)
    if types.is_struct(kind):
        ways = {field.name: _way(field.type) for field in kind}
        known = {name: way for name, way in ways.items() if way is not None}
        return partial(_object, known) if len(known) == len(ways) else None
    if _is_list(kind):
        way = _way(kind.value_type)
        return None if way is None else partial(_list, way)
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_null(kind) or types.is_decimal(kind):
        return _same
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _same
    if types.is_floating(kind):
        return _double if kind.bit_width == 64 else _short
    if types.is_timestamp(kind):
        return partial(_time, kind.unit, kind.tz is not None)
    if types.is_date(kind):
        return date.isoformat
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return _text
    return None


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind))


def _same(value: Any) -> Any:
    return value


def _double(value: float) -> Any:
    # JSON has no NaN; as text it is judged NOT_FINITE.
    return value if np.isfinite(value) else str(value)


def _short(value: float) -> Any:
    """A number of 32 bits or less, with the digits that tell it from its neighbours: 9.99 and not 9.989999771118164."""
    return Decimal(str(np.float32(value))) if np.isfinite(value) else str(value)


def _time(unit: str, has_zone: bool, count: int) -> str:
    """ISO 8601 of a count since 1970; below a microsecond it is cut."""
    us = count // 1000 if unit == "ns" else count * _UNITS[unit]
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat() + ("Z" if has_zone else "")
    except OverflowError:
        return f"{count} {unit} since 1970"


def _text(value: bytes) -> str:
    """Some writers do not say that their bytes are text."""
    return value.decode("utf-8", "backslashreplace")


def _object(ways: Mapping[str, Jsonable], value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value[name] is None else way(value[name]) for name, way in ways.items()}


def _list(way: Jsonable, value: Sequence[Any]) -> list[Any]:
    return [None if each is None else way(each) for each in value]
