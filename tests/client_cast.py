"""Clients of others, each in an environment of its own: they share packages with this one, in other versions."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lakehouse import ROOT

CLIENTS = ROOT / "tests" / "clients"
_TELL = """
found = {}
for name, ask in ASKS.items():
    try:
        found[name] = ask()
    except Exception as error:
        found[name] = {"error": f"{type(error).__name__}: {error}"}
import json
print(json.dumps(found, default=str))
"""
"""The end of each client: its ASKS are asked, and what was found is printed as JSON."""
_UV = ROOT / ".tools" / "uv" / "bin" / "uv"


def environment(name: str) -> Path:
    """The Python of the environment of tests/clients/NAME.lock, made at its first use and kept.

    Skips with a sentence where it cannot be made; with CI=true it fails.
    """
    lock = CLIENTS / f"{name}.lock"
    folder = ROOT / ".tools" / "clients" / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not folder.exists():
        building = folder.with_name(f"{folder.name}.{os.getpid()}")
        try:
            _run(_UV, "venv", "-q", "--no-project", "--python", sys.executable, building)
            # A lock names all packages, in versions that were run together, whatever they ask of each other.
            install = (_UV, "pip", "install", "-q", "--no-deps", "--require-hashes")
            _run(*install, "--python", building / "bin" / "python", "-r", lock)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(building, ignore_errors=True)
            said = f"the environment of {name} could not be made: {getattr(error, 'stderr', '') or error}"
            if os.environ.get("CI") == "true":
                pytest.fail(said)
            pytest.skip(said)
        with contextlib.suppress(OSError):  # another run was first
            building.rename(folder)
    return folder / "bin" / "python"


def _run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True, timeout=110)
    return done.stdout


def run(python: Path, program: str, *arguments: object) -> str:
    """What a program of that environment prints; the end of what it said where it fails."""
    done = subprocess.run(
        [str(python), "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def answers(python: Path, script: str, port: int) -> dict[str, Any]:
    """What tests/clients/SCRIPT found at the gateway on that port: by name an answer, or {"error": …}."""
    program = (CLIENTS / script).read_text(encoding="utf-8") + _TELL
    found: dict[str, Any] = json.loads(run(python, program, port))
    return found
