"""What somebody else wrote is data: one function makes it plain text, one a line, one header text, one Slack text.

HTML is made by `html.escape`, of text that went through here.
"""

from __future__ import annotations

import re

from lakehouse.texts import is_hidden

_BREAK = re.compile("\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
"""All that some reader takes for the end of a line."""
_MANY_BREAKS = re.compile(r"\n\s*\n\s*\n")
# Scripts and emoji need the joiners.
_KEPT = "\n\t\u200c\u200d"
_SURROGATE = re.compile("[\ud800-\udfff]")
_MENTION = re.compile(r"@(?=(channel|here|everyone)\b)", re.IGNORECASE)
_EMOJI = re.compile(r":(?=[\w+'-]+:)")


def plain(text: str, limit: int) -> str:
    """Text that can be read and does nothing: at most `limit` characters, no two blank lines together."""
    # Cut before the work too: ten megabytes are looked at once at most.
    text = _BREAK.sub("\n", _SURROGATE.sub("\ufffd", text[: 4 * limit + 4]))
    text = "".join(" " if letter not in _KEPT and is_hidden(letter) else letter for letter in text)
    return capped(_MANY_BREAKS.sub("\n\n", text).strip(), limit)


def line(text: str, limit: int) -> str:
    """The same on one line; empty when nothing in it can be seen."""
    folded = " ".join(plain(text, 4 * limit).split())
    return capped(folded, limit) if any(map(str.isprintable, folded)) else ""


def header_text(text: str, limit: int) -> str:
    """One line for a mail's header. Python decodes an encoded word that it finds in a header, so there is none."""
    return line(text, limit).replace("=?", "= ?")


def slack_text(text: str, limit: int) -> str:
    """Data as Slack's plain text, at most `limit` characters: & < > escaped, nobody mentioned, no emoji made.

    To be sent with `mrkdwn` false, so that * _ ~ and backticks stay what they are.
    """
    out: list[str] = []
    left = limit - 1
    for character in _EMOJI.sub(":\u200b", _MENTION.sub("@\u200b", text)):
        piece = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(character, character)
        left -= len(piece)
        if left < 0:
            return "".join(out) + "…"
        out.append(piece)
    return "".join(out)


def capped(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
