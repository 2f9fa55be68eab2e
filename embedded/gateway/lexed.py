"""The tokens of a statement as sqlglot has them, out of our own: so its text is read once, by the faster lexer.

Only what both lexers read alike is taken: words, names, texts, whole and decimal numbers, and signs that nobody could
take for a longer one. Anything else sqlglot reads itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlglot import Token, Tokenizer, TokenType

from embedded.gateway.tokens import Word

_NUMBER = re.compile(r"\d+(\.\d+)?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
# After BEGIN sqlglot may take the rest for a command's, and USER-DEFINED is one word.
_OTHERWISE = frozenset({"BEGIN", "USER"})
_BRACKETS = frozenset("(),")


class Lexed:
    """Makes tokens for parsers of one dialect."""

    def __init__(self, tokenizer: type[Tokenizer]) -> None:
        keywords: Mapping[str, TokenType] = tokenizer.KEYWORDS
        self._signs = {**tokenizer.SINGLE_TOKENS, **{name: keywords[name] for name in ("<>", "!=", "<=", ">=", "||")}}
        self._words = {name: kind for name, kind in keywords.items() if _WORD.fullmatch(name)}
        self._pairs = {tuple(name.split(" ")): kind for name, kind in keywords.items() if name.count(" ") == 1}
        self._commands = tokenizer.COMMANDS
        self._firsts = frozenset(first for first, _ in self._pairs)

    def tokens(self, text: str, words: Sequence[Word]) -> list[Token] | None:
        """The tokens of `text`, whose words are these; None where sqlglot might read it otherwise.

        There is at least one.
        """
        if "/*+" in text or "\\" in text:
            return None
        found: list[Token] = []
        joined = False
        before: Word | None = None
        for place, word in enumerate(words):
            kind, written, start, upper = word
            if before is not None and before[2] + len(before[1]) == start and not _apart(before, word):
                return None
            before = word
            if joined:
                joined = False
                continue
            end = start + len(written) - 1
            if kind == "word":
                if upper in _OTHERWISE or not _WORD.fullmatch(written):
                    return None
                if upper in self._firsts and place + 1 < len(words):
                    after = words[place + 1]
                    pair = self._pairs.get((upper, after.upper)) if after.kind == "word" else None
                    if pair is not None:
                        if not text[end + 1 : after.start].isspace():
                            return None  # a comment stands between them
                        joined = True
                        end = after.start + len(after.text) - 1
                        found.append(Token(pair, f"{upper} {after.upper}", start=start, end=end))
                        continue
                token = self._words.get(upper, TokenType.VAR)
            elif kind == "sign":
                token = self._signs[written]
            elif kind == "number":
                if not _NUMBER.fullmatch(written):
                    return None
                token = TokenType.NUMBER
            else:
                token, written = (TokenType.STRING if kind == "text" else TokenType.IDENTIFIER), word.plain
            found.append(Token(token, written, start=start, end=end))
        # What begins with a command sqlglot does not take apart.
        return None if found[0].token_type in self._commands else found


def _apart(left: Word, right: Word) -> bool:
    """Whether two tokens without a blank between them are two for both lexers."""
    if left.text in _BRACKETS or right.text in _BRACKETS:
        return True
    if (left.kind == "sign") == (right.kind == "sign"):
        return False
    other, sign = (right, left) if left.kind == "sign" else (left, right)
    return sign.text != "." or other.kind in ("word", "name")
