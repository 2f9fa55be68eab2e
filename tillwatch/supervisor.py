"""The supervisor of one data directory: which programs it runs, and how to ask it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

GROUP = "tillwatch"
SERVERS = "servers"
"""The group of what the parts need: it ends once they have ended."""
STOP_WAIT_S = 5
"""How long a part may take to end by itself."""

_LONGEST_SOCKET_PATH = 92
"""Bytes. A Unix socket's path has room for 103 on macOS, 107 on Linux; supervisord first adds a dot and its number."""

# What a path may hold has no escape in supervisord's configuration ("a #b" ends at the blank, "%" is expanded twice in
# some places), so it holds no path of a user: it runs in the data directory, and these two come by the environment.
_SOCKET = "_TILLWATCH_SOCKET"
_FOLDER = "_TILLWATCH_FOLDER"


@dataclass(frozen=True)
class Program:
    """One program. `restarts`: supervisord starts it again whenever it ends; else it is for others to do.

    `stop_wait_s`: how long it may take to end by itself; `children_stop_too`: its children are told as well;
    `stop_signal`: by what it is told.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    autostart: bool = True
    group: str = GROUP
    restarts: bool = True
    stop_wait_s: int = STOP_WAIT_S
    children_stop_too: bool = True
    stop_signal: str = "TERM"


def socket_path(data_dir: Path) -> Path:
    path = data_dir / "run" / "supervisor.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    return Path(tempfile.gettempdir()) / f"tillwatch-{sha256(os.fsencode(data_dir)).hexdigest()[:12]}.sock"


def configuration(programs: Sequence[Program]) -> str:
    """The text of supervisord's configuration: the parts in one group, so that all are told to stop at once.

    Servers are in a group of their own, which is started first and stopped last.
    """
    lines = [
        "; Written at every start.",
        "[unix_http_server]",
        f"file=%(ENV_{_SOCKET})s",
        "chmod=0700",
        "",
        "[supervisord]",
        "logfile=logs/supervisor.log",
        "logfile_maxbytes=1MB",
        "logfile_backups=1",
        "pidfile=run/supervisord.pid",
        "childlogdir=logs",
        # Said aloud, for otherwise it warns of running as root.
        *(["user=root"] if os.geteuid() == 0 else []),
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for priority, group in enumerate((SERVERS, GROUP), 1):
        names = [program.name for program in programs if program.group == group]
        if names:
            lines += ["", f"[group:{group}]", f"programs={','.join(names)}", f"priority={priority}"]
    for program in programs:
        environment = ",".join(f'{name}="{_escaped(value)}"' for name, value in program.environment.items())
        lines += [
            "",
            f"[program:{program.name}]",
            f"command={_command(program.argv)}",
            f"directory=%(ENV_{_FOLDER})s",
            *([f"environment={environment}"] if environment else []),
            f"autostart={'true' if program.autostart else 'false'}",
            f"autorestart={'true' if program.restarts else 'false'}",
            # Ended sooner than this counts as a failed start; the pause before the next grows by a second each time.
            # 0: an end is an end, for otherwise even a wanted one would be followed by a start.
            f"startsecs={3 if program.restarts else 0}",
            "startretries=5",
            f"stopwaitsecs={program.stop_wait_s}",
            f"stopsignal={program.stop_signal}",
            f"stopasgroup={'true' if program.children_stop_too else 'false'}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile=logs/{program.name}.log",
            "stdout_logfile_maxbytes=2MB",
            "stdout_logfile_backups=1",
        ]
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("%", "%%")


def _command(argv: Sequence[str]) -> str:
    """The words as supervisord reads them: a # or ; after a blank would begin a comment, even between quotes."""
    return re.sub(r"(\s)([#;])", r"\1''\2", _escaped(shlex.join(argv)))


def start(
    data_dir: Path, programs: Sequence[Program], environment: Mapping[str, str], keep: int
) -> subprocess.Popen[bytes]:
    """Write the configuration and start supervisord; it ends when its standard input does.

    `keep` is a file descriptor that it holds open as long as it lives: the demo's lock.
    """
    path = data_dir / "run" / "supervisord.conf"
    path.touch(mode=0o600)
    path.write_text(configuration(programs), encoding="utf-8")
    with (data_dir / "logs" / "supervisor.out").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "tillwatch.supervise", str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal is for the demo, which then ends the rest in order.
            start_new_session=True,
            pass_fds=[keep],
            env={**environment, _SOCKET: str(socket_path(data_dir)), _FOLDER: str(Path.cwd())},
        )


@dataclass(frozen=True)
class Process:
    name: str
    state: str
    pid: int
    started: int
    ended: int = 0
    exit_code: int = 0


class Control:
    """Asks the supervisor of one data directory. Every method raises OSError or xmlrpc.client.Error when it is away."""

    def __init__(self, data_dir: Path) -> None:
        self._transport = SupervisorTransport(None, None, f"unix://{socket_path(data_dir)}")
        self._rpc: Any = xmlrpc.client.ServerProxy("http://localhost", transport=self._transport).supervisor

    def processes(self) -> list[Process]:
        with self._closed_on_failure():
            infos = self._rpc.getAllProcessInfo()
        return [
            Process(info["name"], info["statename"], info["pid"], info["start"], info["stop"], info["exitstatus"])
            for info in infos
        ]

    def start(self, name: str, group: str = GROUP) -> None:
        with self._closed_on_failure():
            self._rpc.startProcess(f"{group}:{name}", False)

    def close(self) -> None:
        self._transport.close()

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        # The transport keeps a connection that broke, and would use it again.
        try:
            yield
        except (OSError, xmlrpc.client.Error):
            self.close()
            raise
