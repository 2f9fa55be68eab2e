"""Words of the pages: the small page says them itself, the browser code is told them."""

from __future__ import annotations

from collections.abc import Mapping

STALE_S = 45
"""Ingest publishes at least every heartbeat, which is 15 s: three of them."""

LENGTHS = ((60, "1 h"), (30, "30 min"), (240, "4 h"), (720, "12 h"))
"""How long somebody takes an incident, or silences it, in minutes: the first unless chosen."""

STATES = {"open": "open", "resolved": "resolved", "old": "too old to wake"}
"""What an incident's state is called."""

TILE_BASES = {
    "before": "5 min, vs the 5 min before",
    "yesterday": "5 min, vs the same yesterday",
    "week": "5 min, vs the same last week",
}
"""The window of a tile and its base, by what it is compared with."""
TITLE = "{title} · tillwatch"
"""Of the browser's own tab."""
ALL_OK = "all feeds ok"
NOTHING_NEW = "ingest is down or cannot read: it has published nothing for three heartbeats"
UNPUBLISHED = "nothing is published yet: look whether the producers and ingest (or the Spark driver) run"
NO_DATA = "no data yet"
WAITING = "waiting for the first data"
AGE = "data {age} old"
LOST_SERVER = "this page has lost its server: what you see is old; trying again"

ZONE_WORDS = (
    ("local", "Times are in your own zone"),
    ("utc", "Times are in UTC"),
    ("shop", "Times are in the zone of the shop"),
)
"""What is said of each zone that is shown; a click goes on to the next."""

KEYS = (
    ("f", "hold this moment, or go back to now"),
    ("a", "choose a moment, and see all as it was then"),
    ("p", "let what is shown stand still, or go on"),
    ("m", "mark that something was changed"),
    ("t", "choose the range, or how many minutes the live charts show"),
    ("/", "find in the rows of this tab"),
    ("d", "dark or light"),
    ("z", "the zone of times: yours, UTC, the shop's"),
    ("Esc", "one step back: what just came up, then from an incident, a customer, a brushed time"),
    ("?", "this list"),
)
"""What keys do, beside those of the tabs."""

BROWSER: Mapping[str, str] = {
    "all_ok": ALL_OK,
    "all_ok_every": f"{ALL_OK}, this tab is renewed every {{every}}",
    "nothing_new": NOTHING_NEW,
    "unpublished": UNPUBLISHED,
    "no_data": NO_DATA,
    "asking_tab": "asking for what this tab shows",
    "age": AGE,
    "stale": "stale, {age}",
    "stale_empty": "no data",
    "commit": "commit {commit}…",
    "viewers": "{n} viewers",
    "viewer": "1 viewer",
    "lost": "the connection to the console is lost; trying again",
    "silent": "no word from the console for {silent}; reconnecting",
    "failed": "{names} failed: {why}",
    "refused": 'the console does not answer browsers at {host}: add "{host}" to its setting console.allowed_origins, '
    "and start it again",
    "no_websocket": "the console answers, but its websocket does not come through: a proxy on the way must pass "
    "websockets on",
    "frozen_at": "frozen at {at}",
    "frozen": "as it was known then; Freeze again goes back to now",
    "paused": "paused: what is shown stands still",
    "paused_new": "paused, {orders} and {errors} new since",
    "paused_none": "paused, nothing new since",
    "go_on": "go on",
    "orders_1": "1 order",
    "orders_n": "{n} orders",
    "errors_1": "1 error",
    "errors_n": "{n} errors",
    "late": "this tab still shows its last answer; it should be renewed every {every}",
    "not_asked": "This could not be asked: {why} What you see is the last good answer.",
    "asking": "Asking…",
    "lapsed": "the brushed time {from} – {to} lies outside this range and narrows nothing",
    "show_range": "show its range",
    "show_holding": "show the range that holds it",
    "drop": "drop it ✕",
    "whole": "whole range ✕",
    "all": "all",
    "usual": "as usual",
    "fresh": "{n} new · show",
    "held": "held while you read · let go",
    "nothing": "Nothing here.",
    "customer": "all that this customer did",
    "order": "all that is known of this order",
    "none": "—",
    "more": "{n} more",
    "title": TITLE,
    "title_count": f"({{n}}) {TITLE}",
    "page": "page {page} of {pages}",
    "page_before": "the page before",
    "page_after": "the page after",
    **{f"base_{name}": words for name, words in TILE_BASES.items()},
    "then_yesterday": "the same minute yesterday",
    "then_week": "the same minute last week",
    "tip_leads": "a click shows what is behind it: {tab}",
    "newest": "newest",
    "read_at": "read at {at}",
    "kept": "Kept for the other tabs, without effect here: {kept}.",
    "fatal_open": "{worst} and nobody has it:",
    "fatal_unknown": "{worst} open; who has it is not known:",
    "fatal_silenced": "silenced:",
    "since": "{name} since {at}",
    "until": "{name} until {at}",
    "no_figure": "How its figure goes could not be asked: {why}",
    "acting": "Asking the notifier…",
    "acted_ack": "Acknowledged.",
    "acted_unack": "Let go: the steps of escalation begin anew.",
    "acted_silence": "Silenced.",
    "acted_unsilence": "The silence is over.",
    "acted_escalate": "Escalated.",
    "acted_note": "Noted.",
    "as": "as {person}",
    "viewer_only": "You are signed in as a viewer: only an operator may act.",
    "toast_more": "{n} new: {words}",
    "toast_close": "close this (Esc)",
    "no_moment": "That is no time: choose day, hour and minute.",
    "backwards": "The range ends before it begins: set `to` after `from`.",
}
"""What the browser code says by itself; what stands in braces it fills in."""
