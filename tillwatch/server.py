"""A server of the stack: its process, and the files it is configured by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lakehouse.settings.base import Shared


@dataclass(frozen=True)
class Server:
    """A process to start: its command line, and what its environment has beside ours."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def home_of(shared: Shared, name: str) -> Path:
    home = shared.data_dir.absolute() / name
    home.mkdir(parents=True, exist_ok=True)
    return home


def write_properties(path: Path, properties: Mapping[str, object]) -> None:
    """A Java properties file that only we can read, for some hold a password."""
    path.touch(mode=0o600)
    lines = [f"{name}={_escaped(str(value))}" for name, value in properties.items()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _escaped(value: str) -> str:
    # Some read such a file as UTF-8, Kafka as Latin-1: so nothing but ASCII, other letters as units of UTF-16.
    utf16 = value.replace("\\", "\\\\").encode("utf-16-be")
    units = [int.from_bytes(utf16[at : at + 2]) for at in range(0, len(utf16), 2)]
    return "".join(chr(unit) if unit < 128 else f"\\u{unit:04x}" for unit in units)
