r"""Java's regular expressions, as far as RE2 (DuckDB's) means the same; and SQL's patterns of SIMILAR TO.

What the two read differently is refused: look-around, back references, possessive quantifiers, classes in classes,
flags; and texts for which $ and \b differ, when they come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from embedded.gateway.errors import Refusal, validation

_ENDS = r"\n\r\x{85}\x{2028}\x{2029}"
_LAST_LINE_END = rf"(?:\r\n|[{_ENDS}])?\z"
_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d{1,3})(?:,(\d{1,3})?)?\})(\??)")
_ESCAPES = {
    "d": r"\d",
    "D": r"\D",
    "w": r"\w",
    "W": r"\W",
    "s": r"[\t\n\x0b\f\r ]",
    "S": r"[^\t\n\x0b\f\r ]",
    "t": r"\t",
    "n": r"\n",
    "r": r"\r",
    "f": r"\f",
}
# What begins and ends with a letter, a digit or _ of ASCII, and is there at least once.
_OF_A_WORD = re.compile(r"(?:\w|\\w|\\d|\[[\w-]+\])(?:\+|\{[1-9]\d*(?:,\d*)?\})?\??", re.ASCII)
_INSIDE = {**_ESCAPES, "s": r"\t\n\x0b\f\r "}


# Stands for $ until it is known whether more follows it.
_DOLLAR = "\x00"
_LINE_END = rf"[{_ENDS}]\z"


@dataclass(frozen=True)
class Pattern:
    """RE2's text, the groups it has, and whether it may match nothing at all.

    `tail` is the number of a last group that has the line end before which $ matched; 0 where there is none. `unsure`
    is what no text may have: a letter beyond ASCII beside a \b, or a line end where $ does not stand last.
    """

    text: str
    groups: int
    empty: bool
    tail: int
    unsure: str


def _refused(pattern: str, what: str) -> Refusal:
    return validation(f"The gateway does not answer the regular expression '{pattern}' yet: {what}")


def translated(pattern: str, dot_all: bool) -> Pattern:
    """A pattern of Java for RE2; `dot_all` for a search that only asks whether it is found. Raises Refusal."""
    return _Reader(pattern, dot_all).whole()


class _Reader:
    def __init__(self, pattern: str, dot_all: bool) -> None:
        self._pattern = pattern
        self._dot_all = dot_all
        self._place = 0
        self._groups = 0
        self._depth = 0
        self._alone = True
        self._unsure: list[str] = []

    def whole(self) -> Pattern:
        text, empty = self._alternatives()
        if self._place < len(self._pattern):
            raise self._fail("a bracket is not opened")
        tail = 0
        if text.endswith(_DOLLAR) and self._alone:
            tail = self._groups + 1
            text = f"{text.removesuffix(_DOLLAR)}((?:\\r\\n|[{_ENDS}])?)\\z"
        if _DOLLAR in text:
            self._unsure.append(_LINE_END)
            text = text.replace(_DOLLAR, r"\z")
        return Pattern(text, self._groups, empty, tail, "|".join(self._unsure))

    def _fail(self, what: str) -> Refusal:
        return _refused(self._pattern, what)

    def _alternatives(self) -> tuple[str, bool]:
        texts, may_be_empty = [], False
        while True:
            text, empty = self._sequence()
            texts.append(text)
            may_be_empty = may_be_empty or empty
            if self._pattern[self._place : self._place + 1] != "|":
                return "|".join(texts), may_be_empty
            self._alone = self._alone and self._depth > 0
            self._place += 1

    def _sequence(self) -> tuple[str, bool]:
        pieces: list[tuple[str, bool]] = []
        while self._place < len(self._pattern) and self._pattern[self._place] not in "|)":
            pieces.append(self._quantified())
        texts = [text for text, _ in pieces]
        if r"\b" in texts:
            self._beside_words(texts)
        return "".join(texts), all(empty for _, empty in pieces)

    def _beside_words(self, texts: list[str]) -> None:
        r"""\b counts letters beyond ASCII in Java: it may begin or end what begins or ends with a letter of ASCII."""
        inner = texts[texts[0] == r"\b" : len(texts) - (texts[-1] == r"\b")]
        if self._depth or not inner or r"\b" in inner:
            raise self._fail(r"\b in this place")
        text = "".join(texts)
        for one, beside in ((inner[0], f"[^\\x00-\\x7f]{text}"), (inner[-1], f"{text}[^\\x00-\\x7f]")):
            if not _OF_A_WORD.fullmatch(one):
                raise self._fail(r"\b in this place")
            self._unsure.append(beside)

    def _quantified(self) -> tuple[str, bool]:
        text, empty, repeatable = self._atom()
        match = _QUANTIFIER.match(self._pattern, self._place)
        if match is None:
            return text, empty
        if not repeatable:
            raise self._fail("a place cannot be repeated")
        self._place = match.end()
        if self._pattern[self._place : self._place + 1] in ("*", "+", "?", "{"):
            raise self._fail("quantifiers that keep what they have")
        least = int(match[1]) if match[1] else 1 if match[0][0] == "+" else 0
        return text + match[0], empty or least == 0

    def _atom(self) -> tuple[str, bool, bool]:
        """The next piece, whether it may match nothing, and whether it can be repeated."""
        sign = self._pattern[self._place]
        self._place += 1
        match sign:
            case "(":
                return self._group()
            case "[":
                return self._class(), False, True
            case "\\":
                return self._escape()
            case ".":
                return (r"(?s:.)" if self._dot_all else f"[^{_ENDS}]"), False, True
            case "^":
                return r"\A", True, False
            case "$":
                rest = self._pattern[self._place : self._place + 1]
                if rest not in ("", "|", ")"):
                    raise self._fail("$ in this place")
                return (_LAST_LINE_END if self._dot_all else _DOLLAR), True, False
            case "*" | "+" | "?" | "{" | "}" | "]":
                raise self._fail(f"'{sign}' in this place")
        return re.escape(sign) if sign.isascii() else sign, False, True

    def _group(self) -> tuple[str, bool, bool]:
        opening = "("
        if self._pattern[self._place : self._place + 1] == "?":
            if self._pattern[self._place : self._place + 2] != "?:":
                raise self._fail("'(?' other than '(?:'")
            opening = "(?:"
            self._place += 2
        else:
            self._groups += 1
        self._depth += 1
        text, empty = self._alternatives()
        self._depth -= 1
        if self._pattern[self._place : self._place + 1] != ")":
            raise self._fail("a bracket is not closed")
        self._place += 1
        return f"{opening}{text})", empty, True

    def _escape(self) -> tuple[str, bool, bool]:
        sign = self._pattern[self._place : self._place + 1]
        self._place += 1
        if sign == "Q":
            end = self._pattern.find("\\E", self._place)
            stop = end if end >= 0 else len(self._pattern)
            text = self._pattern[self._place : stop]
            self._place = min(stop + 2, len(self._pattern)) if end >= 0 else stop
            return f"(?:{re.escape(text)})", not text, True
        if sign in _ESCAPES:
            return _ESCAPES[sign], False, True
        if sign in ("b", "z"):
            return f"\\{sign}", True, False
        if sign and sign.isascii() and not sign.isalnum():
            return re.escape(sign), False, True
        raise self._fail(f"\\{sign}")

    def _class(self) -> str:
        pieces: list[str] = []
        if self._pattern[self._place : self._place + 1] == "^":
            pieces.append("^")
            self._place += 1
        first = True
        while True:
            sign = self._pattern[self._place : self._place + 1]
            self._place += 1
            if not sign or sign == "[" or (sign == "&" and self._pattern[self._place : self._place + 1] == "&"):
                raise self._fail("this class of characters")
            if sign == "]":
                if first:
                    raise self._fail("this class of characters")
                return f"[{''.join(pieces)}]"
            if sign == "\\":
                sign = self._pattern[self._place : self._place + 1]
                self._place += 1
                if sign in _INSIDE and sign != "S":
                    pieces.append(_INSIDE[sign])
                elif sign and sign.isascii() and not sign.isalnum():
                    pieces.append(f"\\{sign}")
                else:
                    raise self._fail(f"\\{sign} in a class")
            elif sign == "-" and not first and self._pattern[self._place : self._place + 1] != "]":
                pieces.append("-")
            else:
                pieces.append(f"\\{sign}" if sign in "^-&~" else sign)
            first = False


def replacement(text: str, pattern: Pattern) -> str:
    r"""Java's replacement ($1 for a group, \ before a sign) as DuckDB's (\1). Raises Refusal."""
    pieces: list[str] = []
    place = 0
    while place < len(text):
        sign = text[place]
        place += 1
        if sign == "\\":
            if place == len(text):
                raise validation(f"Invalid replacement string '{text}'")
            pieces.append("\\\\" if text[place] == "\\" else text[place])
            place += 1
        elif sign == "$":
            digit = text[place : place + 1]
            if not digit.isdecimal() or int(digit) > pattern.groups:
                raise validation(f"Invalid replacement string '{text}'")
            place += 1
            if pattern.groups > 9 and text[place : place + 1].isdecimal():
                raise validation(f"The gateway does not answer the replacement '{text}' yet")
            pieces.append(f"\\{digit}")
        else:
            pieces.append(sign)
    if pattern.tail > 9:
        raise validation("The gateway does not answer a regular expression of so many groups yet")
    return "".join(pieces) + (f"\\{pattern.tail}" if pattern.tail else "")
