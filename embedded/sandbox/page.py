"""The page: what arrived, newest first, and buttons for faults. Plain HTML; asks nobody but this server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from embedded.sandbox.faults import FAULTS, Fault, Service
from embedded.sandbox.shown import escape, shown

SHOWN = 100
"""How many threads, and how many emails, are drawn; /messages has all."""

_REQUESTS: dict[str, dict[str, Any]] = {
    "rate_limited": {"retry_after": "5", "count": 1},
    "hang": {"hold_s": 30},
    "accept_and_hang": {"hold_s": 30},
}

_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>tillwatch sandbox</title><link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; --back: light-dark(#ffffff, #14171a); --card: light-dark(#f4f5f7, #1e2226);
  --text: light-dark(#1b1f23, #e6e8ea); --soft: light-dark(#57606a, #9aa4ae); --line: light-dark(#d5d9de, #343a40);
  --link: light-dark(#0059a0, #56b4e9); --hot: light-dark(#b34700, #f08a4b); }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; padding: 16px 24px; background: var(--back); color: var(--text);
  font: 15px/1.45 system-ui, sans-serif; }}
h1 {{ font-size: 20px; margin: 0; }} h2 {{ font-size: 16px; margin: 16px 0 8px; }}
body {{ overflow-wrap: anywhere; }} summary, .text, .soft {{ unicode-bidi: isolate; }}
.columns > section {{ min-width: 0; }}
p {{ margin: 4px 0; }} a {{ color: var(--link); }} .soft {{ color: var(--soft); font-size: 13px; }}
.columns {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 0 24px; }}
article {{ background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 8px 16px; margin: 0 0 8px; }}
article .reply {{ border-left: 2px solid var(--line); margin: 8px 0 0 4px; padding-left: 16px; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
button {{ font: inherit; font-size: 13px; color: var(--text); background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 4px 8px; margin: 0 4px 4px 0; cursor: pointer; }}
button:focus-visible, a:focus-visible, summary:focus-visible {{ outline: 2px solid var(--link); outline-offset: 2px; }}
.on {{ color: var(--hot); font-weight: 600; }}
</style></head><body>
<h1>Sandbox: what Slack and the mail server got</h1>
<p class="soft">Stands in for both; nothing leaves this machine. <span id="fresh">Refreshed every 2 s.</span></p>
<details><summary>Faults: break the next call</summary>
<p><span class="soft">Slack:</span> {slack_buttons}</p><p><span class="soft">Mail:</span> {smtp_buttons}</p>
<p><button data-off>Switch all faults off</button> <span class="soft">More through POST /faults.</span></p></details>
<main id="main">{content}</main>
<script>
const main = document.getElementById("main"), fresh = document.getElementById("fresh");
let shown = null;
async function refresh() {{
  try {{
    const text = await (await fetch("/fragment")).text();
    if (text !== shown) {{
      const open = [...main.querySelectorAll("details[open]")].map((item) => item.id);
      main.innerHTML = text;
      shown = text;
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    }}
    fresh.textContent = "Refreshed every 2 s.";
  }} catch {{ fresh.textContent = "The sandbox does not answer; this is what it showed last."; }}
}}
addEventListener("click", async (event) => {{
  const button = event.target.closest("button");
  if (!button) return;
  const init = "off" in button.dataset ? {{ method: "DELETE" }}
    : {{ method: "POST", headers: {{ "content-type": "application/json" }}, body: button.dataset.fault }};
  await fetch("/faults", init);
  refresh();
}});
setInterval(() => {{ if (!document.hidden) refresh(); }}, 2000);
</script></body></html>
"""


def whole(messages: Mapping[str, Sequence[Mapping[str, Any]]], faults: Sequence[Fault]) -> str:
    """The page with its buttons."""
    return _FRAME.format(
        slack_buttons=_buttons("slack"),
        smtp_buttons=_buttons("smtp"),
        content=content(messages, faults),
    )


def content(messages: Mapping[str, Sequence[Mapping[str, Any]]], faults: Sequence[Fault]) -> str:
    """What changes: the faults that are on, the threads and the emails."""
    on = "; ".join(
        f"{fault.service} {fault.kind} ({'until switched off' if fault.count is None else f'{fault.count} more'})"
        for fault in faults
    )
    state = f'<p class="on" role="status">Faults on: {escape(on)}</p>' if on else ""
    return f"{state}<div class='columns'>{_slack(messages['slack'])}{_email(messages['email'])}</div>"


def _buttons(service: Service) -> str:
    buttons = []
    for kind, meaning in FAULTS[service].items():
        request = json.dumps({"service": service, "kind": kind, **_REQUESTS.get(kind, {})})
        label = kind.replace("_", " ").capitalize()
        buttons.append(f'<button data-fault="{escape(request)}" title="{escape(meaning)}">{label}</button>')
    return "".join(buttons)


def _slack(messages: Sequence[Mapping[str, Any]]) -> str:
    threads: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for message in messages:
        threads.setdefault((message["channel"], message.get("thread_ts") or message["ts"]), []).append(message)
    cards = []
    for (channel, _), thread in reversed(list(threads.items())[-SHOWN:]):
        first, *replies = thread
        inside = "".join(f'<div class="reply">{_message(reply)}</div>' for reply in replies)
        cards.append(f"<article>{_message(first, channel)}{inside}</article>")
    empty = "" if cards else "<p class='soft'>No message yet: the first FATAL alert appears here.</p>"
    return f"<section><h2>Slack ({len(messages)})</h2>{empty}{''.join(cards)}</section>"


def _message(message: Mapping[str, Any], channel: str = "") -> str:
    edited = " · edited" if message.get("edited") else ""
    where = f" · {escape(channel)}" if channel else ""
    head = f'<p class="soft">{_time(message["arrived_ms"])}{where}{edited}</p>'
    return f'{head}<div class="text">{shown(message)}</div>'


def _email(messages: Sequence[Mapping[str, Any]]) -> str:
    cards = [
        f'<article><p class="soft">{_time(message["arrived_ms"])} · to {escape(message["recipient"])}</p>'
        f"<details id='email-{message['id']}'><summary>{escape(message['subject'])}</summary>"
        f'<div class="text">{escape(message["body"])}</div>'
        f'<p class="soft">{escape(message["message_id"] or "no Message-ID")}</p></details></article>'
        for message in reversed(messages[-SHOWN:])
    ]
    empty = "" if cards else "<p class='soft'>No email yet: the first FATAL alert appears here.</p>"
    return f"<section><h2>Email ({len(messages)})</h2>{empty}{''.join(cards)}</section>"


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
