"""The directory that all data of an installation sits in, and the profile that it remembers."""

from __future__ import annotations

import uuid
from pathlib import Path

from lakehouse.user_error import UserError


def profile_of(path: Path) -> str | None:
    """The profile that a data directory remembers; None where it is none."""
    try:
        return (path / "profile").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def open_data_dir(path: Path, *profiles: str) -> Path:
    """Create the data directory with the first of these profiles, which it remembers, or open it.

    Raises UserError for one of another profile.
    """
    profile = profiles[0]
    note = path / "profile"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not note.exists():
            # Written aside: the stack's servers start side by side, and none may read a note that is still empty.
            new = path / f"profile-{uuid.uuid4()}"
            new.write_text(f"{profile}\n", encoding="utf-8")
            new.replace(note)
        held = note.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{note} is no text"
        raise UserError(
            f"The data directory {path} cannot be used: {reason}. Free it or set TILLWATCH_DATA_DIR."
        ) from None
    if held not in profiles:
        raise UserError(
            f"The data directory {path} belongs to the profile '{held}', not '{profile}'; "
            "set TILLWATCH_DATA_DIR to another directory."
        )
    return path
