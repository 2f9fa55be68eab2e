"""A connector of Kafka Connect, registered and kept running: over a worker that is killed, and a task that gave up."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.stop import Stop
from lakehouse.user_error import UserError

logger = logging.getLogger(__name__)

LOOKS_EVERY_S = 1.0
_ANSWERS_WITHIN_S = 10.0
_RESTART = "restart?includeTasks=true&onlyFailed=true"


class ConnectDown(Exception):
    """Nobody answers there, or the worker is not ready: later it may be."""


@dataclass(frozen=True)
class Connect:
    """Kafka Connect's REST door: ConnectDown where it gives no answer, UserError with its reason where it refuses."""

    url: str

    def configure(self, name: str, config: Mapping[str, str]) -> None:
        """Make the connector, or change it; nothing happens where it is as it should be."""
        if self._config(name) != {**config, "name": name}:
            self._ask("PUT", f"/connectors/{name}/config", config)
            logger.info("connector %s is registered", name)

    def failure(self, name: str) -> str | None:
        """Why the connector or its task has given up; None while they have not."""
        status = self._ask("GET", f"/connectors/{name}/status")
        for one in (status["connector"], *status["tasks"]):
            if one["state"] == "FAILED":
                return _last_cause(one.get("trace", ""))
        return None

    def running(self, name: str) -> bool:
        """Whether connector and task run."""
        status = self._ask("GET", f"/connectors/{name}/status")
        states = [one["state"] for one in (status["connector"], *status["tasks"])]
        return len(states) > 1 and set(states) == {"RUNNING"}

    def restart(self, name: str) -> None:
        """Start again what has given up."""
        self._ask("POST", f"/connectors/{name}/{_RESTART}")

    def _config(self, name: str) -> dict[str, str] | None:
        try:
            found: dict[str, str] = self._ask("GET", f"/connectors/{name}/config")
        except LookupError:
            return None
        return found

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        request = urllib.request.Request(
            self.url.rstrip("/") + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWERS_WITHIN_S) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            said = _message(error.read())
            if error.code == 404:
                raise LookupError(said) from None
            # 409: the worker is about to take its place in the group, or to leave it.
            if error.code in (409, 500, 503):
                raise ConnectDown(said) from None
            raise UserError(f"Kafka Connect at {self.url} refuses the connector: {said}") from None
        except (OSError, ValueError) as error:
            raise ConnectDown(str(getattr(error, "reason", error))) from None


def read_connector(file: Path) -> dict[str, str]:
    """The connector's configuration, as Connect's `PUT …/config` takes it. Raises UserError."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}; correct the path.") from None
    except ValueError as error:
        raise UserError(f"{file} is no JSON ({error}); compare it with examples/cdc/connector.json.") from None
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise UserError(f'{file} has to be an object of texts, "name": "value"; see examples/cdc/connector.json.')
    if "connector.class" not in content:
        raise UserError(f"{file} has no 'connector.class'; see examples/cdc/connector.json.")
    return content


def keep(connect: Connect, name: str, config: Mapping[str, str], stop: Stop, say: Callable[[str], None]) -> None:
    """Register the connector and start again what gave up, until told to stop. Raises UserError where it is refused."""
    away, ran = False, False
    while True:
        try:
            connect.configure(name, config)
            if (why := connect.failure(name)) is not None:
                logger.warning("connector %s has given up and is started again: %s", name, why)
                connect.restart(name)
                ran = False
            elif not ran and connect.running(name):
                say(f"Connector {name} runs: changes of {config.get('table.include.list', 'its tables')} are sent.")
                ran = True
            away = False
        except (ConnectDown, LookupError) as error:
            if not away:
                logger.warning("Kafka Connect at %s is not there yet (%s). Trying again.", connect.url, error)
            away, ran = True, False
        if stop.wait(LOOKS_EVERY_S):
            return


def _message(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    try:
        return " ".join(str(json.loads(text)["message"]).split())
    except (ValueError, KeyError, TypeError):
        return text[:300]


def _last_cause(trace: str) -> str:
    """The innermost reason of a Java trace, one line."""
    lines = [
        line.strip() for line in trace.splitlines() if line.strip() and not line.lstrip().startswith(("at ", "..."))
    ]
    return (lines[-1] if lines else "no reason given").removeprefix("Caused by: ")[:300]
