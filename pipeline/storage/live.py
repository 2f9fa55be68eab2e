"""The live files of a table, by address and by hour; kept up by whoever writes the table."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.storage.files import LiveFile


class LiveFiles[F: LiveFile]:
    """`live` by uri, `hours` by hour and uri, `row_count` of all of them. What it costs hangs on what changes."""

    def __init__(self) -> None:
        self.live: dict[str, F] = {}
        self.hours: dict[int | None, dict[str, F]] = {}
        self.row_count = 0
        self._span: tuple[int, int] | None = None

    def hold(self, files: Iterable[F]) -> None:
        """These files are live from now on."""
        for file in files:
            self.live[file.uri] = file
            self.hours.setdefault(file.hour, {})[file.uri] = file
            self.row_count += file.rows
            if self._span is not None and file.hour is not None:
                self._span = min(self._span[0], file.hour), max(self._span[1], file.hour)

    def drop(self, files: Iterable[LiveFile]) -> None:
        """These files are live no more; what was not live is passed over."""
        for file in files:
            if self.live.pop(file.uri, None) is None:
                continue
            self.row_count -= file.rows
            of_hour = self.hours[file.hour]
            del of_hour[file.uri]
            if not of_hour:
                del self.hours[file.hour]
                if self._span is not None and file.hour in self._span:
                    self._span = None

    def span(self) -> tuple[int, int] | None:
        """The oldest and the newest hour with a file; None where there is none, or no partition by hour."""
        if self._span is None:
            known = [hour for hour in self.hours if hour is not None]
            self._span = (min(known), max(known)) if known else None
        return self._span
