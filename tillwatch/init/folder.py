"""A folder like config/, written whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lakehouse import ROOT
from lakehouse.user_error import UserError

SHIPPED = ("people.yaml", "routes.yaml", "alerts.yaml")
SETTINGS = "tillwatch.yaml"
_CONFIG = ROOT / "config"


def refuse_used(folder: Path) -> None:
    """Raises UserError for one that has something in it, or cannot be made."""
    try:
        if folder.is_dir() and not any(folder.iterdir()):
            return
    except OSError as error:
        raise _unwritable(folder, error) from None
    if folder.is_dir():
        raise UserError(f"{folder} is not empty; name a new folder: nothing of yours is changed.")
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} is no folder; name a new one.")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        why = "you may not write there" if above.is_dir() else "it is no folder"
        raise UserError(f"{folder} cannot be made in {above}: {why}; name another folder.")


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """The files, and what is shipped beside them. Raises UserError; then there is nothing."""
    refuse_used(folder)
    target = folder.absolute()
    scratch: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        for name in SHIPPED:
            shutil.copyfile(_CONFIG / name, scratch / name)
        for name, text in files.items():
            (scratch / name).write_text(text, encoding="utf-8")
        # mkdtemp makes folders for their owner alone.
        mask = os.umask(0)
        os.umask(mask)
        scratch.chmod(0o777 & ~mask)
        scratch.rename(target)  # also onto an empty folder
    except OSError as error:
        raise _unwritable(folder, error) from None
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def settings_text(given: Mapping[str, str]) -> str:
    """The shipped settings file with these set, by names like `orders.grain`; the rest stays as it is.

    Raises KeyError for a setting that has no line there.
    """
    lines = (_CONFIG / SETTINGS).read_text(encoding="utf-8").splitlines()
    left, section = dict(given), ""
    for place, line in enumerate(lines):
        if begun := re.match(r"(\w+):$", line):
            section = f"{begun[1]}."
        if found := re.match(r"(\s*)# (\w+): +(.*?)(\s+# .*)?$", line):
            name = f"{section}{found[2]}" if found[1] else found[2]
            if name in left:
                value = f"{found[1]}{found[2]}: {left.pop(name)}"
                lines[place] = f"{value:<26}   {(found[4] or '').strip()}".rstrip()
    if left:
        raise KeyError(next(iter(left)))
    return "\n".join(lines) + "\n"


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder} cannot be written: {error.strerror or error}; name another folder.")
