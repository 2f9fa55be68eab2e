"""`tillwatch status`: one screen of text within two seconds, whatever is down."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
import xmlrpc.client
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lakehouse.clock import CLOCK_SLACK, SHOWN, clock_words
from lakehouse.kpis.left_out import left_out_words
from lakehouse.settings.base import Shared
from lakehouse.settings.data_dir import profile_of
from tillwatch.parts import Part, parts_of

CONNECT_S = 0.5
ANSWER_S = 1.0
ALL_WITHIN_S = 1.3
"""Questions run side by side; what has no answer by then is shown as such."""


@dataclass(frozen=True)
class PartState:
    """`state` is up, starting, down or unknown; `detail` says more where there is more."""

    state: str
    detail: str = ""


@dataclass(frozen=True)
class Data:
    """What the tables hold: at one commit, all events up to `as_of` are in.

    In words: which clock was ahead, and what KPI tables lack.
    """

    commit: str
    as_of: datetime | None
    next_offsets: Mapping[str, int]
    rows: Mapping[str, int]
    clock_ahead: str = ""
    kpis_left_out: str = ""


def time_left(whole_s: float = 1.8, least_s: float = 0.7) -> float:
    """What remains for the questions of `whole_s` since this process began (s): loading Python took the rest."""
    return max(least_s, whole_s - (time.time() - psutil.Process().create_time()))


def show(shared: Shared, console: Console | None = None, within_s: float = ALL_WITHIN_S) -> bool:
    """Print the screen; True when every part that the figures need is up."""
    found: list[Data] = []
    profile = profile_of(shared.data_dir) or "embedded"
    cdc = _reads_a_database(shared)
    parts = parts_of(profile, cdc)
    asked = _together(
        {
            **{part.name: lambda part=part: part_state(part, shared) for part in parts if part.port},  # type: ignore[misc]
            "_data": lambda: _data(found.append),
            "_log": lambda: _log_ends(shared, profile),
            "_supervisor": lambda: _supervised(shared),
            "_told": lambda: _told(shared),
            **({"_captured": lambda: _captured(shared)} if cdc else {}),
        },
        within_s,
    )
    screen = console or Console(highlight=False)
    now = datetime.now(UTC)
    screen.print(f"[bold]tillwatch[/] · {shared.data_dir} · {now:%Y-%m-%d %H:%M:%S} UTC\n")

    supervised: dict[str, str] = asked["_supervisor"] if isinstance(asked["_supervisor"], dict) else {}
    if supervised and "producers" not in supervised:  # demo.shoppers is false
        parts = tuple(part for part in parts if part.name != "producers")
    states = {part.name: _merged(part, asked.get(part.name), supervised) for part in parts}
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("part", "state", "where", ""):
        table.add_column(heading, style="bold" if heading == "part" else "", header_style="dim")
    for part in parts:
        state = states[part.name]
        table.add_row(part.name, _coloured(state.state), _where(part, shared), Text(state.detail, style="dim"))
    screen.print(table)
    screen.print()
    for line in data_lines(found[-1] if found else asked["_data"], asked["_log"], now):
        screen.print(line, soft_wrap=True)
    if isinstance(captured := asked.get("_captured"), str):
        screen.print(f"[dim]changes[/]   {escape(captured)}", soft_wrap=True)
    if isinstance(asked["_told"], str):
        screen.print(f"[dim]told[/]      {asked['_told']}", soft_wrap=True)
    return all(states[part.name].state == "up" for part in parts if not part.optional)


def data_lines(data: Data | BaseException | None, log_ends: object, now: datetime) -> list[str]:
    """The lines on data: age, commit, lag and rows; or why there are none."""
    if not isinstance(data, Data):
        reason = str(data) if data is not None else "no answer in time"
        return [f"[dim]data[/]      [yellow]not known[/]: {reason}"]
    lines = []
    if data.as_of is None:
        lines.append("[dim]data[/]      nothing is published yet")
    else:
        age = now - data.as_of
        late = age > timedelta(seconds=30)
        told = f"{'[yellow]' if late else ''}{spoken(max(age, timedelta()))} old{'[/]' if late else ''}"
        if -age > CLOCK_SLACK:
            told = f"[yellow]{spoken(-age)} ahead of this machine's clock[/]"
        lines.append(
            f"[dim]data[/]      {told} · all up to {data.as_of:%H:%M:%S} UTC is in · commit {data.commit[:12]}"
        )
    if data.clock_ahead:
        lines.append(f"[dim]clock[/]     [yellow]{data.clock_ahead}[/]")
    if data.kpis_left_out:
        lines.append(f"[dim]KPIs[/]      [yellow]{escape(data.kpis_left_out)}[/]")
    if isinstance(log_ends, dict) and log_ends:
        behind = sum(max(0, end - data.next_offsets.get(topic, 0)) for topic, end in log_ends.items())
        lines.append(f"[dim]lag[/]       {behind:,} events of the log are not in the tables yet")
    if data.rows:
        lines.append(
            "[dim]rows[/]      " + " · ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in data.rows.items())
        )
    return lines


def spoken(age: timedelta) -> str:
    """A length of time as people say it: 1.2 s, 3 min, 2.5 h."""
    seconds = age.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} d"


def part_state(part: Part, shared: Shared) -> PartState:
    """Whether a part listens, and whether it says that it is well."""
    assert part.port is not None
    port = shared.port(part.port)
    try:
        socket.create_connection(("127.0.0.1", port), timeout=CONNECT_S).close()
    except OSError:
        return PartState("down")
    if part.health is None:
        return PartState("up")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{part.health}", timeout=ANSWER_S):
            return PartState("up")
    except urllib.error.HTTPError as error:
        return PartState("not ready", _reason(error.read(2000)))
    except OSError:
        return PartState("hangs", "takes connections, but gave no answer in time")


def _reason(body: bytes) -> str:
    """Why a part says it is not ready: from its JSON answer what is not well, else its first line."""
    text = " ".join(body.decode("utf-8", "replace").split())
    try:
        answer = json.loads(text)
        wrong = [f"{name}: {what}" for name, what in answer.get("parts", {}).items() if what]
        text = answer.get("error") or "; ".join(wrong)
    except (ValueError, AttributeError):
        pass  # plain text
    return str(text)[:200]


def _told(shared: Shared) -> str:
    """What the notifier did so far: deliveries by state, those that are none left out."""
    from notifier.settings import NotifierSettings

    url = f"http://127.0.0.1:{shared.port('notifier')}/api/deliveries?limit=1"
    token = NotifierSettings.load().api_token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=ANSWER_S) as answer:
        counts: dict[str, int] = json.loads(answer.read())["counts"]
    return " · ".join(f"{state} {count:,}" for state, count in counts.items() if count) or "nothing so far"


def _captured(shared: Shared) -> str:
    """What Kafka Connect's connectors do."""
    url = f"http://127.0.0.1:{shared.port('connect')}/connectors?expand=status"
    with urllib.request.urlopen(url, timeout=ANSWER_S) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    states = {
        name: {one["state"] for one in (held["status"]["connector"], *held["status"]["tasks"])}
        for name, held in found.items()
    }
    told = [f"connector {name} {' and '.join(sorted(state)).lower()}" for name, state in states.items()]
    return " · ".join(told) or "no connector is registered yet"


def _data(found: Callable[[Data], None]) -> None:
    """Tell `found` what the tables hold: first age, commit and offsets, then the same with rows."""
    # pyarrow takes a while to load: only here, beside the other questions.
    from lakehouse.dremio.client import Dremio
    from lakehouse.dremio.errors import Unavailable
    from lakehouse.settings.dremio import DremioSettings

    limit = timedelta(seconds=ANSWER_S)
    settings = DremioSettings.load(plan_timeout=limit, fetch_timeout=limit)
    where = urlsplit(settings.uri)
    # gRPC would try again for longer than we have.
    try:
        socket.create_connection((where.hostname or "localhost", where.port or 32010), timeout=CONNECT_S).close()
    except OSError:
        raise Unavailable(f"nobody answers at {settings.uri}") from None
    with Dremio(settings) as dremio:
        commit = dremio.head()
        positions = dremio.ask("demo_positions", commit=commit).to_pylist()
        read_to = [row["read_to"] for row in positions]
        as_of = min(read_to) if read_to and None not in read_to else None
        offsets = Counter[str]()
        for row in positions:
            offsets[row["topic"]] += row["next_offset"]
        found(Data(commit, as_of, offsets, {}))
        ahead = lacking = ""
        if as_of is not None:
            ahead = clock_words(dremio.ask("clock_ahead", commit=commit, since=as_of - SHOWN).to_pylist())
            lacking = left_out_words(dremio.ask("kpis_left_out", commit=commit).to_pylist())
        found(Data(commit, as_of, offsets, {}, ahead, lacking))
        rows = dremio.ask("demo_rows", commit=commit).to_pylist()
        found(Data(commit, as_of, offsets, rows[0] if rows else {}, ahead, lacking))


def _log_ends(shared: Shared, profile: str) -> dict[str, int]:
    """How many messages each topic of the log has had; nothing where there is no log."""
    if profile == "stack":
        from tillwatch.stack import log_ends

        return log_ends(shared)
    path = shared.data_dir / "events.db"
    if not path.exists():
        return {}
    from embedded.log import EventLog
    from lakehouse.sources import load_sources

    with EventLog(path) as log:
        return {topic: log.bounds(topic)[1] for topic in load_sources().log_topics}


def _supervised(shared: Shared) -> dict[str, str]:
    """What the demo's supervisor says of each part; nothing when no demo runs."""
    from tillwatch.supervisor import Control

    try:
        with closing(Control(shared.data_dir.resolve())) as control:
            return {process.name: process.state for process in control.processes()}
    except (OSError, xmlrpc.client.Error):
        return {}


def _reads_a_database(shared: Shared) -> bool:
    """Whether the stack's last start was with --cdc."""
    try:
        return "[program:connect]" in (shared.data_dir / "run" / "supervisord.conf").read_text(encoding="utf-8")
    except OSError:
        return False


def _merged(part: Part, seen: object, supervised: Mapping[str, str]) -> PartState:
    """What the port says, and where it says nothing, what the supervisor knows."""
    said = supervised.get(part.name)
    if part.port is not None and seen is None:
        return PartState("hangs", "takes connections, but gave no answer in time")
    if isinstance(seen, PartState) and seen.state != "down":
        return seen
    match said:
        case "RUNNING" | "STARTING":
            return PartState("up" if part.port is None else "starting")
        case "BACKOFF":
            return PartState("restarting", f"ends soon after each start: see logs/{part.name}.log")
        case "FATAL" | "EXITED" | "STOPPED":
            return PartState("down", f"{said.lower()}: see logs/{part.name}.log")
    if part.port is None:
        return PartState("unknown", "no demo runs on this data directory")
    return PartState("down")


def _where(part: Part, shared: Shared) -> str:
    if part.port is None:
        return ""
    scheme = {"gateway": "grpc://", "kafka": "", "postgres": "postgresql://"}.get(part.name, "http://")
    return f"{scheme}localhost:{shared.port(part.port)}"


def _coloured(state: str) -> Text:
    return Text(state, style={"up": "green", "down": "red", "unknown": "dim"}.get(state, "yellow"))


def _together(questions: Mapping[str, Callable[[], Any]], within_s: float) -> dict[str, Any]:
    """Answers by name, asked side by side; an exception stands for itself, None for no answer within `within_s`."""
    answers: dict[str, Any] = dict.fromkeys(questions)

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            answers[name] = question()
        except Exception as error:  # any failure is an answer here: it is shown in its place
            answers[name] = error

    # Daemons: one that hangs must not keep the screen waiting.
    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in questions.items()]
    for thread in threads:
        thread.start()
    end = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(answers)
