"""Functions of regular expressions."""

from __future__ import annotations

from embedded.gateway.errors import validation
from embedded.gateway.sql import regexes
from embedded.gateway.sql.maths import not_yet
from embedded.gateway.sql.raw import quoted
from embedded.gateway.sql.rows import TypedCall


def _sure(pattern: regexes.Pattern, how: str) -> str:
    """`how`, for texts of which Java and RE2 think alike."""
    if not pattern.unsure:
        return how
    unsure = not_yet("this regular expression of such a text")
    return f"CASE WHEN regexp_matches({{0}}, {quoted(pattern.unsure)}) THEN {unsure} ELSE {how} END"


def like(call: TypedCall) -> str:
    pattern = regexes.translated(call.text(1) or "", dot_all=True)
    return _sure(pattern, f"regexp_matches({{0}}, {quoted(pattern.text)})")


def replaced(call: TypedCall) -> str:
    pattern = regexes.translated(call.text(1) or "", dot_all=False)
    if pattern.empty and call.text(2):
        raise validation("The gateway does not answer REGEXP_REPLACE of an expression that may match nothing yet")
    put = regexes.replacement(call.text(2) or "", pattern)
    return _sure(pattern, f"regexp_replace({{0}}, {quoted(pattern.text)}, {quoted(put)}, 'g')")


def extracted(call: TypedCall) -> str:
    pattern = regexes.translated(call.text(1) or "", dot_all=False)
    group = call.whole(2)
    if group is None or not 0 <= group <= pattern.groups:
        raise validation(f"Invalid group index '{group}'")
    if pattern.tail and not group:
        raise validation("The gateway does not answer REGEXP_EXTRACT of what ends in $ yet")
    return _sure(pattern, f"regexp_extract({{0}}, {quoted(pattern.text)}, {group})")


def part(call: TypedCall) -> str:
    pattern = regexes.translated(call.text(1) or "", dot_all=False)
    if pattern.tail:
        raise validation("The gateway does not answer SUBSTR of what ends in $ yet")
    text = quoted(pattern.text)
    return _sure(pattern, f"CASE WHEN regexp_matches({{0}}, {text}) THEN regexp_extract({{0}}, {text}) END")
