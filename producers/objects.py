"""Records from objects: JSON, one a line or in an array, and the rows of Parquet."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

import msgspec

from lakehouse.decode import Reason
from lakehouse.topics import TOPICS
from lakehouse.topics.topic import NUMBERS
from lakehouse.user_error import UserError
from producers import json_rows
from producers.bad_lines import Bad
from producers.layout import Layout, exact_places, places
from producers.parquet_rows import ParquetFile
from producers.records import LineRecord, Values, json_text, string_of, with_point
from producers.text_file import TextFile

_NULL = b"null"


@dataclass
class NamedValues:
    """JSON and Parquet: values by name. `unused`: names that no field was taken from, once all records were read."""

    file_name: str
    layout: Layout
    unused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._source = {name: self.layout.columns.get(name, name) for name in self.layout.wanted}
        self._constants = {name: json_text(value) for name, value in self.layout.constants.items()}
        self._commas = {each.name for each in TOPICS[self.layout.topic].fields if each.kind in NUMBERS}

    def of_text(self, text: TextIO, source: TextFile) -> Iterator[LineRecord | Bad]:
        """From lines of JSON, or from one array."""
        is_array = self.layout.form == "json" and source.first != "{"
        found = json_rows.elements(text, source.file) if is_array else json_rows.lines(text)
        decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        met, used, given = set[str](), {"produced_at"}, set[str]()
        for number, place, line in found:
            try:
                values = decode(line)
                # msgspec keeps the last of a repeated name, and does not tell.
                names = [name for name, _ in json.loads(line, object_pairs_hook=list, parse_int=str, parse_float=str)]
            except (msgspec.MsgspecError, ValueError, RecursionError):
                start = line[:200].strip()
                shown = start if len(start) <= 60 else f"{start[:57]}..."
                yield Bad(number, Reason.NOT_JSON, f"{place}: '{shown}' is no JSON object", value=start)
                continue
            if len(names) > len(values):
                twice = next(name for name in names if names.count(name) > 1)
                yield Bad(number, Reason.NOT_JSON, f"{place}: '{twice}' stands there twice", twice, line.strip())
                continue
            sources = self._sources(place, names)
            met.update(names)
            used.update(sources.values())
            given.update(sources)
            yield LineRecord(number, place, self._values(values, sources), self._where)
        self._finished(met, used, given)

    def of_parquet(self, parquet: ParquetFile) -> Iterator[LineRecord | Bad]:
        """From the rows of a Parquet file, of which only what is needed is read."""
        every = [*parquet.columns, *parquet.left_out]
        sources = self._sources("its columns", every)
        self._finished(set(every), {"produced_at", *sources.values()}, set(sources))
        for name, column in sources.items():
            if column in parquet.left_out:
                raise UserError(
                    f"{self.file_name}, column '{column}' is {parquet.left_out[column]}, of which no {name} can be "
                    f"made. Nothing was sent; use --map {name}=COLUMN or --const {name}=VALUE."
                )
        for number, values in parquet.objects(list(sources.values())):
            yield LineRecord(number, f"row {number}", self._values(values, sources), self._where)

    def _finished(self, met: set[str], used: set[str], given: set[str]) -> None:
        self.unused = [f"'{name}'" for name in sorted(met - used)]
        for name, key in self.layout.columns.items():
            if name not in given and met:
                raise UserError(
                    f"--map {name}={key}: no line of {self.file_name} has '{key}'; they have "
                    f"{', '.join(sorted(met))}. Nothing was sent; correct --map."
                )

    def _values(self, found: Mapping[str, msgspec.Raw], sources: Mapping[str, str]) -> Values:
        values = {name: found[key] for name, key in sources.items() if bytes(found[key]) != _NULL}
        if self.layout.decimal_comma:
            for name in self._commas & values.keys():
                text = string_of(values[name])
                values[name] = values[name] if text is None else json_text(with_point(text))
        return values | self._constants

    def _sources(self, place: str, names: Sequence[str]) -> dict[str, str]:
        """By field the name that it is taken from."""
        sources = {}
        for name, key in self._source.items():
            found = exact_places(names, key) if name in self.layout.columns else places(names, key)
            if len(found) > 1:
                both = " and ".join(f"'{names[each]}'" for each in found[:2])
                raise UserError(
                    f"{self.file_name}, {place}: {both} are both {name}; say which by --map {name}=NAME. "
                    "Nothing was sent."
                )
            if found:
                sources[name] = names[found[0]]
        return sources

    def _where(self, name: str) -> str:
        return f"field '{self._source[name]}'" if name in self._source else f"--const {name}"
