"""Patterns of SIMILAR TO."""

from __future__ import annotations

import re

from embedded.gateway.errors import validation


def regular(pattern: str, escape: str | None) -> str:
    """A pattern of SIMILAR TO for RE2, to be matched by the whole text. Raises Refusal."""
    pieces: list[str] = []
    place = 0
    while place < len(pattern):
        sign = pattern[place]
        place += 1
        if escape is not None and sign == escape:
            if place == len(pattern):
                raise validation(f"Invalid escape sequence '{pattern}'")
            pieces.append(re.escape(pattern[place]))
            place += 1
        elif sign in "%_":
            pieces.append("(?s:.*)" if sign == "%" else "(?s:.)")
        elif sign in "|()*+?":
            pieces.append(sign)
        elif sign.isascii() and not sign.isalnum() and sign in "[]{}^-\\":
            raise validation(f"The gateway does not answer SIMILAR TO with '{sign}' yet")
        else:
            pieces.append(re.escape(sign))
    text = "".join(pieces)
    if re.search(r"\(\?(?!s:)|[*+?]{2}|(^|[(|])[*+?]", text.replace("(?s:.*)", ".").replace("(?s:.)", ".")):
        raise validation(f"The gateway does not answer SIMILAR TO '{pattern}' yet")
    return text
