"""Lines of a file that are no events: said in a sentence each, and listed in a file of their own."""

from __future__ import annotations

import csv
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from lakehouse.user_error import UserError

HEADER = ("line", "reason", "column", "value", "why")
_MOST_OF_A_VALUE = 300


@dataclass(frozen=True)
class Bad:
    """A line that is no event.

    `reason` is one of decode's or WIDTH (more or fewer columns than the others), NOT_CSV (its quotes), TWICE (an
    event_id that another line has). `says` is the sentence behind the file's name, from "line 3" on, without its end;
    `where` the column and `value` what stands there, where one is at fault.
    """

    number: int
    reason: str
    says: str
    where: str = ""
    value: str = ""

    def error(self, file: Path) -> UserError:
        """The refusal of a whole file for this line."""
        return UserError(
            f"{file}, {self.says}. Nothing was sent; correct the line, or leave bad lines out by --skip-bad LIST."
        )


class BadLines:
    """The lines that are left out, in a CSV file that `keep` puts into its place whole; counts by reason.

    Until then it lies beside, under a name of its own, so that many bad lines take no memory.
    """

    def __init__(self, path: Path, scratch: Path, stream: IO[str]) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._scratch = scratch
        self._stream = stream
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow(HEADER)

    @classmethod
    @contextmanager
    def beside(cls, path: Path, data: Path) -> Iterator[Self]:
        """One for `path`; what was not kept is gone at the end. Raises UserError where it cannot be written there."""
        _refuse_others(path, data)
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except OSError as error:
            raise _unwritable(path, error) from None
        scratch = Path(name)
        try:
            with open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
                yield cls(path, scratch, stream)
        finally:
            with suppress(FileNotFoundError):
                scratch.unlink()

    def add(self, bad: Bad) -> None:
        self.counts[bad.reason] += 1
        try:
            self._rows.writerow((bad.number, bad.reason, bad.where, bad.value[:_MOST_OF_A_VALUE], bad.says))
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def keep(self) -> None:
        """Put the list into its place, in one step. Raises UserError."""
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            # mkstemp makes files for their owner alone.
            mask = os.umask(0)
            os.umask(mask)
            self._scratch.chmod(0o666 & ~mask)
            self._scratch.replace(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from None

    @property
    def words(self) -> str:
        """How many there are of each reason, the most first."""
        return ", ".join(f"{reason} {count:,}" for reason, count in self.counts.most_common())


def _refuse_others(path: Path, data: Path) -> None:
    """A list takes the place of an older list, and of nothing else."""
    try:
        if path.exists() and path.samefile(data):
            raise UserError(f"--skip-bad {path} is the file that is read; name another one for the list of bad lines.")
        if not path.exists():
            return
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as there:
                first = there.readline(100)
            if not first or first.rstrip("\r\n") == ",".join(HEADER):
                return
    except OSError as error:
        raise _unwritable(path, error) from None
    raise UserError(f"--skip-bad {path} is there already and is no list of bad lines; name another file.")


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"--skip-bad {path} cannot be written: {error.strerror or error}. Nothing was sent; name another file."
    )
