"""What is a shop's own: files beside the settings file, in the form of the shipped ones and read by the same code."""

from __future__ import annotations

import os
from pathlib import Path

from lakehouse import ROOT
from lakehouse.mistakes import noted
from lakehouse.user_error import UserError


def config_path() -> Path:
    """The settings file: TILLWATCH_CONFIG, else config/tillwatch.yaml of the project."""
    return Path(os.environ.get("TILLWATCH_CONFIG") or ROOT / "config" / "tillwatch.yaml")


def own_files(folder: str, ending: str) -> list[Path]:
    """The files of a folder beside the settings file, by name; none where there is no such folder.

    Raises UserError where it cannot be listed, and for a file whose ending is another spelling of `ending`.
    """
    place = config_path().parent / folder
    names: list[str] = []
    with noted(place):
        names = _names(place)
    for name in names:
        with noted(place / name):
            if not name.startswith(".") and name.endswith((".yml", ".YAML", ".YML", ".SQL")):
                raise UserError(f"{place / name}, line 1: files here end with {ending}; rename it.")
    # An editor's hidden files are nobody's declarations.
    return [place / name for name in names if name.endswith(ending) and not name.startswith(".")]


def _names(place: Path) -> list[str]:
    try:
        return sorted(os.listdir(place))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"The folder {place} cannot be read: {error.strerror}; mend it or move it away.") from None
