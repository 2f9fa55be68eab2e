"""Alertmanager beside ours: built where Go is, started over a folder of its own, and told of alerts again and again."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

VERSION = "0.35.0"
MODULE = f"github.com/prometheus/alertmanager@v{VERSION}"
SCALE = 50
"""All its waits that can be set are as many times shorter than their defaults."""
RESEND_S = 60 / SCALE
"""Prometheus tells of an alert that goes on each minute."""
BATCH = 256
"""Alerts of one request, as Prometheus sends them."""

# Defaults: group_wait 30 s, group_interval 5 min, a snapshot each 15 min. Nothing is to come again, nor to resolve, so
# that each message beyond the first is one too many.
CONFIG = """
global:
  resolve_timeout: 24h
route:
  receiver: slack
  group_by: [incident]
  group_wait: {wait_ms}ms
  group_interval: {interval_ms}ms
  repeat_interval: 24h
receivers:
- name: slack
  slack_configs:
  - app_url: {api}chat.postMessage
    app_token: xoxb-bench
    channel: '{{{{ .CommonLabels.channel }}}}'
    title: '{{{{ .CommonAnnotations.summary }}}}'
    title_link: ''
    fallback: '{{{{ .CommonAnnotations.summary }}}}'
    text: '{{{{ .CommonAnnotations.summary }}}}'
"""


def built(folder: Path) -> Path | str:
    """The program below `folder`, built there where it is not; a sentence where that cannot be."""
    program = folder / f"alertmanager-{VERSION}"
    if program.exists():
        return program
    if shutil.which("go") is None:
        return "There is no Go here to build Alertmanager with: its figures are left out."
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tillwatch-alertmanager-") as work:
        try:
            module = json.loads(_go(["mod", "download", "-json", MODULE], Path(work)))
            source = Path(work) / "source"
            shutil.copytree(module["Dir"], source, copy_function=shutil.copyfile)
            for directory, _, _ in source.walk():
                directory.chmod(0o755)
            # The pages of its web interface are built by other tools; it embeds whatever is there.
            for page in ("elm", "mantine"):
                (source / "ui" / "app" / "dist" / page).mkdir(parents=True)
                (source / "ui" / "app" / "dist" / page / "index.html").touch()
            _go(["build", "-o", str(program), "./cmd/alertmanager"], source)
        except subprocess.CalledProcessError as error:
            last = (error.stderr.strip().splitlines() or ["no word of why"])[-1]
            return f"Alertmanager cannot be built ({last}): its figures are left out."
    return program


def _go(arguments: Sequence[str], folder: Path) -> str:
    return subprocess.run(["go", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


class Alertmanager:
    """The program over a folder, and who tells it of alerts: `start`, `fire`, `kill` and `start` again, `close`.

    api: Slack's, that it posts to. resend_s: how often it is told of each alert.
    """

    def __init__(self, program: Path, folder: Path, port: int, api: str, resend_s: float = RESEND_S) -> None:
        self._program = program
        self._resend_s = resend_s
        self._folder = folder
        self._port = port
        folder.mkdir()
        scaled = {"wait_ms": 30_000 // SCALE, "interval_ms": 300_000 // SCALE}
        (folder / "alertmanager.yml").write_text(CONFIG.format(api=api, **scaled), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self._alerts: list[bytes] = []
        self._ended = threading.Event()
        self._teller = threading.Thread(target=self._tell, daemon=True)
        self._teller.start()

    def start(self) -> None:
        arguments = [
            "--config.file=alertmanager.yml",
            "--storage.path=data",
            f"--data.maintenance-interval={900 // SCALE}s",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--cluster.listen-address=",
        ]
        with (self._folder / "alertmanager.log").open("ab") as log:
            self._process = subprocess.Popen([self._program, *arguments], stdout=log, stderr=log, cwd=self._folder)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        self._ended.set()
        self._teller.join()
        self.kill()

    def fire(self, incident: str, channel: str, at: datetime) -> None:
        """An alert that fires from now on."""
        alert = {
            "labels": {"alertname": "fatal_error", "incident": incident, "channel": channel},
            "annotations": {"summary": f"Fatal error in {incident}"},
            "startsAt": at.isoformat(),
        }
        self._alerts.append(json.dumps(alert).encode())

    def _tell(self) -> None:
        while not self._ended.wait(self._resend_s):
            alerts = self._alerts[:]
            connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
            try:
                for start in range(0, len(alerts), BATCH):
                    body = b"[" + b",".join(alerts[start : start + BATCH]) + b"]"
                    connection.request("POST", "/api/v2/alerts", body, {"Content-Type": "application/json"})
                    connection.getresponse().read()
            except (OSError, HTTPException):
                pass  # it is being killed; it is told again
            finally:
                connection.close()
