"""Slack's conversations as people see them: threads below their root, colours, buttons, and who pressed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from embedded.sandbox.moments import clock
from embedded.sandbox.shown import escape, shown
from embedded.sandbox.workspace import BOT_NAME, BOT_USER, channel_name, person

type Message = Mapping[str, Any]

SHOWN = 50
"""How many entries of a conversation are drawn; /messages has all."""
REPLIES_SHOWN = 30
"""How many replies of a thread, the newest."""


def channels(messages: Sequence[Message]) -> list[tuple[str, str, int]]:
    """Id, name and count of messages of each conversation."""
    counts: dict[str, int] = {}
    for message in messages:
        counts[message["channel"]] = counts.get(message["channel"], 0) + 1
    return [(channel, channel_name(channel), count) for channel, count in sorted(counts.items())]


def sections(
    messages: Sequence[Message],
    ephemeral: Sequence[Message],
    presses: Sequence[Mapping[str, Any]],
) -> str:
    """A section a conversation."""
    if not messages:
        return (
            '<section id="slack-none"><h2 id="slack-none-head">Slack</h2>'
            '<p id="slack-none-text" class="soft">No message yet: the first FATAL alert appears here.</p></section>'
        )
    pressed = {(press["channel"], press["ts"]): _press(press) for press in presses}
    everything = sorted([*messages, *ephemeral], key=lambda message: (message["arrived_ms"], message["ts"]))
    return "".join(
        _section(channel, name, count, [one for one in everything if one["channel"] == channel], pressed)
        for channel, name, count in channels(messages)
    )


def _section(
    channel: str, name: str, count: int, messages: Sequence[Message], pressed: Mapping[tuple[str, str], str]
) -> str:
    threads: dict[str, list[Message]] = {}
    for message in messages:
        threads.setdefault(message.get("thread_ts") or message["ts"], []).append(message)
    # A reply that is seen in the channel stands there too.
    entries: list[tuple[str, Message | None]] = [(ts, None) for ts in threads]
    entries += [(one["ts"], one) for one in messages if one.get("subtype") == "thread_broadcast"]
    cards = []
    for ts, broadcast in sorted(entries, key=lambda entry: entry[0], reverse=True)[:SHOWN]:
        if broadcast is None:
            cards.append(_thread(channel, threads[ts], pressed))
        else:
            cards.append(_broadcast(channel, broadcast, threads[broadcast["thread_ts"]][0], pressed))
    left_out = len(entries) - len(cards)
    more = f'<p id="slack-{channel}-more" class="soft">{left_out} older ones are in /messages.</p>' if left_out else ""
    head = (
        f'<h2 id="slack-{channel}-head">#{escape(name)} '
        f"<small>{channel} · {count} message{'' if count == 1 else 's'}</small></h2>"
    )
    return f'<section id="slack-{channel}" data-parts>{head}{"".join(cards)}{more}</section>'


def _thread(channel: str, thread: Sequence[Message], pressed: Mapping[tuple[str, str], str]) -> str:
    first, *replies = thread
    drawn = "".join(f'<div class="reply">{_message(channel, one, pressed)}</div>' for one in replies[-REPLIES_SHOWN:])
    count = f"{len(replies)} repl{'y' if len(replies) == 1 else 'ies'}"
    if len(replies) > REPLIES_SHOWN:
        count += f", the newest {REPLIES_SHOWN} of them"
    below = f'<div class="thread"><p class="soft">{count}</p>{drawn}</div>' if replies else ""
    return f'<article id="m-{channel}-{first["ts"]}">{_message(channel, first, pressed)}{below}</article>'


def _broadcast(channel: str, message: Message, root: Message, pressed: Mapping[tuple[str, str], str]) -> str:
    opening = (root["text"].splitlines() or [""])[0][:80]
    link = f'<a href="#m-{channel}-{root["ts"]}">{escape(opening) or "its root"}</a>'
    to = f'<p class="soft">replied to a thread: {link}</p>'
    return f'<article id="b-{channel}-{message["ts"]}">{_message(channel, message, pressed, to)}</article>'


def _message(channel: str, message: Message, pressed: Mapping[tuple[str, str], str], before: str = "") -> str:
    is_ours = message.get("user") == BOT_USER
    if message.get("subtype") == "tombstone":
        return f'<div class="message gone"><div class="face"></div><div class="text soft">{shown(message)}</div></div>'
    name = BOT_NAME if is_ours else person(message["user"]).name
    notes = []
    if message.get("subtype") == "thread_broadcast" and not before:
        notes.append("also sent to the channel")
    if message.get("only_for"):
        notes.append(f"only {escape(person(message['only_for']).name)} sees this")
    if message.get("edited_ms"):
        notes.append(f"changed {clock(message['edited_ms'])}")
    app = '<span class="app">APP</span>' if is_ours else ""
    said = " · ".join([clock(message["arrived_ms"]), *notes])
    edited = ' <span class="soft">(edited)</span>' if message.get("edited") else ""
    return (
        f'<div class="message" data-channel="{channel}" data-ts="{message["ts"]}">'
        f'<div class="face{"" if is_ours else " person"}" aria-hidden="true">{escape(name[:1])}</div>'
        f'<div class="said"><p class="who"><b>{escape(name)}</b>{app} <span class="soft">{said}</span></p>{before}'
        f'<div class="text">{shown(message)}{edited}</div>{pressed.get((channel, message["ts"]), "")}</div></div>'
    )


def _press(press: Mapping[str, Any]) -> str:
    """What became of the newest press of a message's buttons."""
    who = f"{escape(person(press['user']).name)} pressed {escape(press['label'])}"
    if press["acknowledged_ms"] is not None:
        return f'<p class="press">{who} · the app took it {clock(press["acknowledged_ms"])}</p>'
    times = f"sent {press['sent']} time{'' if press['sent'] == 1 else 's'}"
    if press["late"]:
        return f'<p class="press on">⚠ {who} · the app does not take it, {times}</p>'
    return f'<p class="press">{who} · waiting for the app, {times}</p>'
