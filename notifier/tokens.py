"""Who may ask the API what: tokens with a name and a right, made at the first start, readable by their owner alone."""

from __future__ import annotations

import json
import os
import secrets
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


FIRST = (("reader", Right.READ), ("operator", Right.ACT), ("console", Right.BEHALF))


class Tokens:
    """The tokens of a data directory. Raises UserError where the file cannot be used, or is open to others."""

    def __init__(self, data_dir: Path, of_settings: str = "") -> None:
        """of_settings: notifier.api_token, which may act, as it always could read."""
        path = data_dir / FILE
        held = _read(path) if path.exists() else _made(path)
        self.tokens = [*held, *([Token("settings", Right.ACT, of_settings)] if of_settings else [])]

    def of(self, secret: str) -> Token | None:
        """The token with this secret. As long for a wrong one as for a right one."""
        found = None
        for token in self.tokens:
            if secrets.compare_digest(token.secret.encode(), secret.encode()):
                found = token
        return found

    def secret_of(self, name: str) -> str:
        return next(token.secret for token in self.tokens if token.name == name)


def secret_in(data_dir: Path, name: str) -> str:
    """The secret of a token that a notifier has made before. Raises UserError where there is none."""
    path = data_dir / FILE
    if not path.exists():
        raise UserError(
            f"There are no tokens {path}: a notifier makes them at its first start; set TILLWATCH_DATA_DIR to its data "
            "directory."
        )
    found = next((token.secret for token in _read(path) if token.name == name), None)
    if found is None:
        raise UserError(f"There is no token '{name}' in {path}; delete the file, and new ones are made at a start.")
    return found


def _made(path: Path) -> list[Token]:
    tokens = [Token(name, right, secrets.token_urlsafe(32)) for name, right in FIRST]
    content = [{"name": token.name, "right": token.right, "token": token.secret} for token in tokens]
    part = path.with_suffix(".part")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise UserError(
            f"The tokens {path} cannot be written: {error.strerror}; make room, or set TILLWATCH_DATA_DIR."
        ) from None
    return tokens


def _read(path: Path) -> list[Token]:
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
