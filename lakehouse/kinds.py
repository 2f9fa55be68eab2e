"""What rows have in common: messages with their variable parts folded (in Python and SQL), pages of clicks, orders."""

from __future__ import annotations

import re

from lakehouse.dremio.statement import Fragment
from lakehouse.kpis import Counting

GAP = "…"
LONGEST = 300
"""Letters of a kind; of a message four times as many are looked at."""

# As RE2, Java and Python with re.ASCII read them alike: no \d, no \s, and few letters to count.
_QUOTED = r"""'[^'\n]{1,200}'|"[^"\n]{1,200}"|`[^`\n]{1,200}`"""
# Ids, addresses, times, amounts: whatever has a digit in it, or is written in hex.
_VARIABLE = r"\b[0-9a-fA-F]{8,}\b|[^ \t\r\n]*[0-9][^ \t\r\n]*"
_BLANKS = r"[ \t\r\n]+"
_ENDS = "^ | $"
_FOLDS = tuple(
    (re.compile(one, re.ASCII), by) for one, by in ((_QUOTED, GAP), (_VARIABLE, GAP), (_BLANKS, " "), (_ENDS, ""))
)


def kind_of(message: str, service: str = "") -> str:
    """What `message` has in common with those that are alike: "Charge … declined by the bank".

    The name of the service that wrote it is a variable part too, so that the same failure of many is one kind.
    """
    text = message[: 4 * LONGEST]
    if service:
        text = text.replace(service, GAP)
    for pattern, by in _FOLDS:
        text = pattern.sub(by, text)
    return text[:LONGEST]


ERROR_KIND = Fragment(
    "SUBSTR(REGEXP_REPLACE(REGEXP_REPLACE(REGEXP_REPLACE(REGEXP_REPLACE("
    "REPLACE(SUBSTR(error_message, 1, :letters), service_name, :gap), "
    ":quoted, :gap), :variable, :gap), :blanks, ' '), :ends, ''), 1, :longest)",
    {
        "letters": 4 * LONGEST,
        "gap": GAP,
        "quoted": _QUOTED,
        "variable": _VARIABLE,
        "blanks": _BLANKS,
        "ends": _ENDS,
        "longest": LONGEST,
    },
)
"""The same in SQL, of a row of errors_processed."""


def distinct_orders(counting: Counting) -> Fragment:
    """What stands before order_id where a question counts orders."""
    return Fragment(counting.distinct, {})


CLICK_PAGE = Fragment(
    "COALESCE(NULLIF(REGEXP_REPLACE(REGEXP_REPLACE(REGEXP_REPLACE("
    "url, :behind, ''), :before, ''), :deeper, ''), ''), 'home')",
    {
        "behind": r"[?#](.|\n)*$",
        "before": r"^([A-Za-z][A-Za-z0-9+.-]*://[^/]*)?/*(page(/+|\z))?",
        "deeper": r"/(.|\n)*$",
    },
)
"""The page of a row of clicks_processed, as clicks_per_minute has it."""
