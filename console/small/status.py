"""How the data is: the line under the small page's title, and what is wrong in one sentence."""

from __future__ import annotations

from datetime import tzinfo
from html import escape
from typing import Literal

from console.feed.snapshot import FeedSnapshot, now_utc
from console.parts import iso_ms
from console.small.times import lasting, when
from console.words import AGE, ALL_OK, LOST_SERVER, NO_DATA, NOTHING_NEW, STALE_S, UNPUBLISHED, WAITING
from lakehouse.texts import REASON_LETTERS, visible


def freshness(snapshot: FeedSnapshot, age_s: float | None) -> tuple[str, Literal["ok", "waiting", "late", "stale"]]:
    """How the data is, in the console's words."""
    if snapshot.error:
        return visible(snapshot.error, REASON_LETTERS), "stale"
    if age_s is not None and age_s > STALE_S:
        return NOTHING_NEW, "stale"
    if snapshot.failed:
        names = ", ".join(name.replace("_", " ") for name in snapshot.failed)
        return f"{names} failed: {visible(next(iter(snapshot.failed.values())), REASON_LETTERS)}", "late"
    if age_s is None:
        return UNPUBLISHED if snapshot.polled_at else WAITING, "waiting"
    return ALL_OK, "ok"


def status_line(snapshot: FeedSnapshot, age_s: float | None, words: str, zone: tzinfo, refresh_s: float) -> str:
    """The line under the title. Its script (static/lite.js) keeps the age growing, and takes back that all is well."""
    age = NO_DATA if age_s is None else AGE.format(age=lasting(age_s))
    said = [f'<span class="age">{age}</span>']
    if snapshot.as_of is not None:
        said.append(f"as of {when(snapshot.as_of, zone, named=True)}")
    if snapshot.commit is not None:
        said.append(f'<span title="{escape(snapshot.commit)}">commit {escape(snapshot.commit[:8])}…</span>')
    ok = ALL_OK if words == ALL_OK else ""
    told = {
        "commit": snapshot.commit or "",
        "as-of": iso_ms(snapshot.as_of) or "",
        "sent": iso_ms(now_utc()) or "",
        "refresh-s": f"{refresh_s:g}",
        "stale-s": str(STALE_S),
        "stale": NOTHING_NEW,
        "words": ok,
        "age": AGE,
        "lost": LOST_SERVER,
    }
    data = " ".join(f'data-{name}="{escape(value)}"' for name, value in told.items())
    return f'<p class="tw" id="status" {data}>{" · ".join(said)}<span class="health">{ok}</span></p>'


def sentence(words: str) -> str:
    return plain(f"{words[0].upper()}{words[1:].rstrip('.')}.")


def plain(text: str) -> str:
    """`text` with what Markdown would take for its own made harmless."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!$~|:@^" else letter for letter in text)
