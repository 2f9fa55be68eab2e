"""Makes a fresh Dremio ready for tillwatch: python deploy/dremio/bootstrap.py

1. wait until its REST port says that it is up
2. sign in; where Dremio has no user yet, make the first one
3. make the Nessie source that our tables lie in
4. ask one question through Arrow Flight, as every reader does

Each step looks first and leaves alone what is there: it may run again, and against a Dremio set up by hand.
Paths and answers: https://docs.dremio.com/current/reference/api/, and for apiv2, which is not described there,
BootstrapResource, LogInLogOutResource and NoUserFilter in https://github.com/dremio/dremio-oss.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import signal
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from urllib3 import exceptions

from lakehouse.dremio import AuthError, Dremio, DremioError, Timeout, Unavailable
from lakehouse.settings.dremio import DremioSettings
from lakehouse.settings.durations import parse_duration
from lakehouse.tables import CATALOG
from lakehouse.user_error import UserError, exit_on_user_error
from pipeline.settings import NessieSettings, S3Settings

logger = logging.getLogger("tillwatch.dremio")

_USER_IS_THERE = "First user can only be created when no user is already registered"
_NO_REASON = "Something went wrong"
_NOT_NOW = (502, 503, 504)
# What a source has where its configuration names none: NessiePluginConfig.
_DEFAULTS = {"nessieAuthType": "BEARER", "credentialType": "ACCESS_KEY", "secure": True}


class Patience:
    """The time that all waiting may take together; `pause_s` lies between two tries."""

    def __init__(self, within: str, pause_s: float) -> None:
        try:
            span = parse_duration(within)
        except (ValueError, OverflowError) as error:
            raise UserError(f"--within has the value '{within}': {error}.") from None
        assert isinstance(span, timedelta)
        self._within = within.strip()
        self._until = time.monotonic() + span.total_seconds()
        self._pause_s = pause_s
        self._reason = ""

    def left_s(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def wait(self, reason: str) -> None:
        """Pause before the next try. Raises UserError when the time is up; a reason is logged when it is new."""
        left = self.left_s()
        if left == 0:
            raise UserError(f"{reason}, still after {self._within}; see Dremio's log, or allow more with --within.")
        if reason != self._reason:
            logger.info("waiting: %s", reason)
            self._reason = reason
        time.sleep(min(self._pause_s, left))


@dataclass(frozen=True)
class Answer:
    """What Dremio answered to a call. `fields` is empty where that was no JSON object."""

    call: str
    status: int
    fields: dict[str, Any]
    said: str


class Rest:
    """Dremio's REST port. Waits while nobody answers or the server cannot yet; raises UserError, and nothing else."""

    def __init__(self, address: str, patience: Patience) -> None:
        if not re.fullmatch(r"https?://[^/@\s]+", address):
            raise UserError(f"--rest has the value '{address}'; expected http://HOST:PORT.")
        self.address = address
        self.token = ""
        self._patience = patience
        self._http = urllib3.PoolManager(retries=False)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, *, secret: str = "") -> Answer:
        """The answer, whatever its status says; `secret` is in the body, and shall not come back in a message."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"_dremio{self.token}"
        data = None if body is None else json.dumps(body).encode()
        while True:
            # A source is made while the call lasts: Dremio goes to Nessie meanwhile.
            timeout = urllib3.Timeout(connect=2.0, read=min(30.0, max(1.0, self._patience.left_s())))
            try:
                answer = self._http.request(
                    method, self.address + path, body=data, headers=headers, timeout=timeout, redirect=False
                )
            except exceptions.HTTPError as error:
                self._patience.wait(f"Dremio at {self.address} cannot be reached: {self._passing(error)}")
                continue
            if answer.status in _NOT_NOW:
                self._patience.wait(f"Dremio at {self.address} is not up yet: it answers {answer.status}")
                continue
            fields = _object(answer.data)
            said = _said(fields)
            return Answer(f"{method} {path}", answer.status, fields, said.replace(secret, "***") if secret else said)

    def refusal(self, answer: Answer, would_do: str) -> UserError:
        """The error for an answer that was not to come."""
        said = f": {answer.said}" if answer.said else ""
        return UserError(f"Dremio at {self.address} answers {answer.status} to {answer.call}{said}; {would_do}.")

    def no_dremio(self, answer: Answer, missing: str) -> UserError:
        """The error for a server that says yes in words that are not Dremio's."""
        return UserError(
            f"{self.address} answers {answer.call} without {missing}, which no Dremio does; "
            "name Dremio's REST port with --rest."
        )

    def _passing(self, error: exceptions.HTTPError) -> str:
        """Why there was no answer, in words that stay the same from try to try. Raises for what does not pass."""
        match error:
            case exceptions.NameResolutionError():
                return "its name is not known"
            case exceptions.NewConnectionError():
                reason = getattr(error.__cause__, "strerror", None)
                return str(reason or "no connection").lower()
            case exceptions.TimeoutError():
                return "no answer in time"
            case exceptions.ProtocolError():
                return "the connection was cut"
        text = " ".join(str(error).split())
        raise UserError(f"{self.address} cannot be asked: {text}; name Dremio's REST port with --rest.") from None


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _said(fields: dict[str, Any]) -> str:
    """Dremio's own sentence in the answer of an error, without its full stop."""
    text = str(fields.get("errorMessage") or "")
    if text in ("", _NO_REASON):
        text = str(fields.get("moreInfo") or text)
    return " ".join(text.split())[:300].rstrip(".")


# ---- the steps ------------------------------------------------------------------------------------------------------


def wait_until_up(rest: Rest) -> None:
    answer = rest.ask("GET", "/apiv2/server_status")
    if answer.status != 200:
        raise rest.refusal(answer, "name Dremio's REST port with --rest")
    logger.info("Dremio at %s is up", rest.address)


def sign_in(rest: Rest, settings: DremioSettings) -> None:
    """Sign in first: a Dremio that knows the user is asked to change nothing.

    A login is refused alike where there is no user (403) and where the password is another one (401), more or less by
    version. Only Dremio itself tells the two apart for certain: it makes a first user, or says that there is one.
    """
    answer = _login(rest, settings)
    if answer.status in (401, 403):
        _make_first_user(rest, settings)
        answer = _login(rest, settings)
        if answer.status in (401, 403):
            raise UserError(
                f"Dremio at {rest.address} has users and does not let '{settings.user}' in with the password given; "
                "set TILLWATCH_DREMIO_USER and TILLWATCH_DREMIO_PASSWORD (or TILLWATCH_DREMIO_PASSWORD_FILE) "
                "to those of its administrator."
            )
    if answer.status != 200:
        raise rest.refusal(answer, "see Dremio's log")
    token = str(answer.fields.get("token") or "")
    if not re.fullmatch(r"[!-~]+", token):
        raise rest.no_dremio(answer, "a token")
    rest.token = token
    logger.info("signed in as '%s'", settings.user)


def _login(rest: Rest, settings: DremioSettings) -> Answer:
    password = settings.password.get_secret_value()
    return rest.ask("POST", "/apiv2/login", {"userName": settings.user, "password": password}, secret=password)


def _make_first_user(rest: Rest, settings: DremioSettings) -> None:
    password = settings.password.get_secret_value()
    user = {
        "userName": settings.user,
        "firstName": "tillwatch",
        "lastName": "tillwatch",
        "email": "tillwatch@localhost",
        "createdAt": time.time_ns() // 1_000_000,
        "password": password,
    }
    answer = rest.ask("PUT", "/apiv2/bootstrap/firstuser", user, secret=password)
    if answer.status == 200:
        logger.info("made the first user '%s'", settings.user)
    elif _USER_IS_THERE in answer.said:
        logger.info("Dremio has a user already; none was made")
    else:
        raise rest.refusal(
            answer,
            f"the first user is to be '{settings.user}': "
            "mend TILLWATCH_DREMIO_USER or TILLWATCH_DREMIO_PASSWORD (or TILLWATCH_DREMIO_PASSWORD_FILE)",
        )


def source(nessie: NessieSettings, s3: S3Settings) -> dict[str, Any]:
    """The source as Dremio is told of it; it goes to these addresses itself."""
    scheme, _, host = s3.endpoint.partition("://")
    properties = {
        "fs.s3a.path.style.access": "true",
        "fs.s3a.endpoint": host,
        "dremio.s3.compat": "true",
        # Dremio's two clients of S3 read one each. Not compared later: most servers take any.
        "fs.s3a.endpoint.region": s3.region,
        "dremio.s3.region": s3.region,
    }
    return {
        "entityType": "source",
        "type": "NESSIE",
        "name": CATALOG,
        "config": {
            "nessieEndpoint": nessie.uri,
            "nessieAuthType": "NONE",
            "credentialType": "ACCESS_KEY",
            "awsAccessKey": s3.access_key,
            "awsAccessSecret": s3.secret_key.get_secret_value(),
            "awsRootPath": "/" + nessie.warehouse.removeprefix("s3://"),
            "secure": scheme == "https",
            "propertyList": [{"name": name, "value": value} for name, value in properties.items()],
        },
    }


def provide_source(rest: Rest, nessie: NessieSettings, s3: S3Settings) -> None:
    wanted = source(nessie, s3)
    for _ in range(2):
        found = rest.ask("GET", f"/api/v3/catalog/by-path/{quote(CATALOG, safe='')}")
        if found.status == 200:
            _refuse_other_settings(rest, found, wanted)
            logger.info("the source %s is there, with these settings", CATALOG)
            return
        if found.status != 404:
            raise rest.refusal(found, f"'{CATALOG}' can neither be seen nor made")
        made = rest.ask("POST", "/api/v3/catalog", wanted, secret=s3.secret_key.get_secret_value())
        if made.status < 300:
            if made.fields.get("name") != CATALOG:
                raise rest.no_dremio(made, "the source")
            logger.info("made the source %s: Nessie at %s, files at %s", CATALOG, nessie.uri, s3.endpoint)
            return
        if made.status != 409:
            break
        # Another run was quicker, or this one's call went through before the connection was cut.
        logger.info("the source %s was made meanwhile", CATALOG)
    raise rest.refusal(
        made,
        f"Dremio itself must reach Nessie at {nessie.uri} and S3 at {s3.endpoint} "
        "(TILLWATCH_NESSIE_URI, TILLWATCH_S3_ENDPOINT), and the user must be an administrator",
    )


def _refuse_other_settings(rest: Rest, found: Answer, wanted: dict[str, Any]) -> None:
    """Raises UserError where the source that is there leads elsewhere. What else it has set is its owner's matter."""
    if not found.fields:
        raise rest.no_dremio(found, "what is called so")
    there, ours = _settings_of(found.fields), _settings_of(wanted)
    # People write a path with or without the slash at its ends; Dremio does not mind.
    others = [name for name in ours if there[name].strip("/") != ours[name].strip("/")]
    if others:
        # Of a space, or a source of another type, nothing further can be compared.
        told = [name for name in others if name in ("entityType", "type")] or others
        raise UserError(
            f"'{CATALOG}' in Dremio at {rest.address} has other settings than tillwatch: "
            + ", ".join(f"{name} is '{there[name]}', not '{ours[name]}'" for name in told)
            + "; nothing was changed: change it in Dremio, or remove it there and run this again."
        )


def _settings_of(entity: dict[str, Any]) -> dict[str, str]:
    """What a source is made of, as text by name. Without the secret: Dremio answers a placeholder for that."""
    config = entity.get("config")
    config = config if isinstance(config, dict) else {}
    listed = config.get("propertyList")
    properties = {
        str(item.get("name")): item.get("value")
        for item in (listed if isinstance(listed, list) else [])
        if isinstance(item, dict)
    }
    values = {name: entity.get(name) for name in ("entityType", "type")}
    for name in ("nessieEndpoint", "nessieAuthType", "credentialType", "awsAccessKey", "awsRootPath", "secure"):
        values[name] = config.get(name, _DEFAULTS.get(name))
    for name in ("fs.s3a.path.style.access", "fs.s3a.endpoint", "dremio.s3.compat"):
        values[name] = properties.get(name)
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    if value is None:
        return "(not set)"
    return str(value).lower() if isinstance(value, bool) else str(value)


def prove(settings: DremioSettings, patience: Patience) -> None:
    """One question as every reader asks. Flight may come up later than REST."""
    with Dremio(settings) as dremio:
        while True:
            try:
                commit = dremio.head()
            except (Unavailable, Timeout) as error:
                patience.wait(str(error).rstrip("."))
            except AuthError as error:
                raise UserError(str(error)) from None
            except DremioError as error:
                raise UserError(
                    f"{settings.uri} cannot answer SHOW BRANCHES IN {CATALOG}: {str(error).rstrip('.')}; "
                    "look at that source in Dremio."
                ) from None
            else:
                break
    logger.info("%s answers: main of %s is at commit %s", settings.uri, CATALOG, commit)


def main(arguments: list[str] | None = None, *, pause_s: float = 1.0) -> None:
    parser = argparse.ArgumentParser(
        prog="python deploy/dremio/bootstrap.py",
        description="Makes a fresh Dremio ready: its first user, the Nessie source of our tables, and a question as "
        "proof. What is there already is left alone. Sections dremio, nessie and s3 of the settings.",
    )
    parser.add_argument(
        "--rest", metavar="URL", help="Dremio's REST port; default: http://HOST:9047 with the host of dremio.uri"
    )
    parser.add_argument("--within", metavar="SPAN", default="10 min", help="most time to wait; default: 10 min")
    parser.add_argument("--only-question", action="store_true", help="only ask the question, by Arrow Flight")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with exit_on_user_error():
        patience = Patience(given.within, pause_s)
        settings = DremioSettings.load()
        if not given.only_question:
            address = given.rest or f"http://{urlsplit(settings.uri).hostname}:9047"
            rest = Rest(address.rstrip("/"), patience)
            nessie, s3 = NessieSettings.load(), S3Settings.load()
            wait_until_up(rest)
            sign_in(rest, settings)
            provide_source(rest, nessie, s3)
        prove(settings, patience)


if __name__ == "__main__":
    # As the first process of a container it would not hear SIGTERM else.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("tillwatch: stopped before Dremio was ready; run this again.") from None
