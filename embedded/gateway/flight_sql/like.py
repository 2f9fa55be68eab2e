"""LIKE patterns of metadata filters."""

from __future__ import annotations


def like(pattern: str, text: str) -> bool:
    r"""Whether the text matches: `%` any characters, `_` any one, `\` takes the next as it is; capitals do not matter.

    Takes at most len(pattern) * len(text) steps, whatever the pattern.
    """
    wanted = _parts(pattern.lower())
    text = text.lower()
    place = start = 0
    resume: int | None = None  # after the last %, from where the rest is tried again one character later
    while start < len(text):
        part = wanted[place] if place < len(wanted) else None
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
    return all(part is _MANY for part in wanted[place:])


_MANY, _ONE = "%%", "__"  # longer than a character, so that none equals them


def _parts(pattern: str) -> list[str]:
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
