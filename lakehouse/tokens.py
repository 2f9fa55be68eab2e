"""Tokens of the notifier's API, in a file that it makes at its first start and that its owner alone can read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lakehouse.user_error import UserError

FILE = "tokens.json"


class Right(StrEnum):
    """What a token may do; each may do what those before it may."""

    READ = "read"
    ACT = "act"
    BEHALF = "behalf"  # and name the person for whom it acts


@dataclass(frozen=True)
class Token:
    """A name, which history shows, and a right."""

    name: str
    right: Right
    secret: str

    def may(self, right: Right) -> bool:
        return list(Right).index(self.right) >= list(Right).index(right)


def secret_in(data_dir: Path, name: str) -> str:
    """The secret of a token that a notifier has made before. Raises UserError where there is none."""
    path = data_dir / FILE
    if not path.exists():
        raise UserError(
            f"There are no tokens {path}: a notifier makes them at its first start; set TILLWATCH_DATA_DIR to its data "
            "directory."
        )
    found = next((token.secret for token in read_tokens(path) if token.name == name), None)
    if found is None:
        raise UserError(f"There is no token '{name}' in {path}; delete the file, and new ones are made at a start.")
    return found


def read_tokens(path: Path) -> list[Token]:
    """All of a file. Raises UserError where it cannot be used, or is open to others."""
    try:
        if path.stat().st_mode & 0o077:
            raise UserError(f"The tokens {path} can be read by others; chmod 600 it.")
        content = json.loads(path.read_text(encoding="utf-8"))
        tokens = [Token(str(one["name"]), Right(one["right"]), str(one["token"])) for one in content]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"The tokens {path} cannot be read; delete the file, and new ones are made.") from None
    if any(len(token.secret) < 16 for token in tokens):
        raise UserError(f"A token in {path} is shorter than 16 characters; delete the file, and new ones are made.")
    return tokens
