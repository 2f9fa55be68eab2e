"""Square brackets: an ARRAY, a MAP, or the part of a column that an index tells."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from embedded.gateway.errors import Refusal, validation
from embedded.gateway.places import place
from embedded.gateway.tokens import Word, encountered
from embedded.gateway.words import RESERVED, SYNTAX

_LITERALS = frozenset({"CAST", "DATE", "INTERVAL", "NULL", "TIME", "TIMESTAMP"})
_NOT_PLAIN = (RESERVED | SYNTAX) - {"MAP"}


def check_bracket(words: Sequence[Word], index: int) -> None:
    """Refuse an opening square bracket that is no SQL, or whose content is not answered. Raises Refusal.

    So no bracket stands inside another but in an ARRAY.
    """
    word, before = words[index], words[index - 1] if index else None
    if before is None:
        raise encountered(word.text, word.start)
    if before.kind == "word" and before.upper in ("ARRAY", "MAP"):
        if before.upper == "MAP":
            _check_map(words, index)
        return
    plain = before.kind == "word" and before.upper not in _NOT_PLAIN
    if not (plain or before.kind == "name" or before.text in (")", "]")):
        raise encountered(word.text, word.start)
    if before.text == ")":
        raise validation("The gateway does not answer an index in square brackets but of a column yet", word.start)
    inside = words[index + 1 : index + 3]
    if len(inside) < 2 or inside[0].kind not in ("number", "text") or inside[1].text != "]":
        raise validation("The gateway does not answer an index that is no number and no text yet", word.start)


def _check_map(words: Sequence[Word], index: int) -> None:
    for word in words[index + 1 :]:
        if word.text == "]":
            return
        if word.kind in ("number", "text") or word.upper in (",", "TRUE", "FALSE"):
            continue
        if word.kind in ("word", "name") and word.upper not in _LITERALS:
            raise validation("MAP expects all arguments to be literals.", word.start, len(word.text))
        raise validation("The gateway does not answer such a value in a MAP yet", word.start, len(word.text))


def write_maps(nodes: Sequence[exp.Expr], sql: str) -> bool:
    """Put a MAP in place of each, which was read as the index of a column; whether there was one. Raises Refusal."""
    maps = [node for node in nodes if isinstance(node, exp.Bracket) and _is_map(node.this)]
    for node in maps:
        node.replace(_map(node, sql))
    return bool(maps)


def _is_map(node: exp.Expr) -> bool:
    return (
        isinstance(node, exp.Column)
        and not node.args.get("table")
        and not node.this.args.get("quoted")
        and node.name.upper() == "MAP"
    )


def _map(node: exp.Bracket, sql: str) -> exp.Expr:
    items = list(node.expressions)
    if not items or len(items) % 2:
        raise _uneven(node, sql)
    return exp.Map(keys=exp.Array(expressions=items[::2]), values=exp.Array(expressions=items[1::2]))


def _uneven(node: exp.Expr, sql: str) -> Refusal:
    return validation("Map requires an even number of arguments, and two at least", *place(node.this, sql))
