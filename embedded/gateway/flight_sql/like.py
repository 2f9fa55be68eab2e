"""LIKE patterns of metadata filters."""

from __future__ import annotations


class Like:
    r"""A pattern: `%` any characters, `_` any one, `\` takes the next as it is; capitals do not matter."""

    def __init__(self, pattern: str) -> None:
        self._parts = _parts(pattern.lower())
        self._least = sum(part is not _MANY for part in self._parts)

    def matches(self, text: str) -> bool:
        """Whether it is like the whole text. Takes at most 2 * len(text) ** 2 steps, whatever the pattern."""
        text = text.lower()
        parts = self._parts
        if len(text) < self._least:
            return False
        place = start = 0
        resume: int | None = None  # after the last %, from where the rest is tried again one character later
        while start < len(text):
            part = parts[place] if place < len(parts) else None
            if part is _MANY:
                place += 1
                resume, again = place, start
            elif part is not None and part in (_ONE, text[start]):
                place += 1
                start += 1
            elif resume is not None:
                again += 1
                place, start = resume, again
            else:
                return False
        return all(part is _MANY for part in parts[place:])


_MANY, _ONE = "%%", "__"  # longer than a character, so that none equals them


def _parts(pattern: str) -> list[str]:
    """The pattern's characters and wildcards; of several % in a row one says all."""
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            parts.extend(next(characters, ""))
        elif character == "%":
            if parts[-1:] != [_MANY]:
                parts.append(_MANY)
        else:
            parts.append(_ONE if character == "_" else character)
    return parts
