"""The tokens of a statement."""

from __future__ import annotations

import re
from typing import NamedTuple

from embedded.gateway.errors import ErrorKind, Refusal, TooDeep

_LONGEST = 1_000_000
_DEEPEST = 900
"""Brackets in brackets: DuckDB takes 1,000 levels."""
# What comes most comes first, as far as no other can begin alike; blanks before a token go with it.
_LEXER = re.compile(
    r"""\s*(?:
        (?P<word>[^\W\d]\w*(?:\$\w*)?)
      | (?P<blank>--[^\r\n]*|//[^\r\n]*|/\*.*?\*/|\Z)
      | (?P<unclosed>/\*)
      | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
      | (?P<sign>::|==|->>?|<>|<=|>=|!=|\|\||[-+*/%(),.;<>=\[\]])
      | (?P<text>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*")
      | (?P<other>.))""",
    re.VERBOSE | re.DOTALL,
)
_NONE_OF_DREMIOS = ("::", "==", "->", "->>")


class Word(NamedTuple):
    """A token with its place; `kind` is text, name, number, word, sign or other.

    upper: a word in capitals; any other token as it stands.
    """

    kind: str
    text: str
    start: int
    upper: str

    @property
    def plain(self) -> str:
        """A name or a text without its quotes."""
        if self.kind in ("text", "name"):
            quote = self.text[0]
            return self.text[1:-1].replace(quote * 2, quote)
        return self.text


# The class itself takes twice as long, and a statement has some hundred words.
_word = tuple.__new__


def words_of(sql: str, parameters: bool = False) -> list[Word]:
    """The tokens of a statement, without comments and one closing semicolon. Raises Refusal for what is not SQL.

    A `?` is a token only of a statement that is prepared, with `parameters`.
    """
    if len(sql) > _LONGEST:
        raise Refusal(ErrorKind.PARSE, f"The statement has {len(sql):,} characters; {_LONGEST:,} are the limit.")
    if "\0" in sql:
        raise Refusal(ErrorKind.PARSE, "Failure parsing the query: it holds a NUL character.", sql.index("\0"))
    found: list[Word] = []
    depth = 0
    for match in _LEXER.finditer(sql):
        kind = match.lastgroup or "other"
        if kind == "blank":
            continue
        if kind == "unclosed":
            # Looked for to the end once; no other may be, or a text of them takes the square of its length.
            raise Refusal(ErrorKind.PARSE, "Failure parsing the query: a comment is not closed.", match.start(kind), 2)
        text, start = match[kind], match.start(kind)
        found.append(_word(Word, (kind, text, start, text.upper() if kind == "word" else text)))
        if kind == "sign":
            if text == "(":
                depth += 1
                if depth > _DEEPEST:
                    raise TooDeep(start)
            elif text == ")":
                depth -= 1
            elif text in _NONE_OF_DREMIOS:
                raise encountered(text, start)
        elif kind == "other":
            if text != "?":
                raise encountered(text, start)
            if not parameters:
                raise Refusal(ErrorKind.INTERNAL, "Cannot convert RexNode to equivalent Dremio expression. RexNode: ?0")
    if found and found[-1].text == ";":
        found.pop()
    for word in found:
        if word.text == ";":
            raise encountered(";", word.start)
    if not found:
        raise Refusal(ErrorKind.PARSE, 'Encountered "<EOF>": the statement is empty.', 0)
    return found


def encountered(what: str, start: int) -> Refusal:
    return Refusal(ErrorKind.PARSE, f'Failure parsing the query: encountered "{what}".', start, len(what))
